//! CLIENT: what connections show of themselves, and what one may do to others.
//!
//! Invariant: a subcommand that answers with an error has changed nothing, of this client or of any other.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvproto::{Args, CommandError, Reply, Request, parse_integer};

use super::connection::{bad_name, label};
use super::help::help;
use super::tracking;
use crate::clients::{Client, ClientType};
use crate::context::{Context, Next};
use crate::outcome::Outcome;
use crate::pause::Held;
use crate::session::Replies;

pub(crate) fn client(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let client = &ctx.session.client;
    match ctx.spec.own_name() {
        "id" => Ok(Reply::count(client.id)),
        "getname" => {
            let name = client.labels().name;
            Ok(if name.is_empty() { Reply::Nil } else { Reply::bulk(&*name) })
        }
        "setname" => {
            let name = label(args.next()?).ok_or_else(bad_name)?;
            client.label(|labels| labels.name = name);
            Ok(Reply::Ok)
        }
        "setinfo" => set_info(args, client),
        "info" => {
            show_self(args.request(), ctx);
            let mut line = String::new();
            client.describe(Instant::now(), &mut line);
            line.push('\n');
            Ok(Reply::text(line))
        }
        "list" => {
            show_self(args.request(), ctx);
            list(args, ctx)
        }
        "kill" => kill(args, ctx),
        "reply" => reply(args, ctx),
        "pause" => pause(args, ctx),
        "unpause" => {
            ctx.server.unpause();
            Ok(Reply::Ok)
        }
        "no-evict" => switch(args, &client.shown.no_evict),
        "no-touch" => {
            let switched = switch(args, &client.shown.no_touch)?;
            ctx.session.leaves_untouched = ctx.session.client.shown.no_touch.load(Relaxed);
            Ok(switched)
        }
        "unblock" => unblock(args),
        "tracking" => tracking::tracking(args, ctx),
        "trackinginfo" => Ok(tracking::info(ctx.session)),
        // As of Valkey: a server in a cluster would redirect a client that can follow; this one never does.
        "capa" => Ok(Reply::Ok),
        "caching" => tracking::caching(args, ctx.session),
        "getredir" => Ok(tracking::redirect(ctx.session)),
        _ => Ok(help(ctx.spec)),
    }
}

fn set_info(mut args: Args<'_>, client: &Client) -> Outcome {
    let (attribute, value) = (args.next()?, args.next()?);
    let library = attribute.eq_ignore_ascii_case(b"lib-name");
    if !library && !attribute.eq_ignore_ascii_case(b"lib-ver") {
        return Err(CommandError::quoting("ERR Unrecognized option '", attribute, "'").into());
    }
    let value = label(value).ok_or_else(|| {
        CommandError::quoting("ERR ", attribute, " cannot contain spaces, newlines or special characters.")
    })?;
    client.label(|labels| if library { labels.library = value } else { labels.library_version = value });
    Ok(Reply::Ok)
}

/// What others see of a client is written at the end of its turn, which is too late for what it asks of itself.
fn show_self(request: Request<'_>, ctx: &Context<'_>) {
    let client = &ctx.session.client;
    client.label(|labels| labels.last_command = Some(ctx.spec.name));
    let active = client.connected().elapsed().as_millis();
    client.shown.active_ms.store(u64::try_from(active).unwrap_or(u64::MAX), Relaxed);
    let words: usize = request.iter().map(<[u8]>::len).sum();
    client.shown.argument_bytes.store(words, Relaxed);
    // As long as the request is as RESP spells it.
    let digits = |number: usize| number.checked_ilog10().map_or(1, |log| log as usize + 1);
    let framing: usize = request.iter().map(|word| "$\r\n\r\n".len() + digits(word.len())).sum();
    let bytes = "*\r\n".len() + digits(request.len()) + framing + words;
    client.shown.input_bytes.store(bytes, Relaxed);
}

fn client_type(word: &[u8]) -> Result<ClientType, CommandError> {
    ClientType::named(word).ok_or_else(|| CommandError::quoting("ERR Unknown client type '", word, "'"))
}

fn list(mut args: Args<'_>, ctx: &Context<'_>) -> Outcome {
    let mut clients = Vec::new();
    if args.is_empty() {
        clients = ctx.server.clients.snapshot();
    } else if args.remaining() == 2 && args.eat("type") {
        let wanted = client_type(args.next()?)?;
        clients = ctx.server.clients.snapshot();
        clients.retain(|client| client.client_type() == wanted);
    } else if args.remaining() >= 2 && args.eat("id") {
        while let Some(word) = args.next_opt() {
            let id = parse_integer(word).ok_or_else(|| CommandError::custom("ERR Invalid client ID"))?;
            clients.extend(u64::try_from(id).ok().and_then(|id| ctx.server.clients.find(id)));
        }
    } else {
        return Err(CommandError::Syntax.into());
    }
    let now = Instant::now();
    let mut lines = String::new();
    for client in &clients {
        client.describe(now, &mut lines);
        lines.push('\n');
    }
    Ok(Reply::text(lines))
}

/// Which clients CLIENT KILL ends: those for which all that is given holds.
#[derive(Default)]
struct Filter<'b> {
    id: Option<u64>,
    kind: Option<ClientType>,
    peer: Option<&'b [u8]>,
    local: Option<&'b [u8]>,
    user: Option<&'b [u8]>,
    age_min: Option<Duration>,
    spares_self: bool,
}

