//! One run against one server: connect, store the keys, measure, and sum up.
//!
//! Invariant: it always gives a [`Run`]; what went wrong stands in there, beside what was counted until then.

use crate::bench::connections::{Counted, EventLoop, Plan, Shared};
use crate::bench::exchange::Exchange;
use crate::bench::json::{Ended, Operation, Run, Series as SeriesReport, Summary};
use crate::bench::machine;
use crate::bench::options::Settings;
use crate::bench::progress::Progress;
use crate::bench::replies::Wire;
use crate::bench::socket::{Endpoint, Socket};
use crate::bench::stats::OperationStats;
use crate::bench::workload::Workload;
use crate::signals::Signals;
use kvclient::address::Scheme;
use kvclient::{Address, Connection, Options};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often the waiting thread looks at Ctrl-C and the progress.
const WATCH_EVERY: Duration = Duration::from_millis(10);

/// Returns the protocol that an address is spoken to in.
pub fn wire(address: &Address) -> Wire {
    match address.scheme {
        Scheme::Redis => Wire::Resp,
        Scheme::Line => Wire::Line,
    }
}

/// Opens a connection that is logged in. Ctrl-C ends every wait on it.
///
/// # Errors
///
/// A message for the user.
pub fn connect(address: &Address, signals: &Signals) -> Result<Connection, String> {
    if signals.pressed() {
        // Many connections that open quickly would otherwise all be opened.
        return Err("interrupted".to_owned());
    }
    let open = || {
        let mut connection = Connection::open_unless(address, Options::default(), |_| signals.pressed())?;
        connection.set_interrupt(signals.flag())?;
        connection.greet(address, &Options::default())?;
        Ok(connection)
    };
    open().map_err(|error: kvclient::Error| error.to_string())
}

/// Runs the load test once.
pub fn run(address: &Address, settings: &Settings, workload: &Workload, round: u32, signals: &Signals) -> Run {
    let mut run = Run {
        round,
        server: machine::unknown_server(address),
        ended: Ended::Completed,
        failure: None,
        loaded_keys: 0,
        elapsed_s: 0.0,
        unsent: 0,
        reconnects: 0,
        idle_closed: 0,
        server_cpu_us: None,
        totals: no_requests(),
        operations: Vec::new(),
        series: SeriesReport { interval_ms: 100, points: Vec::new() },
    };
    let measured = match prepare(address, settings, workload, &mut run, signals) {
        Ok(ready) => measure(settings, workload, wire(address), ready, &mut run, signals),
        // Ctrl-C is why it did not connect.
        Err(_) if signals.pressed() => Ok(()),
        Err(failure) => Err(failure),
    };
    run.failure = measured.err();
    run.ended = match &run.failure {
        Some(_) => Ended::Failed,
        None if signals.pressed() => Ended::Interrupted,
        None => Ended::Completed,
    };
    run
}

/// For so long the server's processor time is waited for.
const OBSERVER_PATIENCE: Duration = Duration::from_millis(500);

/// What a run needs of a server.
struct Ready {
    sockets: Vec<Socket>,
    endpoint: Endpoint,
    /// Those of `--idle`.
    idle: Vec<Connection>,
    /// One more connection, on which the server says how much processor time it has used.
    observer: Option<Connection>,
}

/// Opens all connections and stores the keys.
fn prepare(
    address: &Address,
    settings: &Settings,
    workload: &Workload,
    run: &mut Run,
    signals: &Signals,
) -> Result<Ready, String> {
    let mut first = connect(address, signals)?;
    run.server = machine::describe(&mut first, address)?;
    let stream = |client: Connection| client.into_stream().map_err(|error| error.to_string());
    let mut exchange = Exchange::new(stream(first)?, wire(address), signals.flag())?;
    run.loaded_keys = exchange.load(workload, settings).map_err(|why| format!("the keys cannot be stored: {why}"))?;
    let mut idle = Vec::new();
    while idle.len() < settings.idle {
        let number = idle.len() + 1;
        let client = connect(address, signals);
        idle.push(client.map_err(|why| format!("idle connection {number} of {}: {why}", settings.idle))?);
    }
    let failed = |error: io::Error| format!("the connection failed: {error}");
    let mut sockets = vec![Socket::new(exchange.into_stream()).map_err(failed)?];
    let endpoint = sockets.first().map(|socket| Endpoint::of(address, socket));
    let endpoint = endpoint.transpose().map_err(failed)?.ok_or("there is no connection")?;
    while sockets.len() < settings.connections {
        let number = sockets.len() + 1;
        let client = connect(address, signals);
        let client = client.map_err(|why| format!("connection {number} of {}: {why}", settings.connections))?;
        sockets.push(Socket::new(stream(client)?).map_err(failed)?);
    }
    // A server that takes no more connections is measured without it. Ctrl-C ends the load, after which it is still used.
    let observer = connect(address, signals).and_then(|mut observer| {
        observer.set_interrupt(Arc::default()).map_err(|error| error.to_string())?;
        observer.set_reply_timeout(Some(OBSERVER_PATIENCE)).map_err(|error| error.to_string())?;
        Ok(observer)
    });
    Ok(Ready { sockets, endpoint, idle, observer: observer.ok() })
}

