//! The flags of the modes, and redis-cli's that are refused.
//!
//! Invariant: at most one mode is chosen, and a flag that belongs to no chosen mode is refused rather than ignored.

use clap::{Args, ValueEnum};
use kvproto::line::split_text;
use std::ffi::OsString;
use std::time::Duration;

/// What to do with the server beside sending commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Stat,
    Latency,
    LatencyHistory,
    LatencyDist,
    IntrinsicLatency(Duration),
    BigKeys,
    MemKeys,
    KeyStats,
    HotKeys,
    Scan,
    Pipe,
}

/// The form of what `--pipe` reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PipeFormat {
    /// RESP requests, sent as they are
    Resp,
    /// Commands, one a line, with quotes
    Commands,
    /// Rows of key,value[,ttl in seconds]; a first row "key,value" or "key,value,ttl" is a header
    Csv,
    /// Lines of {"key":...,"value":...,"ttl":...}; "ttl" in seconds may be left out
    Json,
}

/// The flags of the modes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Modes")]
pub struct ModeFlags {
    /// Print a row of the server's figures each second, or each -i seconds: keys, memory, clients, requests, hits; -r: so
    /// many rows
    #[arg(long, group = "mode")]
    stat: bool,
    /// Measure how long PING takes until Ctrl-C; in a pipe, or with -i, for one second, or -i seconds
    #[arg(long, group = "mode")]
    latency: bool,
    /// As --latency, a row each 15 seconds, or each -i seconds
    #[arg(long, group = "mode")]
    latency_history: bool,
    /// As --latency, a row of colours each second, or each -i seconds
    #[arg(long, group = "mode")]
    latency_dist: bool,
    /// Measure for how long this machine keeps a busy program waiting; no server is needed
    #[arg(long, group = "mode", value_name = "SECONDS", value_parser = seconds)]
    intrinsic_latency: Option<Duration>,
    /// Find the keys with most elements, or the longest strings, of each type
    #[arg(long, group = "mode")]
    bigkeys: bool,
    /// Find the keys that take most memory, of each type
    #[arg(long, group = "mode")]
    memkeys: bool,
    /// The elements of a key that --memkeys looks at; 0: all of them
    #[arg(long, value_name = "COUNT")]
    pub memkeys_samples: Option<u64>,
    /// Both of them at once: the keys that take most memory, and how memory and elements are spread over the keys
    #[arg(long, group = "mode")]
    keystats: bool,
    /// The elements of a key that --keystats looks at; 0: all of them
    #[arg(long, value_name = "COUNT")]
    pub keystats_samples: Option<u64>,
    /// With --keystats: how many keys are shown [default: 10]
    #[arg(long, value_name = "COUNT")]
    pub top: Option<usize>,
    /// Find the keys that are used most; needs maxmemory-policy allkeys-lfu or volatile-lfu
    #[arg(long, group = "mode")]
    hotkeys: bool,
    /// Print the keys, one a line
    #[arg(long, group = "mode")]
    scan: bool,
    /// With --scan and the searches for keys: only keys that match this glob
    #[arg(long, value_name = "GLOB", allow_hyphen_values = true, conflicts_with = "quoted_pattern")]
    pattern: Option<OsString>,
    /// The same, with escapes such as "\xff" within double quotes
    #[arg(long, value_name = "GLOB")]
    quoted_pattern: Option<String>,
    /// With --scan and the searches for keys: about how many keys a request looks at [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// With --scan and the searches for keys: only keys of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// With --scan and the searches for keys: the cursor to begin at
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// With --scan: print keys in quotes, with escapes, as on a terminal
    #[arg(long)]
    pub quoted: bool,
    /// Send what standard input holds, without waiting for each reply; the last line of output says how many errors there
    /// were
    #[arg(long, group = "mode")]
    pipe: bool,
    /// With --pipe: the form of standard input [default: resp if it begins with *, json if with {, else commands]
    #[arg(long, value_name = "FORMAT", requires = "pipe")]
    pub pipe_format: Option<PipeFormat>,
    /// With --pipe: how long to wait for a reply after everything was sent; 0: for ever
    #[arg(long, value_name = "SECONDS", requires = "pipe", default_value_t = 30, hide_default_value = true)]
    pub pipe_timeout: u64,
    #[command(flatten)]
    refused: Refused,
}

