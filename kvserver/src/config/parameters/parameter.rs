//! What is known about one parameter: a row of the table.
//!
//! Invariant: a value that is assigned was normalized by the parameter's kind; one that is refused changes nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use kvconfig::{Kind, Place};

use crate::state::ServerState;
use crate::state::runtime_config::LoopLimits;
use kvstats::slow::Logged;

/// Shows a value.
type Show = fn(&ServerState) -> String;
/// Takes a value that was normalized.
type Assign = fn(&ServerState, &str) -> Result<(), String>;
/// Returns the value of a line for the text of a flag.
type Read = fn(&str) -> Result<String, String>;
/// Follows a change.
type After = fn(&ServerState) -> Result<(), String>;

/// One parameter.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    /// An older name for the same.
    pub(crate) alias: Option<&'static str>,
    pub(crate) kind: Kind,
    storage: Storage,
    pub(crate) change: Change,
    pub(crate) in_file: InFile,
    /// Runs after a change.
    after: Option<After>,
    /// The flag of the program that sets it, too.
    pub(crate) flag: Option<Flag>,
    /// Its value is a secret: never logged, never shown by MONITOR or SLOWLOG.
    pub(crate) sensitive: bool,
    /// Shown only if exactly this name is asked for.
    pub(crate) hidden: bool,
}

/// Where the value is.
#[derive(Clone, Copy)]
enum Storage {
    /// It has no effect here, is kept because clients set and read it, and begins as this.
    Inert(&'static str),
    /// In what uses it: a number.
    Number(fn(&ServerState) -> &dyn Number),
    /// In what uses it: yes or no.
    Switch(fn(&ServerState) -> &AtomicBool),
    /// Among the limits that each loop has a copy of.
    Limit(fn(&mut LoopLimits) -> &mut usize),
    /// The number of entries that a log of commands may have, and the amount from which on a command is logged.
    LogLength(Logged),
    LogFrom(Logged),
    /// Anywhere else. The second function gets a normalized value, and has changed nothing if it fails.
    Elsewhere(Show, Assign),
}

/// What CONFIG SET does. A value equal to the one shown is taken by all but the first two, and changes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is decided when the server starts.
    Immutable,
    /// It would let a client write where it likes.
    Protected,
    /// Only the value it has; why, for the client.
    Refused(&'static str),
    /// Any value of its kind.
    Taken,
}

/// What a line of a configuration file with this name does.
#[derive(Clone, Copy)]
pub(crate) enum InFile {
    /// Sets the parameter when the server has started, or before: where the start reads it.
    Sets,
    /// Means nothing here and takes nothing from anybody. The log mentions it.
    PassedOver,
    /// May say one of these words, which is what holds here anyway; and why no other.
    Only(&'static [&'static str], &'static str),
    /// Would leave the data, or access to it, other than its author believes: it is an error, and why.
    Refused(&'static str),
}

/// A flag of the program: another way to write a line of the configuration file.
#[derive(Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    /// How the help names its value; empty if it has none.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    /// What the help shows as the default; empty if none.
    pub(crate) default: &'static str,
    /// The name of the line, if that is not the parameter's.
    pub(crate) line: Option<&'static str>,
    /// Returns the value of the line for the text of the flag; if there is none, the parameter's kind does. Of a flag without
    /// a value the text is empty.
    pub(crate) read: Option<Read>,
}

impl Flag {
    pub(crate) const fn new(name: &'static str, value: &'static str, help: &'static str) -> Flag {
        Flag { name, value, help, default: "", line: None, read: None }
    }

    pub(crate) const fn default(self, default: &'static str) -> Flag {
        Flag { default, ..self }
    }

    pub(crate) const fn line(self, line: &'static str) -> Flag {
        Flag { line: Some(line), ..self }
    }

    pub(crate) const fn read(self, read: Read) -> Flag {
        Flag { read: Some(read), ..self }
    }
}

/// A value that the start gives a parameter.
pub(crate) struct Setting {
    pub(crate) place: Place,
    pub(crate) row: &'static Parameter,
    /// Normalized.
    pub(crate) value: String,
}

/// A number that all threads may read and change.
pub(crate) trait Number {
    fn get(&self) -> u64;
    fn set(&self, value: u64);
}

macro_rules! number {
    ($($atomic:ty: $number:ty),*) => {$(
        impl Number for $atomic {
            fn get(&self) -> u64 {
                self.load(Relaxed) as u64
            }

            fn set(&self, value: u64) {
                self.store(<$number>::try_from(value).unwrap_or(<$number>::MAX), Relaxed);
            }
        }
    )*};
}
number!(AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize);

impl Parameter {
    /// A parameter whose value is kept where these functions find it.
    pub(crate) const fn new(name: &'static str, kind: Kind, show: Show, change: Assign) -> Parameter {
        Parameter::row(name, kind, Storage::Elsewhere(show, change), Change::Taken)
    }

    /// A number.
    pub(crate) const fn number(name: &'static str, kind: Kind, field: fn(&ServerState) -> &dyn Number) -> Parameter {
        Parameter::row(name, kind, Storage::Number(field), Change::Taken)
    }

    /// Yes or no.
    pub(crate) const fn switch(name: &'static str, field: fn(&ServerState) -> &AtomicBool) -> Parameter {
        Parameter::row(name, Kind::Bool, Storage::Switch(field), Change::Taken)
    }

