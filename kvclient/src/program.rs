//! The program: flags, and which of its faces it shows: one command, commands from a pipe, the prompt, or a backup.
//!
//! Invariant: exit code 0 means every reply was good; 1 an error reply or no connection; 2 flags that make no sense.

use crate::backup;
use crate::bench::{self, BenchFlags};
use crate::help;
use crate::output::{Output, Style};
use crate::pipe::Pipe;
use crate::prompt;
use crate::session::{Outcome, Session, is_one_of};
use crate::signals::Signals;
use crate::target::{self, Target};
use clap::{Parser, Subcommand};
use kvclient::address::Scheme;
use kvclient::{Address, Connection, Options};
use kvproto::OwnedRequest;
use kvproto::resp::Version;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// Talks to a kv or Redis server. Without a command it opens a prompt, or reads commands from standard input, one a
/// line.
#[derive(Debug, Parser)]
#[command(name = "kvclient", version, disable_help_subcommand = true, disable_help_flag = true)]
#[command(after_help = VARIABLES)]
struct Flags {
    /// What to do instead of sending a command.
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    target: Target,
    /// Speak RESP3 instead of RESP2
    #[arg(short = '3')]
    resp3: bool,
    /// Read the command's last argument from standard input, byte for byte
    #[arg(short = 'x', requires = "command")]
    last_from_stdin: bool,
    /// Run the command so many times; -1: until interrupted
    #[arg(short = 'r', value_name = "COUNT", requires = "command", allow_negative_numbers = true)]
    repeat: Option<i64>,
    /// Wait so long between two runs of -r; fractions are allowed
    #[arg(short = 'i', value_name = "SECONDS", requires = "command", value_parser = seconds)]
    interval: Option<Duration>,
    /// Show replies as they are, even on a terminal
    #[arg(long, conflicts_with = "no_raw")]
    raw: bool,
    /// Show replies with quotes, types and numbers, even in a pipe
    #[arg(long)]
    no_raw: bool,
    /// Accepted for scripts written for redis-cli: there is no such warning
    #[arg(long, hide = true)]
    no_auth_warning: bool,
    /// Accepted for scripts written for redis-cli: an error reply always gives exit code 1
    #[arg(short = 'e', hide = true)]
    exit_code: bool,
    /// Print help
    #[arg(long, global = true, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// A command to send, with its arguments; HELP [COMMAND] is explained without a server
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

const VARIABLES: &str = "\
Variables:
  KVCLIENT_URL      the server, unless -u, -h, -p or -s names one
  REDISCLI_AUTH     the password, unless -a, --askpass or the URL gives one
  KVCLIENT_HISTORY  the file of the prompt's history; empty: none is kept
  NO_COLOR          if set, hints are not coloured

Exit code 0: every reply was good; 1: an error reply, or no connection; 2: flags that make no sense.";

#[derive(Debug, Subcommand)]
enum Task {
    /// Copy the server's whole store to a file, while it is used; `kvserver restore` makes a store of it
    ///
    /// The file is a tar archive that only its owner can read. It holds every keyspace, whatever the user of this
    /// connection may see of them. (BACKUP in capitals sends that command as it is.)
    #[command(disable_help_flag = true)]
    Backup {
        /// The file to write; - for standard output
        file: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Measure how many requests the server takes, and how long they take
    ///
    /// Without -u, -h, -p and -s the server is line://localhost:7171. It stores keys that begin with "key:" and leaves
    /// them there. With -u twice it measures both servers in turn and compares them. Ctrl-C ends it early, with a report.
    #[command(disable_help_flag = true)]
    Bench(Box<BenchFlags>),
}

/// An error reply, or no connection.
const FAILED: u8 = 1;
/// Flags that make no sense; what clap exits with, too.
const BAD_FLAGS: u8 = 2;

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Runs the program.
pub fn run() -> ExitCode {
    let flags = Flags::parse();
    let command = OwnedRequest::from_words(flags.command.iter().map(|word| word.as_encoded_bytes()));
    if is_one_of(command.as_request(), &["help"]) {
        return help(&command);
    }
    if let Some(Task::Bench(bench)) = &flags.task {
        return load_test(bench, &flags.target);
    }
    let address = match target::address(&flags.target) {
        Ok(address) => address,
        Err(error) => {
            eprintln!("kvclient: {error}");
            return BAD_FLAGS.into();
        }
    };
    let options = Options {
        version: if flags.resp3 { Version::Resp3 } else { Version::Resp2 },
        // A person can press Ctrl-C; a long SAVE should not be cut off.
        reply_timeout: None,
        ..Options::default()
    };
    let pretty = flags.no_raw || (!flags.raw && io::stdout().is_terminal());
    let style = match (pretty, address.scheme) {
        (_, Scheme::Line) if pretty => Style::Line,
        (true, _) => Style::Pretty,
        (false, _) => Style::Raw,
    };
    let output = Output::new(style);
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("kvclient: cannot watch for Ctrl-C: {error}");
            return FAILED.into();
        }
    };
    if let Some(Task::Backup { file, force }) = &flags.task {
        return back_up(&address, file, *force, &signals);
    }
    let mut session = Session::new(address, options, output, signals);
    let succeeded = if !flags.command.is_empty() {
        run_command(session, command, &flags)
    } else if io::stdin().is_terminal() {
        prompt::run(session)
    } else {
        Pipe::new(&mut session).run(&mut io::stdin().lock())
    };
    match succeeded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => FAILED.into(),
        // Whoever read our output has read enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kvclient: {error}");
            FAILED.into()
        }
    }
}