/// Flags of redis-cli's that are refused. They are hidden, and swallow their values, so that the user reads what to do
/// instead rather than that a flag is unknown.
#[derive(Debug, Args)]
struct Refused {
    #[arg(long, hide = true, value_name = "FILE", num_args = 0..=1)]
    rdb: Option<Option<OsString>>,
    #[arg(long, hide = true, value_name = "FILE", num_args = 0..=1)]
    functions_rdb: Option<Option<OsString>>,
    #[arg(long, hide = true, alias = "slave")]
    replica: bool,
    #[arg(long, hide = true, value_name = "WORDS", num_args = 0.., allow_hyphen_values = true)]
    cluster: Option<Vec<OsString>>,
    #[arg(long, hide = true, value_name = "FILE", num_args = 0..=1)]
    eval: Option<Option<OsString>>,
    #[arg(long, hide = true)]
    ldb: bool,
    #[arg(long, hide = true)]
    ldb_sync_mode: bool,
    #[arg(long, hide = true, value_name = "KEYS", num_args = 0..=1)]
    lru_test: Option<Option<OsString>>,
    #[arg(long, hide = true)]
    tls: bool,
    #[arg(long, hide = true, num_args = 0..=1)]
    sni: Option<Option<OsString>>,
    #[arg(long, hide = true, num_args = 0..=1)]
    cacert: Option<Option<OsString>>,
    #[arg(long, hide = true, num_args = 0..=1)]
    cacertdir: Option<Option<OsString>>,
    #[arg(long, hide = true)]
    insecure: bool,
    #[arg(long, hide = true, num_args = 0..=1)]
    cert: Option<Option<OsString>>,
    #[arg(long, hide = true, num_args = 0..=1)]
    key: Option<Option<OsString>>,
    #[arg(long, hide = true, num_args = 0..=1)]
    tls_ciphers: Option<Option<OsString>>,
    #[arg(long, hide = true, num_args = 0..=1)]
    tls_ciphersuites: Option<Option<OsString>>,
    #[arg(short = '4', hide = true)]
    ipv4: bool,
    #[arg(short = '6', hide = true)]
    ipv6: bool,
}

const TLS: &str = "TLS is not spoken: put a TLS tunnel such as stunnel between, or forward the port with ssh -L";
const RDB: &str =
    "RDB files are not written: use `kvclient backup FILE` here, or `kvserver backup` on the server's machine";
const SCRIPTS: &str = "there are no scripts: send commands, or a MULTI ... EXEC, from a pipe";

impl Refused {
    /// Returns the flag that was given, and what to use instead.
    fn first(&self) -> Option<(&'static str, &'static str)> {
        [
            (self.rdb.is_some(), "--rdb", RDB),
            (self.functions_rdb.is_some(), "--functions-rdb", RDB),
            (
                self.replica,
                "--replica",
                "there is no replication: `kvclient MONITOR` shows the commands as they are executed",
            ),
            (self.cluster.is_some(), "--cluster", "there is no cluster to manage: each kv server has all of its keys"),
            (self.eval.is_some(), "--eval", SCRIPTS),
            (self.ldb, "--ldb", SCRIPTS),
            (self.ldb_sync_mode, "--ldb-sync-mode", SCRIPTS),
            (
                self.lru_test.is_some(),
                "--lru-test",
                "use `kvclient bench --distribution zipf:0.99 --fail-if 'hit<0.9'`",
            ),
            (self.tls, "--tls", TLS),
            (self.sni.is_some(), "--sni", TLS),
            (self.cacert.is_some(), "--cacert", TLS),
            (self.cacertdir.is_some(), "--cacertdir", TLS),
            (self.insecure, "--insecure", TLS),
            (self.cert.is_some(), "--cert", TLS),
            (self.key.is_some(), "--key", TLS),
            (self.tls_ciphers.is_some(), "--tls-ciphers", TLS),
            (self.tls_ciphersuites.is_some(), "--tls-ciphersuites", TLS),
            (self.ipv4, "-4", "name the server's address with -h: all addresses of a name are tried"),
            (self.ipv6, "-6", "name the server's address with -h: all addresses of a name are tried"),
        ]
        .into_iter()
        .find_map(|(is_given, flag, instead)| is_given.then_some((flag, instead)))
    }
}

