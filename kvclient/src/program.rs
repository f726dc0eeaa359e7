//! The program: which of its faces it shows: one command, commands from a pipe, the prompt, or a task.
//!
//! Invariant: exit code 0 means every reply was good; 1 an error reply or no connection; 2 flags that make no sense.

use crate::backup::{self, BackupFlags};
use crate::bench::{self, BenchFlags};
use crate::flags::{Flags, Task};
use crate::help;
use crate::manual;
use crate::modes::{self, Failure, Mode, Setting};
use crate::pipe::Pipe;
use crate::prompt;
use crate::session::{Outcome, Session, is_one_of};
use crate::settings::{self, Settings};
use crate::signals::Signals;
use crate::target::{self, Target};
use clap::Parser;
use kvclient::address::Scheme;
use kvclient::format::write_visible;
use kvclient::{Address, Connection, Options};
use kvproto::OwnedRequest;
use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::thread;

/// An error reply, or no connection.
const FAILED: u8 = 1;
/// Flags that make no sense; what clap exits with, too.
const BAD_FLAGS: u8 = 2;

/// Runs the program.
pub fn run() -> ExitCode {
    let mut flags = Flags::parse();
    flags.join_urls();
    let command = match flags.problem().map_or_else(|| flags.words(), Err) {
        Ok(words) => OwnedRequest::from_words(words),
        Err(problem) => return bad_flags(&problem),
    };
    if is_one_of(command.as_request(), &["help"]) {
        return help(&command);
    }
    let opens_prompt =
        flags.task.is_none() && flags.command.is_empty() && flags.modes.mode().is_none() && io::stdin().is_terminal();
    // What a script does depends on no file that it does not name.
    let settings = match opens_prompt || flags.config.is_some() || flags.target.has_names() {
        true => settings::load(flags.config.as_deref()),
        false => Ok(Settings::default()),
    };
    let settings = match settings {
        Ok(settings) => settings,
        Err(mistakes) => return bad_flags(&mistakes),
    };
    match &flags.task {
        Some(Task::Bench { flags: bench, .. }) => return load_test(bench, &flags.target, &settings),
        Some(Task::Completions { shell }) => return ended(manual::complete(*shell).map(|()| true)),
        Some(Task::Man { place }) => return ended(manual::write(place).map(|()| true)),
        Some(Task::Backup { .. }) | None => {}
    }
    let address = match target::address(&flags.target, &settings.servers) {
        Ok(address) => address,
        Err(error) => return bad_flags(&error.to_string()),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("kvclient: cannot watch for Ctrl-C: {error}");
            return FAILED.into();
        }
    };
    if let Some(Task::Backup { flags: backup, .. }) = &flags.task {
        return back_up(&address, backup, &signals);
    }
    if let Some(mode) = flags.modes.mode() {
        return run_mode(mode, &flags, address, &signals);
    }
    let output = flags.format.output(address.scheme);
    let is_cluster = settings.servers.is_cluster(&address);
    let mut session = Session::new(address, flags.options(), output, signals);
    session.set_cluster(is_cluster);
    if flags.follows_redirections {
        session.follow_redirections();
    }
    ended(if !flags.command.is_empty() {
        run_command(session, command, &flags)
    } else if opens_prompt {
        prompt::run(session, settings, flags.format.chosen().is_some())
    } else {
        Pipe::new(&mut session).run(&mut io::stdin().lock())
    })
}

/// Returns the exit code of what ended so; errors are of this program's input and output.
fn ended(succeeded: io::Result<bool>) -> ExitCode {
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

fn bad_flags(problem: &str) -> ExitCode {
    eprintln!("kvclient: {problem}");
    BAD_FLAGS.into()
}

fn run_mode(mode: Mode, flags: &Flags, address: Address, signals: &Signals) -> ExitCode {
    let setting = Setting {
        output: flags.format.output(address.scheme),
        address,
        options: flags.options(),
        signals,
        style: flags.format.style(),
        // For redis-cli none at all is its default.
        interval: flags.interval.filter(|interval| !interval.is_zero()),
        repeat: flags.repeat,
    };
    match modes::run(mode, &flags.modes, &setting) {
        Ok(is_good) => ended(Ok(is_good)),
        Err(Failure::Io(error)) => ended(Err(error)),
        Err(error @ Failure::LineProtocol(_)) => bad_flags(&error.to_string()),
        Err(error) => {
            // It may hold the server's words.
            let mut text = b"kvclient: ".to_vec();
            write_visible(error.to_string().as_bytes(), &mut text);
            text.push(b'\n');
            // Standard error may be gone; there is nowhere else to say so.
            let _ = io::stderr().write_all(&text);
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

fn load_test(bench: &BenchFlags, target: &Target, settings: &Settings) -> ExitCode {
    match Signals::install() {
        Ok(signals) => bench::run(bench, target, &settings.servers, &signals),
        Err(error) => {
            eprintln!("kvclient: cannot watch for Ctrl-C: {error}");
            FAILED.into()
        }
    }
}

fn back_up(address: &Address, flags: &BackupFlags, signals: &Signals) -> ExitCode {
    if address.scheme == Scheme::Line {
        eprintln!("kvclient: a backup needs the server's redis:// port: name it with -u");
        return BAD_FLAGS.into();
    }
    // Its time limit is for logging in; the backup itself may take any time.
    let taken = Connection::connect_with(address, Options::default())
        .map_err(backup::Failure::from)
        .and_then(|mut client| backup::run(&mut client, &flags.file, flags.force, signals));
    match taken {
        Ok(taken) => {
            let (bytes, lsn) = (taken.bytes, taken.lsn);
            // Standard output may be the backup itself.
            eprintln!("{} is a backup of everything up to Lsn {lsn}: {bytes} bytes", flags.file.display());
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
        let last = standard_input()?;
        command = OwnedRequest::from_words(command.as_request().iter().chain([last.as_slice()]));
    } else if let Some(tag) = &flags.tag_from_stdin {
        let tag = tag.as_encoded_bytes();
        if !command.as_request().iter().any(|word| word == tag) {
            eprintln!("kvclient: -X: no argument is {}", tag.escape_ascii());
            return Ok(false);
        }
        let input = standard_input()?;
        let words = command.as_request().iter().map(|word| if word == tag { &input } else { word }).collect::<Vec<_>>();
        command = OwnedRequest::from_words(words);
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

/// Returns everything that standard input holds.
fn standard_input() -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    Ok(input)
}
