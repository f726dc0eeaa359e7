//! The flags and variables that say where the server is, and as whom to speak to it.
//!
//! Invariant: a flag wins over a URL, and a URL over a variable; and a login that was given for one server is not sent to
//! another: flags that name a server leave nothing of `KVCLIENT_URL`.

use clap::Args;
use kvclient::Address;
use std::env;
use std::path::PathBuf;

/// The server: by a URL, or by redis-cli's flags.
#[derive(Debug, Default, Args)]
pub struct Target {
    /// The server: redis://[user:password@]host[:port][/db], line:// likewise, unix:///path, or host:port
    /// [default: redis://127.0.0.1:6379]
    #[arg(short, long, global = true, value_name = "URL", conflicts_with_all = ["host", "port", "socket"])]
    pub url: Option<String>,
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

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL of the flag.
    #[error("{0}")]
    Url(kvclient::Error),
    /// The URL of the variable.
    #[error("KVCLIENT_URL: {0}")]
    Variable(kvclient::Error),
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

/// Returns the address that flags and variables give; may ask for the password.
pub fn address(target: &Target) -> Result<Address, TargetError> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let mut address = place(target, variable("KVCLIENT_URL"))?;
    address.db = target.db.unwrap_or(address.db);
    let asked = if target.askpass {
        Some(rpassword::prompt_password("Password: ").map_err(TargetError::Terminal)?)
    } else {
        None
    };
    let given = target.pass.clone().or(asked);
    address.password = given.or(address.password).or_else(|| variable("REDISCLI_AUTH"));
    if target.user.is_some() {
        address.user.clone_from(&target.user);
        if address.password.is_none() {
            return Err(TargetError::NoPassword);
        }
    }
    Ok(address)
}

/// Where the server is, with what a URL says beside that.
fn place(target: &Target, variable: Option<String>) -> Result<Address, TargetError> {
    if let Some(url) = &target.url {
        return url.parse().map_err(TargetError::Url);
    }
    if target.host.is_none() && target.port.is_none() && target.socket.is_none() {
        return match variable {
            Some(url) => url.parse().map_err(TargetError::Variable),
            None => Ok(Address::default()),
        };
    }
    let mut address = Address { socket: target.socket.clone(), ..Address::default() };
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