impl Mode {
    /// Returns the mode's flag.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Stat => "--stat",
            Mode::Latency => "--latency",
            Mode::LatencyHistory => "--latency-history",
            Mode::LatencyDist => "--latency-dist",
            Mode::IntrinsicLatency(_) => "--intrinsic-latency",
            Mode::BigKeys => "--bigkeys",
            Mode::MemKeys => "--memkeys",
            Mode::KeyStats => "--keystats",
            Mode::HotKeys => "--hotkeys",
            Mode::Scan => "--scan",
            Mode::Pipe => "--pipe",
        }
    }

    /// Returns whether the mode reads replies that the line protocol does not have.
    pub fn needs_resp(self) -> bool {
        !matches!(self, Mode::Latency | Mode::LatencyHistory | Mode::LatencyDist | Mode::IntrinsicLatency(_))
    }

    /// Returns whether the mode walks over keys.
    fn walks(self) -> bool {
        matches!(self, Mode::BigKeys | Mode::MemKeys | Mode::KeyStats | Mode::HotKeys | Mode::Scan)
    }
}

impl ModeFlags {
    /// Returns the mode that is chosen.
    pub fn mode(&self) -> Option<Mode> {
        let chosen = [
            (self.stat, Mode::Stat),
            (self.latency, Mode::Latency),
            (self.latency_history, Mode::LatencyHistory),
            (self.latency_dist, Mode::LatencyDist),
            (self.bigkeys, Mode::BigKeys),
            (self.memkeys, Mode::MemKeys),
            (self.hotkeys, Mode::HotKeys),
            (self.scan, Mode::Scan),
            (self.pipe, Mode::Pipe),
            // As redis-cli has it.
            (self.memkeys_samples.is_some(), Mode::MemKeys),
            (self.keystats || self.keystats_samples.is_some(), Mode::KeyStats),
        ];
        let flag = chosen.into_iter().find_map(|(is_chosen, mode)| is_chosen.then_some(mode));
        self.intrinsic_latency.map(Mode::IntrinsicLatency).or(flag)
    }

