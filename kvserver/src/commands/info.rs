//! INFO: what the server tells about itself, in Redis' sections and under Redis' names, so that existing dashboards
//! read it. What does not exist here is left out or zero.
//!
//! Invariant: inside EXEC nothing here looks at a shard or at the list of keyspaces, which may be locked; what only they
//! know is left out or zero.

mod commands;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kvcore::Location;

use crate::acl::log::Reason;
use crate::clients::pause::Blocked;
use crate::databases;
use crate::net::listener::BoundAddress;
use crate::notify::pubsub::Topic;
use crate::state::{ServerState, WriteCheck};
use kvcommands::{KeySizes, REDIS_VERSION};
use kvstats::process::{self, Usage};

/// Redis' clock of seconds for LRU has 24 bits.
const LRU_CLOCK_SECONDS: u64 = 1 << 24;

/// All sections, in order, and whether a plain INFO has them.
const SECTIONS: [(&str, bool); 15] = [
    ("server", true),
    ("clients", true),
    ("memory", true),
    ("persistence", true),
    ("stats", true),
    ("replication", true),
    ("cpu", true),
    ("modules", true),
    ("commandstats", false),
    ("errorstats", true),
    ("latencystats", false),
    ("cluster", true),
    ("keyspace", true),
    (KEY_SIZES, false),
    (HOT_KEYS, false),
];

/// The section that is shown only if it is named, because all keys have to be walked over for it.
const KEY_SIZES: &str = "keysizes";

/// Shown only if it is named, too: it has a field of the same name as one of another section.
const HOT_KEYS: &str = "hotkeys";

/// Returns whether the section for which [`key_sizes`] is needed is among those that are wanted.
pub(crate) fn wants_key_sizes(wanted: &[String]) -> bool {
    wanted.iter().any(|name| name == KEY_SIZES)
}

