//! Where the server listens: the URL of a listener, and the bound socket.
//!
//! Invariant: a listener speaks one protocol, fixed when it is bound. A unix socket is never reachable by another user,
//! not even for the moment between its creation and the change of its mode.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use kvproto::line::Style;
use socket2::{Domain, Socket, Type};

use crate::error::{Error, Result};

/// Connections the kernel completes for us before we accept them.
const BACKLOG: i32 = 1024;
/// The line protocol's port is not Redis', so that both defaults can be given without a number.
const LINE_PORT: u16 = 7171;
const RESP_PORT: u16 = 6379;
/// The terse style's contract, see the line protocol's table; `?max_key=` and `?max_value=` raise it.
const TERSE_WORD_MAX: usize = 256;

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2 and, after `HELLO 3`, RESP3.
    Resp,
    /// One request a line, one reply a line.
    Line(LineRules),
}

/// The rules of one line listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineRules {
    /// How replies are worded.
    pub style: Style,
    /// Longest key accepted in the terse style, in bytes.
    pub key_bytes_max: usize,
    /// Longest value accepted in the terse style, in bytes.
    pub value_bytes_max: usize,
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP port; port 0 lets the system choose one. The host is a name or a number, without brackets.
    Tcp {
        /// Name or number of the interface.
        host: String,
        /// Port; 0 lets the system choose.
        port: u16,
    },
    /// A unix socket, readable and writable by its owner alone.
    Unix(PathBuf),
}

/// The URL of a listener: `resp://127.0.0.1:6379`, `line://127.0.0.1:7171?style=plain`, `unix:///run/kv.sock`.
///
/// ```
/// let url: kvserver::ListenUrl = "line://127.0.0.1:7171?style=verbose".parse()?;
/// assert_eq!(url.to_string(), "line://127.0.0.1:7171?style=verbose");
/// # Ok::<(), kvserver::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenUrl {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where that is.
    pub place: Place,
}

/// Where a listener turned out to be, with the port the system chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl BoundAddress {
    /// The TCP address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            BoundAddress::Tcp(address) => Some(*address),
            BoundAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundAddress::Tcp(address) => address.fmt(f),
            BoundAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for ListenUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<ListenUrl> {
        let bad = |why: &str| Error::BadUrl { url: text.to_owned(), why: why.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let mut rules =
            LineRules { style: Style::Terse, key_bytes_max: TERSE_WORD_MAX, value_bytes_max: TERSE_WORD_MAX };
        let mut protocol_named = None;
        for setting in query.into_iter().flat_map(|query| query.split('&')).filter(|setting| !setting.is_empty()) {
            let (name, value) = setting.split_once('=').ok_or_else(|| bad("a setting after '?' is name=value"))?;
            let length = || value.parse::<usize>().map_err(|_| bad("max_key and max_value are numbers of bytes"));
            match name {
                "style" => rules.style = value.parse().map_err(|_| bad("style is terse, plain or verbose"))?,
                "max_key" => rules.key_bytes_max = length()?,
                "max_value" => rules.value_bytes_max = length()?,
                "protocol" if scheme == "unix" => protocol_named = Some(value),
                _ => return Err(bad("settings are style, max_key, max_value (and protocol for unix://)")),
            }
        }
        let line = match (scheme, protocol_named) {
            ("resp" | "redis", _) | ("unix", Some("resp")) => false,
            ("line", _) | ("unix", Some("line")) => true,
            ("unix", None) => query.is_some_and(|query| !query.is_empty()),
            ("unix", Some(_)) => return Err(bad("protocol is resp or line")),
            _ => return Err(bad("the scheme is resp, line or unix")),
        };
        if !line && query.is_some_and(|query| query.split('&').any(|s| !s.is_empty() && !s.starts_with("protocol="))) {
            return Err(bad("style, max_key and max_value are settings of the line protocol"));
        }
        let protocol = if line { Protocol::Line(rules) } else { Protocol::Resp };
        let place = if scheme == "unix" {
            if !place.starts_with('/') {
                return Err(bad("a unix socket needs an absolute path, as in unix:///run/kv.sock"));
            }
            Place::Unix(PathBuf::from(place))
        } else {
            let place = place.trim_end_matches('/');
            tcp_place(place, if line { LINE_PORT } else { RESP_PORT }).map_err(bad)?
        };
        Ok(ListenUrl { protocol, place })
    }
}

