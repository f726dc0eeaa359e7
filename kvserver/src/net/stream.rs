//! One socket, TCP or unix: the only place where the two differ.
//!
//! Invariant: nothing here waits for the peer: both kinds of sockets are non-blocking from the moment they are accepted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{SockRef, TcpKeepalive};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Settings that every accepted socket gets. A client that vanished without a word is noticed after about `keepalive`,
    /// or never if that is zero. A failure only means that the client is already gone.
    pub(crate) fn prepare(&self, keepalive: Duration) {
        if let Stream::Tcp(stream) = self {
            let _ = stream.set_nodelay(true);
            if !keepalive.is_zero() {
                let interval = (keepalive / 3).max(Duration::from_secs(1));
                let probes = TcpKeepalive::new().with_time(keepalive).with_interval(interval);
                let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
            }
        }
    }

    /// Registers for everything, edge-triggered, once for the life of the connection.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, both),
            Stream::Unix(stream) => stream.register(registry, token, both),
        }
    }

    // Past the C library, whose calls are each a point at which a thread may be cancelled: together 2 % of the time of a
    // small request.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self, into, RecvFlags::empty())?.0)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self, bytes, SendFlags::NOSIGNAL)?)
    }

    /// The peer's and our own address, as CLIENT LIST shows them.
    pub(crate) fn names(&self) -> (Box<str>, Box<str>) {
        let name = |address: io::Result<std::net::SocketAddr>| match address {
            Ok(address) => address.to_string().into(),
            Err(_) => "?:0".into(),
        };
        match self {
            Stream::Tcp(stream) => (name(stream.peer_addr()), name(stream.local_addr())),
            Stream::Unix(stream) => {
                let path = stream
                    .local_addr()
                    .ok()
                    .and_then(|address| address.as_pathname().map(|path| format!("{}:0", path.display())))
                    .unwrap_or_else(|| "unix:0".to_owned());
                (path.clone().into(), path.into())
            }
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
