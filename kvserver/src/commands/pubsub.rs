//! SUBSCRIBE and its kin, PUBLISH, PUBSUB, for channels, patterns and shard channels.
//!
//! Invariant: a session's set of subscriptions and the server's table say the same, save within EXEC, which brings the table
//! up to date when it is committed. A session without subscriptions has no set, so it is not taken for a subscriber. What
//! was published before a subscription ended is delivered before the reply that says that it has.

use std::collections::BTreeSet;
use std::sync::Arc;

use kvproto::{Args, CommandError, Reply};

use crate::context::Context;
use crate::notify::pubsub::{Announcement, Publication, Topic};
use crate::state::server_config::{SUBSCRIPTION_BYTES, SUBSCRIPTION_BYTES_MAX};
use kvcommands::gather::gather;
use kvcommands::glob;
use kvcommands::help;
use kvcommands::outcome::Outcome;

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

/// Inside EXEC a client expects one reply a command, which this does not give. SUBSCRIBE is let through all the same,
/// as it always was.
pub(crate) fn ssubscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    if ctx.txn.is_some() {
        return Err(CommandError::custom("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client").into());
    }
    subscribe_to(Topic::ShardChannel, "ssubscribe", args, ctx)
}

pub(crate) fn sunsubscribe(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    unsubscribe_from(Topic::ShardChannel, "sunsubscribe", args, ctx)
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
            if ctx.txn.is_some() {
                ctx.announcements.push(Announcement::Subscribe(topic, name.clone(), address));
            } else {
                ctx.server.notify.pubsub.subscribe(topic, &name, address);
            }
        }
        let reply = acknowledgement(kind, Reply::bulk(&*name), subscriptions.count(topic));
        push(&mut ctx.before, std::mem::replace(&mut last, reply));
    }
    ctx.session.show_subscriptions();
    Ok(last)
}

fn unsubscribe_from(topic: Topic, kind: &str, mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let mut subscriptions = ctx.session.subscriptions.take().unwrap_or_default();
    let leaving: Vec<Arc<[u8]>> = if args.is_empty() {
        subscriptions.of(topic).iter().cloned().collect()
    } else {
        std::iter::from_fn(|| args.next_opt()).map(Arc::from).collect()
    };
    end(topic, leaving.iter().filter(|name| subscriptions.of(topic).contains(*name)), ctx);
    let mut last = Reply::Nothing;
    for name in &leaving {
        if subscriptions.of_mut(topic).remove(name) {
            subscriptions.bytes -= cost(name);
        }
        let reply = acknowledgement(kind, Reply::bulk(&**name), subscriptions.count(topic));
        push(&mut ctx.before, std::mem::replace(&mut last, reply));
    }
    if leaving.is_empty() {
        last = acknowledgement(kind, Reply::Nil, subscriptions.count(topic));
    }
    if !subscriptions.is_empty() {
        ctx.session.subscriptions = Some(subscriptions);
    }
    ctx.session.show_subscriptions();
    Ok(last)
}

/// Ends subscriptions that there are, with or without EXEC; what was posted for them is delivered first.
fn end<'n>(topic: Topic, names: impl Iterator<Item = &'n Arc<[u8]>>, ctx: &mut Context<'_>) {
    let client_id = ctx.session.client.id;
    let mut any = false;
    for name in names {
        any = true;
        if ctx.txn.is_some() {
            ctx.announcements.push(Announcement::Unsubscribe(topic, name.clone(), client_id));
        } else {
            ctx.server.notify.pubsub.unsubscribe(topic, name, client_id);
        }
    }
    if any {
        ctx.deliver_posted();
    }
}

/// Ends all subscriptions, as if the client had asked for it, without telling it.
pub(super) fn leave_all(ctx: &mut Context<'_>) {
    let Some(subscriptions) = ctx.session.subscriptions.take() else { return };
    for topic in Topic::ALL {
        end(topic, subscriptions.of(topic).iter(), ctx);
    }
    ctx.session.show_subscriptions();
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

pub(crate) fn publish(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    publish_to(false, args, ctx)
}

pub(crate) fn spublish(args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    publish_to(true, args, ctx)
}

fn publish_to(sharded: bool, mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let (channel, payload) = (args.next()?, args.next()?);
    if ctx.txn.is_some() {
        // What it may speak of has no Lsn before EXEC is committed. EXEC then puts the number of receivers here.
        let publication = Publication { sharded, channel: channel.into(), payload: payload.into() };
        ctx.announcements.push(Announcement::Publish(publication));
        return Ok(Reply::Integer(0));
    }
    Ok(Reply::count(ctx.server.notify.pubsub.publish(sharded, channel, payload, ctx.session.seen)))
}

/// Within EXEC the table does not show this client's own subscriptions yet, so they are added from its session.
pub(crate) fn pubsub(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "channels" => names(Topic::Channel, args, ctx),
        "shardchannels" => names(Topic::ShardChannel, args, ctx),
        "numsub" => Ok(counts(Topic::Channel, args, ctx)),
        "shardnumsub" => Ok(counts(Topic::ShardChannel, args, ctx)),
        "numpat" => Ok(Reply::count(all_names(Topic::Pattern, ctx).len())),
        _ => Ok(help(ctx.spec)),
    }
}

/// Returns the names of this kind that some client has subscribed to.
fn all_names(topic: Topic, ctx: &Context<'_>) -> BTreeSet<Arc<[u8]>> {
    let own = ctx.session.subscriptions.iter().flat_map(|held| held.of(topic)).cloned();
    ctx.server.notify.pubsub.names(topic, ctx.session.client.id).into_iter().chain(own).collect()
}

fn names(topic: Topic, mut args: Args<'_>, ctx: &Context<'_>) -> Outcome {
    let pattern = args.next_opt();
    if !args.is_empty() {
        return Err(CommandError::unknown_subcommand(args.request()).into());
    }
    let names = all_names(topic, ctx);
    let wanted = |name: &&Arc<[u8]>| pattern.is_none_or(|pattern| glob::matches(pattern, name));
    Ok(Reply::Array(gather(|found| {
        names.iter().filter(wanted).for_each(|name| found.bulk(name));
        Ok(())
    })?))
}

fn counts(topic: Topic, mut args: Args<'_>, ctx: &Context<'_>) -> Reply {
    let mut counts = Vec::with_capacity(args.remaining() * 2);
    while let Some(name) = args.next_opt() {
        let own = ctx.session.subscriptions.as_ref().is_some_and(|held| held.of(topic).contains(name));
        let others = ctx.server.notify.pubsub.subscribers(topic, name, ctx.session.client.id);
        counts.push(Reply::bulk(name));
        counts.push(Reply::count(others + usize::from(own)));
    }
    Reply::Array(counts)
}