fn tcp_place(text: &str, default_port: u16) -> std::result::Result<Place, &'static str> {
    const BAD_PORT: &str = "the port is a number from 0 to 65535";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("the bracket of an IPv6 address is not closed")?;
        match after.strip_prefix(':') {
            Some(port) => (host, port.parse().map_err(|_| BAD_PORT)?),
            None if after.is_empty() => (host, default_port),
            None => return Err("after an IPv6 address comes :port"),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err("an IPv6 address stands in brackets, as in [::1]:6379");
            }
            Some((host, port)) => (host, port.parse().map_err(|_| BAD_PORT)?),
            None => (text, default_port),
        }
    };
    if host.is_empty() {
        return Err("it names no host; 127.0.0.1 is this machine alone, 0.0.0.0 every interface");
    }
    Ok(Place::Tcp { host: host.to_owned(), port })
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = matches!(self.protocol, Protocol::Line(_));
        match &self.place {
            Place::Tcp { host, port } => {
                f.write_str(if line { "line://" } else { "resp://" })?;
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")?;
                } else {
                    write!(f, "{host}:{port}")?;
                }
            }
            Place::Unix(path) => write!(f, "unix://{}", path.display())?,
        }
        if let Protocol::Line(rules) = self.protocol {
            let style = match rules.style {
                Style::Terse => "terse",
                Style::Plain => "plain",
                Style::Verbose => "verbose",
            };
            write!(f, "?style={style}")?;
            if rules.key_bytes_max != TERSE_WORD_MAX {
                write!(f, "&max_key={}", rules.key_bytes_max)?;
            }
            if rules.value_bytes_max != TERSE_WORD_MAX {
                write!(f, "&max_value={}", rules.value_bytes_max)?;
            }
        }
        Ok(())
    }
}

/// A place to listen.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) url: ListenUrl,
    /// Where there is no such address, nothing listens on it.
    pub(crate) optional: bool,
}

/// A bound listener, ready to accept.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: ListenSocket,
    pub(crate) protocol: Protocol,
    pub(crate) address: BoundAddress,
    /// Which file the unix socket is: another server may have taken its path by the time this one ends.
    file: Option<FileId>,
}

/// Device and inode.
type FileId = (u64, u64);

fn file_id(path: &Path) -> Option<FileId> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[derive(Debug)]
pub(crate) enum ListenSocket {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl Listener {
    /// Binds `url`. Beyond the loopback anyone on the network could read and write everything, so that needs
    /// `exposed_ok`.
    pub(crate) fn bind(url: &ListenUrl, exposed_ok: bool) -> Result<Listener> {
        let cannot = |source| Error::Listen { url: url.to_string(), source };
        match &url.place {
            Place::Tcp { host, port } => {
                let address = (host.as_str(), *port)
                    .to_socket_addrs()
                    .map_err(cannot)?
                    .next()
                    .ok_or_else(|| cannot(io::Error::other("the host name has no address")))?;
                if !exposed_ok && !is_loopback(address.ip()) {
                    return Err(Error::Exposed { url: url.to_string() });
                }
                let listener = bind_tcp(address).map_err(cannot)?;
                let address = listener.local_addr().map_err(cannot)?;
                Ok(Listener {
                    socket: ListenSocket::Tcp(listener),
                    protocol: url.protocol,
                    address: BoundAddress::Tcp(address),
                    file: None,
                })
            }
            Place::Unix(path) => {
                let (socket, file) = bind_unix(path).map_err(cannot)?;
                Ok(Listener {
                    socket: ListenSocket::Unix(socket),
                    protocol: url.protocol,
                    address: BoundAddress::Unix(path.clone()),
                    file,
                })
            }
        }
    }
}

impl Listener {
    /// Where it is bound, as a URL.
    pub(crate) fn url(&self) -> ListenUrl {
        let place = match &self.address {
            BoundAddress::Tcp(address) => Place::Tcp { host: address.ip().to_string(), port: address.port() },
            BoundAddress::Unix(path) => Place::Unix(path.clone()),
        };
        ListenUrl { protocol: self.protocol, place }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let BoundAddress::Unix(path) = &self.address
            && self.file.is_some()
            && file_id(path) == self.file
        {
            // A leftover is harmless: the next start replaces a socket nobody answers on.
            let _ = fs::remove_file(path);
        }
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Without it a restart fails for a minute on connections of the last run that linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // So that the same port can be had on all addresses of both families, each by its own listener.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

/// Binds in a private directory beside `path` and moves the socket into place once its mode is right: neither a
/// process-wide umask nor a moment in which others can connect. The move also replaces a dead server's leftover.
fn bind_unix(path: &Path) -> io::Result<(mio::net::UnixListener, Option<FileId>)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server answers on it"));
        }
        _ => {}
    }
    let mut private = path.as_os_str().to_owned();
    private.push(format!(".{}", std::process::id()));
    let private = PathBuf::from(private);
    let unplaced = private.join("s");
    // What a killed server with the same process id has left, as happens in containers.
    let _ = fs::remove_file(&unplaced);
    let _ = fs::remove_dir(&private);
    DirBuilder::new().mode(0o700).create(&private)?;
    let bound = mio::net::UnixListener::bind(&unplaced).and_then(|listener| {
        fs::set_permissions(&unplaced, Permissions::from_mode(0o600))?;
        let file = file_id(&unplaced);
        fs::rename(&unplaced, path)?;
        Ok((listener, file))
    });
    let _ = fs::remove_file(&unplaced);
    let _ = fs::remove_dir(&private);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ListenUrl {
        text.parse().unwrap()
    }

