//! The flags of `kvclient bench`, and what they say.
//!
//! Invariant: settings that were built can be run: every number is in its range, and the keys fit the key size.

use crate::bench::fail_if::{Condition, parse_time};
use clap::{Args, ValueEnum};
use kvclient::address::Scheme;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The flags.
#[derive(Clone, Debug, Args)]
pub struct BenchFlags {
    /// The protocol to speak [default: that of the URL; line with --host and --port]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Option<Protocol>,
    /// Connections to open
    #[arg(short = 'c', long, value_name = "N", default_value_t = 100, value_parser = number::<usize, 1, 60_000>)]
    connections: usize,
    /// Requests of each connection [default: 1000, without limit if --duration is given]
    #[arg(long, value_name = "N", value_parser = number::<u64, 1, 1_000_000_000_000>)]
    requests: Option<u64>,
    /// Stop after this time: 10s, 500ms, 2m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,
    /// Send requests for this time before any is counted
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    warmup: Option<Duration>,
    /// The share of PUT, from 0 to 1; the others are GET
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    ratio: f64,
    /// The length of a key in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 16, value_parser = parse_size)]
    key_size: usize,
    /// The length of a value in bytes: N, MIN-MAX, or a list of lengths that are equally likely; 10k is 10 KiB
    #[arg(long, value_name = "BYTES", default_value = "64")]
    value_size: ValueSizes,
    /// The time to live of what PUT stores, in seconds: N (0 for none), or MIN-MAX for any in between
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    ttl: Ttl,
    /// How many different keys there are [default: 10000, fewer if their values would take more than 256 MiB]
    #[arg(long, value_name = "N", value_parser = number::<u64, 1, 1_000_000_000_000>)]
    keys: Option<u64>,
    /// Which keys are used more often than others: uniform, zipf[:THETA], gaussian[:MEAN:STDDEV], sequential
    #[arg(long, value_name = "NAME", default_value = "uniform")]
    distribution: Distribution,
    /// Requests that a connection sends at once, before it reads their replies
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = number::<usize, 1, 100_000>)]
    pipeline: usize,
    /// Threads of the load test; the connections are shared out among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number::<usize, 1, 1024>)]
    threads: usize,
    /// Send so many requests a second, whether or not the server keeps up; latency runs from when a request was due
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Open a new connection after so many requests of one, as part of the next request's latency
    #[arg(long, value_name = "N", value_parser = number::<u64, 1, 1_000_000_000_000>)]
    reconnect: Option<u64>,
    /// Hold so many idle connections open beside the load
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<usize, 0, 60_000>)]
    idle: usize,
    /// The seed of all random choices [default: a new one for each run, which the report names]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Send this command instead of PUT and GET; {k} is a key and {v} a value. May be given several times
    #[arg(long = "command", value_name = "TEMPLATE")]
    commands: Vec<String>,
    /// Write the report as JSON to this file instead of standard output
    #[arg(short, long, value_name = "FILE.json")]
    pub output: Option<PathBuf>,
    /// Write the report as a page to this file, which is replaced if it exists
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
    /// Measure nothing: make the page of an earlier report
    #[arg(long, value_name = "FILE.json", requires = "html", conflicts_with_all = ["output", "compare", "large", "fail_if"])]
    pub from: Option<PathBuf>,
    /// Compare with the report of an earlier run
    #[arg(long, value_name = "OLD.json", conflicts_with = "large")]
    pub compare: Option<PathBuf>,
    /// Exit with code 1 if one of these holds: 'rps<10000,mean>1ms,p99>5ms,errors>0,hit<0.99'
    #[arg(long, value_name = "CONDITIONS", value_delimiter = ',', conflicts_with = "large")]
    pub fail_if: Vec<Condition>,
    /// Measure large keys and values instead: 1, 5, 10 KB with 10, 50, 100 KB
    #[arg(
        long,
        conflicts_with_all = ["connections", "duration", "warmup", "ratio", "key_size", "value_size", "ttl", "keys",
            "distribution", "pipeline", "threads", "rate", "reconnect", "idle", "commands"]
    )]
    pub large: bool,
    /// With two -u: measure both so often, in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number::<u32, 1, 1000>)]
    pub rounds: u32,
}

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// RESP, Redis' protocol.
    Resp,
    /// The line protocol.
    Line,
}

impl From<Protocol> for Scheme {
    fn from(protocol: Protocol) -> Scheme {
        match protocol {
            Protocol::Resp => Scheme::Redis,
            Protocol::Line => Scheme::Line,
        }
    }
}

