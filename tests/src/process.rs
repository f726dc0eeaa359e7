//! The server as a child process.
//!
//! Invariant: no process outlives the test that started it, however the test ends; and every port is chosen by the
//! system, so that tests run side by side. The ports are read from the server's own start-up log.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::wait;
use crate::wire::Wire;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    listeners: Vec<String>,
    working_dir: Option<PathBuf>,
    /// The program that runs it, and its arguments before the server's; none most often.
    within: Vec<String>,
}

impl Launch {
    /// The program at `program` (see [`server_program!`](crate::server_program)), its data in `dir`, without any
    /// listener yet.
    pub fn new(program: &str, dir: &Path) -> Self {
        Self::bare(program).arguments(["--dir", &dir.display().to_string()])
    }

    /// The program without any flag: it takes its defaults for everything that is not added.
    pub fn bare(program: &str) -> Self {
        Launch {
            program: program.into(),
            arguments: Vec::new(),
            listeners: Vec::new(),
            working_dir: None,
            within: Vec::new(),
        }
    }

    /// Adds command line words.
    #[must_use]
    pub fn arguments<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// Adds a RESP listener on a port that the system chooses.
    #[must_use]
    pub fn resp(self) -> Self {
        self.listener("resp://127.0.0.1:0")
    }

    /// Adds a listener of the line protocol, in `style`, on a port that the system chooses.
    #[must_use]
    pub fn line(self, style: &str) -> Self {
        self.listener(&format!("line://127.0.0.1:0?style={style}"))
    }

    /// Adds a TCP listener; the address of its URL is one on 127.0.0.1.
    #[must_use]
    pub fn listener(mut self, url: &str) -> Self {
        self.listeners.push(url.to_owned());
        self.arguments(["--listen", url])
    }

    /// Sets the promise that replies make: `always`, `everysec` or `os`.
    #[must_use]
    pub fn durability(self, durability: &str) -> Self {
        self.arguments(["--durability", durability])
    }

    /// Sets the directory the process runs in.
    #[must_use]
    pub fn working_dir(mut self, dir: &Path) -> Self {
        self.working_dir = Some(dir.to_owned());
        self
    }

    /// Runs it by another program, which must become it (`exec`), so that what is signalled and killed is the server:
    /// that program's own words come first, then the server's program and its words.
    #[must_use]
    pub fn within(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.within = words.into_iter().map(Into::into).collect();
        self
    }

