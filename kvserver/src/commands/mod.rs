//! From a command's name to the function that carries it out.
//!
//! Invariant: every row of the command table has a function, unless it is marked absent; of those only [`refused::NAMES`] have one. A store command is a function of (arguments, locked
//! view), so it is the same alone and inside EXEC; it knows neither socket nor parser. Adding a command is one row in kvproto's table, one function, and one line in [`run_of`].

use crate::context::{Run, Runs};

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

/// No request has so many words.
const NEVER_COSTLY: u16 = u16::MAX;

/// The function behind a row of the command table.
fn run_of(name: &str) -> Option<Run> {
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
        "pfselftest" => Session(hyperloglog::debug::pfselftest),

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
        "copy" => Session(databases::copy),
        "dump" => Read(dump::dump, 2),
        "move" => Session(databases::move_),
        "object" => Session(object::object),
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

        "acl" => Session(acl::acl),

        "auth" => Session(connection::auth),
        "client" => Session(client::client),
        "echo" => Session(connection::echo),
        "hello" => Session(connection::hello),
        "help" => Session(help::commands),
        "ping" => Session(connection::ping),
        "quit" => Session(connection::quit),
        "reset" => Session(connection::reset),
        "select" => Session(connection::select),

        "psubscribe" => Session(pubsub::psubscribe),
        "publish" => Session(pubsub::publish),
        "pubsub" => Session(pubsub::pubsub),
        "punsubscribe" => Session(pubsub::punsubscribe),
        "spublish" => Session(pubsub::spublish),
        "ssubscribe" => Session(pubsub::ssubscribe),
        "subscribe" => Session(pubsub::subscribe),
        "sunsubscribe" => Session(pubsub::sunsubscribe),
        "unsubscribe" => Session(pubsub::unsubscribe),

        "asking" | "cluster" | "clusterscan" | "readonly" | "readwrite" => Session(refused::cluster),
        "failover" => Session(refused::failover),
        "replicaof" | "slaveof" => Session(refused::replicaof),

        "discard" => Session(transaction::discard),
        "exec" => Session(transaction::exec),
        "multi" => Session(transaction::multi),
        "unwatch" => Session(transaction::unwatch),
        "watch" => Session(transaction::watch),

        "backup" => Session(backup::backup),
        "bgrewriteaof" => Session(server::bgrewriteaof),
        "bgsave" => Session(server::bgsave),
        "command" => Session(table::command),
        "commandlog" => Session(slow::commandlog),
        "hotkeys" => Session(hot_keys::hotkeys),
        "config" => Session(config::config),
        "debug" => Session(debug::debug),
        "flush" => Session(server::flush),
        "flushall" => Session(server::flushall),
        "flushdb" => Session(server::flushdb),
        "function" => Session(standalone::function),
        "info" => Session(server::info),
        "lastsave" => Session(server::lastsave),
        "latency" => Session(slow::latency),
        "lolwut" => Session(standalone::lolwut),
        "memory" => Session(memory::memory),
        "module" => Session(standalone::module),
        "role" => Session(standalone::role),
        "monitor" => Session(monitor::monitor),
        "save" => Session(server::save),
        "script" => Session(standalone::script),
        "slowlog" => Session(slow::slowlog),
        "shutdown" => Session(server::shutdown),
        "swapdb" => Session(databases::swapdb),
        "time" => Session(server::time),
        "wait" => Session(standalone::wait),
        "waitaof" => Session(standalone::waitaof),
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
