//! CLIENT TRACKING and what belongs to it.
//!
//! Invariant: all options are checked before anything of the client's tracking changes.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use kvproto::error::quoted;
use kvproto::{Args, CommandError, Reply, Text};

use crate::context::Context;
use crate::notify::tracking::{Choice, Tracking};
use crate::session::Session;
use crate::state::server_config::{SUBSCRIPTION_BYTES, SUBSCRIPTION_BYTES_MAX};
use kvcommands::outcome::Outcome;

/// What CLIENT TRACKING was told.
#[derive(Default)]
struct Options<'b> {
    redirect: u64,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'b [u8]>,
}

impl<'b> Options<'b> {
    fn read(mut args: Args<'b>, ctx: &Context<'_>) -> Result<Options<'b>, CommandError> {
        let mut options = Options::default();
        while !args.is_empty() {
            let more = args.remaining() > 1;
            if more && args.eat("redirect") {
                if options.redirect != 0 {
                    return Err(CommandError::custom("ERR A client can only redirect to a single other client"));
                }
                let id = args.integer()?;
                let found = u64::try_from(id).ok().and_then(|id| ctx.server.clients.find(id));
                options.redirect = found
                    .ok_or_else(|| CommandError::custom("ERR The client ID you want redirect to does not exist"))?
                    .id;
            } else if more && args.eat("prefix") {
                options.prefixes.push(args.next()?);
            } else if args.eat("bcast") {
                options.broadcast = true;
            } else if args.eat("optin") {
                options.opt_in = true;
            } else if args.eat("optout") {
                options.opt_out = true;
            } else if args.eat("noloop") {
                options.no_loop = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether they go together, and with how the client tracks already.
    fn check(&self, before: Option<&Tracking>) -> Result<(), CommandError> {
        let refuse = |why: &'static str| Err(CommandError::custom(why));
        if !self.broadcast && !self.prefixes.is_empty() {
            return refuse("ERR PREFIX option requires BCAST mode to be enabled");
        }
        if before.is_some_and(|before| before.broadcast != self.broadcast) {
            return refuse(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                 re-enabling it with a different mode.",
            );
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return refuse("ERR OPTIN and OPTOUT are not compatible with BCAST");
        }
        if self.opt_in && self.opt_out {
            return refuse("ERR You can't specify both OPTIN mode and OPTOUT mode");
        }
        let choice = before.map_or(Choice::Every, |before| before.choice);
        if (self.opt_in && choice == Choice::OptOut) || (self.opt_out && choice == Choice::OptIn) {
            return refuse(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                 re-enabling it with a different mode.",
            );
        }
        self.check_prefixes(before)
    }

    /// Two prefixes that match the same key would have the client told twice.
    fn check_prefixes(&self, before: Option<&Tracking>) -> Result<(), CommandError> {
        let overlap = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let refuse = |prefix: &[u8], kind: &str, other: &[u8]| {
            let [prefix, other] = [prefix, other].map(|word| quoted(word, word.len()));
            Err(CommandError::custom(Text::join(&[
                b"ERR Prefix '",
                &prefix,
                b"' overlaps with ",
                kind.as_bytes(),
                b" prefix '",
                &other,
                b"'. Prefixes for a single client must not overlap.",
            ])))
        };
        let mut bytes = before.map_or(0, |before| before.bytes);
        for (index, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = before.and_then(|before| before.prefixes.iter().find(|other| overlap(other, prefix))) {
                return refuse(prefix, "an existing", other);
            }
            if let Some(other) = self.prefixes[index + 1..].iter().find(|other| overlap(other, prefix)) {
                return refuse(prefix, "another provided", other);
            }
            bytes += cost(prefix);
        }
        if bytes > SUBSCRIPTION_BYTES_MAX {
            return Err(CommandError::custom(format!(
                "ERR too many prefixes: all of a client may take {SUBSCRIPTION_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }
}

/// Returns the memory a prefix takes: the session has it, and the server's table has its own.
fn cost(prefix: &[u8]) -> usize {
    SUBSCRIPTION_BYTES + 2 * prefix.len()
}

pub(crate) fn tracking(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let status = args.next()?.to_ascii_lowercase();
    let options = Options::read(args, ctx)?;
    match status.as_slice() {
        b"on" => {
            options.check(ctx.session.tracking.as_deref())?;
            start(&options, ctx);
        }
        b"off" => {
            ctx.session.stop_tracking(ctx.server);
            ctx.deliver_posted();
        }
        _ => return Err(CommandError::Syntax.into()),
    }
    Ok(Reply::Ok)
}

fn start(options: &Options<'_>, ctx: &mut Context<'_>) {
    let before = ctx.session.tracking.as_deref();
    let mut prefixes: BTreeSet<Box<[u8]>> = before.map_or_else(BTreeSet::new, |before| before.prefixes.clone());
    prefixes.extend(options.prefixes.iter().map(|prefix| Box::from(*prefix)));
    if options.broadcast && options.prefixes.is_empty() {
        prefixes.insert(Box::default());
    }
    let choice = match (options.opt_in, options.opt_out) {
        (true, _) => Choice::OptIn,
        (_, true) => Choice::OptOut,
        _ => Choice::Every,
    };
    let (broadcast, no_loop, redirect) = (options.broadcast, options.no_loop, options.redirect);
    let announced = before.is_some_and(|before| before.announced);
    let bytes = prefixes.iter().map(|prefix| cost(prefix)).sum();
    let tracking = Tracking { choice, broadcast, no_loop, redirect, prefixes, bytes, announced, ..Tracking::default() };
    ctx.session.start_tracking(tracking, ctx.server);
}

/// `CLIENT CACHING YES|NO`: about the next request.
pub(crate) fn caching(mut args: Args<'_>, session: &mut Session) -> Outcome {
    let Some(tracking) = &mut session.tracking else {
        return Err(CommandError::custom(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        )
        .into());
    };
    let refusal = match (args.next()?.to_ascii_lowercase().as_slice(), tracking.choice) {
        (b"yes", Choice::OptIn) | (b"no", Choice::OptOut) => {
            tracking.announced = true;
            return Ok(Reply::Ok);
        }
        (b"yes", _) => "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        (b"no", _) => "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        _ => return Err(CommandError::Syntax.into()),
    };
    Err(CommandError::custom(refusal).into())
}

/// `CLIENT GETREDIR`: 0 if this client is told itself, -1 if it does not track.
pub(crate) fn redirect(session: &Session) -> Reply {
    session.tracking.as_ref().map_or(Reply::Integer(-1), |tracking| Reply::count(tracking.redirect))
}

/// `CLIENT TRACKINGINFO`
pub(crate) fn info(session: &Session) -> Reply {
    let mut flags = vec![if session.tracking.is_some() { "on" } else { "off" }];
    let mut prefixes = Vec::new();
    if let Some(tracking) = &session.tracking {
        let (opt_in, opt_out) = (tracking.choice == Choice::OptIn, tracking.choice == Choice::OptOut);
        for (flag, set) in [
            ("bcast", tracking.broadcast),
            ("optin", opt_in),
            ("caching-yes", opt_in && tracking.announced),
            ("optout", opt_out),
            ("caching-no", opt_out && tracking.announced),
            ("noloop", tracking.no_loop),
            ("broken_redirect", session.client.shown.redirect_broken.load(Relaxed)),
        ] {
            if set {
                flags.push(flag);
            }
        }
        prefixes = tracking.prefixes.iter().map(|prefix| Reply::bulk(&**prefix)).collect();
    }
    let flags = Reply::Set(flags.into_iter().map(Reply::bulk).collect());
    let pairs = [("flags", flags), ("redirect", redirect(session)), ("prefixes", Reply::Array(prefixes))];
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}
