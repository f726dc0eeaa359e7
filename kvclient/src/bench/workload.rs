//! What the load test sends: operations, keys and values, encoded for the wire.
//!
//! Invariant: the requests of a connection depend on the settings, the seed and the connection's number only, never on
//! time or on replies; encoding one allocates nothing once the buffer has grown.

use crate::bench::options::{Distribution, Gaussian, Settings, Ttl, ValueSizes};
use crate::bench::random::{Zipf, standard_normal};
use crate::bench::replies::Wire;
use fastrand::Rng;
use kvproto::Limits;
use kvproto::line::split_text;
use std::io::Write;

/// The requests of a run. It is shared by all threads; what changes from one request to the next is in [`Source`].
#[derive(Debug)]
pub struct Workload {
    operations: Vec<Operation>,
    /// The share of the first operation; `None` if all are equally likely.
    first_share: Option<f64>,
    /// PUT: what stores the keys before the clock starts. `None` if nothing reads them.
    load: Option<Template>,
    keys: KeySpace,
    values: Values,
    ttl: Ttl,
}

/// One kind of request.
#[derive(Debug)]
struct Operation {
    name: String,
    template: Template,
    /// Whether a value is a hit and a nil a miss.
    reads: bool,
}

/// The state of a connection's choices.
#[derive(Debug)]
pub struct Source {
    rng: Rng,
    /// The next key of a sequential distribution.
    next: u64,
}

impl Workload {
    /// Returns the requests that `settings` describe.
    ///
    /// # Errors
    ///
    /// A message for the user: a template is no command.
    pub fn new(settings: &Settings, wire: Wire) -> Result<Workload, String> {
        let keys = KeySpace::new(settings);
        let values = Values::new(settings);
        let compile = |words: &[&str]| Template::new(words, wire, &keys, &values);
        let ttl = settings.ttl;
        let seconds = ttl.min.to_string();
        let put = match wire {
            Wire::Resp if ttl == Ttl::NONE => compile(&["SET", "{k}", "{v}"]),
            Wire::Resp if ttl.min == ttl.max => compile(&["SET", "{k}", "{v}", "EX", &seconds]),
            Wire::Resp => Template::set_with_any_ttl(&keys, &values),
            Wire::Line if ttl == Ttl::NONE => compile(&["PUT", "{k}", "{v}"]),
            Wire::Line if ttl.min == ttl.max => compile(&["PUT", "{k}", "{v}", &seconds]),
            Wire::Line => Template::put_with_any_ttl(),
        };
        if !settings.commands.is_empty() {
            let operations = settings.commands.iter().map(|text| custom(text, wire, &keys, &values));
            let operations = operations.collect::<Result<_, _>>()?;
            return Ok(Workload { operations, first_share: None, load: None, keys, values, ttl });
        }
        let get = Operation { name: "GET".to_owned(), template: compile(&["GET", "{k}"]), reads: true };
        let load = (settings.ratio < 1.0).then(|| put.clone());
        let put = Operation { name: "PUT".to_owned(), template: put, reads: false };
        Ok(Workload { operations: vec![put, get], first_share: Some(settings.ratio), load, keys, values, ttl })
    }

