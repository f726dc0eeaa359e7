//! The large-value benchmark: keys of 1, 5 and 10 KB with values of 10, 50 and 100 KB, one request at a time.
//!
//! Invariant: each GET reads a key that a SET of the same repeat has stored; a reply that is an error ends it. A GET that finds
//! nothing, as the server has evicted the key, is counted as an error and not measured.

use crate::bench::exchange::Exchange;
use crate::bench::json::{Large, LargeCell, LargeTimes};
use crate::bench::machine;
use crate::bench::options::{Distribution, Settings, Ttl, ValueSizes};
use crate::bench::run::{connect, wire};
use crate::bench::workload::Workload;
use crate::signals::Signals;
use hdrhistogram::Histogram;
use kvclient::Address;
use kvclient::address::Scheme;
use std::time::{Duration, Instant};

const KEY_BYTES: [usize; 3] = [1024, 5 * 1024, 10 * 1024];
const VALUE_BYTES: [usize; 3] = [10 * 1024, 50 * 1024, 100 * 1024];
const REPEATS: u32 = 5;
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Returns settings that say what the benchmark does, for the report.
pub fn settings(seed: u64, requests: u64) -> Settings {
    Settings {
        connections: 1,
        requests: Some(requests),
        duration: None,
        warmup: Duration::ZERO,
        ratio: 0.5,
        key_size: KEY_BYTES[0],
        value_sizes: ValueSizes::List(VALUE_BYTES.to_vec()),
        ttl: Ttl::NONE,
        keys: requests,
        distribution: Distribution::Sequential,
        pipeline: 1,
        threads: 1,
        rate: None,
        reconnect: None,
        idle: 0,
        seed,
        commands: Vec::new(),
    }
}

/// Runs the benchmark. Returns what was measured, and why it ended early if it did.
pub fn run(address: &Address, settings: &Settings, signals: &Signals) -> (Large, Option<String>) {
    let requests = settings.requests.unwrap_or(1);
    let mut large = Large { server: machine::unknown_server(address), repeats: REPEATS, requests, cells: Vec::new() };
    // What fails after Ctrl-C fails because of it.
    let failure = measure(address, settings, signals, &mut large).err().filter(|_| !signals.pressed());
    (large, failure)
}

fn measure(address: &Address, settings: &Settings, signals: &Signals, large: &mut Large) -> Result<(), String> {
    let mut client = connect(address, signals)?;
    large.server = machine::describe(&mut client, address)?;
    let stream = client.into_stream().map_err(|error| error.to_string())?;
    let mut exchange = Exchange::new(stream, wire(address), signals.flag())?;
    for key_bytes in KEY_BYTES {
        for value_bytes in VALUE_BYTES {
            let cell = measure_cell(address, settings, key_bytes, value_bytes, &mut exchange, signals).map_err(|why| {
                let hint = match address.scheme {
                    Scheme::Line => "; a listener of the line protocol takes large keys and values with ?max_key= and ?max_value=",
                    Scheme::Redis => "",
                };
                format!("a key of {key_bytes} bytes with a value of {value_bytes}: {why}{hint}")
            })?;
            match cell {
                Some(cell) => large.cells.push(cell),
                None => return Ok(()),
            }
        }
    }
    Ok(())
}

/// Measures one cell; `None` if it was interrupted.
fn measure_cell(
    address: &Address,
    settings: &Settings,
    key_size: usize,
    value_bytes: usize,
    exchange: &mut Exchange,
    signals: &Signals,
) -> Result<Option<LargeCell>, String> {
    let with_ratio =
        |ratio| Settings { ratio, key_size, value_sizes: ValueSizes::List(vec![value_bytes]), ..settings.clone() };
    let (puts, gets) = (with_ratio(1.0), with_ratio(0.0));
    let (put_workload, get_workload) = (Workload::new(&puts, wire(address))?, Workload::new(&gets, wire(address))?);
    let (mut set, mut get) = (Times::new()?, Times::new()?);
    for _ in 0..REPEATS {
        for (settings, workload, times) in [(&puts, &put_workload, &mut set), (&gets, &get_workload, &mut get)] {
            // Each repeat sends the same keys again, in order.
            let mut source = workload.source(settings, 0);
            let mut request = Vec::new();
            times.begin_repeat();
            for _ in 0..settings.keys {
                if signals.pressed() {
                    return Ok(None);
                }
                request.clear();
                workload.encode(&mut source, &mut request);
                let start = Instant::now();
                let nils = exchange.run(&request, 1)?;
                if nils == 0 {
                    times.record(start.elapsed());
                } else {
                    times.misses += 1;
                }
            }
        }
    }
    Ok(Some(LargeCell { key_bytes: key_size, value_bytes, set: set.summary(), get: get.summary() }))
}

/// The times of one operation in a cell.
struct Times {
    latency: Histogram<u64>,
    /// Sum and number of each repeat's times.
    repeats: Vec<(Duration, u32)>,
    misses: u64,
}

impl Times {
    fn new() -> Result<Times, String> {
        let latency =
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).map_err(|error| format!("no histogram: {error}"))?;
        Ok(Times { latency, repeats: Vec::new(), misses: 0 })
    }

    fn begin_repeat(&mut self) {
        self.repeats.push((Duration::ZERO, 0));
    }

    fn record(&mut self, time: Duration) {
        self.latency.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if let Some((sum, count)) = self.repeats.last_mut() {
            *sum += time;
            *count += 1;
        }
    }

    fn summary(&self) -> LargeTimes {
        let us = |ns: f64| ns.round() / 1000.0;
        let means = || {
            self.repeats
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(sum, count)| us(sum.as_nanos() as f64 / f64::from(*count)))
        };
        let has_any = !self.latency.is_empty();
        LargeTimes {
            count: self.latency.len() + self.misses,
            errors: self.misses,
            mean_us: has_any.then(|| us(self.latency.mean())),
            p99_us: has_any.then(|| us(self.latency.value_at_quantile(0.99).min(self.latency.max()) as f64)),
            mean_us_min: means().reduce(f64::min),
            mean_us_max: means().reduce(f64::max),
        }
    }
}
