//! What is tried: requests made from the command table, each in a situation.
//!
//! Invariant: the same seed gives the same cases, and a row that is added to the table is tried without a change here.

use kvproto::Spec;
use kvproto::spec::{Arg, ArgKind, COMMANDS};
use kvtests::streams::{Dice, Words};

use super::reasons;

/// A key that has expired and that nobody has asked for since.
pub const EXPIRED: &str = "gone";
/// A key that is not there.
pub const MISSING: &str = "nope";

/// The newest version whose commands and arguments the reference knows.
const KNOWN: (u32, u32) = (7, 0);

/// A request, what goes before and after it, and the situation it meets.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: &'static Spec,
    pub requests: Vec<Words>,
    pub resp3: bool,
    pub in_multi: bool,
    /// The client itself tracks what it reads.
    pub tracks: bool,
    /// [`EXPIRED`] is there.
    pub with_expired: bool,
    /// Keys go by how often, not by how recently they are used.
    pub by_frequency: bool,
}

impl Case {
    pub fn shown(&self) -> String {
        let requests: Vec<String> = self.requests.iter().map(shown).collect();
        let situations = [
            (self.resp3, "RESP3"),
            (self.tracks, "the client tracks"),
            (self.with_expired, "a key has expired"),
            (self.by_frequency, "LFU"),
        ];
        let situation: Vec<&str> = situations.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect();
        format!("{} [{}]", requests.join("; "), situation.join(", "))
    }
}

fn shown(words: &Words) -> String {
    words
        .iter()
        .map(|word| if word.is_empty() { "''".to_owned() } else { word.escape_ascii().to_string() })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Every command of the table that is executed, subcommands for their containers.
pub fn rows() -> Vec<&'static Spec> {
    let own = |top: &'static Spec| match top.subcommands {
        [] => std::slice::from_ref(top),
        subcommands => subcommands,
    };
    COMMANDS.iter().filter(|top| !top.unsupported).flat_map(own).filter(|spec| !spec.unsupported).collect()
}

/// `count` cases of one command.
pub fn of(spec: &'static Spec, count: usize, payload: &[u8], dice: &mut Dice) -> Vec<Case> {
    (0..count)
        .map(|number| {
            let with_expired = dice.once_in(4);
            let request = Maker { payload, with_expired, dice }.request(spec);
            // Each of these in turn, so that few cases have them all.
            let (resp3, in_multi) = (number % 2 == 1, number % 4 >= 2 && reasons::not_in_multi(spec).is_none());
            let requests = if in_multi { vec![words("multi"), request, words("exec")] } else { vec![request] };
            Case {
                spec,
                requests,
                resp3,
                in_multi,
                tracks: dice.once_in(5),
                with_expired,
                by_frequency: !dice.once_in(4),
            }
        })
        .collect()
}

/// The words of a line, parted by blanks.
pub fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Makes requests.
struct Maker<'m> {
    payload: &'m [u8],
    with_expired: bool,
    dice: &'m mut Dice,
}

impl Maker<'_> {
    fn request(&mut self, spec: &Spec) -> Words {
        let mut request: Words = spec.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let name = request.len();
        for arg in spec.args {
            self.push(arg, &mut request);
        }
        if self.dice.once_in(6) {
            self.spoil(&mut request, name);
        }
        request
    }

    /// Makes a request that may be refused.
    fn spoil(&mut self, request: &mut Words, name: usize) {
        match self.dice.below(3) {
            0 if request.len() > name => drop(request.pop()),
            1 if request.len() > name => {
                let at = name + self.dice.below((request.len() - name) as u64) as usize;
                request[at] = self.dice.pick(&["x", "-1", "", "9223372036854775807"]).as_bytes().to_vec();
            }
            _ => request.push(self.dice.pick(&["x", "1"]).as_bytes().to_vec()),
        }
    }

    fn push(&mut self, arg: &Arg, request: &mut Words) {
        if arg.optional && (is_later(arg) || self.dice.once_in(2)) {
            return;
        }
        let times = if arg.multiple { 1 + self.dice.below(2) } else { 1 };
        for time in 0..times {
            if let Some(token) = arg.token
                && (time == 0 || arg.multiple_token)
            {
                request.extend(token.split(' ').map(|word| word.as_bytes().to_vec()));
            }
            self.push_value(arg, request);
        }
    }

    fn push_value(&mut self, arg: &Arg, request: &mut Words) {
        let word = match arg.kind {
            ArgKind::PureToken => return,
            ArgKind::OneOf(members) => {
                let known: Vec<&Arg> = members.iter().filter(|member| !is_later(member)).collect();
                if let Some(member) = known.get(self.dice.below(known.len().max(1) as u64) as usize) {
                    self.push(&Arg { optional: false, ..**member }, request);
                }
                return;
            }
            ArgKind::Block(members) => return members.iter().for_each(|member| self.push(member, request)),
            ArgKind::Key => {
                let keys = ["str", "str", "num", "num", "vol", MISSING, "hll", EXPIRED];
                let known = if self.with_expired { keys.len() } else { keys.len() - 1 };
                keys[self.dice.below(known as u64) as usize]
            }
            ArgKind::Integer => self.integer(arg.name),
            ArgKind::Double => self.dice.pick(&["1.5", "-2", "1e2", "x"]),
            ArgKind::Pattern => self.dice.pick(&["*", "n*", "str"]),
            ArgKind::UnixTime if arg.name.contains("milli") => {
                self.dice.pick(&["4102444800000", "4102444800000", "1000"])
            }
            ArgKind::UnixTime => self.dice.pick(&["4102444800", "4102444800", "1000"]),
            ArgKind::String => match arg.name {
                "serialized-value" => return request.push(self.payload.to_vec()),
                "encoding" => self.dice.pick(&["u8", "i5"]),
                "parameter" => "slowlog-max-len",
                "username" => "nobody",
                _ => self.dice.pick(&["v", "v", "10", "1", "hello world", ""]),
            },
        };
        request.push(word.as_bytes().to_vec());
    }

    fn integer(&mut self, name: &str) -> &'static str {
        match name {
            "seconds" | "milliseconds" | "ttl" => self.dice.pick(&["1000000", "1000000", "1000000", "0", "-1"]),
            "timeout" => "1",
            // The two servers count their clients each in its own way.
            "client-id" => "999999",
            _ => self.dice.pick(&["1", "1", "0", "0", "2", "3", "100", "-1"]),
        }
    }
}

/// Whether the reference may not know an argument.
fn is_later(arg: &Arg) -> bool {
    let version = |text: &str| {
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    arg.since.is_some_and(|since| version(since) > KNOWN)
}
