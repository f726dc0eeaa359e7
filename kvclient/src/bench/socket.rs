//! A connection that an event loop waits for: TCP, or a unix socket.
//!
//! Invariant: reading and writing never block; while a connection is being opened they report that they would.

use kvclient::connection::Stream;
use kvclient::{Address, Connection, Options};
use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An open connection.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Takes over a connection that is logged in.
    pub fn new(stream: Stream) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        Ok(match stream {
            Stream::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)),
            #[cfg(unix)]
            Stream::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)),
        })
    }
}

/// Where connections are opened again during a run, and what logs them in.
#[derive(Debug)]
pub struct Endpoint {
    place: Place,
    /// Requests that each new connection begins with, and how many they are.
    pub greeting: Vec<u8>,
    pub greeting_replies: usize,
}

#[derive(Debug)]
enum Place {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Endpoint {
    /// Returns the endpoint that `socket`, a connection to `address`, has reached: the name is not looked up again.
    pub fn of(address: &Address, socket: &Socket) -> io::Result<Endpoint> {
        let place = match (socket, &address.socket) {
            (Socket::Tcp(stream), _) => Place::Tcp(stream.peer_addr()?),
            #[cfg(unix)]
            (Socket::Unix(_), path) => Place::Unix(path.clone().unwrap_or_default()),
        };
        let (greeting, greeting_replies) = Connection::encode_greeting(address, &Options::default());
        Ok(Endpoint { place, greeting, greeting_replies })
    }

    /// Begins to open a connection. What goes wrong later is the error of the first read or write.
    pub fn connect(&self) -> io::Result<Socket> {
        match &self.place {
            Place::Tcp(place) => {
                let stream = TcpStream::connect(*place)?;
                stream.set_nodelay(true)?;
                // Closed by a reset: its port would otherwise be taken for a minute, and there are some 28,000 of them.
                #[cfg(unix)]
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Place::Unix(path) => Socket::new(Stream::Unix(connect_unix(path)?)),
        }
    }
}

/// For so long a connection waits while the server's queue of new connections is full; a call that does not wait would fail.
#[cfg(unix)]
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

/// Opens a connection to a unix socket.
#[cfg(unix)]
fn connect_unix(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket, sockopt};

    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(QUEUE_PATIENCE))?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(rustix::io::Errno::AGAIN) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not take new connections"))
        }
        connected => Ok(connected.map(|()| socket.into())?),
    }
}

/// Some systems have an error of its own for a connection that is still being opened.
fn or_would_block(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::NotConnected { io::ErrorKind::WouldBlock.into() } else { error }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Socket::Tcp(stream) => stream.read(bytes),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.read(bytes),
        };
        read.map_err(or_would_block)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Socket::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.write(bytes),
        };
        written.map_err(or_would_block)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interests),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.reregister(registry, token, interests),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.deregister(registry),
            #[cfg(unix)]
            Socket::Unix(stream) => stream.deregister(registry),
        }
    }
}