    fn command(&self) -> Command {
        let mut command = match self.within.split_first() {
            None => Command::new(&self.program),
            Some((by, words)) => {
                let mut command = Command::new(by);
                command.args(words).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.working_dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs a server that is expected to end by itself, to its end.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::PATIENCE`]; it is killed then.
    #[track_caller]
    pub fn run_to_end(&self) -> Output {
        let child = self.command().spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let mut guard = KillOnDrop(child);
        // What these runs print is far smaller than a pipe's buffer, so nothing blocks before it is read.
        let what = format!("the end of {:?}", self.arguments);
        let status = wait::until(&what, || guard.0.try_wait().expect("the state of a child"));
        let read = |pipe: Option<&mut dyn std::io::Read>| {
            let mut bytes = Vec::new();
            pipe.expect("a pipe").read_to_end(&mut bytes).expect("a child's output");
            bytes
        };
        let stdout = read(guard.0.stdout.as_mut().map(|pipe| pipe as _));
        let stderr = read(guard.0.stderr.as_mut().map(|pipe| pipe as _));
        Output { status, stdout, stderr }
    }

    /// Starts a server and waits until every listener answers.
    ///
    /// # Panics
    ///
    /// When it ends instead, or is not ready within [`wait::PATIENCE`]; the message holds its log.
    #[track_caller]
    pub fn start(&self) -> ServerProcess {
        let mut server = self.start_without_waiting();
        let wanted = self.listeners.len();
        let addresses = wait::until("the server's listeners", || {
            let ended = server.child.0.try_wait().expect("the state of a child");
            assert!(ended.is_none(), "the server ended: {ended:?}\n{}", server.log());
            self.addresses_in(&server.log())
        });
        assert_eq!(addresses.len(), wanted);
        server.addresses = addresses;
        for (url, &address) in self.listeners.iter().zip(&server.addresses) {
            let pong = if url.starts_with("resp:") { "+PONG\r\n" } else { "PONG\n" };
            wait::until_true(&format!("a PONG from {url}"), || {
                // An error is an answer too: a server that is still loading may say so.
                Wire::try_connect(address)
                    .and_then(|mut wire| wire.try_send(b"PING\r\n").and_then(|()| wire.try_line()))
                    .is_ok_and(|reply| {
                        let reply = String::from_utf8_lossy(&reply);
                        // Or it asks for a password.
                        reply.ends_with(pong) || reply.contains("NOAUTH ")
                    })
            });
        }
        server
    }

    /// Starts a server and returns at once; it has no addresses.
    ///
    /// # Panics
    ///
    /// When the program cannot be run at all.
    #[track_caller]
    pub fn start_without_waiting(&self) -> ServerProcess {
        let mut child = self.command().spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let log = Arc::new(Mutex::new(String::new()));
        let mut readers = Vec::new();
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
        for pipe in pipes {
            let log = Arc::clone(&log);
            readers.push(thread::spawn(move || {
                // Bytes that are no text must not end the reading: what came behind would be missed in the log, and a server
                // whose output nobody takes stands still.
                for line in BufReader::new(pipe).split(b'\n') {
                    let line = line.expect("a child's output");
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&String::from_utf8_lossy(&line));
                    log.push('\n');
                }
            }));
        }
        ServerProcess { child: KillOnDrop(child), addresses: Vec::new(), log, readers }
    }

    /// Where the listeners are bound, in the order of their flags, once the log names all of them.
    fn addresses_in(&self, log: &str) -> Option<Vec<SocketAddr>> {
        let mut named = listeners_in(log);
        let mut addresses = Vec::new();
        for listener in &self.listeners {
            let scheme = listener.split("://").next()?;
            let position = named.iter().position(|(named_scheme, _)| named_scheme == scheme)?;
            addresses.push(named.remove(position).1);
        }
        Some(addresses)
    }
}

/// The scheme and the bound address of every listener that `log` tells of, a line each: the line names the URL that
/// was asked for, and the port it got unless that stands in the URL itself.
fn listeners_in(log: &str) -> Vec<(String, SocketAddr)> {
    const HOST: &str = "127.0.0.1:";
    let listener = |line: &str| {
        let (before, _) = line.split_once("://")?;
        let scheme = before.rsplit(|letter: char| !letter.is_ascii_alphabetic()).next()?;
        let port = line.match_indices(HOST).find_map(|(at, _)| {
            let port = &line[at + HOST.len()..];
            let port = &port[..port.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(port.len())];
            // 0 is the wish for any port.
            port.parse::<u16>().ok().filter(|&port| port != 0)
        })?;
        Some((scheme.to_owned(), SocketAddr::from(([127, 0, 0, 1], port))))
    };
    log.lines().filter(|line| line.contains("listening")).filter_map(listener).collect()
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: KillOnDrop,
    addresses: Vec<SocketAddr>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl ServerProcess {
    /// Where its listener number `index` (in the order of the flags, from 0) is bound.
    ///
    /// # Panics
    ///
    /// When there is no such listener.
    #[track_caller]
    pub fn address(&self, index: usize) -> SocketAddr {
        self.addresses[index]
    }

    /// A new connection to its first listener.
    ///
    /// # Panics
    ///
    /// When the server does not take it.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address(0))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has printed once it has said "ready", its last word of starting. A server answers a moment before it
    /// says so: who looks for a line of the start-up log looks here, not into [`ServerProcess::log`].
    ///
    /// # Panics
    ///
    /// When it ends instead, or does not say so within [`wait::PATIENCE`].
    #[track_caller]
    pub fn startup_log(&mut self) -> String {
        wait::until("the server's word that it is ready", || {
            let log = self.log();
            assert!(self.is_running(), "the server ended:\n{log}");
            log.lines().any(|line| line.ends_with(" ready")).then_some(log)
        })
    }

    /// Whether the process has not ended.
    ///
    /// # Panics
    ///
    /// When the system does not know the child.
    pub fn is_running(&mut self) -> bool {
        self.child.0.try_wait().expect("the state of a child").is_none()
    }

    /// Sends `signal`. A process that has ended ignores it.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn signal(&mut self, signal: Signal) {
        // Not reaped yet, so the id is still this child's.
        if self.is_running() {
            kill_process(Pid::from_child(&self.child.0), signal).expect("a signal to a child");
        }
    }

    /// Waits until it ends, and answers how.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::PATIENCE`]; the message holds its log.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child.0;
        let log = &self.log;
        let begun = std::time::Instant::now();
        let status = wait::until("the server's end", || {
            if begun.elapsed() + std::time::Duration::from_secs(1) > wait::PATIENCE {
                panic!("the server does not end\n{}", log.lock().unwrap_or_else(PoisonError::into_inner));
            }
            child.try_wait().expect("the state of a child")
        });
        for reader in self.readers.drain(..) {
            reader.join().expect("what reads the server's log");
        }
        status
    }

    /// Kills it as a power button would (SIGKILL), and waits for its end.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn kill(mut self) {
        self.child.0.kill().expect("SIGKILL to a child");
        self.child.0.wait().expect("the end of a child");
    }

    /// Asks it to end (SIGTERM), waits for its end, and answers how it ended.
    ///
    /// # Panics
    ///
    /// When it does not end within [`wait::PATIENCE`].
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

#[derive(Debug)]
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::listeners_in;

    #[test]
    fn addresses_are_read_from_a_log() {
        let log = "INFO recovered from 127.0.0.1:1\nINFO listening on resp://127.0.0.1:4001\n\
                   INFO listening on line://127.0.0.1:0?style=plain address=127.0.0.1:4002\n\
                   INFO listening on unix:///tmp/kv.sock\nINFO listening on resp://127.0.0.1:0";
        let listeners = listeners_in(log);
        assert_eq!(listeners.len(), 2);
        assert_eq!((listeners[0].0.as_str(), listeners[0].1.port()), ("resp", 4001));
        assert_eq!((listeners[1].0.as_str(), listeners[1].1.port()), ("line", 4002));
    }
}
