//! The command table: the one source for dispatch, COMMAND, COMMAND DOCS, HELP, usage errors and REPL hints.
//!
//! Invariant: [`COMMANDS`] is sorted by name and [`lookup`] finds exactly its names and aliases; both are built by the
//! compiler, so adding a command means adding one row to a family below (and its function to the server).

mod arg;
mod flags;
mod key_search;
mod key_spec;
mod names;
mod row;

mod acl;
mod bitmap;
mod client;
mod connection;
mod diagnostics;
mod expiry;
mod hyperloglog;
mod keys;
mod pubsub;
mod scripting;
mod server;
mod slow;
mod string;
mod transaction;
mod unsupported;

pub use arg::{Arg, ArgKind};
pub use flags::{Category, Flag, FlagSet, Group, KeyFlag, Trait};
pub use key_search::{FoundKeys, LegacyKeys};
pub use key_spec::{Begin, Find, KeyRule, KeySpec, Keys};
pub use row::{Secrets, Spec};
use row::{each_with, indexed};

use crate::error::CommandError;
use crate::request::Request;

/// The rows, family by family: those with a function in the server, then those without.
const FAMILIES: &[&[&[Spec]]] = &[EXECUTED, unsupported::FAMILIES];
const EXECUTED: &[&[Spec]] = &[
    acl::ROWS,
    bitmap::ROWS,
    connection::ROWS,
    diagnostics::ROWS,
    expiry::ROWS,
    hyperloglog::ROWS,
    keys::ROWS,
    pubsub::ROWS,
    scripting::ROWS,
    server::ROWS,
    slow::ROWS,
    string::ROWS,
    transaction::ROWS,
];
const COUNT: usize = rows_of(FAMILIES);

static TABLE: [Spec; COUNT] = table();

/// Every command, sorted by name.
pub static COMMANDS: &[Spec] = &TABLE;

/// Returns the command of that name or alias, in any case. Allocates nothing, and compares once in most cases.
#[inline(always)]
pub fn lookup(name: &[u8]) -> Option<&'static Spec> {
    names::find(name)
}

/// Returns the command or subcommand a request names, with its number of words checked; otherwise the error to reply.
pub fn resolve(request: Request<'_>) -> Result<&'static Spec, CommandError> {
    resolve_rows(request).map(|(_, spec)| spec).map_err(|unresolved| unresolved.error)
}

/// Why a request is not one of a command here. Boxed where it is returned: most requests are resolved.
#[derive(Debug)]
pub struct Unresolved {
    /// The row that the error is about, if the request names one.
    pub spec: Option<&'static Spec>,
    /// The error to reply.
    pub error: CommandError,
}

impl Unresolved {
    #[cold]
    fn boxed(spec: Option<&'static Spec>, error: CommandError) -> Box<Unresolved> {
        Box::new(Unresolved { spec, error })
    }
}

/// Returns the command a request names, and its subcommand if it has some (else the command again), with the number of
/// words checked.
// In the server's dispatch it is most of the work: it has several callers, and one of them counts.
#[inline(always)]
pub fn resolve_rows(request: Request<'_>) -> Result<(&'static Spec, &'static Spec), Box<Unresolved>> {
    let Some(top) = lookup(request.name()) else {
        return Err(Unresolved::boxed(None, CommandError::unknown_command(request)));
    };
    let spec = match request.get(1) {
        Some(word) if !top.subcommands.is_empty() => {
            top.subcommand(word).ok_or_else(|| Unresolved::boxed(None, CommandError::unknown_subcommand(request)))?
        }
        _ => top,
    };
    if !spec.arity_ok(request.len()) {
        return Err(Unresolved::boxed(Some(spec), CommandError::wrong_arity(spec.name)));
    }
    Ok((top, spec))
}

const fn rows_of(kinds: &[&[&[Spec]]]) -> usize {
    let mut count = 0;
    let mut kind = 0;
    while kind < kinds.len() {
        let mut family = 0;
        while family < kinds[kind].len() {
            count += kinds[kind][family].len();
            family += 1;
        }
        kind += 1;
    }
    count
}

/// All families in one table.
const fn table() -> [Spec; COUNT] {
    let mut rows = [string::ROWS[0]; COUNT];
    let mut filled = 0;
    let mut kind = 0;
    while kind < FAMILIES.len() {
        let mut family = 0;
        while family < FAMILIES[kind].len() {
            let mut row = 0;
            while row < FAMILIES[kind][family].len() {
                rows[filled] = FAMILIES[kind][family][row];
                filled += 1;
                row += 1;
            }
            family += 1;
        }
        kind += 1;
    }
    indexed(rows)
}

#[cfg(test)]
mod tests;
