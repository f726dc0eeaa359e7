//! MONITOR: every command that is carried out, shown to whoever asked to see them all.
//!
//! Invariant: what is flagged `admin` is never shown, nor is a password. A line waits for what its command's answer
//! waits for; the lines of one client come in the order of its commands.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use kvcore::hooks::Lsn;
use kvproto::quote::{HighBytes, write_quoted};
use kvproto::spec::Flag;
use kvproto::{Args, CommandError, Reply, Request, Spec};

use crate::clients::Client;
use crate::context::Context;
use crate::context::secrets::Hidden;
use crate::session::Session;
use crate::state::ServerState;
use kvcommands::outcome::Outcome;

/// What is shown in the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

pub(crate) fn monitor(_: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR MONITOR isn't allowed for DENY BLOCKING client").into());
    }
    if ctx.session.monitors {
        // As Redis: who monitors already gets no answer.
        return Ok(Reply::Nothing);
    }
    ctx.session.start_monitoring(ctx.server);
    Ok(Reply::Ok)
}

/// Shows a command to all monitors.
pub(crate) fn show(
    spec: &Spec,
    request: Request<'_>,
    database: usize,
    lsn: Lsn,
    session: &Session,
    server: &ServerState,
) {
    if spec.flags.has(Flag::Admin) {
        return;
    }
    let line = line(spec, request, database, &session.client);
    server.notify.pubsub.show_to_monitors(line, lsn.max(session.seen));
}

/// `1700000000.123456 [0 127.0.0.1:5000] "set" "k" "v"`
fn line(spec: &Spec, request: Request<'_>, database: usize, client: &Client) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut start = String::new();
    // Writing to a String cannot fail.
    let _ = write!(start, "{}.{:06} [{database} {}]", now.as_secs(), now.subsec_micros(), client.shown_address());
    let mut line = start.into_bytes();
    let hidden = Hidden::of(spec, request);
    for (at, word) in request.iter().enumerate() {
        line.push(b' ');
        let shown = if hidden.has(at) { REDACTED } else { word };
        write_quoted(shown, HighBytes::Escape, &mut line);
    }
    line
}
