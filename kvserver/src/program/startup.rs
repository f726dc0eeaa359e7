//! A configuration file laid under the flags: what the program does at its start, and what it tells the server then.
//!
//! Invariant: a flag that was given wins over the file, whatever the file says; of lines that say the same thing twice
//! the last one counts.

use std::path::PathBuf;

use clap::ArgMatches;
use kvconfig::{ConfigFile, Directive, Kind, Place as Origin, Result};
use kvcore::Durability;
use tracing::level_filters::LevelFilter;

use super::flags;
use super::tools::Offline;
use crate::admin::logging::LogLevel;
use crate::config::parameters::{self, InFile, Setting};
use crate::net::listener::{ListenUrl, Listening, Place, Protocol};
use crate::state::server_config::ServerConfig;

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

/// What a start goes by.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) file: Option<PathBuf>,
    pub(crate) dir: PathBuf,
    pub(crate) memory_only: bool,
    pub(crate) listeners: Vec<Listening>,
    pub(crate) insecure_listen: bool,
    pub(crate) enable_debug: bool,
    /// By flag, by the file whose name is a flag, and by the configuration file.
    pub(crate) requirepass: Option<String>,
    pub(crate) requirepass_file: Option<PathBuf>,
    pub(crate) password_of_file: Option<String>,
    pub(crate) acl_file: Option<PathBuf>,
    pub(crate) durability: Durability,
    pub(crate) loops: Option<usize>,
    pub(crate) max_clients: usize,
    pub(crate) max_entries: Option<u64>,
    pub(crate) log_level: LogLevel,
}

/// The flags of the process, to lay a file under them more than once.
pub(crate) struct Flags {
    matches: ArgMatches,
    directives: Vec<Directive>,
}

impl Flags {
    /// Reads the flags of the process. Ends it if they are bad.
    pub(crate) fn of_process() -> Flags {
        let matches = flags::command().get_matches();
        Flags { directives: flags::directives(&matches), matches }
    }

    /// Returns the subcommand, if there is one.
    pub(crate) fn offline(&self) -> Option<Offline> {
        flags::program(&self.matches).offline
    }

    /// Whether a flag was given that stands for a line of this name.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.directives.iter().any(|flag| flag.name == name)
    }

    /// Whether flags say what a line of this name does.
    fn override_line(&self, name: &str) -> bool {
        match name {
            // Both are kept: the environment stands between them.
            "requirepass" => false,
            "port" | "bind" | "unixsocket" => self.given("listen"),
            "memory-only" => ["memory-only", "dir", "appendfsync", "save"].iter().any(|name| self.given(name)),
            name => self.given(name),
        }
    }

    /// Returns what a start with these flags and this file would go by.
    pub(crate) fn config(&self, file: &ConfigFile) -> Result<Config> {
        self.lay(Some(file)).map(|(config, _)| config)
    }

    /// Returns what the process was told: the flags and, under them, the file that they name.
    pub(crate) fn read(&self) -> Result<(Config, Rest)> {
        let Some(path) = flags::program(&self.matches).file else { return self.lay(None) };
        let file = ConfigFile::read(&path)?;
        let (mut config, mut rest) = self.lay(Some(&file))?;
        rest.has_secrets = file.directives.iter().any(parameters::is_secret);
        rest.lines = file.directives;
        config.file = Some(file.path.to_path_buf());
        Ok((config, rest))
    }

    /// Lays the flags over the file.
    fn lay(&self, file: Option<&ConfigFile>) -> Result<(Config, Rest)> {
        let of_file = file.into_iter().flat_map(|file| &file.directives);
        let lines = of_file.filter(|line| !self.override_line(&line.name)).chain(&self.directives);
        let program = flags::program(&self.matches);
        let config = Config { requirepass_file: program.requirepass_file, ..Config::default() };
        obey(config, &lines.collect::<Vec<_>>())
    }
}

impl Default for Config {
    fn default() -> Config {
        let defaults = ["resp://127.0.0.1:6379", "line://127.0.0.1:7171"];
        let listening = |url: &str| Some(Listening { url: url.parse().ok()?, optional: false });
        Config {
            file: None,
            dir: PathBuf::from("kvdata"),
            memory_only: false,
            listeners: defaults.into_iter().filter_map(listening).collect(),
            insecure_listen: false,
            enable_debug: false,
            requirepass: None,
            requirepass_file: None,
            password_of_file: None,
            acl_file: None,
            durability: Durability::EverySecond,
            loops: None,
            max_clients: ServerConfig::default().clients_max,
            max_entries: None,
            log_level: LogLevel(LevelFilter::INFO),
        }
    }
}