    /// Returns the names of the operations, by their number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|operation| operation.name.as_str())
    }

    /// Whether replies to an operation are hits and misses.
    pub fn reads(&self, operation: usize) -> bool {
        self.operations.get(operation).is_some_and(|operation| operation.reads)
    }

    /// Returns how many keys have to be stored before the clock starts, so that GET finds what this run has stored.
    pub fn keys_to_load(&self) -> u64 {
        if self.load.is_some() { self.keys.count } else { 0 }
    }

    /// Appends the request that stores key number `key` before the clock starts.
    pub fn encode_load(&self, key: u64, source: &mut Source, out: &mut Vec<u8>) {
        if let Some(template) = &self.load {
            self.write(template, source, Some(key), out);
        }
    }

    /// Appends the next request of a connection; returns its operation.
    pub fn encode(&self, source: &mut Source, out: &mut Vec<u8>) -> usize {
        let operation = match self.first_share {
            Some(share) => usize::from(source.rng.f64() >= share),
            None if self.operations.len() == 1 => 0,
            None => source.rng.usize(..self.operations.len()),
        };
        if let Some(Operation { template, .. }) = self.operations.get(operation) {
            self.write(template, source, None, out);
        }
        operation
    }

    /// Appends a request. All places for values get the same one, each place for a key its own; or all get `key`.
    fn write(&self, template: &Template, source: &mut Source, key: Option<u64>, out: &mut Vec<u8>) {
        let value = if template.has_value { self.values.draw(&mut source.rng) } else { &[] };
        for part in &template.parts {
            // Writing to a vector cannot fail.
            let _ = match part {
                Part::Literal(text) => out.write_all(text),
                Part::Key => {
                    let key = key.unwrap_or_else(|| self.keys.draw(source));
                    self.keys.write(key, out);
                    Ok(())
                }
                Part::Value => out.write_all(value),
                Part::Header { bytes, values } => write!(out, "${}\r\n", bytes + values * value.len()),
                Part::Ttl => write!(out, "{}", source.rng.u32(self.ttl.min..=self.ttl.max)),
                Part::TtlBulk => {
                    let seconds = source.rng.u32(self.ttl.min..=self.ttl.max);
                    write!(out, "${}\r\n{seconds}\r\n", seconds.checked_ilog10().unwrap_or(0) + 1)
                }
            };
        }
    }

    /// Returns the choices of connection number `connection` of `connections`.
    pub fn source(&self, settings: &Settings, connection: usize) -> Source {
        // Mixed by the generator itself, twice: neighbouring seeds and connections give unrelated sequences.
        let own = Rng::with_seed(settings.seed).u64(..) ^ connection as u64;
        let seed = Rng::with_seed(own).u64(..);
        let share = u128::from(self.keys.count) * connection as u128 / settings.connections.max(1) as u128;
        Source { rng: Rng::with_seed(seed), next: u64::try_from(share).unwrap_or(0) }
    }
}

/// Returns the operation of a `--command`.
fn custom(text: &str, wire: Wire, keys: &KeySpace, values: &Values) -> Result<Operation, String> {
    let wrong = |why: &str| format!("--command {text:?}: {why}");
    let request = split_text(text.as_bytes(), Limits::default().args_max).map_err(|error| wrong(&error.to_string()))?;
    let words: Vec<&str> = request
        .as_request()
        .iter()
        .map(std::str::from_utf8)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("not UTF-8"))?;
    let Some(command) = words.first() else {
        return Err(wrong("it has no words"));
    };
    // What replies with a value if the key is there, and with nil if it is not.
    let reads = ["GET", "GETEX", "GETDEL"].iter().any(|name| command.eq_ignore_ascii_case(name));
    let template = match wire {
        Wire::Resp => Template::new(&words, wire, keys, values),
        // As it stands: the server alone knows what quotes mean.
        Wire::Line if text.contains(['\n', '\r']) => return Err(wrong("it has several lines")),
        Wire::Line => Template::new(&[text], wire, keys, values),
    };
    Ok(Operation { name: text.to_owned(), template, reads })
}

/// The names of keys: `key:` and a number with leading zeros, as long as `--key-size` says.
#[derive(Debug)]
struct KeySpace {
    count: u64,
    /// What every key begins with, with zeros in place of the number.
    blank: Vec<u8>,
    choice: Choice,
}

/// How keys are drawn.
#[derive(Debug)]
enum Choice {
    Uniform,
    Zipf(Zipf),
    Gaussian(Gaussian),
    Sequential,
}

const KEY_PREFIX: &[u8] = b"key:";

/// Draws of a Gaussian key before the mean is taken, which about one in a trillion needs.
const GAUSSIAN_DRAWS_MAX: usize = 64;

impl KeySpace {
    fn new(settings: &Settings) -> KeySpace {
        let digits = (settings.keys.max(1) - 1).to_string().len();
        let mut blank = vec![b'0'; settings.key_size];
        if settings.key_size >= digits + KEY_PREFIX.len() {
            blank[..KEY_PREFIX.len()].copy_from_slice(KEY_PREFIX);
        }
        let choice = match settings.distribution {
            Distribution::Zipf(theta) => Choice::Zipf(Zipf::new(settings.keys, theta)),
            Distribution::Gaussian(Some(gaussian)) => Choice::Gaussian(gaussian),
            // Settings name the parameters.
            Distribution::Uniform | Distribution::Gaussian(None) => Choice::Uniform,
            Distribution::Sequential => Choice::Sequential,
        };
        KeySpace { count: settings.keys.max(1), blank, choice }
    }

