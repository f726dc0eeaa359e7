//! SUBSCRIBE and its kin, PUBLISH, PUBSUB.
//!
//! Invariant: a session's set of subscriptions and the server's table say the same. A session without subscriptions has
//! no set, so it is not taken for a subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kvproto::{Args, CommandError, Reply};

use super::Outcome;
use crate::context::{Context, Publication};
use crate::pubsub::Topic;
use crate::settings::{SUBSCRIPTION_BYTES, SUBSCRIPTION_BYTES_MAX};

pub(crate) fn subscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    subscribe_to(Topic::Channel, "subscribe", args, ctx)
}

pub(crate) fn psubscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    subscribe_to(Topic::Pattern, "psubscribe", args, ctx)
}

pub(crate) fn unsubscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    unsubscribe_from(Topic::Channel, "unsubscribe", args, ctx)
}

pub(crate) fn punsubscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    unsubscribe_from(Topic::Pattern, "punsubscribe", args, ctx)
}

/// Answers once a name, as if each had been subscribed to alone.
fn subscribe_to(topic: Topic, kind: &str, mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let held = ctx.session.subscriptions.as_deref();
    let is_new = |name: &&[u8]| held.is_none_or(|held| !held.of(topic).contains(*name));
    let more: usize = args.request().iter().skip(1).filter(is_new).map(cost).sum();
    if held.map_or(0, |held| held.bytes) + more > SUBSCRIPTION_BYTES_MAX {
        return Err(CommandError::custom(format!(
            "ERR too many subscriptions: all of a client may take {SUBSCRIPTION_BYTES_MAX} bytes"
        ))
        .into());
    }
    let address = ctx.session.address;
    let subscriptions = ctx.session.subscriptions.get_or_insert_default();
    let mut last = Reply::Nothing;
    while let Some(name) = args.next_opt() {
        let name: Arc<[u8]> = name.into();
        if subscriptions.of_mut(topic).insert(name.clone()) {
            subscriptions.bytes += cost(&name);
            ctx.server.pubsub.subscribe(topic, &name, address);
        }
        let reply = acknowledgement(kind, Reply::bulk(&*name), subscriptions.count());
        push(&mut ctx.before, std::mem::replace(&mut last, reply));
    }
    show(ctx);
    Ok(last)
}

fn unsubscribe_from(topic: Topic, kind: &str, mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let mut subscriptions = ctx.session.subscriptions.take().unwrap_or_default();
    let leaving: Vec<Arc<[u8]>> = if args.is_empty() {
        subscriptions.of(topic).iter().cloned().collect()
    } else {
        std::iter::from_fn(|| args.next_opt()).map(Arc::from).collect()
    };
    let mut last = Reply::Nothing;
    for name in &leaving {
        if subscriptions.of_mut(topic).remove(name) {
            subscriptions.bytes -= cost(name);
            ctx.server.pubsub.unsubscribe(topic, name, ctx.session.client.id);
        }
        let reply = acknowledgement(kind, Reply::bulk(&**name), subscriptions.count());
        push(&mut ctx.before, std::mem::replace(&mut last, reply));
    }
    if leaving.is_empty() {
        last = acknowledgement(kind, Reply::Nil, subscriptions.count());
    }
    if subscriptions.count() > 0 {
        ctx.session.subscriptions = Some(subscriptions);
    }
    show(ctx);
    Ok(last)
}

/// What a subscription takes in memory.
fn cost(name: &[u8]) -> usize {
    SUBSCRIPTION_BYTES + name.len()
}

fn push(before: &mut Vec<Reply>, reply: Reply) {
    if reply != Reply::Nothing {
        before.push(reply);
    }
}

fn acknowledgement(kind: &str, name: Reply, count: usize) -> Reply {
    Reply::Push(vec![Reply::bulk(kind), name, Reply::count(count)])
}

fn show(ctx: &Context<'_>) {
    let counts = ctx
        .session
        .subscriptions
        .as_ref()
        .map_or((0, 0), |subscriptions| (subscriptions.channels.len(), subscriptions.patterns.len()));
    ctx.session.client.shown.channels.store(counts.0, Relaxed);
    ctx.session.client.shown.patterns.store(counts.1, Relaxed);
}

pub(crate) fn publish(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let (channel, payload) = (args.next()?, args.next()?);
    if ctx.txn.is_some() {
        // What it may speak of has no Lsn before EXEC is committed.
        ctx.publications.push(Publication { channel: channel.into(), payload: payload.into() });
        return Ok(Reply::count(ctx.server.pubsub.receivers(channel)));
    }
    Ok(Reply::count(ctx.server.pubsub.publish(channel, payload, ctx.session.seen, &ctx.server.mailboxes)))
}

pub(crate) fn pubsub(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    let pubsub = &ctx.server.pubsub;
    match ctx.spec.own_name() {
        "channels" => {
            let pattern = args.next_opt();
            if !args.is_empty() {
                return Err(CommandError::unknown_subcommand(args.request()).into());
            }
            Ok(Reply::bulks(pubsub.channels(pattern).iter().map(|channel| &**channel)))
        }
        "numsub" => {
            let mut counts = Vec::with_capacity(args.remaining() * 2);
            while let Some(channel) = args.next_opt() {
                counts.push(Reply::bulk(channel));
                counts.push(Reply::count(pubsub.subscribers(channel)));
            }
            Ok(Reply::Array(counts))
        }
        "numpat" => Ok(Reply::count(pubsub.pattern_count())),
        _ => Ok(super::connection::help(ctx.spec)),
    }
}
