//! The program around the server: flags, log, store, signals, exit code.
//!
//! It is for a program whose allocator is jemalloc, as `kvserver`'s is.
//!
//! Invariant: the exit code is 0 after an orderly end, 1 if the server cannot start or fails, 2 for bad flags. What has
//! nothing to do with serving is in `tools`.

mod flags;
mod jemalloc;
mod reload;
mod startup;
mod tools;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kvcore::{Db, Options, Policy};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::jemalloc::JEMALLOC;
use self::reload::Reload;
use self::startup::{Config, Flags, Rest};
use crate::admin::logging::{LogLevel, Logging};
use crate::error::{Error, Result};
use crate::net::listener::ListenUrl;
use crate::server::Server;
use crate::server::signals::Registered;
use crate::state::server_config::SavePoint;
use kvstats::process;

/// How often a snapshot is written if something changed, unless `save` or `--snapshot-every` says otherwise.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(300);
/// The environment variable a password may come in, so that it is in no list of processes.
const PASSWORD_VARIABLE: &str = "KVSERVER_REQUIREPASS";

/// The whole program, with the arguments of the process.
#[must_use]
pub fn run() -> ExitCode {
    let flags = Flags::of_process();
    if let Some(offline) = flags.offline() {
        return offline.run();
    }
    let served = flags.read().map_err(Error::from).and_then(|(config, rest)| serve(flags, &config, rest));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed or full: the exit code is right even so.
            let _ = writeln!(std::io::stderr(), "kvserver: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The log of the program, from here on.
fn log_from(level: LogLevel) -> Logging {
    let (filter, handle) = tracing_subscriber::reload::Layer::new(level.0);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Logging::new(level, move |level| {
        // Fails only without the subscriber, which lasts as long as the process.
        let _ = handle.reload(level);
    })
}

fn serve(flags: Flags, config: &Config, mut rest: Rest) -> Result<()> {
    let reload = Reload::new(flags, std::mem::take(&mut rest.lines));
    let signals = Registered::while_starting()?.reloading(move |state| reload.run(state));
    let logging = log_from(config.log_level);
    let mut builder = Server::builder()
        .max_clients(config.max_clients)
        .allow_exposed(config.insecure_listen)
        .debug_commands(config.enable_debug);
    builder = builder.logging(logging).allocator(JEMALLOC).settings(rest.settings);
    if let Some(password) = password(config)? {
        builder = builder.password(password);
    }
    if config.requirepass.is_some() {
        tracing::warn!(
            "every user of this machine can read --requirepass in the list of processes: prefer --requirepass-file, or \
             the environment variable {PASSWORD_VARIABLE}"
        );
    }
    if let Some(path) = &config.file {
        tracing::info!(path = %path.display(), "configuration");
        warn_of_readers(path, rest.has_secrets);
        if !rest.passed_over.is_empty() {
            tracing::info!("these mean nothing here and are passed over: {}", rest.passed_over.join(" "));
        }
        builder = builder.configured(path.clone(), &rest.users, rest.all_channels)?;
    }
    if let Some(path) = &config.acl_file {
        warn_of_readers(path, true);
    }
    if let Some(path) = &config.acl_file {
        builder = builder.acl_file(path)?;
    }
    for place in &config.listeners {
        builder = builder.listening(place.clone());
    }
    if let Some(loops) = config.loops {
        builder = builder.loops(loops);
    }
    process::raise_open_files();
    builder = builder.clients_within_open_files();
    if !config.memory_only {
        let dir = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
        let every = SavePoint { after: SNAPSHOT_EVERY, changes: 1 };
        builder = builder.kept_in(dir.display().to_string(), vec![every]);
    }
    let builder = builder.bind()?;
    let urls = builder.bound_urls();
    let db = open(config)?;
    let outcome = builder.store(db.clone()).obey_signals(signals).start().and_then(|server| {
        announce(config, &urls);
        server.wait()
    });
    let closed = db.close().map_err(Error::from);
    if closed.is_ok() && !config.memory_only {
        tracing::info!("everything is on disk; bye");
    }
    outcome.and(closed)
}

/// Warns if a file with secrets can be read by others than its owner.
fn warn_of_readers(path: &Path, has_secrets: bool) {
    let mode = std::fs::metadata(path).map_or(0, |data| data.permissions().mode() & 0o7777);
    if has_secrets && mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!(
            "the passwords in {path} can be read by others: its permissions are {mode:04o}; run chmod 600 {path}"
        );
    }
}

/// The password as it was given: by flag, by a file of its own, by the environment, or by the configuration file.
fn password(config: &Config) -> Result<Option<Vec<u8>>> {
    let Some(path) = &config.requirepass_file else {
        let given = config.requirepass.clone().map(String::into_bytes);
        let told = given.or_else(|| std::env::var_os(PASSWORD_VARIABLE).map(OsString::into_vec));
        return Ok(told.or_else(|| config.password_of_file.clone().map(String::into_bytes)));
    };
    let failed = |why: &str| Error::Password { path: path.display().to_string(), why: why.to_owned() };
    let text = std::fs::read(path).map_err(|error| failed(&error.to_string()))?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    // Taken for no password it would leave the server open.
    if password.is_empty() { Err(failed("its first line is empty")) } else { Ok(Some(password.to_vec())) }
}

fn open(config: &Config) -> Result<Db> {
    let mut options = Options::new().durability(config.durability);
    if let Some(entries) = config.max_entries {
        options = options.max_entries(entries).eviction(Policy::Lru);
    }
    if config.memory_only {
        return Ok(options.in_memory()?);
    }
    // Snapshots by time are the server's affair, so that CONFIG SET save can change them.
    Ok(options.open(&config.dir)?)
}

/// The start-up log: what it is, where its data are and how safe, and where it listens. What it found in its data the
/// store has said when it was opened.
fn announce(config: &Config, urls: &[ListenUrl]) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), process = std::process::id(), "kvserver");
    if config.memory_only {
        tracing::warn!("nothing is kept on disk");
    } else {
        let dir = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
        tracing::info!(dir = %dir.display(), durability = %config.durability, "data");
    }
    for url in urls {
        tracing::info!("listening on {url}");
    }
    tracing::info!("ready");
}