    /// A limit of requests.
    pub(crate) const fn limit(name: &'static str, kind: Kind, field: fn(&mut LoopLimits) -> &mut usize) -> Parameter {
        Parameter::row(name, kind, Storage::Limit(field), Change::Taken)
    }

    /// The number of entries of a log of commands.
    pub(crate) const fn log_length(name: &'static str, kind: Kind, log: Logged) -> Parameter {
        Parameter::row(name, kind, Storage::LogLength(log), Change::Taken)
    }

    /// The amount from which on a command is logged.
    pub(crate) const fn log_from(name: &'static str, kind: Kind, log: Logged) -> Parameter {
        Parameter::row(name, kind, Storage::LogFrom(log), Change::Taken)
    }

    /// A parameter that is decided when the server starts.
    pub(crate) const fn fixed(name: &'static str, show: Show) -> Parameter {
        Parameter::row(name, Kind::Text, Storage::Elsewhere(show, |_, _| Ok(())), Change::Immutable)
    }

    /// A parameter that is what it is here and is neither changed by clients nor immutable for Redis.
    pub(crate) const fn constant(name: &'static str, kind: Kind, show: Show, why: &'static str) -> Parameter {
        Parameter::row(name, kind, Storage::Elsewhere(show, |_, _| Ok(())), Change::Refused(why))
    }

    /// A parameter without effect that clients set and read.
    pub(crate) const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Parameter {
        let row = Parameter::row(name, kind, Storage::Inert(default), Change::Taken);
        Parameter { in_file: InFile::PassedOver, ..row }
    }

    const fn row(name: &'static str, kind: Kind, storage: Storage, change: Change) -> Parameter {
        let in_file = InFile::Sets;
        Parameter {
            name,
            alias: None,
            kind,
            storage,
            change,
            in_file,
            after: None,
            flag: None,
            sensitive: false,
            hidden: false,
        }
    }

    pub(crate) const fn alias(mut self, alias: &'static str) -> Parameter {
        self.alias = Some(alias);
        self
    }

    pub(crate) const fn in_file(mut self, in_file: InFile) -> Parameter {
        self.in_file = in_file;
        self
    }

    pub(crate) const fn flag(mut self, flag: Flag) -> Parameter {
        self.flag = Some(flag);
        self
    }

    /// Has this run after each change.
    pub(crate) const fn then(mut self, after: After) -> Parameter {
        self.after = Some(after);
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

    /// What an inert parameter begins as.
    #[cfg(test)]
    pub(super) fn inert_default(&self) -> Option<&'static str> {
        if let Storage::Inert(default) = self.storage { Some(default) } else { None }
    }

    /// The value as CONFIG GET shows it.
    pub(crate) fn value(&self, server: &ServerState) -> String {
        match self.storage {
            Storage::Inert(default) => {
                server.runtime.inert.lock().get(self.name).cloned().unwrap_or_else(|| default.to_owned())
            }
            Storage::Number(field) => field(server).get().to_string(),
            Storage::Switch(field) => yes_or_no(field(server).load(Relaxed)),
            Storage::Limit(field) => field(&mut server.runtime.loop_limits()).to_string(),
            Storage::LogLength(log) => server.slow.log(log).length_max().to_string(),
            Storage::LogFrom(log) => server.slow.log(log).from().to_string(),
            Storage::Elsewhere(show, _) => show(server),
        }
    }

    /// Gives it a value that was normalized by its kind.
    pub(crate) fn assign(&self, server: &ServerState, value: &str) -> Result<(), String> {
        if self.value(server) == value {
            return Ok(());
        }
        match self.change {
            Change::Immutable => return Err("can't set immutable config".to_owned()),
            Change::Protected => return Err("can't set protected config".to_owned()),
            Change::Refused(why) => return Err(why.to_owned()),
            Change::Taken => {}
        }
        match self.storage {
            Storage::Inert(_) => _ = server.runtime.inert.lock().insert(self.name, value.to_owned()),
            Storage::Number(field) => field(server).set(number(value)?),
            Storage::Switch(field) => field(server).store(value == "yes", Relaxed),
            Storage::Limit(field) => {
                let limit = number(value)?;
                server.runtime.change_limits(|bounds| *field(bounds) = limit);
            }
            Storage::LogLength(log) => server.slow.log(log).set_length_max(number(value)?),
            Storage::LogFrom(log) => {
                server.slow.log_from(log, number(value)?);
                server.runtime.change_limits(|bounds| bounds.large_bytes = server.slow.large_bytes());
            }
            Storage::Elsewhere(_, change) => change(server, value)?,
        }
        self.after.map_or(Ok(()), |after| after(server))
    }

    /// Whether CONFIG REWRITE writes it: clients can change it, and what it shows is what was asked for.
    pub(crate) fn is_rewritten(&self) -> bool {
        self.change == Change::Taken && !matches!(self.name, "appendonly" | "protected-mode")
    }

    /// Both names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }
}

pub(super) fn yes_or_no(is_so: bool) -> String {
    if is_so { "yes" } else { "no" }.to_owned()
}

/// A normalized number. It can only fail where the machine's numbers are shorter than 64 bits.
pub(super) fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())
}