impl<'b> Filter<'b> {
    fn read(mut args: Args<'b>, ctx: &Context<'_>) -> Result<Filter<'b>, CommandError> {
        let mut filter = Filter { spares_self: true, ..Filter::default() };
        while let Some(option) = args.next_opt() {
            let Some(value) = args.next_opt() else { return Err(CommandError::Syntax) };
            match option.to_ascii_lowercase().as_slice() {
                b"id" => filter.id = Some(positive(value, "ERR client-id should be greater than 0")?),
                b"type" => filter.kind = Some(client_type(value)?),
                b"addr" => filter.peer = Some(value),
                b"laddr" => filter.local = Some(value),
                b"user" => {
                    if !ctx.server.has_user(value) {
                        return Err(CommandError::quoting("ERR No such user '", value, "'"));
                    }
                    filter.user = Some(value);
                }
                b"skipme" => filter.spares_self = yes_or_no(value)?,
                b"maxage" => {
                    parse_integer(value)
                        .ok_or_else(|| CommandError::custom("ERR maxage is not an integer or out of range"))?;
                    let seconds = positive(value, "ERR maxage should be greater than 0")?;
                    filter.age_min = Some(Duration::from_secs(seconds));
                }
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, now: Instant) -> bool {
        self.id.is_none_or(|id| client.id == id)
            && self.kind.is_none_or(|kind| client.client_type() == kind)
            && self.peer.is_none_or(|peer| client.peer().as_bytes() == peer)
            && self.local.is_none_or(|local| client.local().as_bytes() == local)
            && self.user.is_none_or(|user| client.user().as_bytes() == user)
            && self.age_min.is_none_or(|age| now.saturating_duration_since(client.connected()) >= age)
    }
}

fn positive(word: &[u8], error: &'static str) -> Result<u64, CommandError> {
    let number = parse_integer(word).and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or_else(|| CommandError::custom(error))
}

fn yes_or_no(word: &[u8]) -> Result<bool, CommandError> {
    match word.to_ascii_lowercase().as_slice() {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(CommandError::Syntax),
    }
}

fn kill(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let old_form = args.remaining() == 1;
    let filter =
        if old_form { Filter { peer: Some(args.next()?), ..Filter::default() } } else { Filter::read(args, ctx)? };
    let now = Instant::now();
    let mut killed = 0;
    for client in ctx.server.clients.snapshot() {
        let own = client.id == ctx.session.client.id;
        if !filter.matches(&client, now) || (own && filter.spares_self) {
            continue;
        }
        if own {
            // Only once it has its answer.
            ctx.next = Next::Close;
            killed += 1;
        } else {
            killed += u64::from(ctx.server.end_connection(&client));
        }
    }
    match (old_form, killed) {
        (true, 0) => Err(CommandError::custom("ERR No such client").into()),
        (true, _) => Ok(Reply::Ok),
        (false, killed) => Ok(Reply::count(killed)),
    }
}

fn reply(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let replies = &mut ctx.session.replies;
    match args.next()?.to_ascii_lowercase().as_slice() {
        b"on" => {
            *replies = Replies::On;
            Ok(Reply::Ok)
        }
        b"off" => {
            *replies = Replies::Off;
            Ok(Reply::Nothing)
        }
        b"skip" => {
            if *replies != Replies::Off {
                *replies = Replies::SkipNext;
            }
            Ok(Reply::Nothing)
        }
        _ => Err(CommandError::Syntax.into()),
    }
}

fn pause(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let timeout = args.next()?;
    let held = match args.next_opt().map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => Held::All,
        Some(b"write") => Held::Write,
        Some(_) => return Err(CommandError::custom("ERR CLIENT PAUSE mode must be WRITE or ALL").into()),
    };
    if !args.is_empty() {
        return Err(CommandError::unknown_subcommand(args.request()).into());
    }
    let timeout =
        parse_integer(timeout).ok_or_else(|| CommandError::custom("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::custom("ERR timeout is negative"))?;
    let now = Instant::now();
    let until = now
        .checked_add(Duration::from_millis(timeout))
        .ok_or_else(|| CommandError::custom("ERR timeout is out of range"))?;
    ctx.server.pause(held, until, now);
    Ok(Reply::Ok)
}

fn switch(mut args: Args<'_>, flag: &AtomicBool) -> Outcome {
    let on = match args.next()?.to_ascii_lowercase().as_slice() {
        b"on" => true,
        b"off" => false,
        _ => return Err(CommandError::Syntax.into()),
    };
    flag.store(on, Relaxed);
    Ok(Reply::Ok)
}

/// No command blocks, so nobody is ever unblocked.
fn unblock(mut args: Args<'_>) -> Outcome {
    let id = args.next()?;
    if let Some(reason) = args.next_opt()
        && !reason.eq_ignore_ascii_case(b"timeout")
        && !reason.eq_ignore_ascii_case(b"error")
    {
        return Err(CommandError::custom("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR").into());
    }
    if !args.is_empty() {
        return Err(CommandError::unknown_subcommand(args.request()).into());
    }
    parse_integer(id).ok_or(CommandError::NotAnInteger)?;
    Ok(Reply::Integer(0))
}
