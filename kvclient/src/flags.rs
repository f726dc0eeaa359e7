//! The flags of the program, and what follows from them without a server.
//!
//! Invariant: a flag of redis-cli's works, or it is refused with what to use instead; none is unknown.

use crate::backup;
use crate::bench::BenchFlags;
use crate::modes::{Mode, ModeFlags, seconds, unquoted};
use crate::output::{Delimiters, Output, Style};
use crate::target::{Target, TaskUrls};
use clap::{Parser, Subcommand, ValueEnum};
use kvclient::Options;
use kvclient::address::Scheme;
use kvproto::resp::Version;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

/// Talks to a kv or Redis server. Without a command it opens a prompt, or reads commands from standard input, one a
/// line.
#[derive(Debug, Parser)]
#[command(name = "kvclient", version, disable_help_subcommand = true, disable_help_flag = true)]
#[command(after_help = VARIABLES, disable_version_flag = true, args_override_self = true)]
pub struct Flags {
    /// What to do instead of sending a command.
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub target: Target,
    /// Speak RESP3 instead of RESP2
    #[arg(short = '3')]
    pub resp3: bool,
    /// Speak RESP2, even with --json
    #[arg(short = '2', overrides_with = "resp3")]
    pub resp2: bool,
    /// The file of settings: names for servers, and how the prompt begins [default: ~/.config/kvclient/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long a connection may take to open [default: 5]
    #[arg(short = 't', value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Option<Duration>,
    /// Read the command's last argument from standard input, byte for byte
    #[arg(short = 'x', requires = "command")]
    pub last_from_stdin: bool,
    /// Read the command's argument TAG from standard input, byte for byte
    #[arg(short = 'X', value_name = "TAG", requires = "command", conflicts_with = "last_from_stdin")]
    pub tag_from_stdin: Option<OsString>,
    /// Take arguments in quotes for what stands within them: '"\x00"' is one byte
    #[arg(long, requires = "command")]
    quoted_input: bool,
    /// Run the command so many times; -1: until interrupted
    #[arg(short = 'r', value_name = "COUNT", allow_negative_numbers = true)]
    pub repeat: Option<i64>,
    /// Wait so long between two runs of -r, rows of --stat or pages of keys, or measure for so long; fractions are allowed
    #[arg(short = 'i', value_name = "SECONDS", value_parser = seconds)]
    pub interval: Option<Duration>,
    /// Accepted for scripts written for redis-cli: there is no such warning
    #[arg(long, hide = true)]
    no_auth_warning: bool,
    /// Accepted for scripts written for redis-cli: an error reply always gives exit code 1
    #[arg(short = 'e', hide = true)]
    exit_code: bool,
    /// Follow a cluster's redirections (MOVED, ASK), with the same login; the session stays at the node that has replied
    #[arg(short = 'c')]
    pub follows_redirections: bool,
    /// Accepted for scripts written for redis-cli
    #[arg(long, hide = true)]
    verbose: bool,
    /// Print the version
    #[arg(long, short = 'V', visible_short_alias = 'v', action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Print help
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// A command to send, with its arguments; HELP [COMMAND] is explained without a server
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub command: Vec<OsString>,
    // Last: what follows would stand under their headings.
    #[command(flatten)]
    pub format: FormatFlags,
    #[command(flatten)]
    pub modes: ModeFlags,
}

/// The flags of which the last one says how replies are shown.
const STYLES: [&str; 6] = ["raw", "no_raw", "json", "quoted_json", "csv", "table"];

/// How replies are shown.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct FormatFlags {
    /// Show replies as they are, even on a terminal
    #[arg(long, overrides_with_all = STYLES)]
    raw: bool,
    /// Show replies with quotes, types and numbers, even in a pipe; in ASCII, with redis-cli's escapes, even on a terminal
    #[arg(long, overrides_with_all = STYLES)]
    no_raw: bool,
    /// Show each reply as one line of JSON; speaks RESP3, so that maps are objects (-2: RESP2)
    #[arg(long, overrides_with_all = STYLES)]
    json: bool,
    /// As --json in ASCII, with escapes such as \xff within the strings
    #[arg(long, overrides_with_all = STYLES)]
    quoted_json: bool,
    /// Show each reply as one line of comma-separated values, with redis-cli's quotes and escapes
    #[arg(long, overrides_with_all = STYLES)]
    csv: bool,
    /// Show replies as aligned columns; speaks RESP3 (-2: RESP2)
    #[arg(long, overrides_with_all = STYLES)]
    table: bool,
    /// What stands between the items of a list in raw output [default: the end of a line]
    #[arg(short = 'd', value_name = "DELIMITER", allow_hyphen_values = true)]
    item_delimiter: Option<OsString>,
    /// What stands behind each reply in raw output [default: the end of a line]
    #[arg(short = 'D', value_name = "DELIMITER", allow_hyphen_values = true)]
    reply_delimiter: Option<OsString>,
    /// Whether messages that a RESP3 server pushes are shown between replies
    #[arg(long, value_name = "YES|NO", default_value = "yes", hide_default_value = true, ignore_case = true)]
    show_pushes: YesNo,
}

