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