/// Returns the text of INFO. `locked`: it runs inside EXEC, where looking at the stores would look at what is locked.
/// `sizes`: what [`key_sizes`] has found out, if that was wanted and possible.
pub(crate) fn text(server: &ServerState, wanted: &[String], locked: bool, sizes: &[KeySizes]) -> String {
    let all = wanted.iter().any(|name| matches!(name.as_str(), "all" | "everything"));
    let plain = wanted.is_empty() || wanted.iter().any(|name| name == "default");
    let usage = Usage::now();
    let mut text = String::new();
    for (section, is_plain) in SECTIONS {
        let is_wanted = (all && ![KEY_SIZES, HOT_KEYS].contains(&section))
            || (plain && is_plain)
            || wanted.iter().any(|name| name == section);
        if !is_wanted {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let mut title = section.to_owned();
        title[..1].make_ascii_uppercase();
        let mut fields = Fields { text: &mut text };
        fields.line(&format!("# {}", if section == "cpu" { "CPU" } else { &title }));
        match section {
            "server" => about_server(server, &mut fields),
            "clients" => clients(server, &mut fields),
            "memory" => memory(server, &usage, locked, &mut fields),
            "persistence" => persistence(server, locked, &mut fields),
            "stats" => stats(server, locked, &mut fields),
            "replication" => replication(server, &mut fields),
            "cpu" => cpu(server, &usage, &mut fields),
            "modules" => {}
            "commandstats" => commands::commandstats(server, &mut fields),
            "errorstats" => commands::errorstats(server, &mut fields),
            "latencystats" => commands::latencystats(server, &mut fields),
            "cluster" => fields.add("cluster_enabled", 0),
            HOT_KEYS => hot_keys(server, &mut fields),
            KEY_SIZES => {
                sizes.iter().for_each(|of| fields.add(&format!("db{}_distrib_strings_sizes", of.database), of.show()))
            }
            _ if !locked => keyspaces(server, &mut fields),
            _ => {}
        }
    }
    text
}

fn about_server(server: &ServerState, fields: &mut Fields<'_>) {
    let port = server.addresses.iter().find_map(BoundAddress::tcp).map_or(0, |address| address.port());
    let uptime = server.statistics.started.elapsed().as_secs();
    let system = rustix::system::uname();
    fields.add("redis_version", REDIS_VERSION);
    fields.add("kv_version", env!("CARGO_PKG_VERSION"));
    fields.add("redis_git_sha1", "00000000");
    fields.add("redis_git_dirty", 0);
    fields.add("redis_mode", "standalone");
    fields.add(
        "os",
        format_args!(
            "{} {} {}",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy(),
            system.machine().to_string_lossy()
        ),
    );
    fields.add("arch_bits", usize::BITS);
    fields.add("monotonic_clock", "POSIX clock_gettime");
    fields.add("multiplexing_api", "epoll");
    fields.add("process_id", std::process::id());
    fields.add("process_supervised", "no");
    fields.add("run_id", &server.statistics.run_id);
    fields.add("tcp_port", port);
    fields.add("server_time_usec", server.db.now_ms() * 1000);
    fields.add("server_time_ahead_ms", server.db.time_ahead_ms());
    fields.add("uptime_in_seconds", uptime);
    fields.add("uptime_in_days", uptime / 86_400);
    let hz = server.runtime.hz.load(Relaxed);
    fields.add("hz", hz);
    fields.add("configured_hz", hz);
    fields.add("lru_clock", (server.db.now_ms() / 1000) % LRU_CLOCK_SECONDS);
    fields.add("io_threads_active", i32::from(server.notify.mailboxes.len() > 1));
    fields.add("event_loops", server.notify.mailboxes.len());
    let shown = |path: Option<PathBuf>| path.map_or_else(String::new, |path| path.display().to_string());
    fields.add("availability_zone", one_line(Some(server.runtime.availability_zone())));
    fields.add("executable", shown(std::env::current_exe().ok()));
    fields.add("config_file", shown(server.config.config_file.clone()));
    for (index, address) in server.addresses.iter().enumerate() {
        fields.add(&format!("listener{index}"), address);
    }
}

fn clients(server: &ServerState, fields: &mut Fields<'_>) {
    let all = server.clients.snapshot();
    let largest =
        |bytes: fn(&crate::clients::Shown) -> usize| all.iter().map(|client| bytes(&client.shown)).max().unwrap_or(0);
    fields.add("connected_clients", server.clients.count());
    fields.add("cluster_connections", 0);
    fields.add("maxclients", server.clients.max.load(Relaxed));
    fields.add("client_recent_max_input_buffer", largest(|shown| shown.input_bytes.load(Relaxed)));
    fields.add("client_recent_max_output_buffer", largest(|shown| shown.output_bytes.load(Relaxed)));
    fields.add("blocked_clients", all.iter().filter(|client| client.shown.parked.load(Relaxed)).count());
    fields.add("tracking_clients", server.notify.tracking.totals().clients);
    fields.add("pubsub_clients", all.iter().filter(|client| client.is_subscriber()).count());
    fields.add("watching_clients", all.iter().filter(|client| client.shown.watching.load(Relaxed)).count());
    fields.add("clients_in_timeout_table", 0);
    fields.add("total_watched_keys", server.notify.watch.keys());
    fields.each(0, "total_blocking_keys total_blocking_keys_on_nokey");
    let (actions, left) = match server.clients.pause.current(Instant::now()) {
        Some((Blocked::Write, left)) => ("write", left),
        Some((Blocked::All, left)) => ("all", left),
        None => ("none", Duration::ZERO),
    };
    fields.add("paused_reason", if left.is_zero() { "none" } else { "client_pause" });
    fields.add("paused_actions", actions);
    fields.add("paused_timeout_milliseconds", left.as_millis());
}

/// What takes the memory that `maxmemory` limits, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) dataset: u64,
    pub(crate) clients: u64,
    /// All of it: also what is kept for clients, such as logs.
    pub(crate) used: u64,
}

