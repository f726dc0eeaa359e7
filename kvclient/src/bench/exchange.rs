//! Requests and their replies over a connection that blocks: what comes before a run, and large values one at a time.
//!
//! Invariant: when a call returns `Ok`, every request sent has been replied to.

use crate::bench::options::Settings;
use crate::bench::replies::{ReplyKind, ReplyScanner, Wire};
use crate::bench::workload::Workload;
use kvclient::connection::Stream;
use kvclient::format::write_visible_line;
use std::io::{self, Read, Write};

/// A connection in step.
#[derive(Debug)]
pub struct Exchange {
    stream: Stream,
    scanner: ReplyScanner,
    buffer: Vec<u8>,
}

const READ_BYTES: usize = 256 * 1024;
/// How much is sent before replies are read: it has to fit the buffers between here and the server.
const AHEAD_BYTES: usize = 16 * 1024;

impl Exchange {
    /// Takes over a connection that is logged in.
    pub fn new(stream: Stream, wire: Wire) -> Exchange {
        Exchange { stream, scanner: ReplyScanner::new(wire), buffer: vec![0; READ_BYTES] }
    }

    /// Returns the connection.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// Sends `requests` and waits for `count` replies. Returns how many of them are nil.
    ///
    /// # Errors
    ///
    /// A message for the user: the connection failed, or a reply is an error.
    pub fn run(&mut self, requests: &[u8], count: usize) -> Result<usize, String> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no reply in time".to_owned(),
            _ => format!("the connection failed: {error}"),
        };
        self.stream.write_all(requests).map_err(failed)?;
        let (mut seen, mut nils) = (0, 0);
        let mut refused = None;
        while seen < count {
            let read = match self.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            let scanned = self.scanner.feed(self.buffer.get(..read).unwrap_or_default(), |kind, text| {
                seen += 1;
                nils += usize::from(kind == ReplyKind::Nil);
                if kind == ReplyKind::Error && refused.is_none() {
                    let mut visible = Vec::new();
                    write_visible_line(text, &mut visible);
                    refused = Some(String::from_utf8_lossy(&visible).into_owned());
                }
            });
            scanned.map_err(|error| format!("the protocol was violated: {error}"))?;
        }
        match refused {
            Some(text) => Err(format!("the server replied: {text}")),
            None if seen > count => Err("the protocol was violated: the server sent a reply too many".to_owned()),
            None => Ok(nils),
        }
    }

    /// Stores the keys that a run's GET draws from, until `stops` says so. Returns how many were stored.
    ///
    /// # Errors
    ///
    /// As of [`Exchange::run`].
    pub fn load(&mut self, workload: &Workload, settings: &Settings, stops: impl Fn() -> bool) -> Result<u64, String> {
        // Not the choices of one of the connections.
        let mut source = workload.source(settings, settings.connections);
        let mut requests = Vec::new();
        let (mut count, mut loaded) = (0, 0);
        for key in 0..workload.keys_to_load() {
            workload.encode_load(key, &mut source, &mut requests);
            count += 1;
            if requests.len() >= AHEAD_BYTES {
                self.run(&requests, count)?;
                loaded += count as u64;
                (count, requests) = (0, {
                    requests.clear();
                    requests
                });
                if stops() {
                    return Ok(loaded);
                }
            }
        }
        self.run(&requests, count)?;
        Ok(loaded + count as u64)
    }
}
