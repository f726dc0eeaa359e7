//! From a command's name to the function that carries it out.
//!
//! Invariant: every row of the command table has a function, unless it is marked unsupported; of those some have one that refuses. The commands
//! of the store alone are in `kvcommands`; those here concern the session or the server.

use crate::context::{DispatchTable, InExec, ServerCommand};

pub mod acl;
pub mod backup;
pub mod client;
pub mod config;
pub mod connection;
pub mod debug;
mod hot_keys;
pub mod info;
pub mod memory;
pub mod monitor;
pub mod object;
pub mod pubsub;
pub mod server;
pub mod slow;
pub mod tracking;
pub mod transaction;

/// Returns the dispatch table.
pub(crate) fn table() -> DispatchTable {
    DispatchTable::new(run_of)
}

/// The function behind a row of the command table.
fn run_of(name: &str) -> Option<ServerCommand> {
    use InExec::{Anywhere, OnLoop, Once};
    use ServerCommand::Session;
    if let Some(command) = kvcommands::command_fn(name) {
        return Some(ServerCommand::Store(command));
    }
    Some(match name {
        "object" => Session(object::object, Anywhere),

        "acl" => Session(acl::acl, Once),

        "auth" => Session(connection::auth, Once),
        "client" => Session(client::client, Once),
        "hello" => Session(connection::hello, Once),
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

        "discard" => Session(transaction::discard, Once),
        "exec" => Session(transaction::exec, Once),
        "multi" => Session(transaction::multi, Once),
        "unwatch" => Session(transaction::unwatch, OnLoop),
        "watch" => Session(transaction::watch, Once),

        "backup" => Session(backup::backup, Once),
        "bgrewriteaof" => Session(server::bgrewriteaof, Once),
        "bgsave" => Session(server::bgsave, Once),
        "commandlog" => Session(slow::commandlog, Once),
        "hotkeys" => Session(hot_keys::hotkeys, Once),
        "config" => Session(config::config, Once),
        "debug" => Session(debug::debug, Once),
        "info" => Session(server::info, Once),
        "lastsave" => Session(server::lastsave, Once),
        "latency" => Session(slow::latency, Once),
        "memory" => Session(memory::memory, OnLoop),
        "monitor" => Session(monitor::monitor, Once),
        "save" => Session(server::save, Once),
        "slowlog" => Session(slow::slowlog, Once),
        "shutdown" => Session(server::shutdown, Once),
        "time" => Session(server::time, Anywhere),
        "wait" => Session(server::wait, Once),
        "waitaof" => Session(server::waitaof, Once),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use kvcommands::CommandFn;

    use crate::context::ServerCommand;

    #[test]
    fn a_row_of_the_command_table_has_a_function_or_is_marked_absent() {
        for spec in kvproto::spec::COMMANDS {
            match super::run_of(spec.name) {
                None | Some(ServerCommand::Store(CommandFn::Pure(_))) if spec.unsupported => {}
                run => assert_eq!(run.is_none(), spec.unsupported, "{}", spec.name),
            }
        }
    }
}