/// What to run; see the flags of the same names.
#[derive(Clone, Debug)]
pub struct Settings {
    pub connections: usize,
    /// Of each connection; `None` if only the time is limited.
    pub requests: Option<u64>,
    pub duration: Option<Duration>,
    pub warmup: Duration,
    pub ratio: f64,
    pub key_size: usize,
    pub value_sizes: ValueSizes,
    pub ttl: Ttl,
    pub keys: u64,
    pub distribution: Distribution,
    pub pipeline: usize,
    pub threads: usize,
    pub rate: Option<f64>,
    /// The requests that one connection carries before the next one is opened; `None` for all.
    pub reconnect: Option<u64>,
    /// Connections beside those that carry requests.
    pub idle: usize,
    pub seed: u64,
    pub commands: Vec<String>,
}

/// The keys' number and the memory for their values unless the user names a number.
const KEYS_DEFAULT: u64 = 10_000;
const LOADED_BYTES_DEFAULT: u64 = 256 << 20;
/// The requests of a connection unless the user names a number.
const REQUESTS_DEFAULT: u64 = 1000;
/// The requests of each operation in a repeat of the large-value benchmark.
const LARGE_REQUESTS_DEFAULT: u64 = 20;
/// What a connection may send at once.
const BATCH_BYTES_MAX: usize = 1 << 30;
/// The longest key and value that Redis stores.
const SIZE_MAX: usize = 512 << 20;

impl BenchFlags {
    /// Returns the settings of a run.
    ///
    /// # Errors
    ///
    /// A message for the user: flags do not go together.
    pub fn settings(&self) -> Result<Settings, String> {
        if self.threads > self.connections {
            let (threads, connections) = (self.threads, self.connections);
            return Err(format!("--threads {threads} is more than --connections {connections}: a thread needs one"));
        }
        let keys_default = (LOADED_BYTES_DEFAULT / self.value_size.mean().max(1)).clamp(1, KEYS_DEFAULT);
        let keys = self.keys.unwrap_or(keys_default);
        let digits = (keys - 1).to_string().len();
        if self.key_size < digits {
            let size = self.key_size;
            return Err(format!("--key-size {size} is too short for {keys} keys, whose numbers have {digits} digits"));
        }
        let batch = self.value_size.max().saturating_add(self.key_size).saturating_mul(self.pipeline);
        if batch > BATCH_BYTES_MAX {
            let limit = BATCH_BYTES_MAX >> 20;
            return Err(format!("--pipeline {} of such values is more than {limit} MiB at once", self.pipeline));
        }
        let requests = match (self.requests, self.duration) {
            (None, None) => Some(REQUESTS_DEFAULT),
            (requests, _) => requests,
        };
        Ok(Settings {
            connections: self.connections,
            requests,
            duration: self.duration,
            warmup: self.warmup.unwrap_or_default(),
            ratio: self.ratio,
            key_size: self.key_size,
            value_sizes: self.value_size.clone(),
            ttl: self.ttl,
            keys,
            distribution: self.distribution.over(keys)?,
            pipeline: self.pipeline,
            threads: self.threads,
            rate: self.rate,
            reconnect: self.reconnect,
            idle: self.idle,
            seed: self.seed.unwrap_or_else(|| u64::from(fastrand::u32(..))),
            commands: self.commands.clone(),
        })
    }

    /// Returns the requests of each operation in a repeat of the large-value benchmark.
    pub fn large_requests(&self) -> u64 {
        self.requests.unwrap_or(LARGE_REQUESTS_DEFAULT)
    }
}

/// The lengths of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSizes {
    /// All lengths from the first to the second are equally likely.
    Range(usize, usize),
    /// Each of these is equally likely; at least one.
    List(Vec<usize>),
}

impl ValueSizes {
    /// Returns the mean length, rounded down.
    pub fn mean(&self) -> u64 {
        match self {
            ValueSizes::Range(min, max) => (*min as u64 + *max as u64) / 2,
            ValueSizes::List(sizes) => sizes.iter().map(|&size| size as u64).sum::<u64>() / sizes.len().max(1) as u64,
        }
    }

    /// Returns the longest length.
    pub fn max(&self) -> usize {
        match self {
            ValueSizes::Range(_, max) => *max,
            ValueSizes::List(sizes) => sizes.iter().copied().max().unwrap_or(0),
        }
    }
}

impl FromStr for ValueSizes {
    type Err = String;

    fn from_str(text: &str) -> Result<ValueSizes, String> {
        if let Some((min, max)) = text.split_once('-') {
            let (min, max) = (parse_size(min)?, parse_size(max)?);
            if min > max {
                return Err("MIN is more than MAX".to_owned());
            }
            return Ok(ValueSizes::Range(min, max));
        }
        Ok(ValueSizes::List(text.split(',').map(parse_size).collect::<Result<_, _>>()?))
    }
}

