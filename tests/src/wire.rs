//! One raw TCP connection to a server: bytes out, bytes in.
//!
//! Invariant: every read is bounded by [`PATIENCE`], so a server that does not answer fails a test, it never hangs
//! one. Replies are kept and compared as the bytes that came, not as anything decoded from them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::wait::PATIENCE;

/// A client's end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What has come; `unread..` was not asked for yet.
    arrived: Vec<u8>,
    unread: usize,
}

/// Bytes as a test message shows them: printable, and cut when long.
pub fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    let head = bytes[..bytes.len().min(SHOWN)].escape_ascii();
    if bytes.len() > SHOWN { format!("\"{head}\"... ({} bytes)", bytes.len()) } else { format!("\"{head}\"") }
}

/// Appends a request, spelled as a RESP array of bulk strings, to `out`.
pub fn push_request<W: AsRef<[u8]>>(words: &[W], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        push_bulk(word.as_ref(), out);
    }
}

/// A request, spelled as a RESP array of bulk strings.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut out = Vec::new();
    push_request(words, &mut out);
    out
}

/// The reply that holds the one string `bytes`.
pub fn bulk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    push_bulk(bytes.as_ref(), &mut out);
    out
}

fn push_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When the server does not take the connection.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects; for tests in which the server may be dying.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, arrived: Vec::new(), unread: 0 })
    }

    /// A second handle of the socket, to write on another thread while this one reads.
    ///
    /// # Panics
    ///
    /// When the system is out of descriptors.
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle of a socket")
    }

    /// Sends `bytes` in one write.
    ///
    /// # Errors
    ///
    /// When the server is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends `bytes` in one write.
    ///
    /// # Panics
    ///
    /// When the server is gone.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.try_send(bytes).unwrap_or_else(|error| panic!("cannot send {}: {error}", show(bytes)));
    }

    /// Tells the server that nothing more will be sent; reading goes on.
    ///
    /// # Panics
    ///
    /// When the connection is already gone.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown of the sending half");
    }

    /// Reads more into `arrived`; `UnexpectedEof` when the server closed.
    fn fill(&mut self) -> io::Result<()> {
        if self.unread == self.arrived.len() {
            self.arrived.clear();
            self.unread = 0;
        }
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => {
                self.arrived.extend_from_slice(&chunk[..got]);
                Ok(())
            }
        }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    ///
    /// When the server closes or falls silent before they have come.
    pub fn try_take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.arrived.len() - self.unread < count {
            self.fill()?;
        }
        let taken = self.arrived[self.unread..self.unread + count].to_vec();
        self.unread += count;
        Ok(taken)
    }

    /// The next bytes up to and including a line feed.
    ///
    /// # Errors
    ///
    /// When the server closes or falls silent before it has come.
    pub fn try_line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = self.unread;
        loop {
            if let Some(length) = self.arrived[searched..].iter().position(|&byte| byte == b'\n') {
                let end = searched + length + 1;
                let line = self.arrived[self.unread..end].to_vec();
                self.unread = end;
                return Ok(line);
            }
            let unsearched = self.arrived.len() - self.unread;
            self.fill()?;
            searched = self.unread + unsearched;
        }
    }

    /// The next line.
    ///
    /// # Panics
    ///
    /// When the server closes or falls silent before it has come.
    #[track_caller]
    pub fn line(&mut self) -> Vec<u8> {
        self.try_line().unwrap_or_else(|error| self.fail("a line", &error))
    }

    /// The bytes of the next whole RESP reply (2 or 3), nested ones included.
    ///
    /// # Errors
    ///
    /// When the server closes, falls silent, or sends what is no RESP.
    pub fn try_reply(&mut self) -> io::Result<Vec<u8>> {
        let mut reply = Vec::new();
        // Replies still to read, the outermost included.
        let mut owed = 1_u64;
        while owed > 0 {
            owed -= 1;
            let header = self.try_line()?;
            let length = || {
                std::str::from_utf8(&header[1..])
                    .ok()
                    .and_then(|text| text.trim_end().parse::<i64>().ok())
                    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, show(&header)))
            };
            let body = match header[0] {
                b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => 0,
                b'$' | b'=' | b'!' => usize::try_from(length()?).map_or(0, |length| length + 2),
                b'*' | b'~' | b'>' => {
                    owed += u64::try_from(length()?).unwrap_or(0);
                    0
                }
                b'%' => {
                    owed += 2 * u64::try_from(length()?).unwrap_or(0);
                    0
                }
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, show(&header))),
            };
            reply.extend_from_slice(&header);
            reply.extend_from_slice(&self.try_take(body)?);
        }
        Ok(reply)
    }

    /// The bytes of the next whole RESP reply.
    ///
    /// # Panics
    ///
    /// When the server closes, falls silent, or sends what is no RESP.
    #[track_caller]
    pub fn reply(&mut self) -> Vec<u8> {
        self.try_reply().unwrap_or_else(|error| self.fail("a reply", &error))
    }

    /// Sends one RESP request and answers the bytes of its reply.
    ///
    /// # Errors
    ///
    /// When the server is gone.
    pub fn try_command<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Vec<u8>> {
        self.try_send(&request(words))?;
        self.try_reply()
    }

    /// Sends the words of `line` (blanks part them) as one RESP request and answers the bytes of its reply.
    ///
    /// # Panics
    ///
    /// When the server is gone.
    #[track_caller]
    pub fn command(&mut self, line: &str) -> Vec<u8> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        self.send(request(&words));
        self.reply()
    }

    /// Sends the words of `line` as one RESP request and compares its reply.
    ///
    /// # Panics
    ///
    /// When the reply is another, or none comes.
    #[track_caller]
    pub fn ask(&mut self, line: &str, expected: impl AsRef<[u8]>) {
        let reply = self.command(line);
        let expected = expected.as_ref();
        assert!(reply == expected, "{line}\nexpected {}\nreceived {}", show(expected), show(&reply));
    }

    /// Sends the words of `line`, whose reply is an integer.
    ///
    /// # Panics
    ///
    /// When the reply is none.
    #[track_caller]
    pub fn integer(&mut self, line: &str) -> i64 {
        let reply = self.command(line);
        let digits = reply.strip_prefix(b":").and_then(|rest| std::str::from_utf8(rest).ok());
        digits
            .and_then(|digits| digits.trim_end().parse().ok())
            .unwrap_or_else(|| panic!("{line}: no integer: {}", show(&reply)))
    }

    /// Sends the words of `line`, whose reply is one string.
    ///
    /// # Panics
    ///
    /// When the reply is none.
    #[track_caller]
    pub fn text(&mut self, line: &str) -> String {
        let reply = self.command(line);
        let start = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        assert!(matches!(reply[0], b'$' | b'=') && start < reply.len(), "{line}: no string: {}", show(&reply));
        String::from_utf8_lossy(&reply[start..reply.len() - 2]).into_owned()
    }

    /// Compares the next bytes with `expected`, as they come: a wrong one is told at once, not when a reply that is
    /// shorter than expected has been waited for.
    ///
    /// # Errors
    ///
    /// What was expected and what came.
    pub fn compare(&mut self, expected: &[u8]) -> Result<(), String> {
        let mut compared = 0;
        while compared < expected.len() {
            let rest = &expected[compared..];
            if self.unread == self.arrived.len()
                && let Err(error) = self.fill()
            {
                return Err(format!("expected {}\nof it {} was missing: {error}", show(expected), show(rest)));
            }
            let came = &self.arrived[self.unread..];
            let count = came.len().min(rest.len());
            if came[..count] != rest[..count] {
                let before = if compared == 0 { String::new() } else { format!(" after {compared} right bytes") };
                return Err(format!("expected {}\nreceived {}{before}", show(rest), show(came)));
            }
            self.unread += count;
            compared += count;
        }
        Ok(())
    }

    /// Compares the next bytes with `expected`.
    ///
    /// # Panics
    ///
    /// When others come, or fewer.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        if let Err(difference) = self.compare(expected.as_ref()) {
            panic!("{difference}");
        }
    }

    /// Expects that the server closes the connection and says nothing more.
    ///
    /// # Panics
    ///
    /// When more bytes come, or the connection stays open.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let result = if self.unread < self.arrived.len() { Ok(()) } else { self.fill() };
        match result {
            Ok(()) => panic!("expected the end, received {}", show(&self.arrived[self.unread..])),
            // A server that closes while bytes to it are unread resets the connection; closed is closed.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {}
            Err(error) => panic!("expected the end, but: {error}"),
        }
    }

    #[track_caller]
    fn fail(&self, wanted: &str, error: &io::Error) -> ! {
        panic!("wanted {wanted}, but: {error}; unread: {}", show(&self.arrived[self.unread..]))
    }
}
