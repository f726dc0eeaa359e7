//! The flags and variables that say where the server is, and as whom to speak to it.
//!
//! Invariant: a flag wins over a URL, and a URL over a variable; and a login that was given for one server is not sent to
//! another: flags that name a server leave nothing of `KVCLIENT_URL`.

use crate::settings::Servers;
use clap::Args;
use kvclient::Address;
use kvclient::address::Scheme;
use std::env;
use std::path::PathBuf;

/// The server: by a URL, or by redis-cli's flags.
#[derive(Debug, Default, Args)]
pub struct Target {
    /// The server: redis://[user:password@]host[:port][/db], line:// likewise, unix:///path, host:port, or @NAME of the
    /// file of settings [default: redis://127.0.0.1:6379]
    #[arg(short, long, value_name = "URL", conflicts_with_all = ["host", "port", "socket"])]
    pub url: Vec<String>,
    /// The server's host [default: 127.0.0.1]
    #[arg(short = 'h', long, global = true)]
    host: Option<String>,
    /// The server's port [default: 6379]
    #[arg(short, long, global = true)]
    port: Option<u16>,
    /// The server's unix socket, instead of host and port
    #[arg(short, long, global = true, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    socket: Option<PathBuf>,
    /// The database to select
    #[arg(short = 'n', long = "db", global = true, value_name = "NUMBER")]
    db: Option<u32>,
    /// The user to log in as, instead of the default user
    #[arg(long, global = true, value_name = "NAME")]
    user: Option<String>,
    /// The password; other users of this machine can see it, unlike one in REDISCLI_AUTH
    #[arg(
        short = 'a',
        long,
        global = true,
        value_name = "PASSWORD",
        allow_hyphen_values = true,
        conflicts_with = "askpass"
    )]
    pass: Option<String>,
    /// Ask for the password on the terminal
    #[arg(long, global = true)]
    askpass: bool,
}

/// `-u` behind the name of a task. It is no global flag: of those the program would see only the ones behind the name.
#[derive(Debug, Default, Args)]
pub struct TaskUrls {
    /// The server, as before the task's name
    #[arg(short, long, value_name = "URL", conflicts_with_all = ["host", "port", "socket"])]
    pub url: Vec<String>,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL of the flag.
    #[error("{0}")]
    Url(kvclient::Error),
    /// A name that no server has.
    #[error("{0}")]
    Name(String),
    /// The URL of the variable.
    #[error("KVCLIENT_URL: {0}")]
    Variable(kvclient::Error),
    /// More URLs than servers that the task is for.
    #[error("-u may be given {0} here")]
    UrlCount(&'static str),
    /// A URL, and a flag that says the same in another way.
    #[error("-u cannot be used with -h, -p or -s")]
    UrlAndPlace,
    /// No host.
    #[error("-h needs the name or address of a host; --help lists the flags")]
    NoHost,
    /// A user without a password.
    #[error("--user needs a password: -a, --askpass, or the variable REDISCLI_AUTH")]
    NoPassword,
    /// No terminal to ask on.
    #[error("the password cannot be read from the terminal: {0}")]
    Terminal(std::io::Error),
}

/// Where a server is unless flags, URLs and variables say so.
#[derive(Clone, Copy, Debug)]
struct Defaults {
    scheme: Scheme,
    host: &'static str,
    port: u16,
}

/// Of commands and the prompt.
const COMMAND_DEFAULTS: Defaults = Defaults { scheme: Scheme::Redis, host: "127.0.0.1", port: 6379 };
/// Of the load test.
const BENCH_DEFAULTS: Defaults = Defaults { scheme: Scheme::Line, host: "localhost", port: 7171 };

impl Target {
    /// Returns whether the server is given by a name of the file of settings.
    pub fn has_names(&self) -> bool {
        let variable = if self.names_place() { None } else { env::var("KVCLIENT_URL").ok() };
        self.url.iter().chain(&variable).any(|url| url.starts_with('@'))
    }

