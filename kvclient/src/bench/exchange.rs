//! Requests and their replies over a connection that blocks: what comes before a run, and large values one at a time.
//!
//! Invariant: when a call returns `Ok`, every request sent has been replied to; Ctrl-C ends every wait.

use crate::bench::options::Settings;
use crate::bench::replies::{ReplyKind, ReplyScanner, Wire};
use crate::bench::workload::Workload;
use kvclient::connection::Stream;
use kvclient::format::write_visible_line;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection in step.
#[derive(Debug)]
pub struct Exchange {
    stream: Stream,
    scanner: ReplyScanner,
    buffer: Vec<u8>,
    interrupt: Arc<AtomicBool>,
}

/// How long is waited for the server, and how often at least the interrupt is looked at meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 256 * 1024;
/// How much is sent before replies are read: it has to fit the buffers between here and the server.
const AHEAD_BYTES: usize = 16 * 1024;

impl Exchange {
    /// Takes over a connection that is logged in. Once `interrupt` is set, whatever waits for the server fails.
    ///
    /// # Errors
    ///
    /// A message for the user: the connection failed.
    pub fn new(stream: Stream, wire: Wire, interrupt: Arc<AtomicBool>) -> Result<Exchange, String> {
        let set = stream.set_read_timeout(Some(TICK)).and_then(|()| stream.set_write_timeout(Some(TICK)));
        set.map_err(|error| format!("the connection failed: {error}"))?;
        Ok(Exchange { stream, scanner: ReplyScanner::new(wire), buffer: vec![0; READ_BYTES], interrupt })
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
        let mut sent = 0;
        while let Some(rest) = requests.get(sent..).filter(|rest| !rest.is_empty()) {
            sent += self.wait(|stream, _| stream.write(rest))?;
        }
        let (mut seen, mut nils) = (0, 0);
        let mut refused = None;
        while seen < count {
            let read = match self.wait(|stream, buffer| stream.read(buffer))? {
                0 => return Err("the server closed the connection".to_owned()),
                read => read,
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

    /// Repeats a call to the system until it has read or written something.
    fn wait(&mut self, mut call: impl FnMut(&mut Stream, &mut [u8]) -> io::Result<usize>) -> Result<usize, String> {
        let mut waits_since = None;
        loop {
            match call(&mut self.stream, &mut self.buffer) {
                Ok(count) => return Ok(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                        if self.interrupt.load(Ordering::Relaxed) {
                            return Err("interrupted".to_owned());
                        }
                        if waits_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                            return Err("no reply in time".to_owned());
                        }
                    }
                    _ => return Err(format!("the connection failed: {error}")),
                },
            }
        }
    }

    /// Stores the keys that a run's GET draws from. Returns how many were stored: fewer if it was interrupted.
    ///
    /// # Errors
    ///
    /// As of [`Exchange::run`].
    pub fn load(&mut self, workload: &Workload, settings: &Settings) -> Result<u64, String> {
        // Not the choices of one of the connections.
        let mut source = workload.source(settings, settings.connections);
        let mut requests = Vec::new();
        let (mut count, mut loaded) = (0, 0);
        for key in 0..workload.keys_to_load() {
            workload.encode_load(key, &mut source, &mut requests);
            count += 1;
            if requests.len() >= AHEAD_BYTES {
                if self.interrupt.load(Ordering::Relaxed) {
                    return Ok(loaded);
                }
                self.run(&requests, count)?;
                loaded += count as u64;
                count = 0;
                requests.clear();
            }
        }
        self.run(&requests, count)?;
        Ok(loaded + count as u64)
    }
}
