//! Commands over several databases, or a whole one, when they run alone.
//!
//! Invariant: a command runs under the locks of all that it needs, which are taken together.

use kvcommands::{AcrossFn, Databases, Needs};
use kvcore::LockSet;
use kvcore::hooks::Lookups;
use kvproto::{Args, CommandError};

use crate::dispatch::{Call, CallResult, conclude, keep_reply};
use crate::notify::events;
use crate::state::ServerState;
use kvcommands::events::EventTxn;

/// Carries out such a command alone.
pub(super) fn across(
    call: &Call<'_>,
    needs: fn(Args<'_>, usize) -> Result<Needs<'_>, CommandError>,
    run: AcrossFn,
    server: &ServerState,
) -> CallResult {
    let Call { spec, request, origin, database, uses_keys, events, .. } = *call;
    let needs = match needs(Args::new(request), database) {
        Ok(needs) => needs,
        Err(error) => return CallResult::refused(spec, error),
    };
    let (mut reply, mut lookups) = (None, Lookups::default());
    let mut locks = LockSet::new();
    let commit = || {
        let all = server.databases.lock(needs, &mut locks)?;
        let all: Vec<u32> = all.iter().map(|keyspace| keyspace.hooks().id()).collect();
        let id_of = |index| server.databases.id_of(index);
        let databases = Databases { selected: database, id_of: &id_of, all: &all };
        let hooks = server.db.hooks().with_origin(origin.for_store());
        hooks.commit_across(std::mem::take(&mut locks), &mut |txn| {
            txn.begin_command(uses_keys);
            let outcome = if events.is_empty() {
                run(Args::new(request), txn, &databases)
            } else {
                let database_of = |id| server.databases.with_id(id);
                let mut noted = EventTxn::new(txn, spec, request, database, events, &database_of);
                let outcome = run(Args::new(request), &mut noted, &databases);
                origin.announce(events::announcements(noted.finish()).collect());
                outcome
            };
            keep_reply(outcome, &mut reply)?;
            lookups = txn.lookups();
            Ok(())
        })
    };
    let committed = commit();
    if !events.is_empty() {
        server.notify.audience.publish(origin, committed.as_ref().ok().copied());
    }
    conclude(committed, spec, reply, lookups, server).unwrap_or_else(CallResult::nothing)
}
