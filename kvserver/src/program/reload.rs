//! What SIGHUP reloads: the file of users, and the log level of the configuration file.
//!
//! Invariant: a file with a fault changes nothing, and a flag wins over the file as it does at the start. The log says
//! what was reloaded, and what was not and why.

use std::collections::BTreeSet;
use std::path::Path;

use kvconfig::{ConfigFile, Directive};

use super::startup::Flags;

use crate::admin::logging::LogLevel;
use crate::config::rewrite;
use crate::state::ServerState;

/// What of the start a reload goes by.
pub(crate) struct Reload {
    /// The flags of the program.
    flags: Flags,
    /// The lines of the configuration file as they were read at the start.
    lines: Vec<Directive>,
}

impl Reload {
    /// A reload that goes by these flags and compares with these lines.
    pub(crate) fn new(flags: Flags, lines: Vec<Directive>) -> Reload {
        Reload { flags, lines }
    }

    /// Reads the files and says in the log what became of it.
    pub(crate) fn run(&self, state: &ServerState) {
        let config = state.config.config_file.as_deref();
        if state.acl.file.is_none() && config.is_none() {
            tracing::info!("SIGHUP: there is nothing to reload, neither a configuration file nor a file of users");
            return;
        }
        reload_users(state);
        if let Some(path) = config {
            self.reload_configuration(state, path);
        }
    }

    fn reload_configuration(&self, state: &ServerState, path: &Path) {
        let read = ConfigFile::read(path).and_then(|file| Ok((self.flags.config(&file)?, file)));
        let (level, file) = match read {
            Ok((config, file)) => (config.log_level, file),
            Err(error) => {
                tracing::error!("SIGHUP: the configuration file was not reloaded, all stays as it is: {error}");
                return;
            }
        };
        if file.names("loglevel") {
            if self.flags.given("loglevel") {
                tracing::info!("SIGHUP: the log level stays as it is: the flag --log-level wins over the file");
            } else {
                set_level(state, level);
            }
        }
        let changed = self.changed(&file, state);
        if !changed.is_empty() {
            tracing::warn!(
                "SIGHUP: {} differs in what is read at the start only: {}. CONFIG SET changes a running server",
                path.display(),
                changed.join(", ")
            );
        }
    }

    /// The names of the lines that are others than at the start and do not say what holds.
    fn changed(&self, file: &ConfigFile, state: &ServerState) -> Vec<String> {
        let lines = |of: &[Directive], name: &str| -> Vec<Directive> {
            of.iter().filter(|line| line.name == name).cloned().collect()
        };
        let names: BTreeSet<&str> = self.lines.iter().chain(&file.directives).map(|line| line.name.as_str()).collect();
        let differs = |name: &&str| {
            let (before, now) = (lines(&self.lines, name), lines(&file.directives, name));
            let words = |lines: &[Directive]| lines.iter().map(|line| line.words.clone()).collect::<Vec<_>>();
            *name != "loglevel" && words(&before) != words(&now) && !rewrite::holds(name, &now, &file.path, state)
        };
        names.into_iter().filter(differs).map(str::to_owned).collect()
    }
}

fn reload_users(state: &ServerState) {
    let Some(path) = &state.acl.file else { return };
    match state.acl.load() {
        Ok(changed) => {
            tracing::info!("SIGHUP: the users were reloaded from {}", path.display());
            // No client asked for it: ids of clients begin at 1.
            state.disconnect_users(changed, 0);
        }
        Err(why) => tracing::error!("SIGHUP: the users were not reloaded and stay as they are: {why}"),
    }
}

fn set_level(state: &ServerState, level: LogLevel) {
    let before = state.logging.level();
    if level == before {
        return;
    }
    let say = || tracing::info!("SIGHUP: the log level is {} now, it was {}", level.word(), before.word());
    // Said under whichever of the two levels logs more.
    if level.0 < before.0 {
        say();
    }
    state.logging.set(level);
    if level.0 > before.0 {
        say();
    }
}
