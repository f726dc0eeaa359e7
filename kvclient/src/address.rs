//! Where a server is, and as whom to speak to it.
//!
//! Invariant: printing an address never shows the password.

use crate::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The protocol spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `redis://`: RESP.
    Redis,
    /// `line://`: one request a line, one line a reply.
    Line,
}

/// A server's address: `redis://[user:password@]host[:port][/db]`, `line://` likewise, `unix://[user:password@]/path`,
/// or just `host[:port]`. `?db=N` names the database, too; `unix:///path?protocol=line` speaks the line protocol.
///
/// `Display` shows host and port, or the path, alone.
///
/// ```
/// use kvclient::Address;
///
/// let address: Address = "redis://me:secret@example.org:7000/3".parse()?;
/// assert_eq!((address.host.as_str(), address.port, address.db), ("example.org", 7000, 3));
/// assert_eq!(address.to_string(), "example.org:7000");
/// let socket: Address = "unix:///run/kv.sock".parse()?;
/// assert_eq!(socket.to_string(), "/run/kv.sock");
/// # Ok::<(), kvclient::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The protocol.
    pub scheme: Scheme,
    /// A name, or an IP address without brackets. Not used if there is a socket.
    pub host: String,
    /// The port: 6379 for `redis`, 7171 for `line` unless given.
    pub port: u16,
    /// The path of a unix socket, if that is where the server listens.
    pub socket: Option<PathBuf>,
    /// The user to log in as; none for the default user.
    pub user: Option<String>,
    /// The password; none if the server needs none.
    pub password: Option<String>,
    /// The keyspace to select; 0 unless given.
    pub db: u32,
}

