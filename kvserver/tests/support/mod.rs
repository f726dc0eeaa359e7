//! A server in this process and raw clients of it.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read, Write};
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

    /// The next line, without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }

    /// So many lines, whatever they are.
    #[track_caller]
    pub fn reply_lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// The next reply, which must be a string.
    #[track_caller]
    pub fn bulk(&mut self) -> String {
        let header = self.line();
        let length = header.strip_prefix('$').unwrap_or_else(|| panic!("no string: {header}")).parse().unwrap();
        let mut bytes: Vec<u8> = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(self.line(), "");
        String::from_utf8(bytes).unwrap()
    }

    /// Sends one line and expects these bytes.
    #[track_caller]
    pub fn ask(&mut self, line: &str, wanted: impl AsRef<[u8]>) {
        self.send(format!("{line}\r\n"));
        self.expect(wanted);
    }

    /// The server has closed, and sent nothing more.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = self.stream.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    /// Everything until the server closes or falls silent for a moment.
    pub fn drain(&mut self) -> String {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        self.stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}