    /// Returns why these flags make no sense, if they do not.
    pub fn problem(&self) -> Option<String> {
        if let Some((flag, instead)) = self.refused.first() {
            return Some(format!("{flag}: {instead}"));
        }
        let mode = self.mode();
        let needs_walk = [
            (self.pattern.is_some(), "--pattern"),
            (self.quoted_pattern.is_some(), "--quoted-pattern"),
            (self.count.is_some(), "--count"),
            (self.kind.is_some(), "--type"),
            (self.cursor.is_some(), "--cursor"),
        ];
        let needs_scan = [(self.quoted, "--quoted")];
        let first =
            |flags: &[(bool, &'static str)]| flags.iter().find_map(|(is_given, flag)| is_given.then_some(*flag));
        if let Some(flag) = first(&needs_walk).filter(|_| !mode.is_some_and(Mode::walks)) {
            return Some(format!("{flag} needs --scan, --bigkeys, --memkeys, --keystats or --hotkeys"));
        }
        if let Some(flag) = first(&needs_scan).filter(|_| mode != Some(Mode::Scan)) {
            return Some(format!("{flag} needs --scan"));
        }
        if self.memkeys_samples.is_some() && mode != Some(Mode::MemKeys) {
            return Some("--memkeys-samples needs --memkeys".to_owned());
        }
        if (self.keystats_samples.is_some() || self.top.is_some()) && mode != Some(Mode::KeyStats) {
            return Some("--keystats-samples and --top need --keystats".to_owned());
        }
        self.pattern().err()
    }

    /// Returns the glob that keys have to match.
    ///
    /// # Errors
    ///
    /// What is wrong with the quotes.
    pub fn pattern(&self) -> Result<Option<Vec<u8>>, String> {
        match (&self.pattern, &self.quoted_pattern) {
            (Some(pattern), _) => Ok(Some(pattern.as_encoded_bytes().to_vec())),
            (None, Some(quoted)) => {
                unquoted(quoted.as_bytes()).map(Some).ok_or_else(|| "--quoted-pattern: unbalanced quotes".to_owned())
            }
            (None, None) => Ok(None),
        }
    }
}

/// Returns what stands within the quotes of a word, if there are any: `"\xff"` is one byte.
pub fn unquoted(word: &[u8]) -> Option<Vec<u8>> {
    if !matches!(word.first(), Some(b'"' | b'\'')) {
        return Some(word.to_vec());
    }
    let request = split_text(word, 2).ok()?;
    let mut words = request.as_request().iter().map(<[u8]>::to_vec);
    let only = words.next()?;
    words.next().is_none().then_some(only)
}

/// Reads a number of seconds.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if seconds > SECONDS_MAX {
        return Err("more than a billion seconds".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The longest time that a flag may name, so that a moment so far away can be computed.
const SECONDS_MAX: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Flags;
    use clap::Parser;

    fn flags(words: &[&str]) -> ModeFlags {
        Flags::try_parse_from([&["kvclient"], words].concat())
            .unwrap_or_else(|error| panic!("{words:?}: {error}"))
            .modes
    }

    #[test]
    fn one_mode_is_chosen() {
        assert_eq!(flags(&[]).mode(), None);
        assert_eq!(flags(&["--stat"]).mode(), Some(Mode::Stat));
        assert_eq!(flags(&["--memkeys-samples", "0"]).mode(), Some(Mode::MemKeys));
        assert_eq!(
            flags(&["--intrinsic-latency", "0.5"]).mode(),
            Some(Mode::IntrinsicLatency(Duration::from_millis(500)))
        );
        assert!(Flags::try_parse_from(["kvclient", "--stat", "--latency"]).is_err());
    }

    #[test]
    fn redis_clis_flags_are_refused_with_what_to_use_instead() {
        for (words, instead) in [
            (&["--rdb", "f"][..], "kvclient backup"),
            (&["--rdb"], "kvclient backup"),
            (&["--functions-rdb", "-"], "kvclient backup"),
            (&["--replica"], "MONITOR"),
            (&["--slave"], "MONITOR"),
            (&["--cluster", "create", "h:1", "--cluster-replicas", "1"], "no cluster"),
            (&["--eval", "s.lua", "k", ",", "a"], "MULTI"),
            (&["--ldb", "--eval", "s.lua"], "MULTI"),
            (&["--lru-test", "1000"], "bench"),
            (&["--tls", "--cacert", "f"], "stunnel"),
            (&["--sni", "h"], "stunnel"),
            (&["-4"], "-h"),
        ] {
            let problem = flags(words).problem().unwrap_or_else(|| panic!("{words:?}"));
            assert!(problem.contains(instead), "{words:?}: {problem}");
        }
    }

    #[test]
    fn flags_of_no_chosen_mode_are_refused() {
        for words in [
            &["--pattern", "x"][..],
            &["--stat", "--count", "1"],
            &["--bigkeys", "--quoted"],
            &["--scan", "--memkeys-samples", "1"],
            &["--bigkeys", "--top", "1"],
            &["--scan", "--quoted-pattern", "\"x"],
        ] {
            assert!(flags(words).problem().is_some(), "{words:?}");
        }
        assert_eq!(flags(&["--scan", "--pattern", "a*", "--type", "string", "--count", "5"]).problem(), None);
        assert_eq!(flags(&["--scan", "--quoted-pattern", r#""\xff*""#]).pattern(), Ok(Some(b"\xff*".to_vec())));
    }
}