/// As redis-cli takes it, `y` and `n` will do, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    #[value(alias = "y")]
    Yes,
    #[value(alias = "n")]
    No,
}

const VARIABLES: &str = "\
Variables:
  KVCLIENT_URL      the server, unless -u, -h, -p or -s names one
  KVCLIENT_CONFIG   the file of settings, unless --config names one; empty: none is read
  REDISCLI_AUTH     the password, unless -a, --askpass or the URL gives one
  KVCLIENT_HISTORY  the file of the prompt's history; empty: none is kept
  NO_COLOR          if set, hints are not coloured

Exit code 0: every reply was good; 1: an error reply, or no connection; 2: flags that make no sense.";

/// What to do instead of sending a command.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Copy the server's whole store to a file, while it is used; `kvserver restore` makes a store of it
    ///
    /// The file is a tar archive that only its owner can read. It holds every keyspace, whatever the user of this
    /// connection may see of them. (BACKUP in capitals sends that command as it is.)
    #[command(disable_help_flag = true)]
    Backup {
        #[command(flatten)]
        urls: TaskUrls,
        #[command(flatten)]
        flags: backup::BackupFlags,
    },
    /// Measure how many requests the server takes, and how long they take
    ///
    /// Without -u, -h, -p, -s and KVCLIENT_URL the server is line://localhost:7171. It stores keys that begin with "key:" and
    /// leaves them there. With -u twice it measures both servers in turn and compares them. Ctrl-C ends it early, with a
    /// report.
    #[command(disable_help_flag = true)]
    Bench {
        #[command(flatten)]
        urls: TaskUrls,
        #[command(flatten)]
        flags: Box<BenchFlags>,
    },
    /// Print a shell's completions of the flags
    ///
    /// For bash: kvclient completions bash >~/.local/share/bash-completion/completions/kvclient
    #[command(disable_help_flag = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(disable_help_flag = true)]
    Man {
        /// The directory to write all of them to; -: the page of kvclient on standard output
        #[arg(default_value = "-", value_name = "DIRECTORY")]
        place: PathBuf,
    },
}

impl Flags {
    /// Adds to the server's URLs those behind the name of a task.
    pub fn join_urls(&mut self) {
        if let Some(Task::Backup { urls, .. } | Task::Bench { urls, .. }) = &mut self.task {
            self.target.url.append(&mut urls.url);
        }
    }

    /// Returns why these flags make no sense, if they do not.
    pub fn problem(&self) -> Option<String> {
        let mode = self.modes.mode();
        let has_command = !self.command.is_empty();
        if let Some(problem) = self.modes.problem() {
            return Some(problem);
        }
        match mode {
            Some(mode) if has_command || self.task.is_some() => Some(format!("{} takes no command", mode.name())),
            Some(mode) if self.format.item_delimiter.is_some() => {
                Some(format!("-d has no meaning with {}", mode.name()))
            }
            Some(mode) if self.format.reply_delimiter.is_some() && mode != Mode::Scan => {
                Some(format!("-D has no meaning with {}", mode.name()))
            }
            Some(Mode::Stat) => None,
            Some(mode @ (Mode::Pipe | Mode::IntrinsicLatency(_))) if self.interval.is_some() => {
                Some(format!("-i has no meaning with {}", mode.name()))
            }
            Some(mode) if self.repeat.is_some() => Some(format!("-r has no meaning with {}", mode.name())),
            None if self.repeat.is_some() && !has_command => Some("-r needs a command, or --stat".to_owned()),
            None if self.interval.is_some() && !has_command => {
                Some("-i needs a command, or a mode such as --stat".to_owned())
            }
            _ => None,
        }
    }

    /// Returns the words of the command.
    ///
    /// # Errors
    ///
    /// Which word has quotes that make no sense.
    pub fn words(&self) -> Result<Vec<Vec<u8>>, String> {
        let word = |word: &OsString| {
            let bytes = word.as_encoded_bytes();
            if !self.quoted_input {
                return Ok(bytes.to_vec());
            }
            unquoted(bytes).ok_or_else(|| format!("--quoted-input: unbalanced quotes: {}", word.display()))
        };
        self.command.iter().map(word).collect()
    }

    /// Returns how to connect.
    pub fn options(&self) -> Options {
        let default = Options::default();
        let wants_maps = self.format.json || self.format.quoted_json || self.format.table;
        Options {
            version: if self.resp3 || (wants_maps && !self.resp2) { Version::Resp3 } else { Version::Resp2 },
            // --json needs no map of a server that has none; -3 says that it has to be RESP3.
            falls_back: !self.resp3,
            // A person can press Ctrl-C; a long SAVE should not be cut off.
            reply_timeout: None,
            connect_timeout: self.connect_timeout.filter(|time| !time.is_zero()).unwrap_or(default.connect_timeout),
            ..default
        }
    }
}

