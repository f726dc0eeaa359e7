//! INFO's sections about commands and errors: how often, how long, with what outcome.
//!
//! Invariant: nothing here looks at the stores, so it is the same inside EXEC.

use std::sync::atomic::Ordering::Relaxed;

use super::Fields;
use crate::state::ServerState;

pub(super) fn commandstats(server: &ServerState, fields: &mut Fields<'_>) {
    let slow = server.slow.totals();
    for total in server.statistics.commands() {
        let micros = server.slow.nanos(total.ticks) as f64 / 1000.0;
        // Of Redis 8.8, and as there only of commands that were slow.
        let slow = slow.get(total.name).map_or_else(String::new, |slow| {
            format!(
                ",slowlog_count={},slowlog_time_ms_sum={},slowlog_time_ms_max={}",
                slow.count,
                slow.micros / 1000,
                slow.longest_micros / 1000
            )
        });
        fields.add(
            &format!("cmdstat_{}", total.name),
            format_args!(
                "calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}{slow}",
                total.calls,
                micros as u64,
                micros / total.calls.max(1) as f64,
                total.rejected,
                total.failed
            ),
        );
    }
}

pub(super) fn errorstats(server: &ServerState, fields: &mut Fields<'_>) {
    for (code, count) in server.statistics.errors() {
        fields.add(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latencystats(server: &ServerState, fields: &mut Fields<'_>) {
    if !server.runtime.latency_tracking.load(Relaxed) {
        return;
    }
    let percentiles = server.runtime.percentiles.lock().clone();
    for total in server.statistics.commands().into_iter().filter(|total| total.calls > 0) {
        let shown = |percent: &f64| {
            let micros = server.slow.nanos(total.percentile(percent / 100.0)) as f64 / 1000.0;
            format!("p{}={micros:.3}", kvconfig::value::show_percentile(*percent))
        };
        let shares: Vec<String> = percentiles.iter().map(shown).collect();
        fields.add(&format!("latency_percentiles_usec_{}", total.name), shares.join(","));
    }
}
