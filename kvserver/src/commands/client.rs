//! CLIENT: what connections show of themselves, and what one may do to others.
//!
//! Invariant: a subcommand that answers with an error has changed nothing, of this client or of any other.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kvproto::{Args, CommandError, Reply, Request, parse_integer};

use super::connection::label;
use super::tracking;
use crate::clients::Client;
use crate::clients::pause::Blocked;
use crate::context::{Context, Next};
use crate::session::Replies;
use filter::Filter;
use kvcommands::help;
use kvcommands::outcome::REPLY_BYTES_MAX;
use kvcommands::outcome::{Outcome, reply_too_large};

mod filter;

/// How many clients CLIENT LIST shows without measuring their lines first, which have about two kilobytes at most.
const UNSURVEYED_CLIENTS_MAX: usize = 8 * 1024;

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
            let name = label("Client names", args.next()?)?;
            client.label(|labels| labels.name = name);
            Ok(Reply::Ok)
        }
        "setinfo" => set_info(args, client),
        "info" => {
            show_self(args.request(), ctx);
            let mut line = Vec::new();
            client.describe(Instant::now(), &mut line);
            line.push(b'\n');
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
        "capa" => {
            if std::iter::from_fn(|| args.next_opt()).any(|word| word.eq_ignore_ascii_case(b"redirect")) {
                client.shown.redirectable.store(true, Relaxed);
            }
            Ok(Reply::Ok)
        }
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
    let value = label(&String::from_utf8_lossy(attribute), value)?;
    client.label(|labels| if library { labels.library = value } else { labels.library_version = value });
    Ok(Reply::Ok)
}

/// What others see of a client is written at the end of its time slice, which is too late for what it asks of itself.
fn show_self(request: Request<'_>, ctx: &Context<'_>) {
    let client = &ctx.session.client;
    client.show_command(Some(ctx.spec.name));
    let active = client.connected().elapsed().as_millis();
    client.shown.active_ms.store(u64::try_from(active).unwrap_or(u64::MAX), Relaxed);
    let words: usize = request.iter().map(<[u8]>::len).sum();
    client.shown.argument_bytes.store(words, Relaxed);
    client.shown.input_bytes.store(request.resp_bytes(), Relaxed);
    client.shown.commands.store(ctx.session.commands.get(), Relaxed);
}

fn list(args: Args<'_>, ctx: &Context<'_>) -> Outcome {
    let now = Instant::now();
    let clients = match ids_of_list(args) {
        Some(ids) => ids?.into_iter().filter_map(|id| ctx.server.clients.find(id)).collect(),
        None => {
            let filter = Filter::read(args, ctx)?;
            let spared = filter.spares_self.unwrap_or(false).then_some(ctx.session.client.id);
            let mut clients = ctx.server.clients.snapshot();
            clients.retain(|client| spared != Some(client.id) && filter.matches(client, now));
            clients
        }
    };
    let show = |client: &Client, lines: &mut Vec<u8>| {
        client.describe(now, lines);
        lines.push(b'\n');
    };
    let mut lines = Vec::new();
    if clients.len() > UNSURVEYED_CLIENTS_MAX {
        // One whose ID is repeated is shown as often.
        let mut bytes = 0;
        for client in &clients {
            lines.clear();
            show(client, &mut lines);
            bytes += lines.len();
        }
        if bytes > REPLY_BYTES_MAX {
            return Err(reply_too_large().into());
        }
        lines.clear();
    }
    clients.iter().for_each(|client| show(client, &mut lines));
    Ok(Reply::text(lines))
}

/// `ID id ...` and nothing else, the form of Redis: in the order in which they are named. None if it is another.
fn ids_of_list(mut args: Args<'_>) -> Option<Result<Vec<u64>, CommandError>> {
    if args.remaining() < 2 || !args.eat("id") {
        return None;
    }
    let mut ids = Vec::new();
    while let Some(word) = args.next_opt() {
        match parse_integer(word) {
            // None has a negative one.
            Some(id) => ids.extend(u64::try_from(id)),
            None if ids.is_empty() || args.is_empty() => {
                return Some(Err(CommandError::custom("ERR Invalid client ID")));
            }
            // Another filter follows.
            None => return None,
        }
    }
    Some(Ok(ids))
}

fn kill(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let old_form = args.remaining() == 1;
    let filter = if old_form { Filter::of_peer(args.next()?) } else { Filter::read(args, ctx)? };
    let now = Instant::now();
    let mut killed = 0;
    for client in ctx.server.clients.snapshot() {
        let own = client.id == ctx.session.client.id;
        if !filter.matches(&client, now) || (own && filter.spares_self.unwrap_or(true)) {
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
        None | Some(b"all") => Blocked::All,
        Some(b"write") => Blocked::Write,
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