impl FormatFlags {
    /// Returns the style that the flags name; `None` if none does.
    pub fn chosen(&self) -> Option<Style> {
        [
            (self.raw, Style::Raw),
            (self.no_raw, Style::Pretty),
            (self.json, Style::Json),
            (self.quoted_json, Style::QuotedJson),
            (self.csv, Style::Csv),
            (self.table, Style::Table),
        ]
        .into_iter()
        .find_map(|(is_set, style)| is_set.then_some(style))
    }

    /// Returns how results are shown.
    pub fn style(&self) -> Style {
        self.chosen().unwrap_or(if io::stdout().is_terminal() { Style::Pretty } else { Style::Raw })
    }

    /// Returns where replies go, and how they are shown.
    pub fn output(&self, scheme: Scheme) -> Output {
        let style = match self.style() {
            Style::Pretty if scheme == Scheme::Line => Style::Line,
            style => style,
        };
        let mut output = Output::new(style);
        if self.chosen().is_none() {
            output.keep_text();
        }
        let or_default = |given: &Option<OsString>, default: Vec<u8>| {
            given.as_ref().map_or(default, |delimiter| delimiter.as_encoded_bytes().to_vec())
        };
        let Delimiters { item, reply } = Delimiters::default();
        output.set_delimiters(Delimiters {
            item: or_default(&self.item_delimiter, item),
            reply: or_default(&self.reply_delimiter, reply),
        });
        if self.show_pushes == YesNo::No {
            output.hide_pushes();
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_well_formed() {
        Flags::command().debug_assert();
    }

    #[test]
    fn what_follows_the_command_belongs_to_it() {
        let flags = Flags::try_parse_from(["kvclient", "-3", "SET", "k", "-1", "--raw"]).unwrap();
        assert!(flags.resp3 && flags.format.chosen().is_none());
        assert_eq!(flags.command, ["SET", "k", "-1", "--raw"]);
        let flags = Flags::try_parse_from(["kvclient", "BACKUP", "START"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["BACKUP", "START"]);
        let flags = Flags::try_parse_from(["kvclient", "backup", "f", "--force", "-u", "redis://h:1"]).unwrap();
        assert!(matches!(&flags.task, Some(Task::Backup { urls, .. }) if urls.url == ["redis://h:1"]));
        let flags = Flags::try_parse_from(["kvclient", "-u", "redis://h:1", "backup", "-"]).unwrap();
        assert!(flags.task.is_some() && flags.target.url == ["redis://h:1"]);
        // What follows a command is not looked at.
        let flags = Flags::try_parse_from(["kvclient", "ECHO", "backup"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["ECHO", "backup"]);
        let flags = Flags::try_parse_from(["kvclient", "SET", "-u", "x"]).unwrap();
        assert!(flags.command == ["SET", "-u", "x"]);
        assert!(Flags::try_parse_from(["kvclient", "--nope"]).is_err());
    }

    #[test]
    fn one_flag_names_the_style_and_json_speaks_resp3() {
        let parse = |words: &[&str]| Flags::try_parse_from([&["kvclient"], words].concat());
        for (_, style) in Style::NAMES.iter().filter(|(_, style)| *style != Style::Pretty) {
            let name = Style::NAMES.iter().find(|(_, known)| known == style).unwrap().0;
            assert_eq!(parse(&[&format!("--{name}")]).unwrap().format.chosen(), Some(*style));
        }
        // As in redis-cli, the last one counts.
        for (words, style) in [
            (&["--json", "--csv"][..], Style::Csv),
            (&["--raw", "--no-raw", "--raw"], Style::Raw),
            (&["--table", "--table"], Style::Table),
        ] {
            assert_eq!(parse(words).unwrap().format.chosen(), Some(style));
        }
        assert_eq!(parse(&["-2", "-3"]).unwrap().options().version, Version::Resp3);
        assert_eq!(parse(&["-3", "-2"]).unwrap().options().version, Version::Resp2);
        let flags = parse(&["-n", "0", "-n", "1", "--show-pushes", "NO", "-u", "a", "-u", "b"]).unwrap();
        assert_eq!((flags.target.url.len(), flags.format.show_pushes), (2, YesNo::No));
        for words in [&["-i", "1e19", "--stat"][..], &["-t", "inf"], &["--intrinsic-latency", "1e10"], &["-i", "nan"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert!(parse(&["-i", "1e9", "--scan", "-D", ""]).unwrap().problem().is_none());
        assert!(parse(&["--scan", "-d", ","]).unwrap().problem().is_some());
        assert!(parse(&["--stat", "-D", ","]).unwrap().problem().is_some());
        assert_eq!(parse(&["--json"]).unwrap().options().version, Version::Resp3);
        assert_eq!(parse(&["--json", "-2"]).unwrap().options().version, Version::Resp2);
        assert_eq!(parse(&["--csv"]).unwrap().options().version, Version::Resp2);
    }
}
