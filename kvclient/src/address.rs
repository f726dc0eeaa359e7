//! Where a server is, and as whom to speak to it.
//!
//! Invariant: printing an address never shows the password.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// The protocol spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `redis://`: RESP.
    Redis,
    /// `line://`: one request a line, one line a reply.
    Line,
}

/// A server's address: `redis://[user:password@]host[:port][/db]` or `line://host[:port]`.
///
/// `Display` shows host and port alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The protocol.
    pub scheme: Scheme,
    /// A name, or an IP address without brackets.
    pub host: String,
    /// The port: 6379 for `redis`, 7171 for `line` unless given.
    pub port: u16,
    /// The user to log in as; none for the default user.
    pub user: Option<String>,
    /// The password; none if the server asks for none.
    pub password: Option<String>,
    /// The keyspace to select; 0 unless given.
    pub db: u32,
}

impl Default for Address {
    fn default() -> Address {
        Address { scheme: Scheme::Redis, host: "127.0.0.1".to_owned(), port: 6379, user: None, password: None, db: 0 }
    }
}

impl FromStr for Address {
    type Err = Error;

    /// Reads an address. A user or password with special characters is written with `%XX` escapes.
    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong = |why| Error::Address { why };
        let (scheme, rest) = match text.split_once("://") {
            Some(("redis" | "resp", rest)) => (Scheme::Redis, rest),
            Some(("line", rest)) => (Scheme::Line, rest),
            Some(_) => return Err(wrong("only redis:// and line:// are known")),
            None => return Err(wrong("it has no redis:// or line:// in front")),
        };
        // A password may hold any byte but those that are escaped, so the last `@` is the one that counts.
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let place = place.split_once('?').map_or(place, |(place, _)| place);
        let (host, port) = split_port(place).ok_or(wrong("the port is no number up to 65535"))?;
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        let mut address = Address {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or(match scheme {
                Scheme::Redis => 6379,
                Scheme::Line => 7171,
            }),
            ..Address::default()
        };
        if !path.is_empty() {
            address.db = path.parse().map_err(|_| wrong("the database after the last / is no number"))?;
        }
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or(("", login));
            let unescaped = |text: &str| unescape(text).ok_or(wrong("a %XX escape is wrong"));
            address.user = Some(unescaped(user)?).filter(|user| !user.is_empty());
            address.password = Some(unescaped(password)?);
        }
        if scheme == Scheme::Line && (address.password.is_some() || address.db != 0) {
            return Err(wrong("the line protocol has neither login nor database"));
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
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
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://h",
            "redis://",
            "redis://:6379",
            "redis://h:x",
            "redis://h:99999",
            "redis://h/x",
            "redis://%4@h",
            "redis://%zz@h",
            "line://:p@h",
            "line://h/1",
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
