//! CONFIG: Redis' names for the settings this server has.
//!
//! Invariant: settings are shown and never changed.

use std::sync::atomic::Ordering::Relaxed;

use kvcore::Durability;
use kvproto::{Args, Reply};

use super::Outcome;
use crate::context::Context;
use crate::glob;
use crate::listener::BoundAddress;
use crate::session::DATABASES;
use crate::state::ServerState;

pub(crate) fn config(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "get" => Ok(get(args, ctx.server)),
        _ => Ok(super::connection::help(ctx.spec)),
    }
}

/// Every parameter whose name matches one of the patterns, once.
fn get(args: Args<'_>, server: &ServerState) -> Reply {
    let patterns: Vec<&[u8]> = {
        let mut args = args;
        std::iter::from_fn(move || args.next_opt()).collect()
    };
    let pairs = parameters(server)
        .into_iter()
        .filter(|(name, _)| patterns.iter().any(|pattern| glob::matches_ignoring_case(pattern, name.as_bytes())))
        .map(|(name, value)| (Reply::bulk(name), Reply::bulk(value)))
        .collect();
    Reply::Map(pairs)
}

fn parameters(server: &ServerState) -> Vec<(&'static str, String)> {
    let tcp: Vec<_> = server.addresses.iter().filter_map(BoundAddress::tcp).collect();
    let mut hosts: Vec<String> = tcp.iter().map(|address| address.ip().to_string()).collect();
    hosts.dedup();
    let unix = server.addresses.iter().find(|address| address.tcp().is_none());
    let limits = &server.settings.limits;
    let output = &server.settings.subscriber_output;
    let fsync = match server.db.durability() {
        Durability::Always => "always",
        Durability::EverySecond => "everysec",
        Durability::Os => "no",
    };
    vec![
        ("appendfsync", fsync.to_owned()),
        ("appendonly", "yes".to_owned()),
        ("bind", hosts.join(" ")),
        (
            "client-output-buffer-limit",
            format!(
                "normal 0 0 0 slave 0 0 0 pubsub {} {} {}",
                output.hard_bytes,
                output.soft_bytes,
                output.soft_for.as_secs()
            ),
        ),
        ("client-query-buffer-limit", limits.request_bytes_max.to_string()),
        ("databases", DATABASES.to_string()),
        ("hz", "10".to_owned()),
        ("io-threads", server.mailboxes.len().to_string()),
        ("maxclients", server.clients_max.load(Relaxed).to_string()),
        ("maxmemory", "0".to_owned()),
        ("maxmemory-policy", "noeviction".to_owned()),
        ("notify-keyspace-events", String::new()),
        ("port", tcp.first().map_or(0, |address| address.port()).to_string()),
        ("proto-max-bulk-len", limits.bulk_bytes_max.to_string()),
        ("requirepass", String::new()),
        ("save", String::new()),
        ("tcp-backlog", "1024".to_owned()),
        ("tcp-keepalive", "300".to_owned()),
        ("timeout", "0".to_owned()),
        ("unixsocket", unix.map_or_else(String::new, ToString::to_string)),
    ]
}