impl Memory {
    /// `locked`: inside EXEC, where the data cannot be looked at.
    pub(crate) fn of(server: &ServerState, locked: bool) -> Memory {
        let dataset = if locked { 0 } else { server.db.stats().memory_bytes };
        let clients = server.client_bytes();
        Memory { dataset, clients, used: dataset + clients + server.kept_bytes() }
    }
}

fn memory(server: &ServerState, usage: &Usage, locked: bool, fields: &mut Fields<'_>) {
    let Memory { dataset, clients, used } = Memory::of(server, locked);
    let peak_before = server.statistics.peak_memory_bytes.fetch_max(used, Relaxed);
    if used > peak_before {
        server.statistics.peak_memory_secs.store(server.db.now_ms() / 1000, Relaxed);
    }
    let peak = peak_before.max(used);
    fields.add("used_memory", used);
    fields.add("used_memory_human", human(used));
    fields.add("used_memory_rss", usage.resident_bytes);
    fields.add("used_memory_rss_human", human(usage.resident_bytes));
    fields.add("used_memory_peak", peak);
    fields.add("used_memory_peak_human", human(peak));
    fields.add("used_memory_peak_time", server.statistics.peak_memory_secs.load(Relaxed));
    fields.add("used_memory_peak_perc", percent(used, peak));
    fields.add("used_memory_overhead", used - dataset);
    // What the process needs by itself is not in `used_memory`.
    fields.add("used_memory_startup", 0);
    fields.add("used_memory_dataset", dataset);
    fields.add("used_memory_dataset_perc", percent(dataset, used));
    let allocator = server.config.allocator.figures(used, usage);
    fields.add("allocator_allocated", allocator.allocated);
    fields.add("allocator_active", allocator.active);
    fields.add("allocator_resident", allocator.resident);
    fields.add("total_system_memory", usage.system_bytes);
    fields.add("total_system_memory_human", human(usage.system_bytes));
    let limit = server.runtime.memory_bytes_max.load(Relaxed);
    fields.add("maxmemory", limit);
    fields.add("maxmemory_human", human(limit));
    fields.add("maxmemory_policy", server.runtime.policy());
    let resident = usage.resident_bytes;
    // There are no scripts and no functions.
    fields.each(0, "used_memory_lua used_memory_vm_eval used_memory_scripts_eval used_memory_vm_functions");
    fields.each(0, "used_memory_vm_total used_memory_functions used_memory_scripts number_of_cached_scripts");
    fields.each(0, "number_of_functions number_of_libraries");
    fields.each(human(0), "used_memory_lua_human used_memory_vm_total_human used_memory_scripts_human");
    let ratio = |part: u64, whole: u64| format!("{:.2}", part as f64 / whole.max(1) as f64);
    fields.add("allocator_frag_ratio", ratio(allocator.active, allocator.allocated));
    fields.add("allocator_frag_bytes", allocator.active.saturating_sub(allocator.allocated));
    fields.add("allocator_rss_ratio", ratio(allocator.resident, allocator.active));
    fields.add("allocator_rss_bytes", allocator.resident.saturating_sub(allocator.active));
    // What the process takes beside what the allocator knows of: code, stacks, files mapped into memory.
    fields.add("rss_overhead_ratio", ratio(resident, allocator.resident));
    fields.add("rss_overhead_bytes", resident.cast_signed().wrapping_sub(allocator.resident.cast_signed()));
    // Of all that is allocated, as in Redis, where that is `used_memory`.
    let allocated = allocator.allocated.max(1);
    fields.add("mem_fragmentation_ratio", ratio(resident, allocated));
    fields.add("mem_fragmentation_bytes", resident.cast_signed().wrapping_sub(allocated.cast_signed()));
    fields.each(0, "mem_not_counted_for_evict mem_replication_backlog");
    fields.each(0, "mem_total_replication_buffers mem_clients_slaves");
    fields.add("mem_clients_normal", clients);
    fields.each(0, "mem_cluster_links mem_aof_buffer");
    fields.add("mem_allocator", server.config.allocator.name());
    fields.each(0, "active_defrag_running lazyfree_pending_objects lazyfreed_objects");
}

