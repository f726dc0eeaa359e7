//! SUBSCRIBE and its kin, PUBLISH, PUBSUB.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use kvproto::{Args, CommandError, Reply};

use super::Outcome;
use crate::context::{Context, Publication};
use crate::pubsub::Topic;
use crate::session::Subscriptions;

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
    let address = ctx.session.address;
    let subscriptions = ctx.session.subscriptions.get_or_insert_default();
    let mut last = Reply::Nothing;
    while let Some(name) = args.next_opt() {
        let name: Arc<[u8]> = name.into();
        if names(subscriptions, topic).insert(name.clone()) {
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
        names(&mut subscriptions, topic).iter().cloned().collect()
    } else {
        std::iter::from_fn(|| args.next_opt()).map(Arc::from).collect()
    };
    let mut last = Reply::Nothing;
    for name in &leaving {
        if names(&mut subscriptions, topic).remove(name) {
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

fn push(before: &mut Vec<Reply>, reply: Reply) {
    if reply != Reply::Nothing {
        before.push(reply);
    }
}

fn names(subscriptions: &mut Subscriptions, topic: Topic) -> &mut std::collections::BTreeSet<Arc<[u8]>> {
    match topic {
        Topic::Channel => &mut subscriptions.channels,
        Topic::Pattern => &mut subscriptions.patterns,
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
