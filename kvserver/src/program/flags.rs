//! The program's flags: those of the table of parameters, and the few that stand for none.
//!
//! Invariant: with neither flags nor a file the data is kept on disk and only this machine is served.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use kvconfig::{Directive, Place};

use super::tools::Offline;
use crate::config::parameters::{self, Parameter};

/// A durable key-value server that speaks Redis' protocol, and lines for people and scripts.
///
/// With no flags it keeps its data in ./kvdata and serves this machine alone: Redis clients on port 6379, lines
/// (try `nc 127.0.0.1 7171`) on port 7171.
#[derive(Debug, Parser)]
#[command(
    name = "kvserver",
    version,
    next_display_order = None,
    args_conflicts_with_subcommands = true,
    after_help = "Signals: SIGTERM and SIGINT stop the server in order, a second one at once. SIGHUP reloads the file of \
                  users and the log level of the configuration file."
)]
pub(crate) struct Program {
    /// What to do with a store instead of serving it.
    #[command(subcommand)]
    pub(crate) offline: Option<Offline>,

    /// A file of settings, one a line as in redis.conf; flags win over it, and CONFIG REWRITE writes it
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// A file whose first line is the password clients have to send with AUTH
    #[arg(long, value_name = "FILE", conflicts_with = "requirepass")]
    pub(crate) requirepass_file: Option<PathBuf>,
}

/// Returns the program's command line.
pub(super) fn command() -> Command {
    let flags = parameters::all().filter_map(flag);
    flags
        .fold(Program::command(), Command::arg)
        .mut_arg("memory-only", |flag| flag.conflicts_with_all(["dir", "durability", "snapshot-every"]))
}

/// Returns the flag of a parameter, if it has one.
fn flag(row: &'static Parameter) -> Option<Arg> {
    let flag = row.flag?;
    let mut arg = Arg::new(flag.name).long(flag.name).help(match flag.default {
        "" => flag.help.to_owned(),
        default => format!("{} [default: {default}]", flag.help),
    });
    if flag.value.is_empty() {
        return Some(arg.action(ArgAction::SetTrue));
    }
    if flag.name == "listen" {
        arg = arg.action(ArgAction::Append);
    }
    let read = move |text: &str| flag.read.map_or_else(|| row.kind.normalize(text), |read| read(text));
    Some(arg.value_name(flag.value).value_parser(read))
}

/// Reads what stands for no parameter.
pub(super) fn program(matches: &ArgMatches) -> Program {
    Program::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// Returns the flags that were given, each as a directive of the configuration.
pub(super) fn directives(matches: &ArgMatches) -> Vec<Directive> {
    let given = |row: &&Parameter| {
        row.flag.is_some_and(|flag| matches.value_source(flag.name) == Some(ValueSource::CommandLine))
    };
    let directive = |row: &Parameter| {
        let flag = row.flag?;
        let words = match flag.value {
            "" => vec![flag.read.and_then(|read| read("").ok()).unwrap_or_default()],
            _ => matches.get_many(flag.name).into_iter().flatten().cloned().collect::<Vec<String>>(),
        };
        let words = words.into_iter().map(String::into_bytes).collect();
        Some(Directive { place: Place::Flag, name: flag.line.unwrap_or(row.name).to_owned(), words })
    };
    parameters::all().filter(given).filter_map(directive).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_flag_is_a_line_of_the_file() {
        let line = "kvserver --max-clients 5 --listen resp://[::1]:1 --listen unix:///s --snapshot-every 9 --durability os \
                    --insecure-listen --memory-only";
        let matches = command().try_get_matches_from(
            line.replace("--durability os", "").replace("--snapshot-every 9", "").split_whitespace(),
        );
        let said = |matches: ArgMatches| {
            let shown = |one: Directive| format!("{} {}", one.name, String::from_utf8_lossy(&one.words.join(&b' ')));
            directives(&matches).into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(
            said(matches.unwrap()),
            ["memory-only yes", "listen resp://[::1]:1 unix:///s", "maxclients 5", "protected-mode no"]
        );
        let matches = command().try_get_matches_from("kvserver --snapshot-every 9 --durability os".split(' '));
        assert_eq!(said(matches.unwrap()), ["appendfsync no", "save 9 1"]);
    }

    #[test]
    fn bad_flags_are_refused() {
        for flags in [
            &["--durability", "sometimes"][..],
            &["--listen", "6379"],
            &["--loops", "0"],
            &["--max-clients", "0"],
            &["--snapshot-every", "-1"],
            &["--memory-only", "--dir", "x"],
            &["--requirepass", "x", "--requirepass-file", "y"],
            &["--nonsense"],
        ] {
            assert!(command().try_get_matches_from([&["kvserver"], flags].concat()).is_err(), "{flags:?}");
        }
    }
}