fn persistence(server: &ServerState, locked: bool, fields: &mut Fields<'_>) {
    let status = server.db.snapshot_status();
    let failure = server.log_failure();
    fields.each(0, "loading async_loading");
    // A snapshot copies no pages, because there is no fork.
    fields.each(0, "current_cow_peak current_cow_size current_cow_size_age");
    fields.add("current_fork_perc", "0.00");
    fields.add("rdb_changes_since_last_save", status.changes_since);
    fields.add("rdb_bgsave_in_progress", u8::from(status.running));
    fields.add("rdb_last_save_time", last_save_seconds(server));
    let was_written = status.saves > 0 || status.last_error.is_some();
    fields.add("rdb_saves", status.saves);
    fields.add("rdb_last_cow_size", 0);
    fields.add("rdb_last_bgsave_status", if status.last_error.is_none() { "ok" } else { "err" });
    fields.add("rdb_last_bgsave_error", one_line(status.last_error));
    let seconds = |took: Duration, is_known: bool| if is_known { took.as_secs().cast_signed() } else { -1 };
    fields.add("rdb_last_bgsave_time_sec", seconds(status.last_took, was_written));
    fields.add("rdb_current_bgsave_time_sec", seconds(status.running_for, status.running));
    let recovery = if locked { kvcore::RecoveryReport::default() } else { server.db.stats().recovery };
    fields.add("rdb_last_load_keys_expired", recovery.expired);
    fields.add("rdb_last_load_keys_loaded", recovery.snapshot_entries);
    fields.add("aof_enabled", u8::from(!server.db.is_in_memory()));
    fields.each(0, "aof_rewrite_in_progress aof_rewrite_scheduled");
    // The log is never rewritten: a snapshot stands for its old part, which is removed.
    fields.each(-1, "aof_last_rewrite_time_sec aof_current_rewrite_time_sec");
    fields.each(0, "aof_rewrites aof_rewrites_consecutive_failures aof_last_cow_size");
    fields.each(0, "module_fork_in_progress module_fork_last_cow_size");
    fields.add("aof_last_bgrewrite_status", "ok");
    fields.add("aof_last_write_status", if failure.is_none() { "ok" } else { "err" });
    fields.add("aof_last_write_error", one_line(failure));
    fields.add("durability", server.db.durability());
    fields.add("backups_running", server.backups.count());
    fields.add("backups_completed", server.backups.completed.load(Relaxed));
    if locked {
        return;
    }
    let stats = server.db.stats();
    fields.add("aof_current_size", stats.log_bytes);
    fields.add("aof_base_size", stats.snapshot.last_bytes);
    fields.add("aof_pending_rewrite", 0);
    fields.add("aof_pending_bio_fsync", u8::from(stats.durable_lsn < stats.last_lsn));
    let (directory, moved_to) = match server.db.location() {
        Location::Unchanged => ("unchanged", String::new()),
        Location::Moved { to } => ("moved", one_line(to.as_ref().map(|to| to.display()))),
        _ => ("deleted", String::new()),
    };
    fields.add("data_directory", directory);
    fields.add("data_directory_moved_to", moved_to);
    fields.add("log_segments", stats.log_segments);
    fields.add("log_last_lsn", stats.last_lsn);
    fields.add("log_durable_lsn", stats.durable_lsn);
    fields.add("recovery_snapshot_keys", stats.recovery.snapshot_entries);
    fields.add("recovery_replayed", stats.recovery.replayed);
    fields.add("recovery_cut_bytes", stats.recovery.cut_bytes);
    fields.add("recovery_milliseconds", stats.recovery.took.as_millis());
}

/// Why something failed, for a line of its own; nothing if it did not.
fn one_line(why: Option<impl ToString>) -> String {
    why.map_or_else(String::new, |why| why.to_string().replace(['\r', '\n'], " "))
}

