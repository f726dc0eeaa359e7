//! What is known about one parameter: a row of the table.
//!
//! Invariant: a value that is assigned was normalized by the parameter's kind; one that is refused changes nothing.

use super::kind::Kind;
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
        matches!(self.change, Change::To(_) | Change::Inert) && !matches!(self.name, "appendonly" | "protected-mode")
    }

    /// Both names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}