    fn draw(&self, source: &mut Source) -> u64 {
        match &self.choice {
            Choice::Zipf(zipf) => zipf.draw(&mut source.rng),
            Choice::Gaussian(Gaussian { mean, stddev }) => {
                let draws = (0..GAUSSIAN_DRAWS_MAX)
                    .map(|_| (mean + stddev * standard_normal(&mut source.rng)).floor())
                    .find(|key| (0.0..self.count as f64).contains(key));
                // The mean is a key.
                draws.unwrap_or(*mean) as u64
            }
            Choice::Sequential => {
                let key = source.next;
                source.next = if key + 1 >= self.count { 0 } else { key + 1 };
                key
            }
            Choice::Uniform => source.rng.u64(..self.count),
        }
    }

    /// Appends the name of key number `key`.
    fn write(&self, mut key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.blank);
        for byte in out.iter_mut().rev() {
            *byte = b'0' + u8::try_from(key % 10).unwrap_or(0);
            key /= 10;
            if key == 0 {
                break;
            }
        }
    }
}

/// Random letters and digits, in lengths that the settings name.
#[derive(Debug)]
struct Values {
    sizes: ValueSizes,
    /// Values are parts of this.
    pool: Vec<u8>,
}

/// How many different values of the greatest length there are.
const POOL_OFFSETS: usize = 4096;

impl Values {
    fn new(settings: &Settings) -> Values {
        let mut rng = Rng::with_seed(settings.seed);
        let length = settings.value_sizes.max() + POOL_OFFSETS;
        let pool = std::iter::repeat_with(|| rng.alphanumeric() as u8).take(length).collect();
        Values { sizes: settings.value_sizes.clone(), pool }
    }

    /// Returns the length of every value, if it is always the same.
    fn fixed_size(&self) -> Option<usize> {
        match &self.sizes {
            ValueSizes::Range(min, max) => (min == max).then_some(*min),
            ValueSizes::List(sizes) => sizes.first().copied().filter(|first| sizes.iter().all(|size| size == first)),
        }
    }

    fn draw(&self, rng: &mut Rng) -> &[u8] {
        let size = match &self.sizes {
            ValueSizes::Range(min, max) => rng.usize(*min..=*max),
            ValueSizes::List(sizes) => match sizes.as_slice() {
                [only] => *only,
                sizes => sizes.get(rng.usize(..sizes.len().max(1))).copied().unwrap_or(0),
            },
        };
        let begin = rng.usize(..POOL_OFFSETS);
        self.pool.get(begin..begin + size).unwrap_or_default()
    }
}

/// A request with places for keys and values.
#[derive(Clone, Debug)]
struct Template {
    parts: Vec<Part>,
    has_value: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Key,
    Value,
    /// The header of a RESP bulk whose length depends on the value's.
    Header {
        bytes: usize,
        values: usize,
    },
    /// A time to live, as a word of the line protocol and as a RESP bulk.
    Ttl,
    TtlBulk,
}

impl Template {
    /// Compiles a request; `words` hold `{k}` and `{v}`. Over the line protocol they are joined by blanks.
    fn new(words: &[&str], wire: Wire, keys: &KeySpace, values: &Values) -> Template {
        let mut template = Template { parts: Vec::new(), has_value: false };
        match wire {
            Wire::Resp => {
                template.literal(format!("*{}\r\n", words.len()).as_bytes());
                for word in words {
                    let parts = split_places(word);
                    let count = |wanted: &Part| parts.iter().filter(|part| *part == wanted).count();
                    let (key_count, value_count) = (count(&Part::Key), count(&Part::Value));
                    let bytes: usize =
                        parts.iter().map(|part| if let Part::Literal(text) = part { text.len() } else { 0 }).sum();
                    let bytes = bytes + key_count * keys.blank.len();
                    match values.fixed_size() {
                        _ if value_count == 0 => template.literal(format!("${bytes}\r\n").as_bytes()),
                        Some(size) => template.literal(format!("${}\r\n", bytes + value_count * size).as_bytes()),
                        None => template.parts.push(Part::Header { bytes, values: value_count }),
                    }
                    template.extend(parts);
                    template.literal(b"\r\n");
                }
            }
            Wire::Line => {
                template.extend(split_places(&words.join(" ")));
                template.literal(b"\n");
            }
        }
        template.has_value = template.parts.contains(&Part::Value);
        template
    }