impl std::fmt::Display for ValueSizes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ValueSizes::Range(min, max) => write!(f, "{min}-{max}"),
            ValueSizes::List(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                f.write_str(&sizes.join(","))
            }
        }
    }
}

/// The time to live of what PUT stores, in seconds: each from `min` to `max` is equally likely. Both are 0 for none, or
/// neither is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    pub min: u32,
    pub max: u32,
}

impl Ttl {
    /// No time to live.
    pub const NONE: Ttl = Ttl { min: 0, max: 0 };
}

/// The longest time to live that the line protocol takes.
const TTL_MAX: u64 = 2_147_483_647;

impl FromStr for Ttl {
    type Err = String;

    fn from_str(text: &str) -> Result<Ttl, String> {
        let Some((min, max)) = text.split_once('-') else {
            let seconds = number::<u32, 0, TTL_MAX>(text)?;
            return Ok(Ttl { min: seconds, max: seconds });
        };
        let (min, max) = (number::<u32, 1, TTL_MAX>(min)?, number::<u32, 1, TTL_MAX>(max)?);
        if min > max { Err("MIN is more than MAX".to_owned()) } else { Ok(Ttl { min, max }) }
    }
}

/// Which keys are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each key is equally likely.
    Uniform,
    /// Key `k` is used in proportion to `1 / (k+1)^theta`.
    Zipf(f64),
    /// Keys near number `mean` are used more often, as a Gaussian distribution with this standard deviation has it;
    /// what would lie outside of the key space is drawn again. `None`: the middle, and a sixth of the key space, rounded up.
    Gaussian(Option<Gaussian>),
    /// One key after the other; each connection begins at its own.
    Sequential,
}

/// The parameters of a Gaussian distribution, in numbers of keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaussian {
    pub mean: f64,
    pub stddev: f64,
}

impl Distribution {
    /// Returns the distribution with what it leaves to the number of keys.
    ///
    /// # Errors
    ///
    /// A message for the user: it does not suit that number.
    fn over(self, keys: u64) -> Result<Distribution, String> {
        let Distribution::Gaussian(given) = self else { return Ok(self) };
        let count = keys as f64;
        let Gaussian { mean, stddev } = given.unwrap_or(Gaussian { mean: count / 2.0, stddev: (count / 6.0).ceil() });
        // Within these bounds about every third draw is a key, or more.
        if !(0.0..count).contains(&mean) || stddev > count {
            return Err(format!(
                "--distribution {self}: MEAN is below {keys}, the number of keys, and STDDEV at most that"
            ));
        }
        Ok(Distribution::Gaussian(Some(Gaussian { mean, stddev })))
    }
}

/// The exponent that YCSB uses.
const THETA_DEFAULT: f64 = 0.99;

impl FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> Result<Distribution, String> {
        match text {
            "uniform" => Ok(Distribution::Uniform),
            "sequential" => Ok(Distribution::Sequential),
            "zipf" => Ok(Distribution::Zipf(THETA_DEFAULT)),
            "gaussian" => Ok(Distribution::Gaussian(None)),
            _ => {
                if let Some(parameters) = text.strip_prefix("gaussian:") {
                    return parse_gaussian(parameters).map(|gaussian| Distribution::Gaussian(Some(gaussian)));
                }
                let theta = text
                    .strip_prefix("zipf:")
                    .ok_or("write uniform, zipf, zipf:THETA, gaussian, gaussian:MEAN:STDDEV or sequential")?;
                match theta.parse::<f64>() {
                    Ok(theta) if (0.01..=10.0).contains(&theta) => Ok(Distribution::Zipf(theta)),
                    _ => Err("THETA is a number from 0.01 to 10".to_owned()),
                }
            }
        }
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Distribution::Uniform => f.write_str("uniform"),
            Distribution::Zipf(theta) => write!(f, "zipf:{theta}"),
            Distribution::Gaussian(None) => f.write_str("gaussian"),
            Distribution::Gaussian(Some(Gaussian { mean, stddev })) => write!(f, "gaussian:{mean}:{stddev}"),
            Distribution::Sequential => f.write_str("sequential"),
        }
    }
}

fn parse_gaussian(text: &str) -> Result<Gaussian, String> {
    let wrong = || "MEAN is a number from 0, and STDDEV one that is more than 0".to_owned();
    let (mean, stddev) = text.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(mean), number(stddev)) {
        (Some(mean), Some(stddev)) if mean >= 0.0 && stddev > 0.0 => Ok(Gaussian { mean, stddev }),
        _ => Err(wrong()),
    }
}

/// Reads an integer from `MIN` to `MAX`.
fn number<T: TryFrom<u64>, const MIN: u64, const MAX: u64>(text: &str) -> Result<T, String> {
    let wrong = || format!("write a whole number from {MIN} to {MAX}");
    let number: u64 = text.parse().map_err(|_| wrong())?;
    if !(MIN..=MAX).contains(&number) {
        return Err(wrong());
    }
    T::try_from(number).map_err(|_| wrong())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a number from 0 to 1".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("write requests a second, from 0.001 to 1000000000".to_owned()),
    }
}

