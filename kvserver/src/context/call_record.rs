//! What is taken note of when a command was carried out, alone or inside EXEC.
//!
//! Invariant: a command that is not slow costs two additions here and one comparison; no secret is taken note of.

use kvproto::{Request, Spec};

use crate::clients::Client;
use crate::context::secrets::Hidden;
use crate::state::ServerState;
use kvstats::counters::Counters;
use kvstats::slow::Slow;

/// A command that was carried out.
pub(crate) struct CallRecord<'r> {
    pub(crate) spec: &'static Spec,
    pub(crate) request: Request<'r>,
    pub(crate) client: &'r Client,
    pub(crate) ticks: u64,
}

impl CallRecord<'_> {
    /// Counts it for the loop on which it ran, and remembers it if it was slow.
    #[inline]
    pub(crate) fn count(&self, counters: &Counters, slow: &Slow) {
        let CallRecord { spec, request, client, ticks } = *self;
        counters.commands.ran(spec, ticks);
        if slow.is_slow(ticks) {
            let hidden = Hidden::of(spec, request);
            slow.note(spec, request, ticks, client, |at| hidden.has(at));
        }
    }

    /// Logs it if its request or its reply was large, and counts it for its keys if hot keys are tracked. `bytes`: how many
    /// both had.
    #[cold]
    pub(crate) fn note_size(&self, bytes: [usize; 2], server: &ServerState) {
        let CallRecord { spec, request, client, ticks } = *self;
        server.hot_keys.note(spec, request, ticks, bytes, &server.slow, &|on| server.measure_all(on));
        let hidden = Hidden::of(spec, request);
        server.slow.note_size(spec, request, bytes, client, |at| hidden.has(at));
    }
}
