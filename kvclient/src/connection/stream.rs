//! What a connection goes over: TCP, or a unix socket.
//!
//! Invariant: timeouts are in force from the moment a stream is opened.

use super::Options;
use crate::address::Address;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// An open stream; [`Client::into_stream`](super::Connection::into_stream) returns a client's.
#[derive(Debug)]
pub enum Stream {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A connection to a unix socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Stream {
    /// Connects: to the unix socket, or to each address that the host's name stands for until one accepts.
    pub(super) fn open(address: &Address, options: &Options) -> io::Result<Stream> {
        let stream = match &address.socket {
            #[cfg(unix)]
            Some(path) => Stream::Unix(UnixStream::connect(path)?),
            #[cfg(not(unix))]
            Some(_) => return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no unix sockets")),
            None => Stream::Tcp(open_tcp(address, options)?),
        };
        stream.set_read_timeout(options.reply_timeout)?;
        stream.set_write_timeout(options.reply_timeout)?;
        Ok(stream)
    }

    /// Sets how long a write waits; `None` for ever.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_write_timeout(timeout),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_write_timeout(timeout),
        }
    }

    /// Sets how long a read waits; `None` for ever.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Returns the same stream once more, so that one thread can read while another one writes.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
        }
    }

    /// Sets whether reading and writing return at once.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As [`Stream::open`], until `gives_up`, which is called with the time that has passed. The system's calls cannot be
/// interrupted: they go on in a thread of their own, and what they open then is closed.
pub(super) fn open_unless(
    address: &Address,
    options: &Options,
    tick: Duration,
    gives_up: impl Fn(Duration) -> bool,
) -> io::Result<Stream> {
    let begin = Instant::now();
    let (sender, receiver) = mpsc::sync_channel(1);
    let (address, options) = (address.clone(), options.clone());
    thread::Builder::new().name("connect".to_owned()).spawn(move || {
        // Nobody waits any longer if this fails.
        let _ = sender.send(Stream::open(&address, &options));
    })?;
    loop {
        match receiver.recv_timeout(tick) {
            Ok(opened) => return opened,
            Err(RecvTimeoutError::Timeout) if !gives_up(begin.elapsed()) => {}
            Err(_) => return Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

fn open_tcp(address: &Address, options: &Options) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for candidate in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, options.connect_timeout) {
            Ok(stream) => {
                // A request is written whole; waiting for more would only delay it.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
