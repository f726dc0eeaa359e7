//! The program: flags, and which of its faces it shows: one command, commands from a pipe, the prompt, or a backup.
//!
//! Invariant: exit code 0 means every reply was good; 1 an error reply or no connection; 2 flags that make no sense.

use crate::backup;
use crate::output::{Output, Style};
use crate::repl;
use crate::session::{Answered, Session};
use crate::signals::Signals;
use crate::words::split;
use clap::{Parser, Subcommand};
use kvclient::address::Scheme;
use kvclient::{Address, Client, Options};
use kvproto::OwnedRequest;
use kvproto::line;
use kvproto::resp::Version;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Talks to a kv or Redis server. Without a command it opens a prompt, or reads commands from standard input, one a
/// line.
#[derive(Debug, Parser)]
#[command(name = "kvclient", version, disable_help_subcommand = true)]
struct Flags {
    /// What to do instead of sending a command.
    #[command(subcommand)]
    task: Option<Task>,
    /// The server: redis://[user:password@]host[:port][/db] or line://host[:port]
    #[arg(short, long, global = true, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    url: String,
    /// Speak RESP3 instead of RESP2
    #[arg(short = '3')]
    resp3: bool,
    /// Show replies as they are, even on a terminal
    #[arg(long, conflicts_with = "no_raw")]
    raw: bool,
    /// Show replies with quotes, types and numbers, even in a pipe
    #[arg(long)]
    no_raw: bool,
    /// A command to send, with its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Copy the server's whole store to a file, while it is used; `kvserver restore` makes a store of it
    ///
    /// The file is a tar archive that only its owner can read. It holds every keyspace, whatever the user of this
    /// connection may see of them. (BACKUP in capitals sends that command as it is.)
    Backup {
        /// The file to write; - for standard output
        file: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
}

/// An error reply, or no connection.
const FAILED: u8 = 1;
/// Flags that make no sense; what clap exits with, too.
const BAD_FLAGS: u8 = 2;

/// Runs the program.
pub fn run() -> ExitCode {
    let flags = Flags::parse();
    let address: Address = match flags.url.parse() {
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
    let session = Session::new(address, options, output, signals);
    let succeeded = if !flags.command.is_empty() {
        run_command(session, flags.command)
    } else if io::stdin().is_terminal() {
        repl::run(session)
    } else {
        run_lines(session, &mut io::stdin().lock())
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

fn back_up(address: &Address, file: &Path, force: bool, signals: &Signals) -> ExitCode {
    if address.scheme == Scheme::Line {
        eprintln!("kvclient: a backup needs the server's redis:// port: name it with -u");
        return BAD_FLAGS.into();
    }
    // Its time limit is for logging in; the backup itself may take any time.
    let taken = Client::connect_with(address, Options::default())
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

/// Sends the command of the command line. Errors are of this program's output, not the server's.
fn run_command(mut session: Session, words: Vec<OsString>) -> io::Result<bool> {
    let words = words.into_iter().map(OsString::into_encoded_bytes);
    let request = OwnedRequest::from_words(words);
    session.output().errors_apart();
    match session.run(&request)? {
        Answered::Good => Ok(true),
        Answered::Error | Answered::Lost => Ok(false),
    }
}

/// Sends the commands `input` holds, one a line; stops when the connection is lost.
fn run_lines(mut session: Session, input: &mut dyn BufRead) -> io::Result<bool> {
    let mut all_good = true;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(all_good);
        }
        let request = match split(&line) {
            Ok(request) => request,
            Err(line::LineErrorKind::Empty) => continue,
            Err(kind) => {
                eprintln!("kvclient: {kind}");
                all_good = false;
                continue;
            }
        };
        match session.run(&request)? {
            Answered::Good => {}
            Answered::Error => all_good = false,
            Answered::Lost => return Ok(false),
        }
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
        assert!(flags.resp3 && !flags.raw);
        assert_eq!(flags.command, ["SET", "k", "-1", "--raw"]);
        let flags = Flags::try_parse_from(["kvclient", "BACKUP", "START"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["BACKUP", "START"]);
        let flags = Flags::try_parse_from(["kvclient", "backup", "f", "--force", "-u", "redis://h:1"]).unwrap();
        assert!(matches!(flags.task, Some(Task::Backup { force: true, .. })) && flags.url == "redis://h:1");
        let flags = Flags::try_parse_from(["kvclient", "-u", "redis://h:1", "backup", "-"]).unwrap();
        assert!(flags.task.is_some() && flags.url == "redis://h:1");
        // What follows a command is not looked at.
        let flags = Flags::try_parse_from(["kvclient", "ECHO", "backup"]).unwrap();
        assert!(flags.task.is_none() && flags.command == ["ECHO", "backup"]);
        let flags = Flags::try_parse_from(["kvclient", "SET", "-u", "x"]).unwrap();
        assert!(flags.command == ["SET", "-u", "x"]);
        assert!(Flags::try_parse_from(["kvclient", "--nope"]).is_err());
        assert!(Flags::try_parse_from(["kvclient", "--raw", "--no-raw"]).is_err());
    }
}