/// Reads a number of bytes, from 1; `k` and `m` are KiB and MiB.
fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || "write lengths from 1 to 512m bytes, as in 64, 10k, 10-100 or 64,1024".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let bare = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, unit) = match bare.strip_suffix('k') {
        Some(digits) => (digits, 1 << 10),
        None => bare.strip_suffix('m').map_or((bare, 1), |digits| (digits, 1 << 20)),
    };
    let size = digits.parse::<usize>().ok().and_then(|size| size.checked_mul(unit)).ok_or_else(wrong)?;
    if (1..=SIZE_MAX).contains(&size) { Ok(size) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        flags: BenchFlags,
    }

    fn settings(words: &str) -> Result<Settings, String> {
        let words = ["bench"].into_iter().chain(words.split_whitespace());
        Program::try_parse_from(words).map_err(|error| error.to_string())?.flags.settings()
    }

    #[test]
    fn the_defaults_are_those_of_the_original() {
        let settings = settings("").unwrap();
        assert_eq!((settings.connections, settings.requests, settings.duration), (100, Some(1000), None));
        assert_eq!((settings.key_size, settings.value_sizes.to_string().as_str(), settings.ttl), (16, "64", Ttl::NONE));
        assert_eq!((settings.ratio, settings.pipeline, settings.threads, settings.keys), (0.5, 1, 1, 10_000));
    }

    #[test]
    fn a_duration_takes_the_place_of_the_requests() {
        assert_eq!(settings("--duration 10s").unwrap().requests, None);
        let both = settings("--duration 500ms --requests 5").unwrap();
        assert_eq!((both.requests, both.duration), (Some(5), Some(Duration::from_millis(500))));
    }

    #[test]
    fn wrong_numbers_are_refused() {
        for wrong in [
            "--connections 0",
            "--connections x",
            "--requests 0",
            "--ratio 1.1",
            "--ratio=-0.1",
            "--ratio nan",
            "--key-size 0",
            "--key-size 4 --keys 100000",
            "--value-size 0",
            "--value-size 10-5",
            "--value-size 10-",
            "--value-size 1,,2",
            "--value-size 1g",
            "--ttl 2147483648",
            "--ttl=-1",
            "--ttl 0-5",
            "--ttl 5-4",
            "--ttl 5-",
            "--ttl 1-2147483648",
            "--keys 0",
            "--distribution normal",
            "--distribution zipf:0",
            "--distribution zipf:x",
            "--distribution gaussian:",
            "--distribution gaussian:5",
            "--distribution gaussian:5:0",
            "--distribution gaussian:nan:1",
            "--distribution gaussian:-1:1",
            "--distribution gaussian:10001:1",
            "--distribution gaussian:1:10001",
            "--reconnect 0",
            "--idle -1",
            "--pipeline 0",
            "--threads 0",
            "--threads 3 --connections 2",
            "--rate 0",
            "--rate inf",
            "--duration 10x",
            "--duration",
            "--warmup 1e30s",
            "--protocol http",
            "--pipeline 2000 --value-size 1m",
            "--large --pipeline 2",
            "--large --reconnect 1",
            "--large --idle 1",
            "--fail-if rps",
            "--rounds 0",
        ] {
            assert!(settings(wrong).is_err(), "{wrong}");
        }
        assert!(settings("--key-size 5 --keys 100000").is_ok());
    }

    #[test]
    fn lengths_and_times_have_units() {
        assert_eq!("10-2k".parse(), Ok(ValueSizes::Range(10, 2048)));
        assert_eq!("64,1KB,1m".parse(), Ok(ValueSizes::List(vec![64, 1024, 1 << 20])));
        assert_eq!(settings("--value-size 1m").unwrap().keys, 256);
        assert_eq!(parse_time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("250us"), Ok(Duration::from_micros(250)));
        assert_eq!("zipf".parse(), Ok(Distribution::Zipf(0.99)));
        assert_eq!("zipf:1.2".parse::<Distribution>().unwrap().to_string(), "zipf:1.2");
        assert_eq!("7".parse(), Ok(Ttl { min: 7, max: 7 }));
        assert_eq!("10-20".parse(), Ok(Ttl { min: 10, max: 20 }));
        let distribution = |words: &str| settings(words).unwrap().distribution.to_string();
        assert_eq!(distribution("--distribution gaussian --keys 600"), "gaussian:300:100");
        assert_eq!(distribution("--distribution gaussian:10:2.5"), "gaussian:10:2.5");
    }
}