fn stats(server: &ServerState, locked: bool, fields: &mut Fields<'_>) {
    let kilobytes = |bytes: u64| format!("{}.{:02}", bytes / 1024, bytes % 1024 * 100 / 1024);
    fields.add("total_connections_received", server.statistics.total(|of| &of.connections));
    fields.add("total_commands_processed", server.statistics.total(|of| &of.requests));
    fields.add("instantaneous_ops_per_sec", server.statistics.total(|of| &of.requests_per_second));
    fields.add("total_net_input_bytes", server.statistics.total(|of| &of.input_bytes));
    fields.add("total_net_output_bytes", server.statistics.total(|of| &of.output_bytes));
    fields.each(0, "total_net_repl_input_bytes total_net_repl_output_bytes");
    fields.add("instantaneous_input_kbps", kilobytes(server.statistics.total(|of| &of.input_per_second)));
    fields.add("instantaneous_output_kbps", kilobytes(server.statistics.total(|of| &of.output_per_second)));
    fields.each("0.00", "instantaneous_input_repl_kbps instantaneous_output_repl_kbps");
    fields.add("rejected_connections", server.statistics.total(|of| &of.rejected));
    fields.add("rejected_http_requests", server.statistics.http_refusals.count());
    fields.add("commands_run_on_drafts", server.statistics.drafts.load(Relaxed));
    fields.each(0, "sync_full sync_partial_ok sync_partial_err");
    fields.add("expired_keys", if locked { 0 } else { server.statistics.expired(&server.db) });
    fields.add("expired_stale_perc", "0.00");
    fields.add("expired_time_cap_reached_count", 0);
    fields.add("expire_cycle_cpu_milliseconds", server.statistics.swept_ms(&server.db));
    fields.add("evicted_keys", server.statistics.evicted(&server.db));
    fields.add("evicted_clients", server.statistics.evicted_clients.load(Relaxed));
    fields.each(0, "evicted_scripts total_eviction_exceeded_time current_eviction_exceeded_time");
    let slow = server.slow.totals();
    fields.add("slowlog_commands_count", slow.values().map(|of| of.count).sum::<u64>());
    fields.add("slowlog_commands_time_ms_sum", slow.values().map(|of| of.micros).sum::<u64>() / 1000);
    fields.add("slowlog_commands_time_ms_max", slow.values().map(|of| of.longest_micros).max().unwrap_or(0) / 1000);
    fields.add("keyspace_hits", server.statistics.total(|of| &of.hits));
    fields.add("keyspace_misses", server.statistics.total(|of| &of.misses));
    fields.add("pubsub_channels", server.notify.pubsub.count(Topic::Channel));
    fields.add("pubsub_patterns", server.notify.pubsub.count(Topic::Pattern));
    fields.add("pubsubshard_channels", server.notify.pubsub.count(Topic::ShardChannel));
    fields.add("latest_fork_usec", 0);
    let tracked = server.notify.tracking.totals();
    fields.add("tracking_total_keys", tracked.keys);
    fields.add("tracking_total_items", tracked.items);
    fields.add("tracking_total_prefixes", tracked.prefixes);
    fields.each(0, "total_forks migrate_cached_sockets slave_expires_tracked_keys");
    fields.each(0, "active_defrag_hits active_defrag_misses active_defrag_key_hits active_defrag_key_misses");
    fields.each(0, "total_active_defrag_time current_active_defrag_time unexpected_error_replies");
    fields.add("total_error_replies", server.statistics.total(|of| &of.errors));
    fields.add("dump_payload_sanitizations", 0);
    fields.add("total_reads_processed", server.statistics.total(|of| &of.reads));
    fields.add("total_writes_processed", server.statistics.total(|of| &of.writes));
    let [threaded_reads, threaded_writes] = server.statistics.threaded();
    fields.add("io_threaded_reads_processed", threaded_reads);
    fields.add("io_threaded_writes_processed", threaded_writes);
    fields.add("client_query_buffer_limit_disconnections", server.statistics.ended_by_query_limit.load(Relaxed));
    fields.add("client_output_buffer_limit_disconnections", server.statistics.ended_by_output_limit.load(Relaxed));
    fields.each(0, "reply_buffer_shrinks reply_buffer_expands");
    fields.add("eventloop_cycles", server.statistics.total(|of| &of.iterations));
    for reason in Reason::ALL {
        fields.add(reason.info_name(), server.acl.log.count(reason));
    }
}

