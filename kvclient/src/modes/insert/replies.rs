//! Counts replies.
//!
//! Invariant: replies are counted in the order of the commands, and messages that are pushed are not among them.

use kvclient::Reply;
use kvproto::ProtocolError;
use kvproto::resp::ReplyDecoder;
use memchr::memchr;
use std::io::{self, Read};

/// The bytes of the mark: redis-cli's length, so that no other reply is likely to be one.
pub const MARK_LENGTH: usize = 20;
/// The largest reply that is accepted, in bytes.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// What came.
#[derive(Debug, PartialEq)]
pub enum Next {
    Good,
    /// An error, to the command of this number, counted from 0.
    Error {
        command: u64,
        text: Vec<u8>,
    },
    /// The reply behind all others.
    Mark,
}

/// The replies of a connection.
#[derive(Debug)]
pub struct Replies {
    mark: Vec<u8>,
    input: Vec<u8>,
    consumed: usize,
    decoder: ReplyDecoder,
    /// A reply is decoded in part.
    is_decoding: bool,
    count: u64,
}

impl Replies {
    /// Returns no replies yet; a bulk reply of the bytes `mark` is the last one.
    pub fn new(mark: &[u8]) -> Replies {
        Replies {
            mark: mark.to_vec(),
            input: Vec::new(),
            consumed: 0,
            decoder: ReplyDecoder::new(REPLY_BYTES_MAX),
            is_decoding: false,
            count: 0,
        }
    }

    /// Returns how many replies came, without the mark.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Reads once; returns how many bytes came.
    pub fn read(&mut self, stream: &mut dyn Read, bytes: usize) -> io::Result<usize> {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let kept = self.input.len();
        self.input.resize(kept + bytes, 0);
        let read = stream.read(self.input.get_mut(kept..).unwrap_or_default());
        self.input.truncate(kept + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Returns what came next; `None` if more has to be read. Good replies that came at once are returned as one.
    pub fn next(&mut self) -> Result<Option<Next>, ProtocolError> {
        if !self.is_decoding {
            let passed = self.pass_short();
            if passed > 0 {
                self.count += passed;
                return Ok(Some(Next::Good));
            }
        }
        let unread = self.input.get(self.consumed..).unwrap_or_default();
        if unread.is_empty() {
            return Ok(None);
        }
        let Some((reply, consumed)) = self.decoder.decode(unread)? else {
            self.is_decoding = true;
            self.consumed += self.decoder.release();
            return Ok(None);
        };
        self.is_decoding = false;
        self.consumed += consumed;
        Ok(Some(match reply {
            Reply::Push(_) => Next::Good,
            Reply::Bulk(bytes) if *bytes == self.mark[..] => Next::Mark,
            Reply::Error(text) => {
                self.count += 1;
                Next::Error { command: self.count - 1, text: text.as_bytes().to_vec() }
            }
            _ => {
                self.count += 1;
                Next::Good
            }
        }))
    }

    /// Passes over the simple texts and integers that stand next, which most replies to writes are; returns how many.
    fn pass_short(&mut self) -> u64 {
        let mut passed = 0;
        loop {
            let unread = self.input.get(self.consumed..).unwrap_or_default();
            if unread.starts_with(b"+OK\r\n") {
                self.consumed += 5;
            } else if matches!(unread.first(), Some(b'+' | b':')) {
                let Some(end) = memchr(b'\n', unread) else { return passed };
                self.consumed += end + 1;
            } else {
                return passed;
            }
            passed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_arrive() {
        let mark = "m".repeat(MARK_LENGTH);
        let bytes = format!("+OK\r\n:1\r\n+PONG\r\n-ERR no\r\n$2\r\nab\r\n*2\r\n:1\r\n+x\r\n+OK\r\n$20\r\n{mark}\r\n");
        for piece in [1, 2, 3, 7, 1000] {
            let mut replies = Replies::new(mark.as_bytes());
            let mut stream = bytes.as_bytes();
            let mut errors = Vec::new();
            'read: while replies.read(&mut stream, piece).unwrap() > 0 {
                while let Some(next) = replies.next().unwrap() {
                    match next {
                        Next::Good => {}
                        Next::Error { command, text } => errors.push((command, text)),
                        Next::Mark => break 'read,
                    }
                }
            }
            assert_eq!((replies.count(), errors), (7, vec![(3, b"ERR no".to_vec())]), "{piece}");
        }
    }

    #[test]
    fn pushed_messages_are_no_replies() {
        let mut replies = Replies::new(b"mark");
        replies.read(&mut &b">1\r\n+x\r\n+OK\r\n"[..], 100).unwrap();
        while replies.next().unwrap().is_some() {}
        assert_eq!(replies.count(), 1);
    }
}
