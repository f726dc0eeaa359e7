//! MEMORY: what takes how much of it.
//!
//! Invariant: inside EXEC only the locked view is looked at; figures of the whole store are zero there.

use kvproto::{Args, CommandError, Reply};

use crate::commands::info;
use crate::context::Context;
use kvcommands::help;
use kvcommands::outcome::Outcome;
use kvstats::process::Usage;

/// What an element takes beside its key and value: its allocation's head and rounding, and its place in the table.
const ELEMENT_BYTES: usize = 40;
/// What a deadline adds: in the element and in the timing wheel.
const DEADLINE_BYTES: usize = 19;

/// `MEMORY DOCTOR|MALLOC-STATS|PURGE|STATS|USAGE|HELP`
pub(crate) fn memory(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    args.next()?;
    match ctx.spec.own_name() {
        "doctor" => Ok(Reply::text(doctor(ctx))),
        "malloc-stats" => Ok(Reply::text(malloc_stats(ctx))),
        // The allocator gives back by itself what it has not needed for ten seconds.
        "purge" => Ok(Reply::Ok),
        "stats" => {
            let figures = stats(ctx);
            ctx.reveal_everything();
            Ok(figures)
        }
        "usage" => usage(args, ctx),
        _ => Ok(help(ctx.spec)),
    }
}

/// `MEMORY USAGE key [SAMPLES count]`
fn usage(mut args: Args<'_>, ctx: &mut Context<'_>) -> Outcome {
    let key = args.next()?;
    while !args.is_empty() {
        if !args.eat("samples") || args.is_empty() {
            return Err(CommandError::Syntax.into());
        }
        if args.integer()? < 0 {
            return Err(CommandError::Syntax.into());
        }
    }
    let mut bytes = None;
    let mut weigh = |value: kvcore::ValueRef<'_>| {
        let deadline = if value.deadline().is_some() { DEADLINE_BYTES } else { 0 };
        bytes = Some(key.len() + value.len() + ELEMENT_BYTES + deadline);
    };
    match &ctx.txn {
        Some(txn) => txn.peek(key)?.map(weigh).unwrap_or_default(),
        None => {
            ctx.session.keyspace.hooks().peek(key, &mut weigh)?;
            ctx.lsn = ctx.server.newest();
        }
    }
    Ok(bytes.map_or(Reply::Nil, |bytes| Reply::count(bytes as u64)))
}

/// `MEMORY STATS`: Redis' names, as far as there is such a thing here.
fn stats(ctx: &Context<'_>) -> Reply {
    let usage = Usage::now();
    let memory = info::Memory::of(ctx.server, ctx.txn.is_some());
    let allocator = ctx.server.config.allocator.figures(memory.used, &usage);
    let keys = if ctx.txn.is_some() { 0 } else { ctx.server.db.stats().entries };
    let ratio = |part: u64, whole: u64| Reply::Double(part as f64 / whole.max(1) as f64);
    let count = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let pairs = [
        ("peak.allocated", count(usage.resident_peak_bytes)),
        ("total.allocated", count(memory.used)),
        ("startup.allocated", Reply::Integer(0)),
        ("replication.backlog", Reply::Integer(0)),
        ("clients.slaves", Reply::Integer(0)),
        ("clients.normal", count(memory.clients)),
        ("cluster.links", Reply::Integer(0)),
        ("aof.buffer", Reply::Integer(0)),
        ("lua.caches", Reply::Integer(0)),
        ("functions.caches", Reply::Integer(0)),
        ("overhead.total", count(memory.used - memory.dataset)),
        ("keys.count", count(keys)),
        ("keys.bytes-per-key", count(memory.dataset.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", count(memory.dataset)),
        ("dataset.percentage", Reply::Double(memory.dataset as f64 * 100.0 / memory.used.max(1) as f64)),
        (
            "peak.percentage",
            Reply::Double(usage.resident_bytes as f64 * 100.0 / usage.resident_peak_bytes.max(1) as f64),
        ),
        ("allocator.allocated", count(allocator.allocated)),
        ("allocator.active", count(allocator.active)),
        ("allocator.resident", count(allocator.resident)),
        ("allocator-fragmentation.ratio", ratio(allocator.active, allocator.allocated)),
        ("allocator-fragmentation.bytes", count(allocator.active.saturating_sub(allocator.allocated))),
        ("allocator-rss.ratio", ratio(allocator.resident, allocator.active)),
        ("allocator-rss.bytes", count(allocator.resident.saturating_sub(allocator.active))),
        ("fragmentation", ratio(usage.resident_bytes, allocator.allocated)),
        (
            "fragmentation.bytes",
            Reply::Integer(usage.resident_bytes.cast_signed().wrapping_sub(allocator.allocated.cast_signed())),
        ),
    ];
    Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

/// The few things that can be wrong, said plainly.
fn doctor(ctx: &Context<'_>) -> String {
    let usage = Usage::now();
    let memory = info::Memory::of(ctx.server, ctx.txn.is_some());
    let limit = ctx.server.runtime.memory_bytes_max.load(std::sync::atomic::Ordering::Relaxed);
    let mut found = Vec::new();
    if limit > 0 && memory.used > limit / 10 * 9 {
        found.push("More than nine tenths of maxmemory are in use: above it keys are evicted, or writes refused.");
    }
    if memory.clients > memory.dataset && memory.clients > 64 << 20 {
        found.push("Clients' buffers take more than the data: look for slow readers in CLIENT LIST (omem).");
    }
    let allocator = ctx.server.config.allocator.figures(memory.used, &usage);
    if allocator.active > allocator.allocated.saturating_mul(3) / 2 && allocator.active > 256 << 20 {
        found.push(
            "Memory is fragmented: pages hold half as much again as is in use. What is written next will fill them.",
        );
    }
    if allocator.resident > allocator.active.saturating_mul(3) / 2 && allocator.resident > 256 << 20 {
        found.push("The process holds half as much again as it uses: what was removed is given back within seconds.");
    }
    if found.is_empty() {
        found.push("Nothing about this server's memory looks wrong.");
    }
    found.join("\n")
}

fn malloc_stats(ctx: &Context<'_>) -> String {
    let usage = Usage::now();
    let used = info::Memory::of(ctx.server, ctx.txn.is_some()).used;
    let allocator = ctx.server.config.allocator;
    let told = allocator.figures(used, &usage);
    format!(
        "{}\nallocated bytes: {}\nactive bytes: {}\nresident bytes: {}\nbytes of the process: {}, at most so far: {}\n",
        allocator.name(),
        told.allocated,
        told.active,
        told.resident,
        usage.resident_bytes,
        usage.resident_peak_bytes
    )
}