/// Obeys directives, those of the file before the flags.
fn obey(mut config: Config, lines: &[&Directive]) -> Result<(Config, Rest)> {
    let mut rest = Rest::default();
    let mut ports = Ports::default();
    let mut listeners = Vec::new();
    let mut save: Option<(&Directive, Vec<String>)> = None;
    // Redis goes to its directory before it opens anything.
    let base = lines.iter().rfind(|line| line.name == "dir").and_then(|dir| dir.one().ok()).map(PathBuf::from);
    for &directive in lines {
        let is_flag = directive.place == Origin::Flag;
        let fault = |why: String| directive.fault(why);
        let one = || directive.one().map_err(fault);
        let placed = |path: String| base.clone().filter(|_| !is_flag).unwrap_or_default().join(path);
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
            "dir" => config.dir = PathBuf::from(one()?),
            "memory-only" => config.memory_only = yes(&one()?).map_err(fault)?,
            "protected-mode" => config.insecure_listen = !yes(&one()?).map_err(fault)?,
            "enable-debug-command" => config.enable_debug = yes(&one()?).map_err(fault)?,
            "aclfile" => config.acl_file = Some(one()?).filter(|path| !path.is_empty()).map(placed),
            "acl-pubsub-default" => {
                rest.all_channels = normalized(directive).map_err(fault)? == "allchannels";
            }
            "io-threads" => {
                let number = Kind::Integer(1, 256).normalize(&one()?).map_err(fault)?;
                config.loops = number.parse().ok();
            }
            "user" => {
                if directive.words.is_empty() {
                    return Err(directive.fault("a value is missing".to_owned()));
                }
                let lines_before = rest.users.iter().filter(|byte| **byte == b'\n').count();
                rest.users.extend(vec![b'\n'; directive.place.line().saturating_sub(lines_before + 1)]);
                rest.users.extend([&b"user "[..], &directive.words.join(&b' '), b"\n"].concat());
            }
            "maxclients" => {
                let number = normalized(directive).map_err(fault)?;
                config.max_clients = number.parse().map_err(|_| fault("it is too large".to_owned()))?;
            }
            "max-entries" if is_flag => config.max_entries = one()?.parse().ok(),
            "requirepass" if is_flag => config.requirepass = Some(one()?),
            "requirepass" => config.password_of_file = Some(one()?).filter(|password| !password.is_empty()),
            "appendfsync" => {
                let word = normalized(directive).map_err(fault)?;
                config.durability = word.parse().map_err(|_| fault("it is always, everysec or no".to_owned()))?;
            }
            "loglevel" if is_flag => config.log_level = one()?.parse().map(LogLevel).unwrap_or(config.log_level),
            "loglevel" => {
                let word = normalized(directive).map_err(fault)?;
                config.log_level = LogLevel::of(&word).unwrap_or(config.log_level);
            }
            "save" => {
                let words = directive.texts().map_err(fault)?;
                let mut points = save.take().map_or_else(Vec::new, |(_, points)| points);
                match words.as_slice() {
                    [word] if word.is_empty() => points.clear(),
                    _ => points.extend(words),
                }
                save = Some((directive, points));
            }
            "client-output-buffer-limit" => {
                let value = directive.texts().map_err(fault)?.join(" ");
                rest.settings.extend(setting(directive, value));
            }
            name => {
                if let Some(why) = refusal(name) {
                    return Err(directive.fault(why.to_owned()));
                }
                let row = parameters::lookup(name.as_bytes()).ok_or_else(|| fault(NO_SUCH.to_owned()))?;
                match row.in_file {
                    InFile::Refused(why) => return Err(directive.fault(why.to_owned())),
                    InFile::Only(words, _) if words.contains(&one()?.to_ascii_lowercase().as_str()) => continue,
                    InFile::Only(_, why) => return Err(directive.fault(why.to_owned())),
                    InFile::PassedOver => rest.passed_over.push(name.to_owned()),
                    InFile::Sets => {}
                }
                // What is passed over is kept all the same, so that CONFIG GET shows what the file says and CONFIG REWRITE
                // leaves the line.
                if matches!(row.in_file, InFile::Sets) || row.is_rewritten() {
                    let value = normalized(directive).map_err(fault)?;
                    rest.settings.extend(setting(directive, value));
                }
            }
        }
    }
    if let Some((directive, points)) = save {
        rest.settings.extend(setting(directive, points.join(" ")));
    }
    if config.memory_only {
        rest.settings.retain(|setting| setting.row.name != "appendonly");
    }
    listeners.splice(0..0, ports.listeners());
    let last = |name: &str| lines.iter().rfind(|line| line.name == name);
    if !listeners.is_empty() {
        config.listeners = listeners;
    } else if let Some(port) = last("port").filter(|_| ports.port == Some(0)) {
        return Err(port.fault("this leaves nowhere to listen"));
    }
    if let Some(user) = lines.iter().find(|line| line.name == "user").filter(|_| config.acl_file.is_some()) {
        return Err(user.fault("users stand either here or in a file of users, not in both"));
    }
    Ok((config, rest))
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

fn setting(directive: &Directive, value: String) -> Option<Setting> {
    let row = parameters::lookup(directive.name.as_bytes())?;
    Some(Setting { place: directive.place.clone(), row, value })
}

fn yes(word: &str) -> std::result::Result<bool, String> {
    Ok(Kind::Bool.normalize(word)? == "yes")
}
