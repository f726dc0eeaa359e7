//! A server in this process and raw clients of it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kvcore::Db;
use kvserver::Server;

/// Starts a server on a port of its own that speaks RESP, with two event loops.
pub fn serve(db: &Db) -> Server {
    serve_at(db, "resp://127.0.0.1:0")
}

pub fn serve_at(db: &Db, url: &str) -> Server {
    Server::builder().store(db.clone()).listen(url.parse().unwrap()).loops(2).start().unwrap()
}

/// A client that knows nothing but bytes.
pub struct Client {
    stream: TcpStream,
}

impl Client {
    pub fn of(server: &Server) -> Client {
        Client::at(server.addresses()[0].tcp().unwrap())
    }

    pub fn at(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next bytes must be these.
    #[track_caller]
    pub fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let mut filled = 0;
        while filled < got.len() {
            match self.stream.read(&mut got[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        assert_eq!(String::from_utf8_lossy(&got[..filled]), String::from_utf8_lossy(wanted));
    }

    /// Reads the next line and returns it without its end, which is `\r\n` or, in the line protocol, `\n`.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\n") {
            if let Err(error) = self.stream.read_exact(&mut byte) {
                panic!("no line: {error}; so far: {:?}", String::from_utf8_lossy(&line));
            }
            line.push(byte[0]);
        }
        line.truncate(line.len() - if line.ends_with(b"\r\n") { 2 } else { 1 });
        String::from_utf8_lossy(&line).into_owned()
    }

    /// Reads up to and including `end`, and returns that.
    #[track_caller]
    pub fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(end.as_bytes()) {
            if let Err(error) = self.stream.read_exact(&mut byte) {
                panic!("no {end:?}: {error}; so far: {:?}", String::from_utf8_lossy(&text));
            }
            text.push(byte[0]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Returns what has arrived, without waiting for more.
    #[track_caller]
    pub fn arrived(&mut self) -> String {
        self.stream.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => panic!("the server has closed; before that it sent {:?}", String::from_utf8_lossy(&bytes)),
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// So many lines, whatever they are.
    #[track_caller]
    pub fn reply_lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// Reads the next reply, which must be a string.
    #[track_caller]
    pub fn bulk(&mut self) -> String {
        String::from_utf8(self.bulk_bytes()).unwrap()
    }

    /// Reads the next reply, which must be a string of any bytes.
    #[track_caller]
    pub fn bulk_bytes(&mut self) -> Vec<u8> {
        let header = self.line();
        let length = header.strip_prefix('$').unwrap_or_else(|| panic!("no string: {header}")).parse().unwrap();
        let mut bytes: Vec<u8> = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(self.line(), "");
        bytes
    }

    /// Sends one line and expects these bytes.
    #[track_caller]
    pub fn ask(&mut self, line: &str, wanted: impl AsRef<[u8]>) {
        self.send(format!("{line}\r\n"));
        self.expect(wanted);
    }

    /// The server must close, and send nothing more. That it falls silent is no end.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            // A server that closes while bytes to it are unread resets the connection.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("not closed: {error}; received {:?}", String::from_utf8_lossy(&rest)),
        }
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