impl Default for Address {
    fn default() -> Address {
        Address {
            scheme: Scheme::Redis,
            host: "127.0.0.1".to_owned(),
            port: 6379,
            socket: None,
            user: None,
            password: None,
            db: 0,
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads an address. A user or password with special characters is written with `%XX` escapes.
    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong = |why| Error::Address { why };
        let (scheme, rest) = match text.split_once("://") {
            Some(("redis" | "resp" | "valkey", rest)) => (Scheme::Redis, rest),
            Some(("line", rest)) => (Scheme::Line, rest),
            Some(("unix", rest)) => return unix(rest),
            Some(("rediss" | "resps" | "valkeys" | "lines", _)) => {
                return Err(wrong("TLS is not supported; use redis:// or line://"));
            }
            Some(_) => return Err(wrong("the schemes are redis, line and unix")),
            None => (Scheme::Redis, text),
        };
        // A password may hold any byte but those that are escaped, so the last `@` is the one that counts.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_port(place).ok_or(wrong("the port is no number up to 65535"))?;
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let mut db = read_query(query)?.unwrap_or(0);
        if !path.is_empty() {
            db = path.parse().map_err(|_| wrong("the database after the last / is no number"))?;
        }
        let port = port.unwrap_or(match scheme {
            Scheme::Redis => 6379,
            Scheme::Line => 7171,
        });
        let mut address = Address { scheme, host: host.to_owned(), port, db, ..Address::default() };
        if let Some(login) = login {
            address.log_in(login)?;
        }
        Ok(address)
    }
}

/// Reads what follows `unix://`.
fn unix(rest: &str) -> Result<Address, Error> {
    let wrong = |why| Error::Address { why };
    let needs_path = "a unix socket needs an absolute path, as in unix:///run/kv.sock";
    let (login, path) = rest.split_at(rest.find('/').ok_or(wrong(needs_path))?);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut address = Address { socket: Some(PathBuf::from(path)), ..Address::default() };
    address.db = read_query(query)?.unwrap_or(0);
    if query.split('&').any(|setting| setting == "protocol=line" || setting.starts_with("style=")) {
        address.scheme = Scheme::Line;
    }
    match login.strip_suffix('@') {
        Some(login) => address.log_in(login)?,
        None if login.is_empty() => {}
        None => return Err(wrong(needs_path)),
    }
    Ok(address)
}

/// Returns the database that a query names. The other settings are a listener's, and of no concern here.
fn read_query(query: &str) -> Result<Option<u32>, Error> {
    let Some(db) = query.split('&').find_map(|setting| setting.strip_prefix("db=")) else {
        return Ok(None);
    };
    db.parse().map(Some).map_err(|_| Error::Address { why: "the database after db= is no number" })
}

impl Address {
    /// Takes over what stands before the `@`.
    fn log_in(&mut self, login: &str) -> Result<(), Error> {
        let (user, password) = login.split_once(':').unwrap_or(("", login));
        let unescaped = |text: &str| unescape(text).ok_or(Error::Address { why: "a %XX escape is wrong" });
        self.user = Some(unescaped(user)?).filter(|user| !user.is_empty());
        self.password = Some(unescaped(password)?);
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.socket {
            path.display().fmt(f)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {self} db {}", self.scheme, self.db)
    }
}

/// Host and port; `None` if the port is no port.
fn split_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    match port {
        Some(port) => Some((host, Some(port.parse().ok()?))),
        None => Some((host, None)),
    }
}

/// `text` with its `%XX` escapes read; `None` if one is wrong or the result is no UTF-8.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return String::from_utf8(bytes).ok(),
            [b'%', high, low, after @ ..] => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                after
            }
            [b'%', ..] => return None,
            [byte, after @ ..] => {
                bytes.push(*byte);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Address> {
        text.parse().ok()
    }

    #[test]
    fn every_part_but_the_host_may_be_left_out() {
        assert_eq!(read("redis://127.0.0.1"), Some(Address::default()));
        assert_eq!(
            read("redis://us%40er:p%3A%2F@example.org:7000/3"),
            Some(Address {
                host: "example.org".to_owned(),
                port: 7000,
                user: Some("us@er".to_owned()),
                password: Some("p:/".to_owned()),
                db: 3,
                ..Address::default()
            })
        );
        let secret = read("redis://:secret@h/").unwrap();
        assert_eq!(secret.user, None);
        assert_eq!(secret.password.as_deref(), Some("secret"));
        assert_eq!(read("redis://secret@h").unwrap().password.as_deref(), Some("secret"));
        let line = read("line://[::1]").unwrap();
        assert_eq!((line.scheme, line.to_string().as_str()), (Scheme::Line, "[::1]:7171"));
        assert_eq!(read("line://h:3490?style=verbose").unwrap().port, 3490);
        let line = read("line://me:p@h/1").unwrap();
        assert_eq!((line.user.as_deref(), line.password.as_deref(), line.db), (Some("me"), Some("p"), 1));
        assert_eq!(read("127.0.0.1:6379"), Some(Address::default()));
        assert_eq!(read("[::1]:7000/2").map(|bare| (bare.to_string(), bare.db)), Some(("[::1]:7000".to_owned(), 2)));
        assert_eq!(read("localhost?db=4").map(|bare| (bare.host, bare.db)), Some(("localhost".to_owned(), 4)));
    }

    #[test]
    fn a_unix_socket_is_a_path() {
        let plain = read("unix:///run/a@b.sock").unwrap();
        assert_eq!((plain.scheme, plain.to_string().as_str()), (Scheme::Redis, "/run/a@b.sock"));
        assert_eq!((plain.user, plain.password, plain.db), (None, None, 0));
        let whole = read("unix://me:p%40@/run/kv.sock?db=3").unwrap();
        assert_eq!((whole.user.as_deref(), whole.password.as_deref(), whole.db), (Some("me"), Some("p@"), 3));
        for line in ["unix:///s?protocol=line", "unix:///s?style=plain&db=1"] {
            assert_eq!(read(line).unwrap().scheme, Scheme::Line, "{line}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "http://h",
            "redis://",
            "redis://:6379",
            "redis://h:x",
            "redis://h:99999",
            "redis://h/x",
            "redis://%4@h",
            "redis://%zz@h",
            "rediss://h",
            "unix://",
            "unix://kv.sock",
            "unix://me:p@",
            "unix://x/kv.sock",
            "unix:///kv.sock?db=x",
            "redis://h?db=x",
            "h:x",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = read("redis://me:secret@h").unwrap();
        assert!(!format!("{address} {address:?}").contains("secret"));
        let error = "redis://me:secret@h:x".parse::<Address>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
