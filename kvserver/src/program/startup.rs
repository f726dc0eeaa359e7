//! A configuration file laid under the flags: what the program does at its start, and what it tells the server then.
//!
//! Invariant: a flag that was given wins over the file, whatever the file says; of lines that say the same thing twice
//! the last one counts.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use super::flags::Config;
use crate::admin::logging::LogLevel;
use crate::config::file::{ConfigFile, Directive, Setting};
use crate::config::parameters::{self, InFile, Kind};
use crate::error::Result;
use crate::net::listener::{ListenUrl, Listening, Place, Protocol};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 6379;

/// What a file says beside what its [`Config`] can hold.
#[derive(Default)]
pub(crate) struct Rest {
    pub(crate) settings: Vec<Setting>,
    /// The lines `user ...`, each on the line it has in the file.
    pub(crate) users: Vec<u8>,
    /// `acl-pubsub-default allchannels`
    pub(crate) all_channels: bool,
    pub(crate) passed_over: Vec<String>,
    /// All its lines.
    pub(crate) lines: Vec<Directive>,
    /// It holds a password, or what stands for one.
    pub(crate) has_secrets: bool,
}

/// Redis' two words for where to listen.
#[derive(Default)]
struct Ports {
    hosts: Option<Vec<String>>,
    port: Option<u16>,
}

/// The flags of the process, to lay a file under them more than once.
pub(crate) struct Flags(ArgMatches);

impl Flags {
    /// Reads the flags of the process. Ends it if they are bad.
    pub(crate) fn of_process() -> Flags {
        Flags(Config::command().get_matches())
    }

    /// Whether the flag with this id was given.
    pub(crate) fn given(&self, id: &str) -> bool {
        self.0.value_source(id) == Some(ValueSource::CommandLine)
    }

    fn alone(&self) -> Config {
        let mut config = Config::from_arg_matches(&self.0).unwrap_or_else(|error| error.exit());
        config.listeners = config.listen.iter().map(|url| Listening { url: url.clone(), optional: false }).collect();
        config
    }

    /// Returns what a start with these flags and this file would go by.
    pub(crate) fn config(&self, file: &ConfigFile) -> Result<Config> {
        let mut config = self.alone();
        merge(&mut config, file, &|id| self.given(id)).map(|_| config)
    }

    /// Returns what the process was told: the flags and, under them, the file that they name.
    pub(crate) fn read(&self) -> Result<(Config, Rest)> {
        let mut config = self.alone();
        let mut rest = Rest::default();
        if let Some(path) = &config.file {
            let file = ConfigFile::read(path)?;
            rest = merge(&mut config, &file, &|id| self.given(id))?;
            rest.has_secrets = file.directives.iter().any(Directive::is_secret);
            rest.lines = file.directives;
            config.file = Some(file.path);
        }
        Ok((config, rest))
    }
}

