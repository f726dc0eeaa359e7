//! Commands whose work may be large beside that of reading them, and where they are carried out.
//!
//! On a loop such a command runs in a transaction whose work is limited. Before it does what takes long, by lengths that it
//! knows, it charges for it; what is too much ends the transaction, which has changed nothing, and the same command runs on
//! a thread for that, on a draft of its keys: no lock is held while it works.
//!
//! Invariant: a command has the same reply, effects and statistics wherever it table, and is counted once.

use kvcommands::CommandFn;
use kvcore::LockSet;
use kvcore::hooks::Txn;
use kvproto::{Args, Reply, spec};

use crate::context::ServerCommand;
use crate::context::jobs::{Finished, Worker};
use crate::dispatch::{Call, CallResult, carry_out};
use crate::state::server_config::LOOP_WORK_MAX;

/// What a store command of a parked connection needs to know of its client.
pub(crate) struct StoreCall {
    pub(crate) keyspace: kvcore::Keyspace,
    pub(crate) database: usize,
    pub(crate) uses_keys: bool,
}

/// Carries out, on a draft, a store command that was too much for a loop.
pub(crate) fn run_store(worker: &Worker<'_>, call: &StoreCall) -> Finished {
    let answer = answer(worker, call);
    Finished { lsn: answer.lsn, lookups: answer.lookups, ..Finished::from(answer.reply) }
}

fn answer(worker: &Worker<'_>, call: &StoreCall) -> CallResult {
    let Worker { server, table, origin, request } = *worker;
    let StoreCall { keyspace, database, uses_keys } = call;
    let found = spec::resolve_rows(request).ok().and_then(|(top, spec)| Some((spec, table.of(top)?)));
    let Some((spec, run)) = found else { return CallResult::nothing() };
    let events = server.notify.audience.wanted().events();
    let (database, uses_keys) = (*database, *uses_keys);
    // Others may have used up the room since it was parked.
    if let Err(error) = server.check_writes(spec, None) {
        return CallResult::refused(spec, error);
    }
    let run = |args: Args<'_>, txn: &mut dyn Txn| match run {
        ServerCommand::Store(CommandFn::Read(run, _)) => run(args, txn),
        ServerCommand::Store(CommandFn::Costly(run, _)) => run(args, txn, &server.runtime.of_commands()),
        // Those are never too much for a loop.
        ServerCommand::Store(_) | ServerCommand::Session(..) => Ok(Reply::Nothing),
    };
    // Perhaps it has become cheap: what was shared with another command's draft is so no longer.
    let cheap = Call { spec, request, origin, database, uses_keys, events, work_max: Some(LOOP_WORK_MAX) };
    if let Some(answer) = carry_out(&cheap, run, server, |keys, body| {
        if spec.is_write() {
            server.db.hooks().await_room()?;
        }
        keyspace.hooks().with_origin(origin.for_store()).commit(keys, body)
    }) {
        return answer;
    }
    let call = Call { work_max: None, ..cheap };
    let answer = carry_out(&call, run, server, |keys, body| {
        let locks = LockSet::new().keys(keyspace, keys);
        let hooks = server.db.hooks().with_origin(origin.for_store());
        hooks.commit_draft(locks, &|| true, &mut |txn| body(txn))
    });
    answer.unwrap_or_else(CallResult::nothing)
}