    #[test]
    fn urls_read_and_print_alike() {
        for text in [
            "resp://127.0.0.1:6379",
            "resp://[::1]:0",
            "line://127.0.0.1:7171?style=terse",
            "line://localhost:3490?style=verbose",
            "line://127.0.0.1:1?style=terse&max_key=1000&max_value=2000",
            "unix:///run/kv.sock",
            "unix:///run/kv.sock?style=plain",
        ] {
            assert_eq!(url(text).to_string(), text);
        }
    }

    #[test]
    fn each_scheme_has_its_port() {
        assert_eq!(url("resp://localhost").place, Place::Tcp { host: "localhost".into(), port: 6379 });
        assert_eq!(url("line://localhost/").place, Place::Tcp { host: "localhost".into(), port: 7171 });
    }

    #[test]
    fn bad_urls_say_why() {
        for text in [
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "resp://",
            "resp://h:66000",
            "resp://h:x",
            "resp://::1:6379",
            "resp://[::1",
            "resp://h:1?style=plain",
            "line://h:1?style=loud",
            "line://h:1?max_key=-1",
            "line://h:1?nonsense",
            "unix://kv.sock",
            "unix:///kv.sock?protocol=http",
        ] {
            let error = text.parse::<ListenUrl>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_listener_beyond_the_loopback_needs_consent() {
        assert!(matches!(Listener::bind(&url("resp://0.0.0.0:0"), false), Err(Error::Exposed { .. })));
        assert!(Listener::bind(&url("resp://0.0.0.0:0"), true).is_ok());
    }

    #[test]
    fn a_unix_socket_is_private_replaces_a_dead_one_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv.sock");
        let url = url(&format!("unix://{}", path.display()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&url, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        assert!(Listener::bind(&url, false).is_err(), "a living socket is not replaced");
        drop(listener);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// A server that ended removed the socket of the one that had taken its path.
    #[test]
    fn a_unix_socket_of_another_server_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv.sock");
        let url = url(&format!("unix://{}", path.display()));
        let first = Listener::bind(&url, false).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _second = Listener::bind(&url, false).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    /// In a container every server has the process id 1.
    #[test]
    fn what_a_killed_server_of_the_same_process_id_left_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv.sock");
        let private = dir.path().join(format!("kv.sock.{}", std::process::id()));
        fs::create_dir(&private).unwrap();
        drop(std::os::unix::net::UnixListener::bind(private.join("s")).unwrap());
        assert!(Listener::bind(&url(&format!("unix://{}", path.display())), false).is_ok());
    }
}
