//! The program's flags, and what else it can be told in their place.
//!
//! Invariant: with neither flags nor a file the data is kept on disk and only this machine is served.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kvcore::Durability;

use super::tools::Offline;
use crate::admin::logging::LogLevel;
use crate::net::listener::{ListenUrl, Listening};

/// A durable key-value server that speaks Redis' protocol, and lines for people and scripts.
///
/// With no flags it keeps its data in ./kvdata and serves this machine alone: Redis clients on port 6379, lines
/// (try `nc 127.0.0.1 7171`) on port 7171.
#[derive(Debug, Parser)]
#[command(
    name = "kvserver",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Signals: SIGTERM and SIGINT stop the server in order, a second one at once. SIGHUP reloads the file of \
                  users and the log level of the configuration file."
)]
pub(crate) struct Config {
    /// What to do with a store instead of serving it.
    #[command(subcommand)]
    pub(crate) offline: Option<Offline>,

    /// A file of settings, one a line as in redis.conf; flags win over it, and CONFIG REWRITE writes it
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Where the data is kept; made if it does not exist
    #[arg(long, value_name = "DIR", default_value = "kvdata")]
    pub(crate) dir: PathBuf,

    /// Keep nothing on disk
    #[arg(long, conflicts_with_all = ["dir", "durability", "snapshot_every"])]
    pub(crate) memory_only: bool,

    /// Where to listen; may be given several times. resp://HOST:PORT, line://HOST:PORT[?style=terse|plain|verbose]
    /// [&max_key=N][&max_value=N], unix:///PATH
    #[arg(
        long,
        value_name = "URL",
        default_values = ["resp://127.0.0.1:6379", "line://127.0.0.1:7171"]
    )]
    pub(crate) listen: Vec<ListenUrl>,

    /// Allow listening on addresses that other machines can reach, although no password protects the data
    #[arg(long)]
    pub(crate) insecure_listen: bool,

    /// Obey DEBUG, with which every client can bring the server to a halt: for tests
    #[arg(long)]
    pub(crate) enable_debug: bool,

    /// The password clients have to send with AUTH. Every user of this machine can read it in the list of processes:
    /// prefer --requirepass-file, or the environment variable KVSERVER_REQUIREPASS
    #[arg(long, value_name = "PASSWORD", conflicts_with = "requirepass_file")]
    pub(crate) requirepass: Option<String>,

    /// A file whose first line is the password clients have to send with AUTH
    #[arg(long, value_name = "FILE")]
    pub(crate) requirepass_file: Option<PathBuf>,

    /// A file of users, one a line as ACL LIST shows them; ACL LOAD and ACL SAVE read and write it
    #[arg(long, value_name = "FILE")]
    pub(crate) acl_file: Option<PathBuf>,

    /// When a write is answered: always (it is on disk), everysec (it is on disk within a second), os (the
    /// operating system decides)
    #[arg(long, value_name = "WHEN", default_value = "everysec", value_parser = durability)]
    pub(crate) durability: Durability,

    /// Write a snapshot every so many seconds if something changed; 0 for never by time
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = snapshot_every)]
    pub(crate) snapshot_every: SnapshotEvery,

    /// Event loops, one thread each [default: one for every two cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) loops: Option<u16>,

    /// Connections served at once; further ones are told so and closed
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_clients: u32,

    /// Seconds in which a connection has to log in, where a password is needed, before it is closed; 0 for any number
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) login_timeout: u32,

    /// Keys in all databases; with more, one is evicted by the maxmemory-policy of the configuration file, allkeys-lru if that
    /// names none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
    pub(crate) max_entries: Option<u64>,

    /// How much to log to standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub(crate) log_level: LogLevel,

    /// Where to listen, by flag or by file.
    #[arg(skip)]
    pub(crate) listeners: Vec<Listening>,

    /// `requirepass` of the file.
    #[arg(skip)]
    pub(crate) password_of_file: Option<String>,
}

/// A time between snapshots, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SnapshotEvery(pub(crate) Option<Duration>);

fn durability(text: &str) -> Result<Durability, String> {
    text.parse().map_err(|_| "durability is always, everysec or os".to_owned())
}

fn log_level(text: &str) -> Result<LogLevel, String> {
    text.parse().map(LogLevel).map_err(|_| "a level is error, warn, info, debug or trace".to_owned())
}

fn snapshot_every(text: &str) -> Result<SnapshotEvery, String> {
    let seconds: u32 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    Ok(SnapshotEvery((seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::parameters;
    use crate::server::Server;

    #[test]
    fn the_flags_are_consistent() {
        Config::command().debug_assert();
    }

    /// Flags that stand for no parameter of a running server: where the file is, and where the password.
    const NO_PARAMETERS: [&str; 4] = ["config", "requirepass-file", "help", "version"];

    #[test]
    fn every_flag_sets_a_parameter_of_the_table_and_has_its_default() {
        let command = Config::command();
        let flags: Vec<&str> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        let rows = || parameters::all().filter_map(|row| Some((row, row.flag?)));
        for flag in flags.iter().filter(|flag| !NO_PARAMETERS.contains(flag)) {
            assert!(rows().any(|(_, named)| named == *flag), "--{flag} is in no row");
        }
        let db = kvcore::Db::in_memory();
        let server = Server::builder().store(db).listen("resp://127.0.0.1:0".parse().unwrap()).start().unwrap();
        let config = Config::parse_from(["kvserver"]);
        for (row, flag) in rows() {
            assert!(flags.contains(&flag), "{} names --{flag}, which is no flag", row.name);
            let default = match flag {
                "max-clients" => config.max_clients.to_string(),
                "login-timeout" => config.login_timeout.to_string(),
                "log-level" => config.log_level.word().to_owned(),
                _ => continue,
            };
            assert_eq!(row.value(server.state()), default, "--{flag}");
        }
    }

    #[test]
    fn without_flags_it_serves_this_machine_alone() {
        let config = Config::parse_from(["kvserver"]);
        let urls: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(urls, ["resp://127.0.0.1:6379", "line://127.0.0.1:7171?style=terse"]);
        assert_eq!(config.durability, Durability::EverySecond);
        assert_eq!(config.snapshot_every.0, Some(Duration::from_secs(300)));
    }

    #[test]
    fn bad_flags_are_refused() {
        for flags in [
            &["--durability", "sometimes"][..],
            &["--listen", "6379"],
            &["--loops", "0"],
            &["--snapshot-every", "-1"],
            &["--memory-only", "--dir", "x"],
            &["--requirepass", "x", "--requirepass-file", "y"],
            &["--nonsense"],
        ] {
            assert!(Config::try_parse_from([&["kvserver"], flags].concat()).is_err(), "{flags:?}");
        }
    }
}