fn replication(server: &ServerState, fields: &mut Fields<'_>) {
    fields.add("role", "master");
    fields.add("connected_slaves", 0);
    if server.has_write_check(WriteCheck::Replicas) {
        fields.add("min_slaves_good_slaves", 0);
    }
    fields.add("master_failover_state", "no-failover");
    fields.add("master_replid", &server.statistics.run_id);
    fields.add("master_replid2", "0".repeat(40));
    fields.add("master_repl_offset", 0);
    fields.add("second_repl_offset", -1);
    fields.add("repl_backlog_active", 0);
    fields.add("repl_backlog_size", 1_048_576);
    fields.each(0, "repl_backlog_first_byte_offset repl_backlog_histlen");
}

/// The main thread is that of the first event loop: there is none that does all the work.
fn cpu(server: &ServerState, usage: &Usage, fields: &mut Fields<'_>) {
    fields.add("used_cpu_sys", format_args!("{:.6}", usage.system_seconds));
    fields.add("used_cpu_user", format_args!("{:.6}", usage.user_seconds));
    fields.each("0.000000", "used_cpu_sys_children used_cpu_user_children");
    if let Some((user, system)) = process::thread_seconds(server.statistics.main_thread.load(Relaxed)) {
        fields.add("used_cpu_sys_main_thread", format_args!("{system:.6}"));
        fields.add("used_cpu_user_main_thread", format_args!("{user:.6}"));
    }
}

fn hot_keys(server: &ServerState, fields: &mut Fields<'_>) {
    let (is_active, bytes, spent) = server.hot_keys.status().unwrap_or_default();
    fields.add("tracking_active", u8::from(is_active));
    fields.add("used_memory", bytes);
    fields.add("cpu_time", spent.as_millis());
}

fn keyspaces(server: &ServerState, fields: &mut Fields<'_>) {
    let mut found: Vec<(usize, u64, u64, u64)> = server
        .db
        .keyspaces()
        .iter()
        .filter_map(|keyspace| {
            let index = databases::index_of(keyspace.name())?;
            let (keys, expires) = keyspace.hooks().counts();
            let average_ttl_ms = if expires == 0 { 0 } else { keyspace.hooks().average_ttl_ms() };
            Some((index, keys, expires, average_ttl_ms))
        })
        .filter(|(_, keys, _, _)| *keys > 0)
        .collect();
    found.sort_unstable();
    for (index, keys, expires, average_ttl_ms) in found {
        fields.add(&format!("db{index}"), format_args!("keys={keys},expires={expires},avg_ttl={average_ttl_ms}"));
    }
}

/// When the last snapshot was finished, in Unix seconds; when the server started, if there was none since.
pub(crate) fn last_save_seconds(server: &ServerState) -> u64 {
    match server.db.snapshot_status().last_good_ms {
        0 => server.statistics.started_at_ms / 1000,
        ms => ms / 1000,
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Bytes as Redis shows them to people: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    for (size, unit) in UNITS {
        if bytes >= size {
            return format!("{:.2}{unit}", bytes as f64 / size as f64);
        }
    }
    format!("{bytes}B")
}

/// A section's lines as they are written: each ends with CR LF.
pub(super) struct Fields<'t> {
    pub(super) text: &'t mut String,
}

impl Fields<'_> {
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    /// Adds the same value under each of these names, which are parted by blanks.
    pub(super) fn each(&mut self, value: impl std::fmt::Display, names: &str) {
        names.split(' ').for_each(|name| self.add(name, &value));
    }

    pub(super) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(3 << 30), "3.00G");
    }
}