/// Lays the file under `config`. `given`: whether the flag with this id was given.
fn merge(config: &mut Config, file: &ConfigFile, given: &dyn Fn(&str) -> bool) -> Result<Rest> {
    let mut rest = Rest::default();
    let mut ports = Ports::default();
    let mut listeners = Vec::new();
    let mut save: Option<(usize, Vec<String>)> = None;
    let said_dir = file.directives.iter().rfind(|directive| directive.name == "dir").and_then(|dir| dir.one().ok());
    // Redis goes to its directory before it opens anything.
    let base = if given("dir") { Some(config.dir.clone()) } else { said_dir.map(PathBuf::from) };
    let placed = |path: String| base.clone().unwrap_or_default().join(path);
    for directive in &file.directives {
        let fault = |why: String| file.fault(directive.line, format!("{}: {why}", shown_name(&directive.name)));
        let one = || directive.one().map_err(fault);
        match directive.name.as_str() {
            "listen" => {
                for word in directive.texts().map_err(fault)? {
                    let url = word.parse().map_err(|error: crate::Error| fault(error.to_string()))?;
                    listeners.push(Listening { url, optional: false });
                }
            }
            "port" => {
                let number = Kind::Integer(0, 65_535).normalize(&one()?).map_err(fault)?;
                ports.port = number.parse().ok();
            }
            "bind" => ports.hosts = Some(directive.texts().map_err(fault)?),
            "unixsocket" => {
                let path = std::path::absolute(placed(one()?)).map_err(|error| fault(error.to_string()))?;
                let url = ListenUrl { protocol: Protocol::Resp, place: Place::Unix(path) };
                listeners.push(Listening { url, optional: false });
            }
            "dir" if given("dir") => {}
            "dir" => config.dir = PathBuf::from(one()?),
            "memory-only" => {
                let wanted = yes(&one()?).map_err(fault)?;
                let on_disk = ["dir", "durability", "snapshot_every"].iter().any(|flag| given(flag));
                config.memory_only = given("memory_only") || (wanted && !on_disk);
            }
            "protected-mode" => {
                config.insecure_listen = !yes(&one()?).map_err(fault)? || given("insecure_listen");
            }
            "enable-debug-command" => {
                config.enable_debug = yes(&one()?).map_err(fault)? || given("enable_debug");
            }
            "aclfile" if given("acl_file") => {}
            "aclfile" => config.acl_file = Some(one()?).filter(|path| !path.is_empty()).map(placed),
            "acl-pubsub-default" => {
                rest.all_channels = normalized(directive).map_err(fault)? == "allchannels";
            }
            "io-threads" => {
                let number = Kind::Integer(1, 256).normalize(&one()?).map_err(fault)?;
                config.loops = config.loops.or(number.parse().ok());
            }
            "user" => {
                if directive.words.is_empty() {
                    return Err(fault("a value is missing".to_owned()));
                }
                let lines_before = rest.users.iter().filter(|byte| **byte == b'\n').count();
                rest.users.extend(vec![b'\n'; directive.line.saturating_sub(lines_before + 1)]);
                rest.users.extend([&b"user "[..], &directive.words.join(&b' '), b"\n"].concat());
            }
            "maxclients" => {
                let number = normalized(directive).map_err(fault)?;
                if !given("max_clients") {
                    config.max_clients = number.parse().map_err(|_| fault("it is too large".to_owned()))?;
                }
            }
            "max-entries" if given("max_entries") => {}
            "login-timeout" if given("login_timeout") => {}
            "requirepass" => config.password_of_file = Some(one()?).filter(|password| !password.is_empty()),
            "appendfsync" => {
                let word = normalized(directive).map_err(fault)?;
                if !given("durability") {
                    config.durability = word.parse().map_err(|_| fault("it is always, everysec or no".to_owned()))?;
                }
            }
            "loglevel" => {
                let word = normalized(directive).map_err(fault)?;
                if !given("log_level") {
                    config.log_level = LogLevel::of(&word).unwrap_or(config.log_level);
                }
            }
            "save" => {
                let words = directive.texts().map_err(fault)?;
                let points = &mut save.get_or_insert_default().1;
                match words.as_slice() {
                    [word] if word.is_empty() => points.clear(),
                    _ => points.extend(words),
                }
                save.get_or_insert_default().0 = directive.line;
            }
            "client-output-buffer-limit" => {
                let value = directive.texts().map_err(fault)?.join(" ");
                rest.settings.extend(setting(file, directive, value));
            }
            name => {
                if let Some(why) = refusal(name) {
                    return Err(fault(why.to_owned()));
                }
                let row = parameters::lookup(name.as_bytes()).ok_or_else(|| fault(NO_SUCH.to_owned()))?;
                match row.in_file {
                    InFile::Refused(why) => return Err(fault(why.to_owned())),
                    InFile::Only(words, _) if words.contains(&one()?.to_ascii_lowercase().as_str()) => continue,
                    InFile::Only(_, why) => return Err(fault(why.to_owned())),
                    InFile::PassedOver => rest.passed_over.push(name.to_owned()),
                    InFile::Sets => {}
                }
                // What is passed over is kept all the same, so that CONFIG GET shows what the file says and CONFIG REWRITE
                // leaves the line.
                if matches!(row.in_file, InFile::Sets) || row.is_rewritten() {
                    let value = normalized(directive).map_err(fault)?;
                    rest.settings.extend(setting(file, directive, value));
                }
            }
        }
    }
    if let Some((line, points)) = save.filter(|_| !given("snapshot_every")) {
        let directive = Directive { line, name: "save".to_owned(), words: Vec::new() };
        rest.settings.extend(setting(file, &directive, points.join(" ")));
    }
    if config.memory_only {
        rest.settings.retain(|setting| setting.row.name != "appendonly");
    }
    listeners.splice(0..0, ports.listeners());
    if !given("listen") && !listeners.is_empty() {
        config.listeners = listeners;
    } else if !given("listen") && ports.port == Some(0) {
        let line = file.directives.iter().rfind(|directive| directive.name == "port").map_or(0, |port| port.line);
        return Err(file.fault(line, "'port': this leaves nowhere to listen"));
    }
    if !rest.users.is_empty() && config.acl_file.is_some() {
        let line = file.directives.iter().find(|directive| directive.name == "user").map_or(0, |user| user.line);
        return Err(file.fault(line, "'user': users stand either here or in a file of users, not in both"));
    }
    Ok(rest)
}

impl Ports {
    /// One on each host; none if the port is 0, or if neither was said.
    fn listeners(&self) -> Vec<Listening> {
        let Ports { hosts, port } = self;
        if hosts.is_none() && port.is_none() || *port == Some(0) {
            return Vec::new();
        }
        let hosts = hosts.clone().unwrap_or_else(|| vec![DEFAULT_HOST.to_owned()]);
        let listening = |host: &String| {
            let (host, optional) = host.strip_prefix('-').map_or((&**host, false), |host| (host, true));
            let host = match host {
                "*" => "0.0.0.0",
                "::*" => "::",
                host => host,
            };
            let place = Place::Tcp { host: host.to_owned(), port: port.unwrap_or(DEFAULT_PORT) };
            Listening { url: ListenUrl { protocol: Protocol::Resp, place }, optional }
        };
        hosts.iter().map(listening).collect()
    }
}

/// Returns why a line cannot be obeyed that is no parameter of a running server.
fn refusal(name: &str) -> Option<&'static str> {
    Some(match name {
        "include" => "other files are not read in: put their lines here",
        "rename-command" => "commands cannot be renamed: take them away from a user, as in `user default -flushall`",
        "loadmodule" => "there are no modules here",
        "requirepass-file" => "that is a flag of the program only",
        name if name.starts_with("sentinel") => "this is no sentinel",
        _ => return None,
    })
}

const NO_SUCH: &str = "there is no such parameter";

/// The value of a line that sets a parameter.
fn normalized(directive: &Directive) -> std::result::Result<String, String> {
    let row = parameters::lookup(directive.name.as_bytes()).ok_or(NO_SUCH)?;
    row.kind.normalize(&directive.value(row.kind)?)
}

fn setting(file: &ConfigFile, directive: &Directive, value: String) -> Option<Setting> {
    let row = parameters::lookup(directive.name.as_bytes())?;
    Some(Setting { place: file.place(directive.line), row, value })
}

fn yes(word: &str) -> std::result::Result<bool, String> {
    Ok(Kind::Bool.normalize(word)? == "yes")
}

/// A name as an error shows it: of what was no text, or has no end, the beginning.
fn shown_name(name: &str) -> String {
    let shown: String = name.chars().take(64).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("'{shown}'")
}
