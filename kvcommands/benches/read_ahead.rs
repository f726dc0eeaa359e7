//! Whether reading requests ahead pays: GETs of a pipeline on a store of a million keys, with the memory of their keys fetched
//! together and without, as the server's event loops execute them. Fails if fetching saves no time.
//!
//! Both are measured in turn, in one process, and only their ratio counts.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};

use kvcore::Db;
use kvproto::Limits;
use kvproto::resp::RequestDecoder;

/// More than a processor's cache holds.
const KEYS: u32 = 1 << 20;
const VALUE: [u8; 100] = [b'v'; 100];
/// As many as the decoder reads at once.
const PIPELINE: u32 = 16;
const REQUESTS: u32 = 1 << 17;
const ROUNDS: u32 = 8;
/// The ratio was a half when this was written; a busy machine must not make it fail.
const RATIO_MAX: f64 = 0.9;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo test would have it run once for nothing.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(());
    }
    let db = Db::in_memory();
    for number in 0..KEYS {
        db.set(key(number), VALUE)?;
    }
    let (mut with, mut without) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        // The shortest time of each is the one that others disturbed least.
        without = without.min(execute(&db, round, false)?);
        with = with.min(execute(&db, round, true)?);
    }
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    let nanoseconds = |time: Duration| time.as_nanos() / u128::from(REQUESTS);
    println!("{} ns a GET with read-ahead, {} without: {ratio:.2}", nanoseconds(with), nanoseconds(without));
    if ratio > RATIO_MAX {
        return Err(format!("reading ahead does not pay any more: its ratio is above {RATIO_MAX}").into());
    }
    Ok(())
}

fn key(number: u32) -> String {
    format!("key:{number:012}")
}

/// Executes pipelines of GETs of keys that lie far from each other, and returns how long that took.
fn execute(db: &Db, round: u32, fetches: bool) -> Result<Duration, Box<dyn Error>> {
    let (limits, mut decoder) = (Limits::default(), RequestDecoder::new());
    let (mut time, mut found) = (Duration::ZERO, 0);
    for first in (0..REQUESTS).step_by(PIPELINE as usize) {
        // An odd factor: each key comes once before any comes again.
        let number = |nth: u32| (round * REQUESTS + first + nth).wrapping_mul(0x9E37_79B1) % KEYS;
        let requests: String =
            (0..PIPELINE).map(|nth| format!("*2\r\n$3\r\nGET\r\n$16\r\n{}\r\n", key(number(nth)))).collect();
        let mut input = requests.as_bytes();
        let begun = Instant::now();
        while let Some(bytes) = decoder.decode(input, &limits)? {
            if fetches && decoder.is_ahead() {
                db.hooks().prefetch(decoder.ahead(input).filter_map(|request| request.get(1)));
            }
            let key = decoder.request(input).get(1).unwrap_or_default();
            found += u32::from(db.get_with(key, |value| value == VALUE)? == Some(true));
            input = &input[bytes..];
        }
        time += begun.elapsed();
    }
    assert_eq!(found, REQUESTS, "every key is there");
    Ok(time)
}
