//! From a command's name to the function that carries it out.
//!
//! Invariant: a function depends on its words and on what the transaction shows, so it has the same outcome alone and inside EXEC,
//! and may be run again. Adding a command is one row in kvproto's table, one function, and one line here.

use kvcore::hooks::{CrossTxn, ReadTxn, Scan, Txn};
use kvproto::{Args, CommandError, Spec};

use crate::config::CommandConfig;
use crate::databases::{Databases, Needs};
use crate::outcome::Outcome;
use crate::{bitmap, command, databases, debug, dump, expiry, help, hyperloglog, keys, refused, standalone, string};

/// How a command of the store is carried out.
///
/// The number beside some: a request of fewer words is never costly. The others charge for their work
/// ([`ReadTxn::charge`]) before they do it, so that a caller can limit it.
#[derive(Clone, Copy)]
pub enum CommandFn {
    /// Under shared locks of exactly the keys that its row of the command table names. It changes nothing.
    Read(fn(Args<'_>, &dyn ReadTxn) -> Outcome, u16),
    /// Under the locks of exactly the keys that its row names. All checks come before the first effect: a command that replies with
    /// an error has changed nothing.
    Write(fn(Args<'_>, &mut dyn Txn) -> Outcome),
    /// As `Write`, and its work may be large beside that of reading the request.
    Costly(fn(Args<'_>, &mut dyn Txn, &CommandConfig) -> Outcome, u16),
    /// Scans a whole keyspace without changing it.
    Scan(fn(Args<'_>, &dyn Scan) -> Outcome),
    /// Concerns several databases, or a whole one. The first function returns what it locks, given the client's database; the
    /// error is the reply.
    Across(fn(Args<'_>, usize) -> Result<Needs<'_>, CommandError>, AcrossFn),
    /// Depends on its words and its row of the command table alone.
    Pure(fn(Args<'_>, &'static Spec) -> Outcome),
}

impl CommandFn {
    /// Returns whether the command can be carried out on every store: it needs a transaction over the keys that it names, or no
    /// store at all. The others need the engine: they exchange or empty databases, scan every key exactly once, or draw a random
    /// one.
    #[must_use]
    pub fn runs_on_every_store(self) -> bool {
        match self {
            CommandFn::Read(..) | CommandFn::Write(_) | CommandFn::Costly(..) | CommandFn::Pure(_) => true,
            CommandFn::Scan(_) | CommandFn::Across(..) => false,
        }
    }
}

/// Carries out a command over several databases, under the locks that it needs. All checks come before the first effect.
pub type AcrossFn = fn(Args<'_>, &mut dyn CrossTxn, &Databases<'_>) -> Outcome;

/// Of a command that charges for no work, which no limit ends therefore.
const NEVER_COSTLY: u16 = u16::MAX;

/// Returns the function behind a row of the command table, if it is one of the store alone.
#[must_use]
pub fn command_fn(name: &str) -> Option<CommandFn> {
    use CommandFn::{Across, Costly, Pure, Read, Scan, Write};
    Some(match name {
        "bitcount" => Read(bitmap::bitcount, 2),
        "bitfield" => Costly(|args, txn, _| bitmap::field::bitfield(args, txn), 3),
        "bitfield_ro" => Read(bitmap::field::bitfield_ro, NEVER_COSTLY),
        "bitop" => Costly(|args, txn, _| bitmap::bitop(args, txn), 4),
        "bitpos" => Read(bitmap::bitpos, 3),
        "bitrangeintarray" => Read(bitmap::bitrangeintarray, 4),
        "getbit" => Read(bitmap::getbit, NEVER_COSTLY),
        "setbit" => Costly(|args, txn, _| bitmap::setbit(args, txn), 4),

        "pfadd" => Costly(hyperloglog::pfadd, 3),
        "pfcount" => Costly(|args, txn, _| hyperloglog::pfcount(args, txn), 2),
        "pfdebug" => Costly(|args, txn, _| debug::pfdebug(args, txn), 3),
        "pfmerge" => Costly(hyperloglog::pfmerge, 2),

        "append" => Costly(|args, txn, _| string::append(args, txn), 3),
        "decr" => Write(string::decr),
        "decrby" => Write(string::decrby),
        "delex" => Costly(|args, txn, _| string::compare::delex(args, txn), 4),
        "delifeq" => Write(string::compare::delifeq),
        "digest" => Read(string::compare::digest, 2),
        "get" => Read(string::get, NEVER_COSTLY),
        "getdel" => Write(string::getdel),
        "getex" => Write(string::getex),
        "getrange" | "substr" => Read(string::range::getrange, 4),
        "getset" => Write(string::getset),
        "incr" => Write(string::incr),
        "incrby" => Write(string::incrby),
        "incrbyfloat" => Write(string::incrbyfloat),
        "increx" => Write(string::increx::increx),
        "lcs" => Read(string::lcs::lcs, 3),
        "mget" => Read(string::mget, NEVER_COSTLY),
        "mset" => Write(string::mset),
        "msetex" => Write(string::compare::msetex),
        "msetnx" => Write(string::msetnx),
        "psetex" => Write(string::psetex),
        "put" => Write(string::put),
        "set" => Costly(|args, txn, _| string::set(args, txn), 5),
        "setex" => Write(string::setex),
        "setnx" => Write(string::setnx),
        "setrange" => Costly(|args, txn, _| string::range::setrange(args, txn), 4),
        "strlen" => Read(string::strlen, NEVER_COSTLY),

        "del" | "unlink" => Write(keys::del),
        "exists" => Read(keys::exists, NEVER_COSTLY),
        "touch" => Read(keys::touch, NEVER_COSTLY),
        "dump" => Read(dump::dump, 2),
        "rename" => Write(keys::rename),
        "renamenx" => Write(keys::renamenx),
        "restore" | "restore-asking" => Costly(|args, txn, _| dump::restore(args, txn), 4),
        "type" => Read(keys::type_, NEVER_COSTLY),
        "dbsize" => Scan(keys::dbsize),
        "keys" => Scan(keys::keys),
        "print" => Scan(keys::print),
        "randomkey" => Scan(keys::randomkey),
        "scan" => Scan(keys::scan),

        "copy" => Across(databases::copy_needs, databases::copy),
        "flush" => Across(databases::flush_needs, databases::flush),
        "flushall" => Across(databases::flushall_needs, databases::flushall),
        "flushdb" => Across(databases::flushdb_needs, databases::flushdb),
        "move" => Across(databases::move_needs, databases::move_),
        "swapdb" => Across(databases::swapdb_needs, databases::swapdb),

        "asking" | "cluster" | "clusterscan" | "readonly" | "readwrite" => Pure(refused::cluster),
        "command" => Pure(command::command),
        "echo" => Pure(standalone::echo),
        "failover" => Pure(refused::failover),
        "function" => Pure(standalone::function),
        "help" => Pure(help::commands),
        "lolwut" => Pure(standalone::lolwut),
        "module" => Pure(standalone::module),
        "pfselftest" => Pure(|_, _| debug::pfselftest()),
        "replicaof" | "slaveof" => Pure(refused::replicaof),
        "role" => Pure(standalone::role),
        "script" => Pure(standalone::script),

        "expire" => Write(expiry::expire),
        "expireat" => Write(expiry::expireat),
        "expiretime" => Read(expiry::expiretime, NEVER_COSTLY),
        "persist" => Write(expiry::persist),
        "pexpire" => Write(expiry::pexpire),
        "pexpireat" => Write(expiry::pexpireat),
        "pexpiretime" => Read(expiry::pexpiretime, NEVER_COSTLY),
        "pttl" => Read(expiry::pttl, NEVER_COSTLY),
        "ttl" => Read(expiry::ttl, NEVER_COSTLY),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::iter;

    use kvproto::Spec;
    use kvproto::spec::{COMMANDS, KeyRule, Trait};

    use super::{CommandFn, command_fn};
    use crate::shell::Shell;

    /// The rows that have a function here, with that.
    fn rows() -> impl Iterator<Item = (&'static Spec, CommandFn)> {
        COMMANDS.iter().filter_map(|spec| Some((spec, command_fn(spec.name)?)))
    }

    #[test]
    fn most_commands_of_keys_run_on_every_store() {
        let runs_anywhere = |name| command_fn(name).is_some_and(CommandFn::runs_on_every_store);
        for name in ["get", "set", "incrbyfloat", "bitop", "pfcount", "restore", "expireat", "rename", "echo"] {
            assert!(runs_anywhere(name), "{name}");
        }
        for name in ["scan", "keys", "randomkey", "swapdb", "flushall", "copy", "move"] {
            assert!(!runs_anywhere(name), "{name}");
        }
    }

    #[test]
    fn a_row_and_the_kind_of_its_function_agree() {
        for (spec, kind) in rows() {
            let has_keys = !matches!(spec.keys, KeyRule::None);
            let may_write = spec.is_write() || spec.traits.has(Trait::MayWrite);
            let agrees = match kind {
                CommandFn::Read(..) => has_keys && spec.is_read_only() && !may_write,
                // Else it would keep other readers waiting for nothing.
                CommandFn::Write(_) | CommandFn::Costly(..) => has_keys && may_write,
                CommandFn::Scan(_) => !has_keys && spec.is_read_only(),
                CommandFn::Across(..) => spec.is_write(),
                CommandFn::Pure(_) => !has_keys && !may_write,
            };
            assert!(agrees, "{}", spec.name);
        }
    }

    #[test]
    fn every_command_that_is_said_to_run_on_every_store_does() {
        let needs_transaction = |kind: CommandFn| kind.runs_on_every_store() && !matches!(kind, CommandFn::Pure(_));
        let mut count = 0;
        for (spec, _) in rows().filter(|(_, kind)| needs_transaction(*kind)) {
            let shell = Shell::new();
            let least = spec.arity.unsigned_abs() as usize;
            for words in least..least + 3 {
                // The shell carries it out on a store that has the least, too, and compares.
                shell.reply(iter::once(spec.name).chain(iter::repeat_n("1", words - 1)));
            }
            count += 1;
        }
        assert!(count > 50, "{count}");
    }
}