/// Runs the event loops and sums up what they count.
fn measure(
    settings: &Settings,
    workload: &Workload,
    wire: Wire,
    ready: Ready,
    run: &mut Run,
    signals: &Signals,
) -> Result<(), String> {
    let Ready { sockets, endpoint, mut idle, mut observer } = ready;
    let mut cpu_seconds = || observer.as_mut().and_then(machine::cpu_seconds);
    let shared = Shared::new();
    if signals.pressed() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    let mut shares: Vec<Vec<(usize, Socket)>> = (0..settings.threads).map(|_| Vec::new()).collect();
    for (number, socket) in sockets.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(number % settings.threads) {
            share.push((number, socket));
        }
    }
    let mut progress = Progress::new(settings, &run.server.address);
    let plan = Plan { settings, workload, wire, endpoint: &endpoint, shared: &shared };
    let mut loops = Vec::new();
    for (thread, share) in shares.into_iter().enumerate() {
        loops.push(EventLoop::new(plan, thread, share)?);
    }
    let mut cpu_before = cpu_seconds();
    let mut is_warming_up = !settings.warmup.is_zero();
    // Setting up took time that is not to be waited for.
    let start = Instant::now();
    let results: Vec<thread::Result<Counted>> = thread::scope(|scope| {
        let threads: Vec<_> = loops.into_iter().map(|event_loop| scope.spawn(move || event_loop.run(start))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(WATCH_EVERY);
            if signals.pressed() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            if is_warming_up && start.elapsed() >= settings.warmup {
                is_warming_up = false;
                cpu_before = cpu_seconds();
            }
            progress.update(&shared);
        }
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let cpu_after = cpu_seconds();
    progress.finish();
    run.idle_closed = idle.iter_mut().map(|client| u64::from(!client.is_connected())).sum();
    let summed_up = sum_up(workload, results, run);
    run.series = shared.series.into_inner().unwrap_or_else(PoisonError::into_inner).report();
    // The system counts in ticks of some milliseconds: a run that is shorter shows none.
    if let (Some(before), Some(after), 1..) = (cpu_before, cpu_after, run.totals.count)
        && after > before
    {
        run.server_cpu_us = Some(((after - before) * 1e9 / run.totals.count as f64).round() / 1e3);
    }
    summed_up
}

fn sum_up(workload: &Workload, results: Vec<thread::Result<Counted>>, run: &mut Run) -> Result<(), String> {
    let failed = |error: hdrhistogram::CreationError| format!("no histogram: {error}");
    let mut operations =
        workload.names().map(|_| OperationStats::new()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut totals = OperationStats::new().map_err(failed)?;
    let mut elapsed = Duration::ZERO;
    let mut failure = None;
    for result in results {
        let Ok(counted) = result else {
            failure.get_or_insert_with(|| "a thread of the load test has panicked".to_owned());
            continue;
        };
        for (sum, part) in operations.iter_mut().zip(&counted.operations) {
            sum.merge(part);
            totals.merge(part);
        }
        elapsed = elapsed.max(counted.elapsed);
        run.unsent += counted.unsent;
        run.reconnects += counted.reconnects;
        failure = failure.or(counted.failure);
    }
    run.elapsed_s = elapsed.as_secs_f64();
    run.totals = totals.summary(elapsed);
    run.operations = workload
        .names()
        .zip(&operations)
        .map(|(name, stats)| Operation { name: name.to_owned(), summary: stats.summary(elapsed) })
        .collect();
    failure.map_or(Ok(()), Err)
}

fn no_requests() -> Summary {
    Summary {
        count: 0,
        hits: 0,
        misses: 0,
        hit_rate: None,
        errors: 0,
        errors_by_kind: BTreeMap::new(),
        requests_per_second: 0.0,
        latency_us: None,
        percentiles: Vec::new(),
    }
}