    fn names_place(&self) -> bool {
        !self.url.is_empty() || self.host.is_some() || self.port.is_some() || self.socket.is_some()
    }
}

/// Returns the address that flags and variables give; may ask for the password.
pub fn address(target: &Target, servers: &Servers) -> Result<Address, TargetError> {
    check(target)?;
    let url = match target.url.as_slice() {
        [] => None,
        [url] => Some(url),
        _ => return Err(TargetError::UrlCount("once")),
    };
    log_in(target, place(target, url, COMMAND_DEFAULTS, env::var("KVCLIENT_URL").ok(), servers)?, asked(target)?)
}

/// Returns the addresses of the one or two servers of a load test; may ask for the password. `protocol` wins over what the
/// URLs say.
pub fn bench_addresses(
    target: &Target,
    protocol: Option<Scheme>,
    servers: &Servers,
) -> Result<Vec<Address>, TargetError> {
    check(target)?;
    if target.url.len() > 2 {
        return Err(TargetError::UrlCount("once or twice"));
    }
    let defaults = match (protocol, &target.socket) {
        (Some(Scheme::Redis), _) | (None, Some(_)) => Defaults { scheme: Scheme::Redis, port: 6379, ..BENCH_DEFAULTS },
        _ => BENCH_DEFAULTS,
    };
    let asked = asked(target)?;
    let finish = |mut address: Address| {
        address.scheme = protocol.unwrap_or(address.scheme);
        log_in(target, address, asked.clone())
    };
    if target.url.is_empty() {
        return Ok(vec![finish(place(target, None, defaults, env::var("KVCLIENT_URL").ok(), servers)?)?]);
    }
    target.url.iter().map(|url| finish(place(target, Some(url), defaults, None, servers)?)).collect()
}

/// Refuses a server that is named twice in different ways: before the name of a task and behind it, where the flags' own rules
/// do not reach.
fn check(target: &Target) -> Result<(), TargetError> {
    let names_place = target.host.is_some() || target.port.is_some() || target.socket.is_some();
    if names_place && !target.url.is_empty() { Err(TargetError::UrlAndPlace) } else { Ok(()) }
}

/// Asks for the password if a flag says so.
fn asked(target: &Target) -> Result<Option<String>, TargetError> {
    if !target.askpass {
        return Ok(None);
    }
    rpassword::prompt_password("Password: ").map(Some).map_err(TargetError::Terminal)
}

/// Adds to an address what flags and the variable say about database and login.
fn log_in(target: &Target, mut address: Address, asked: Option<String>) -> Result<Address, TargetError> {
    address.db = target.db.unwrap_or(address.db);
    let given = target.pass.clone().or(asked);
    let variable = || env::var("REDISCLI_AUTH").ok().filter(|password| !password.is_empty());
    address.password = given.or(address.password).or_else(variable);
    if target.user.is_some() {
        address.user.clone_from(&target.user);
        if address.password.is_none() {
            return Err(TargetError::NoPassword);
        }
    }
    Ok(address)
}

/// Where the server is, with what a URL says beside that.
fn place(
    target: &Target,
    url: Option<&String>,
    defaults: Defaults,
    variable: Option<String>,
    servers: &Servers,
) -> Result<Address, TargetError> {
    let named = |url: &str| match servers.find(url) {
        Some(found) => found.map(|server| Some(server.address.clone())).map_err(TargetError::Name),
        None => Ok(None),
    };
    if let Some(url) = url {
        return named(url)?.map_or_else(|| url.parse().map_err(TargetError::Url), Ok);
    }
    let mut address = Address {
        scheme: defaults.scheme,
        host: defaults.host.to_owned(),
        port: defaults.port,
        socket: target.socket.clone(),
        ..Address::default()
    };
    if target.host.is_none() && target.port.is_none() && target.socket.is_none() {
        return match variable.filter(|url| !url.is_empty()) {
            Some(url) => named(&url)?.map_or_else(|| url.parse().map_err(TargetError::Variable), Ok),
            None => Ok(address),
        };
    }
    if let Some(host) = &target.host {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() {
            return Err(TargetError::NoHost);
        }
        address.host = bare.to_owned();
    }
    address.port = target.port.unwrap_or(address.port);
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(target: Target, protocol: Option<Scheme>) -> Vec<(Scheme, String)> {
        let addresses = bench_addresses(&target, protocol, &Servers::default()).unwrap();
        addresses.iter().map(|address| (address.scheme, address.to_string())).collect()
    }

    #[test]
    fn a_load_test_speaks_the_line_protocol_unless_flags_say_otherwise() {
        let with_port = |port| Target { port: Some(port), ..Target::default() };
        assert_eq!(bench(with_port(9), None), [(Scheme::Line, "localhost:9".to_owned())]);
        let host = || Target { host: Some("h".to_owned()), ..Target::default() };
        assert_eq!(bench(host(), None), [(Scheme::Line, "h:7171".to_owned())]);
        assert_eq!(bench(host(), Some(Scheme::Redis)), [(Scheme::Redis, "h:6379".to_owned())]);
        let socket = || Target { socket: Some("/s".into()), ..Target::default() };
        assert_eq!(bench(socket(), None), [(Scheme::Redis, "/s".to_owned())]);
        assert_eq!(bench(socket(), Some(Scheme::Line)), [(Scheme::Line, "/s".to_owned())]);
    }

    #[test]
    fn a_load_test_takes_two_servers_and_a_command_one() {
        let urls =
            |urls: &[&str]| Target { url: urls.iter().map(|url| (*url).to_owned()).collect(), ..Target::default() };
        let none = &Servers::default();
        let found = bench(urls(&["redis://a", "line://b"]), None);
        assert_eq!(found, [(Scheme::Redis, "a:6379".to_owned()), (Scheme::Line, "b:7171".to_owned())]);
        assert!(matches!(bench_addresses(&urls(&["a", "b", "c"]), None, none), Err(TargetError::UrlCount(_))));
        assert!(matches!(address(&urls(&["a", "b"]), none), Err(TargetError::UrlCount(_))));
        assert_eq!(address(&urls(&["a:1"]), none).unwrap().to_string(), "a:1");
    }
}