/// Explains a command; no server is needed for that.
fn help(command: &OwnedRequest) -> ExitCode {
    match help::text(command.as_request()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            FAILED.into()
        }
    }
}

fn load_test(bench: &BenchFlags, target: &Target) -> ExitCode {
    match Signals::install() {
        Ok(signals) => bench::run(bench, target, &signals),
        Err(error) => {
            eprintln!("kvclient: cannot watch for Ctrl-C: {error}");
            FAILED.into()
        }
    }
}

fn back_up(address: &Address, file: &Path, force: bool, signals: &Signals) -> ExitCode {
    if address.scheme == Scheme::Line {
        eprintln!("kvclient: a backup needs the server's redis:// port: name it with -u");
        return BAD_FLAGS.into();
    }
    // Its time limit is for logging in; the backup itself may take any time.
    let taken = Connection::connect_with(address, Options::default())
        .map_err(backup::Failure::from)
        .and_then(|mut client| backup::run(&mut client, file, force, signals));
    match taken {
        Ok(taken) => {
            let (bytes, lsn) = (taken.bytes, taken.lsn);
            // Standard output may be the backup itself.
            eprintln!("{} is a backup of everything up to Lsn {lsn}: {bytes} bytes", file.display());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("kvclient: {failure}");
            FAILED.into()
        }
    }
}

/// Sends the command of the command line, as often as the flags say. Errors are of this program's output, not the
/// server's.
fn run_command(mut session: Session, mut command: OwnedRequest, flags: &Flags) -> io::Result<bool> {
    if flags.last_from_stdin {
        let mut last = Vec::new();
        io::stdin().lock().read_to_end(&mut last)?;
        command = OwnedRequest::from_words(command.as_request().iter().chain([last.as_slice()]));
    }
    session.output().errors_apart();
    let mut all_good = true;
    let mut left = flags.repeat.unwrap_or(1);
    while left != 0 {
        match session.run(&command)? {
            Outcome::Good => {}
            Outcome::Error => all_good = false,
            Outcome::Lost | Outcome::NotSent => return Ok(false),
        }
        left = if left < 0 { left } else { left - 1 };
        if let (Some(interval), true) = (flags.interval, left != 0) {
            thread::sleep(interval);
        }
    }
    Ok(all_good)
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
        assert!(flags.resp3 && !flags.raw);
        assert_eq!(flags.command, ["SET", "k", "-1", "--raw"]);
        let flags = Flags::try_parse_from(["kvclient", "BACKUP", "START"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["BACKUP", "START"]);
        let flags = Flags::try_parse_from(["kvclient", "backup", "f", "--force", "-u", "redis://h:1"]).unwrap();
        assert!(matches!(flags.task, Some(Task::Backup { force: true, .. })) && flags.target.url == ["redis://h:1"]);
        let flags = Flags::try_parse_from(["kvclient", "-u", "redis://h:1", "backup", "-"]).unwrap();
        assert!(flags.task.is_some() && flags.target.url == ["redis://h:1"]);
        // What follows a command is not looked at.
        let flags = Flags::try_parse_from(["kvclient", "ECHO", "backup"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["ECHO", "backup"]);
        let flags = Flags::try_parse_from(["kvclient", "SET", "-u", "x"]).unwrap();
        assert!(flags.command == ["SET", "-u", "x"]);
        assert!(Flags::try_parse_from(["kvclient", "--nope"]).is_err());
        assert!(Flags::try_parse_from(["kvclient", "--raw", "--no-raw"]).is_err());
    }
}
