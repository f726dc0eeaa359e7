//! A mode's connection to the server.
//!
//! Invariant: no wait for a reply outlasts Ctrl-C by more than a moment.

use super::{Failure, Result, Setting, TICK, note};
use kvclient::{Connection, Options, Reply};
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How much is sent ahead, in bytes: what fits the buffers between client and server.
const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// The longest time between two attempts to connect again; the interval of rows if that is shorter.
const RECONNECT_EVERY: Duration = Duration::from_secs(1);
/// How often that is tried where no terminal shows it: a program that nobody watches must end by itself.
const RECONNECTS_UNWATCHED_MAX: u32 = 60;

/// How long a login may take then.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, and how to make another one.
#[derive(Debug)]
pub struct Link<'s> {
    setting: &'s Setting<'s>,
    connection: Connection,
}

impl<'s> Link<'s> {
    pub fn connect(setting: &'s Setting<'s>) -> Result<Link<'s>> {
        let connection = Connection::connect_with(&setting.address, setting.options.clone())?;
        Ok(Link { setting, connection })
    }

    /// Sends a request and waits for its reply; `None` after Ctrl-C.
    pub fn exchange<I>(&mut self, words: I) -> Result<Option<Reply>>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        self.connection.send(words)?;
        self.receive()
    }

    /// The same, over a new connection if the one at hand is lost: a server that is watched may be restarted meanwhile.
    pub fn exchange_again<I>(&mut self, words: I) -> Result<Option<Reply>>
    where
        I: IntoIterator + Clone,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        loop {
            match self.exchange(words.clone()) {
                Err(Failure::Client(error)) if error.is_disconnect() => {
                    let bound = if is_watched() { "until Ctrl-C" } else { "60 times" };
                    note(&format!("kvclient: {error} (tried {bound})"));
                    if !self.reconnect() {
                        return if self.setting.is_interrupted() { Ok(None) } else { Err(Failure::Client(error)) };
                    }
                }
                result => return result,
            }
        }
    }

    /// Sends requests and waits for the replies to all of them, with few round trips; `None` after Ctrl-C.
    pub fn exchange_all<R, I>(&mut self, requests: R) -> Result<Option<Vec<Reply>>>
    where
        R: IntoIterator<Item = I>,
        I: IntoIterator + Clone,
        I::IntoIter: ExactSizeIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut replies = Vec::new();
        let (mut awaited, mut bytes) = (0, 0);
        for request in requests {
            bytes += request.clone().into_iter().map(|word| word.as_ref().len() + 16).sum::<usize>();
            self.connection.queue(request);
            awaited += 1;
            if bytes > AHEAD_BYTES_MAX {
                if !self.receive_all(awaited, &mut replies)? {
                    return Ok(None);
                }
                (awaited, bytes) = (0, 0);
            }
        }
        Ok(self.receive_all(awaited, &mut replies)?.then_some(replies))
    }

    fn receive_all(&mut self, awaited: usize, replies: &mut Vec<Reply>) -> Result<bool> {
        self.connection.flush()?;
        for _ in 0..awaited {
            match self.receive()? {
                Some(reply) => replies.push(reply),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn receive(&mut self) -> Result<Option<Reply>> {
        while !self.setting.is_interrupted() {
            match self.connection.receive_within(TICK)? {
                None | Some(Reply::Push(_)) => {}
                Some(reply) => return Ok(Some(reply)),
            }
        }
        Ok(None)
    }

    /// Connects again, however long that takes while a terminal shows it; false after Ctrl-C.
    fn reconnect(&mut self) -> bool {
        let pause = self.setting.interval.unwrap_or(RECONNECT_EVERY).min(RECONNECT_EVERY);
        let mut tried = 0;
        let options = Options { reply_timeout: Some(LOGIN_TIMEOUT), ..self.setting.options.clone() };
        while self.setting.wait_until(Instant::now() + pause) {
            if tried >= RECONNECTS_UNWATCHED_MAX && !is_watched() {
                return false;
            }
            tried += 1;
            // Looking up a name cannot be interrupted, so nobody waits for that thread.
            let (sender, receiver) = mpsc::channel();
            let (address, options) = (self.setting.address.clone(), options.clone());
            thread::spawn(move || {
                // After Ctrl-C nobody receives it.
                let _ = sender.send(Connection::connect_with(&address, options));
            });
            while !self.setting.is_interrupted() {
                match receiver.recv_timeout(TICK) {
                    Ok(Ok(connection)) => {
                        self.connection = connection;
                        return true;
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        }
        false
    }
}

/// Returns whether a terminal shows what is printed. One that is gone, as under `nohup`, is none.
fn is_watched() -> bool {
    io::stdout().is_terminal()
}
