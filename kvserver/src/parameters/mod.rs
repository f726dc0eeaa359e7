//! The table of parameters: what CONFIG GET shows and CONFIG SET changes.
//!
//! Invariant: names and aliases are unique and in lower case, and what a parameter shows it also takes, so that a
//! change can be undone with what was shown before it.

mod kind;
pub(crate) mod lists;
mod rows;

pub(crate) use kind::Kind;
pub(crate) use rows::ROWS;

use crate::state::ServerState;

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// An older name for the same.
    pub(crate) alias: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) show: Show,
    pub(crate) change: Change,
    /// Its value is a secret: never logged, never shown by MONITOR or SLOWLOG.
    pub(crate) sensitive: bool,
    /// Shown only to who asks for exactly this name.
    pub(crate) hidden: bool,
}

/// Where the value comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Show {
    /// From what uses it.
    From(fn(&ServerState) -> String),
    /// It has no effect here, is kept because clients set and read it, and begins as this.
    Inert(&'static str),
}

/// What CONFIG SET does. A value equal to the one shown is taken by all but the first two, and changes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// It is decided when the server starts.
    Immutable,
    /// It would let a client write where it likes.
    Protected,
    /// Only the value it has; why, for the client.
    Refused(&'static str),
    /// Any value of its kind; the function gets it normalized, and has changed nothing if it fails.
    To(fn(&ServerState, &str) -> Result<(), String>),
    /// Any value of its kind is kept and means nothing.
    Inert,
}

impl Parameter {
    /// A parameter with an effect.
    pub(crate) const fn new(
        name: &'static str,
        kind: Kind,
        show: fn(&ServerState) -> String,
        change: fn(&ServerState, &str) -> Result<(), String>,
    ) -> Parameter {
        Parameter::row(name, kind, Show::From(show), Change::To(change))
    }

    /// A parameter that is decided when the server starts.
    pub(crate) const fn fixed(name: &'static str, show: fn(&ServerState) -> String) -> Parameter {
        Parameter::row(name, Kind::Text, Show::From(show), Change::Immutable)
    }

    /// A parameter without effect that clients set and read.
    pub(crate) const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Parameter {
        Parameter::row(name, kind, Show::Inert(default), Change::Inert)
    }

    /// A parameter that is what it is here and is neither changed by clients nor immutable for Redis.
    pub(crate) const fn settled(
        name: &'static str,
        kind: Kind,
        show: fn(&ServerState) -> String,
        why: &'static str,
    ) -> Parameter {
        Parameter::row(name, kind, Show::From(show), Change::Refused(why))
    }

    const fn row(name: &'static str, kind: Kind, show: Show, change: Change) -> Parameter {
        Parameter { name, alias: None, kind, show, change, sensitive: false, hidden: false }
    }

    pub(crate) const fn alias(mut self, alias: &'static str) -> Parameter {
        self.alias = Some(alias);
        self
    }

    pub(crate) const fn sensitive(mut self) -> Parameter {
        self.sensitive = true;
        self
    }

    pub(crate) const fn hidden(mut self) -> Parameter {
        self.hidden = true;
        self
    }

    pub(crate) const fn immutable(mut self) -> Parameter {
        self.change = Change::Immutable;
        self
    }

    pub(crate) const fn protected(mut self) -> Parameter {
        self.change = Change::Protected;
        self
    }

    /// The value as CONFIG GET shows it.
    pub(crate) fn value(&self, server: &ServerState) -> String {
        match self.show {
            Show::From(show) => show(server),
            Show::Inert(default) => {
                server.tuning.inert.lock().get(self.name).cloned().unwrap_or_else(|| default.to_owned())
            }
        }
    }

    /// Gives it a value that was normalized by its kind.
    pub(crate) fn assign(&self, server: &ServerState, value: &str) -> Result<(), String> {
        if self.value(server) == value {
            return Ok(());
        }
        match self.change {
            Change::Immutable => Err("can't set immutable config".to_owned()),
            Change::Protected => Err("can't set protected config".to_owned()),
            Change::Refused(why) => Err(why.to_owned()),
            Change::To(change) => change(server, value),
            Change::Inert => {
                server.tuning.inert.lock().insert(self.name, value.to_owned());
                Ok(())
            }
        }
    }

    /// Whether CONFIG REWRITE writes it: clients can change it, and what it shows is what was asked for.
    pub(crate) fn is_rewritten(&self) -> bool {
        matches!(self.change, Change::To(_) | Change::Inert) && self.name != "appendonly"
    }

    /// Both names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

/// The parameter of this name, whatever its case.
pub(crate) fn lookup(name: &[u8]) -> Option<&'static Parameter> {
    ROWS.iter().find(|row| row.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_lower_case_and_inert_defaults_are_of_their_kind() {
        let mut seen = BTreeSet::new();
        for row in ROWS {
            for name in row.names() {
                assert!(seen.insert(name), "{name} twice");
                assert_eq!(name, name.to_ascii_lowercase());
            }
            if let Show::Inert(default) = row.show {
                assert_eq!(row.kind.normalize(default).as_deref(), Ok(default), "{}", row.name);
            }
        }
        assert_eq!(lookup(b"LUA-time-limit").map(|row| row.name), Some("busy-reply-threshold"));
    }
}
