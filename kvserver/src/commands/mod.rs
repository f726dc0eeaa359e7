//! From a command's name to the function that carries it out.
//!
//! Invariant: every row of the command table has a function, unless it is marked absent; of those only [`refused::NAMES`] have one. A store command is a function of (arguments, locked
//! view), so it is the same alone and inside EXEC; it knows neither socket nor parser. Adding a command is one row in kvproto's table, one function, and one line in [`run_of`].

use crate::context::{InExec, Run, Runs};

pub mod acl;
pub mod backup;
pub mod bitmap;
pub mod client;
pub mod config;
pub mod connection;
pub mod databases;
pub mod debug;
pub mod dump;
pub mod expiry;
mod help;
mod hot_keys;
pub mod hyperloglog;
pub mod keys;
pub mod memory;
pub mod monitor;
pub mod object;
pub mod pubsub;
pub mod refused;
pub mod server;
pub mod slow;
pub mod standalone;
pub mod string;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tracking;
pub mod transaction;

/// The function behind each row.
pub(crate) fn runs() -> Runs {
    Runs::new(run_of)
}

/// Of a command that charges for no work, which no limit ends therefore.
const NEVER_COSTLY: u16 = u16::MAX;

/// The function behind a row of the command table.
fn run_of(name: &str) -> Option<Run> {
    use InExec::{Anywhere, OnLoop, Once};
    use Run::{Costly, Read, Session, Store, Walk};
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
        "pfdebug" => Costly(|args, txn, _| hyperloglog::debug::pfdebug(args, txn), 3),
        "pfmerge" => Costly(hyperloglog::pfmerge, 2),
        "pfselftest" => Session(hyperloglog::debug::pfselftest, Once),

        "append" => Costly(|args, txn, _| string::append(args, txn), 3),
        "decr" => Store(string::decr),
        "decrby" => Store(string::decrby),
        "delex" => Costly(|args, txn, _| string::compare::delex(args, txn), 4),
        "delifeq" => Store(string::compare::delifeq),
        "digest" => Read(string::compare::digest, 2),
        "get" => Read(string::get, NEVER_COSTLY),
        "getdel" => Store(string::getdel),
        "getex" => Store(string::getex),
        "getrange" | "substr" => Read(string::range::getrange, 4),
        "getset" => Store(string::getset),
        "incr" => Store(string::incr),
        "incrby" => Store(string::incrby),
        "incrbyfloat" => Store(string::incrbyfloat),
        "increx" => Store(string::increx::increx),
        "lcs" => Read(string::lcs::lcs, 3),
        "mget" => Read(string::mget, NEVER_COSTLY),
        "mset" => Store(string::mset),
        "msetex" => Store(string::compare::msetex),
        "msetnx" => Store(string::msetnx),
        "psetex" => Store(string::psetex),
        "put" => Store(string::put),
        "set" => Costly(|args, txn, _| string::set(args, txn), 5),
        "setex" => Store(string::setex),
        "setnx" => Store(string::setnx),
        "setrange" => Costly(|args, txn, _| string::range::setrange(args, txn), 4),
        "strlen" => Read(string::strlen, NEVER_COSTLY),

        "del" | "unlink" => Store(keys::del),
        "exists" => Read(keys::exists, NEVER_COSTLY),
        "touch" => Read(keys::touch, NEVER_COSTLY),
        "copy" => Session(databases::copy, Anywhere),
        "dump" => Read(dump::dump, 2),
        "move" => Session(databases::move_, Anywhere),
        "object" => Session(object::object, Anywhere),
        "rename" => Store(keys::rename),
        "renamenx" => Store(keys::renamenx),
        "restore" | "restore-asking" => Costly(|args, txn, _| dump::restore(args, txn), 4),
        "type" => Read(keys::type_, NEVER_COSTLY),
        "dbsize" => Walk(keys::dbsize),
        "keys" => Walk(keys::keys),
        "print" => Walk(keys::print),
        "randomkey" => Walk(keys::randomkey),
        "scan" => Walk(keys::scan),

        "expire" => Store(expiry::expire),
        "expireat" => Store(expiry::expireat),
        "expiretime" => Read(expiry::expiretime, NEVER_COSTLY),
        "persist" => Store(expiry::persist),
        "pexpire" => Store(expiry::pexpire),
        "pexpireat" => Store(expiry::pexpireat),
        "pexpiretime" => Read(expiry::pexpiretime, NEVER_COSTLY),
        "pttl" => Read(expiry::pttl, NEVER_COSTLY),
        "ttl" => Read(expiry::ttl, NEVER_COSTLY),

        "acl" => Session(acl::acl, Once),

        "auth" => Session(connection::auth, Once),
        "client" => Session(client::client, Once),
        "echo" => Session(connection::echo, Anywhere),
        "hello" => Session(connection::hello, Once),
        "help" => Session(help::commands, Once),
        "ping" => Session(connection::ping, Anywhere),
        "quit" => Session(connection::quit, Once),
        "reset" => Session(connection::reset, Once),
        "select" => Session(connection::select, Anywhere),

        "psubscribe" => Session(pubsub::psubscribe, OnLoop),
        "publish" => Session(pubsub::publish, Anywhere),
        "pubsub" => Session(pubsub::pubsub, OnLoop),
        "punsubscribe" => Session(pubsub::punsubscribe, OnLoop),
        "spublish" => Session(pubsub::spublish, Anywhere),
        "ssubscribe" => Session(pubsub::ssubscribe, OnLoop),
        "subscribe" => Session(pubsub::subscribe, OnLoop),
        "sunsubscribe" => Session(pubsub::sunsubscribe, OnLoop),
        "unsubscribe" => Session(pubsub::unsubscribe, OnLoop),

        "asking" | "cluster" | "clusterscan" | "readonly" | "readwrite" => Session(refused::cluster, Once),
        "failover" => Session(refused::failover, Once),
        "replicaof" | "slaveof" => Session(refused::replicaof, Once),

        "discard" => Session(transaction::discard, Once),
        "exec" => Session(transaction::exec, Once),
        "multi" => Session(transaction::multi, Once),
        "unwatch" => Session(transaction::unwatch, OnLoop),
        "watch" => Session(transaction::watch, Once),

        "backup" => Session(backup::backup, Once),
        "bgrewriteaof" => Session(server::bgrewriteaof, Once),
        "bgsave" => Session(server::bgsave, Once),
        "command" => Session(table::command, Once),
        "commandlog" => Session(slow::commandlog, Once),
        "hotkeys" => Session(hot_keys::hotkeys, Once),
        "config" => Session(config::config, Once),
        "debug" => Session(debug::debug, Once),
        "flush" => Session(server::flush, OnLoop),
        "flushall" => Session(server::flushall, OnLoop),
        "flushdb" => Session(server::flushdb, OnLoop),
        "function" => Session(standalone::function, Once),
        "info" => Session(server::info, Once),
        "lastsave" => Session(server::lastsave, Once),
        "latency" => Session(slow::latency, Once),
        "lolwut" => Session(standalone::lolwut, Once),
        "memory" => Session(memory::memory, OnLoop),
        "module" => Session(standalone::module, Once),
        "role" => Session(standalone::role, Once),
        "monitor" => Session(monitor::monitor, Once),
        "save" => Session(server::save, Once),
        "script" => Session(standalone::script, Once),
        "slowlog" => Session(slow::slowlog, Once),
        "shutdown" => Session(server::shutdown, Once),
        "swapdb" => Session(databases::swapdb, OnLoop),
        "time" => Session(server::time, Anywhere),
        "wait" => Session(standalone::wait, Once),
        "waitaof" => Session(standalone::waitaof, Once),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_row_of_the_command_table_has_a_function_or_is_marked_absent() {
        for spec in kvproto::spec::COMMANDS {
            let has_none = spec.absent && !super::refused::NAMES.contains(&spec.name);
            assert_eq!(super::run_of(spec.name).is_none(), has_none, "{}", spec.name);
        }
    }

    #[test]
    fn a_command_that_only_reads_takes_shared_locks() {
        use kvproto::spec::{Flag, KeyRule};

        use crate::context::Run;
        for spec in kvproto::spec::COMMANDS.iter().filter(|spec| !matches!(spec.keys, KeyRule::None)) {
            let writes = matches!(super::run_of(spec.name), Some(Run::Store(_) | Run::Costly(..)));
            // PFCOUNT keeps in the value what it has counted.
            let only_reads = spec.flags.has(Flag::ReadOnly) && spec.name != "pfcount";
            assert!(!(writes && only_reads), "{} keeps other readers waiting", spec.name);
        }
    }
}