    /// Returns the SET with a time to live that differs from one request to the next.
    fn set_with_any_ttl(keys: &KeySpace, values: &Values) -> Template {
        let mut template = Template::new(&["SET", "{k}", "{v}", "EX"], Wire::Resp, keys, values);
        if let Some(Part::Literal(text)) = template.parts.first_mut() {
            // One word more follows.
            text.splice(..2, *b"*5");
        }
        template.parts.push(Part::TtlBulk);
        template
    }

    /// Returns the PUT with a time to live that differs from one request to the next.
    fn put_with_any_ttl() -> Template {
        let mut template = Template { parts: Vec::new(), has_value: true };
        template.extend(split_places("PUT {k} {v} "));
        template.parts.push(Part::Ttl);
        template.literal(b"\n");
        template
    }

    /// Appends to the last literal, or begins one.
    fn literal(&mut self, bytes: &[u8]) {
        match self.parts.last_mut() {
            Some(Part::Literal(text)) => text.extend_from_slice(bytes),
            _ => self.parts.push(Part::Literal(bytes.to_vec())),
        }
    }

    fn extend(&mut self, parts: Vec<Part>) {
        for part in parts {
            match part {
                Part::Literal(text) => self.literal(&text),
                part => self.parts.push(part),
            }
        }
    }
}

/// Returns the parts of a word: `{k}`, `{v}`, and what lies between them.
fn split_places(word: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let place = [rest.find("{k}"), rest.find("{v}")].into_iter().flatten().min();
        let (literal, after) = rest.split_at(place.unwrap_or(rest.len()));
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.as_bytes().to_vec()));
        }
        if let Some(place) = after.get(..3) {
            parts.push(if place == "{k}" { Part::Key } else { Part::Value });
        }
        rest = after.get(3..).unwrap_or_default();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn settings() -> Settings {
        Settings {
            connections: 4,
            requests: Some(10),
            duration: None,
            warmup: std::time::Duration::ZERO,
            ratio: 0.5,
            key_size: 8,
            value_sizes: ValueSizes::List(vec![5]),
            ttl: Ttl::NONE,
            keys: 100,
            distribution: Distribution::Uniform,
            pipeline: 1,
            threads: 1,
            rate: None,
            reconnect: None,
            idle: 0,
            seed: 1,
            commands: Vec::new(),
        }
    }

    /// The first `count` requests of a connection.
    fn requests(settings: &Settings, wire: Wire, connection: usize, count: usize) -> Vec<(usize, String)> {
        let workload = Workload::new(settings, wire).unwrap();
        let mut source = workload.source(settings, connection);
        let next = || {
            let mut out = Vec::new();
            let operation = workload.encode(&mut source, &mut out);
            (operation, String::from_utf8(out).unwrap())
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn requests_are_encoded_for_their_protocol() {
        for (ttl, resp_put, line_put) in [
            (0, "*3\r\n$3\r\nSET\r\n$8\r\nkey:0000\r\n$5\r\nVALUE\r\n", "PUT key:0000 VALUE\n"),
            (
                9,
                "*5\r\n$3\r\nSET\r\n$8\r\nkey:0000\r\n$5\r\nVALUE\r\n$2\r\nEX\r\n$1\r\n9\r\n",
                "PUT key:0000 VALUE 9\n",
            ),
        ] {
            let settings = Settings { ttl: Ttl { min: ttl, max: ttl }, keys: 1, ..settings() };
            for (wire, put, get) in [
                (Wire::Resp, resp_put, "*2\r\n$3\r\nGET\r\n$8\r\nkey:0000\r\n"),
                (Wire::Line, line_put, "GET key:0000\n"),
            ] {
                let found = requests(&settings, wire, 0, 50);
                for (operation, request) in &found {
                    let expected = if *operation == 0 { put } else { get };
                    let at = expected.find("VALUE");
                    let value = at.map_or("", |at| &request[at..at + 5]);
                    assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{request:?}");
                    assert_eq!(*request, expected.replace("VALUE", value));
                }
                assert!(found.iter().any(|(operation, _)| *operation == 0));
                assert!(found.iter().any(|(operation, _)| *operation == 1));
            }
        }
    }

    #[test]
    fn times_to_live_are_drawn_from_their_range() {
        let settings = Settings { ttl: Ttl { min: 8, max: 11 }, ratio: 1.0, keys: 1, ..settings() };
        let times = |wire, seconds: fn(&str) -> &str| {
            let mut counts = BTreeMap::new();
            for (_, request) in requests(&settings, wire, 0, 4000) {
                *counts.entry(seconds(&request).to_owned()).or_insert(0) += 1;
            }
            counts
        };
        let line = times(Wire::Line, |request| request.trim_end().rsplit(' ').next().unwrap());
        let resp = times(Wire::Resp, |request| {
            let words: Vec<&str> = request.split("\r\n").collect();
            assert_eq!((words[0], words[8], words[9].len(), words.len()), ("*5", "EX", 2, 12), "{request:?}");
            assert_eq!(words[9], format!("${}", words[10].len()));
            words[10]
        });
        for counts in [line, resp] {
            assert_eq!(counts.keys().map(String::as_str).collect::<Vec<_>>(), ["10", "11", "8", "9"]);
            assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
        }
    }

    #[test]
    fn the_ratio_is_the_share_of_put() {
        for ratio in [0.0, 0.25, 0.5, 1.0] {
            let settings = Settings { ratio, ..settings() };
            let puts = requests(&settings, Wire::Resp, 0, 4000).iter().filter(|(operation, _)| *operation == 0).count();
            assert!((puts as f64 - 4000.0 * ratio).abs() <= 150.0, "{ratio}: {puts}");
        }
    }

    #[test]
    fn the_seed_and_the_connection_decide_what_is_sent() {
        let first = requests(&settings(), Wire::Resp, 0, 100);
        assert_eq!(first, requests(&settings(), Wire::Resp, 0, 100));
        assert_ne!(first, requests(&settings(), Wire::Resp, 1, 100));
        assert_ne!(first, requests(&Settings { seed: 2, ..settings() }, Wire::Resp, 0, 100));
    }

    #[test]
    fn get_finds_what_the_run_has_stored() {
        let settings = Settings { keys: 37, ..settings() };
        let workload = Workload::new(&settings, Wire::Line).unwrap();
        let mut source = workload.source(&settings, 0);
        let mut loaded = Vec::new();
        assert_eq!(workload.keys_to_load(), 37);
        for key in 0..workload.keys_to_load() {
            let mut out = Vec::new();
            workload.encode_load(key, &mut source, &mut out);
            loaded.push(String::from_utf8(out).unwrap().split(' ').nth(1).unwrap().to_owned());
        }
        for (_, request) in requests(&settings, Wire::Line, 3, 1000) {
            let key = request.trim_end().split(' ').nth(1).unwrap().to_owned();
            assert!(loaded.contains(&key), "{key}");
        }
        // Where nothing reads, nothing needs to be stored first.
        let puts_only = Settings { ratio: 1.0, ..settings };
        assert_eq!(Workload::new(&puts_only, Wire::Line).unwrap().keys_to_load(), 0);
    }

    #[test]
    fn templates_have_places_for_keys_and_values() {
        let command = |text: &str| Settings { commands: vec![text.to_owned()], keys: 1, key_size: 4, ..settings() };
        let resp = |text: &str| requests(&command(text), Wire::Resp, 0, 1).remove(0).1;
        assert_eq!(
            resp("SET key:{k} 'a b' EX 60"),
            "*5\r\n$3\r\nSET\r\n$8\r\nkey:0000\r\n$3\r\na b\r\n$2\r\nEX\r\n$2\r\n60\r\n"
        );
        assert_eq!(resp("ECHO {x}{"), "*2\r\n$4\r\nECHO\r\n$4\r\n{x}{\r\n");
        let line = requests(&command("PUT {k} 'a b'"), Wire::Line, 0, 1).remove(0).1;
        assert_eq!(line, "PUT 0000 'a b'\n");
        // Values of different lengths: every header fits its word.
        let varied = Settings { value_sizes: ValueSizes::Range(1, 300), ..command("MSET {k} {v} {k} <{v}{v}>") };
        for (_, request) in requests(&varied, Wire::Resp, 0, 200) {
            let words: Vec<&str> = request.split("\r\n").collect();
            assert_eq!(words[0], "*5");
            for pair in words[1..11].chunks(2) {
                assert_eq!(pair[0], format!("${}", pair[1].len()));
            }
        }
        for wrong in ["", "   ", "SET {k} 'x"] {
            assert!(Workload::new(&command(wrong), Wire::Resp).is_err(), "{wrong:?}");
        }
        assert!(Workload::new(&command("PING\nPING"), Wire::Line).is_err());
    }

    #[test]
    fn values_have_the_lengths_that_were_asked_for() {
        let lengths = |sizes: ValueSizes| {
            let settings = Settings { value_sizes: sizes, ratio: 1.0, ..settings() };
            let mut counts = BTreeMap::new();
            for (_, request) in requests(&settings, Wire::Line, 0, 3000) {
                *counts.entry(request.trim_end().split(' ').nth(2).unwrap().len()).or_insert(0) += 1;
            }
            counts
        };
        assert_eq!(lengths(ValueSizes::List(vec![7])).into_keys().collect::<Vec<_>>(), [7]);
        assert_eq!(lengths(ValueSizes::Range(10, 14)).into_keys().collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
        let list = lengths(ValueSizes::List(vec![1, 1, 9]));
        assert!((1800..2200).contains(&list[&1]), "{list:?}");
        assert_eq!(list[&1] + list[&9], 3000);
    }

    #[test]
    fn sequential_keys_come_in_order_and_begin_apart() {
        let settings = Settings { distribution: Distribution::Sequential, keys: 8, key_size: 1, ..settings() };
        let keys = |connection| -> String {
            let found = requests(&settings, Wire::Line, connection, 10);
            found.iter().map(|(_, request)| request.trim_end().split(' ').nth(1).unwrap().to_owned()).collect()
        };
        assert_eq!((keys(0).as_str(), keys(3).as_str()), ("0123456701", "6701234567"));
    }

    #[test]
    fn zipf_prefers_the_first_keys() {
        let settings = Settings { distribution: Distribution::Zipf(0.99), keys: 1000, ..settings() };
        let found = requests(&settings, Wire::Line, 0, 10_000);
        let first = found.iter().filter(|(_, request)| request.contains("key:0000")).count();
        // 1 / H(1000, 0.99) is 0.1305...
        assert!((1150..1450).contains(&first), "{first}");
    }

    #[test]
    fn gaussian_keys_lie_around_the_mean_and_within_the_key_space() {
        const DRAWS: usize = 20_000;
        let keys_of = |gaussian| -> Vec<u64> {
            let distribution = Distribution::Gaussian(Some(gaussian));
            let settings = Settings { distribution, keys: 1000, key_size: 4, ..settings() };
            let number = |request: &str| request.trim_end().split(' ').nth(1).unwrap().parse::<u64>().unwrap();
            requests(&settings, Wire::Line, 0, DRAWS).iter().map(|(_, request)| number(request)).collect()
        };
        let within = |keys: &[u64], begin: f64, end: f64| {
            let count = keys.iter().filter(|&&key| (begin..end).contains(&(key as f64))).count();
            count as f64 / DRAWS as f64
        };
        let keys = keys_of(Gaussian { mean: 400.0, stddev: 50.0 });
        // The shares of the standard normal distribution within one, two and three deviations; the seed is fixed.
        for (deviations, share) in [(1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)] {
            let found = within(&keys, 400.0 - deviations * 50.0, 400.0 + deviations * 50.0);
            assert!((found - share).abs() < 0.015, "{deviations}: {found}");
        }
        let mean = keys.iter().sum::<u64>() as f64 / DRAWS as f64;
        assert!((mean - 399.5).abs() < 2.0, "{mean}");
        // Cut at both ends: all keys are used, none outside, and the middle most.
        let wide = keys_of(Gaussian { mean: 500.0, stddev: 1000.0 });
        assert!(wide.iter().all(|key| *key < 1000));
        let (low, middle) = (within(&wide, 0.0, 200.0), within(&wide, 400.0, 600.0));
        assert!(low > 0.15 && low < middle, "{low} {middle}");
        // A mean at the edge: half of the bell.
        let half = keys_of(Gaussian { mean: 0.0, stddev: 100.0 });
        assert!((within(&half, 0.0, 100.0) - 0.6827).abs() < 0.015);
        // A deviation that the numbers cannot show: each draw ends.
        let point = keys_of(Gaussian { mean: 999.0, stddev: 1e-20 });
        assert!(point.iter().all(|key| [998, 999].contains(key)));
    }

    #[test]
    fn key_numbers_fill_the_end_of_a_key() {
        let keys = KeySpace::new(&Settings { keys: 1_234_568, key_size: 12, ..settings() });
        let mut out = b"x".to_vec();
        keys.write(1_234_567, &mut out);
        assert_eq!(out, b"xkey:01234567");
        let short = KeySpace::new(&Settings { keys: 1000, key_size: 4, ..settings() });
        out.clear();
        short.write(42, &mut out);
        assert_eq!(out, b"0042");
    }
}
