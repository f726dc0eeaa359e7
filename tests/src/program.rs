//! A program of ours as a person or a script runs it: in a pipe, or at a prompt on a pseudo-terminal.
//!
//! Invariant: every wait is bounded, and what was started is killed when its value is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::process::Signal;
use crate::wait;
use crate::wire::Wire;

/// A running program, or the `script` around it. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
    errors: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    /// Where in the output what is expected next may begin.
    heard: usize,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// Starts it with pipes for its input and outputs.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Program {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the client's program");
        let (output, errors) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("a pipe"), &output),
            collect(child.stderr.take().expect("a pipe"), &errors),
        ];
        let input = child.stdin.take();
        Program { child, input, output, errors, readers, heard: 0 }
    }

    /// Writes to its input.
    ///
    /// # Panics
    ///
    /// When it reads no more.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        let input = self.input.as_mut().expect("an input that is still open");
        input.write_all(bytes.as_ref()).and_then(|()| input.flush()).expect("the client's input");
    }

    /// Pastes `lines` as a terminal does that marks what is pasted: ends of lines are carriage returns.
    ///
    /// # Panics
    ///
    /// When it reads no more.
    pub fn paste(&mut self, lines: &str) {
        self.say(format!("\x1b[200~{}\x1b[201~", lines.replace('\n', "\r")));
    }

    /// Waits until `text` stands in the output, behind everything that was waited for before.
    ///
    /// # Panics
    ///
    /// When the program ends first, or the bound passes.
    #[track_caller]
    pub fn hear(&mut self, text: &str) {
        let heard = self.heard;
        let (child, output, errors) = (&mut self.child, &self.output, &self.errors);
        let mut ended = false;
        self.heard = wait::until(&format!("{text:?} from the client"), || {
            let found = shown(output)[heard..].find(text).map(|at| heard + at + text.len());
            // One more look after its end, for what it said last.
            assert!(
                found.is_some() || !ended,
                "the client ended before {text:?}\n{}\n{}",
                shown(output),
                shown(errors)
            );
            ended = child.try_wait().expect("the state of a child").is_some();
            found
        });
    }

    /// Closes its input and waits for its end: the exit code, the output, the errors.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn finish(mut self) -> (Option<i32>, String, String) {
        drop(self.input.take());
        let status = self.end();
        (status.code(), shown(&self.output), shown(&self.errors))
    }

    /// Waits for its end; the input stays open.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = wait::until("the client's end", || child.try_wait().expect("the state of a child"));
        for reader in self.readers.drain(..) {
            reader.join().expect("what reads the client's output");
        }
        status
    }

    /// Types a line, waits for `reply`, and then for the prompt: from there on keys are read one by one again.
    ///
    /// # Panics
    ///
    /// When they do not come.
    #[track_caller]
    pub fn types(&mut self, address: SocketAddr, line: &str, reply: &str) {
        self.say(format!("{line}\r"));
        self.hear(reply);
        self.hear(&format!("{address}> "));
    }

    /// Everything it has written to its output.
    pub fn output(&self) -> String {
        shown(&self.output)
    }

    /// The same, byte for byte.
    pub fn bytes(&self) -> Vec<u8> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Interrupts it, as Ctrl-C does.
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[track_caller]
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When it is gone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .expect("a signal to a child");
    }
}

/// Reads `pipe` to its end into `into`.
fn collect(mut pipe: impl Read + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let count = match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => panic!("the client's output cannot be read: {error}"),
            };
            into.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
        }
    })
}

/// All of it as text; only ASCII is ever sent, so that its length is that of the bytes.
fn shown(bytes: &Mutex<Vec<u8>>) -> String {
    let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
    bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
}

/// Whether there is a pseudo-terminal to be had; says so if not.
pub fn has_terminal() -> bool {
    let version = Command::new("script").arg("--version").output();
    let found = version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("util-linux"));
    if !found {
        println!("skipped: util-linux's script, which makes a pseudo-terminal, is not here");
    }
    found
}

/// The prompt of the client's program `client` on a pseudo-terminal, connected to `address`.
///
/// # Panics
///
/// When there is no prompt.
#[track_caller]
pub fn prompt(client: &str, address: SocketAddr, history: &Path) -> Program {
    let mut program = Program::start(&mut on_terminal(client, &format!("-u redis://{address}"), history));
    program.hear(&format!("{address}> "));
    program
}

/// Waits until no process has a connection to `server` any more, as far as its own system knows, but the test by `own`.
/// The server's word is not enough: it forgets a client before the client hears of its end.
///
/// # Panics
///
/// When the bound passes, or the system does not list its connections (only Linux does, in `/proc`).
#[track_caller]
pub fn until_disconnected(server: SocketAddr, own: &Wire) {
    const ESTABLISHED: &str = "01";
    let own = own.writer().local_addr().expect("a connected socket");
    let is_other = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let mut port = || {
            let (_, port) = fields.next()?.split_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        let (local, remote) = (port(), port());
        local != Some(own.port()) && remote == Some(server.port()) && fields.next() == Some(ESTABLISHED)
    };
    wait::until_true("the end of the clients' connections", || {
        !fs::read_to_string("/proc/net/tcp").expect("the list of connections").lines().any(is_other)
    });
}

/// The client's program `client` on a pseudo-terminal; `words` is the rest of its command line, as in a shell.
pub fn on_terminal(client: &str, words: &str, history: &Path) -> Command {
    in_script(&format!("exec \"$CLIENT\" {words}"), client, history)
}

/// As [`on_terminal`], on a screen of so many rows and columns.
pub fn on_screen(client: &str, words: &str, history: &Path, rows: u16, columns: u16) -> Command {
    in_script(&format!("stty rows {rows} cols {columns}; exec \"$CLIENT\" {words}"), client, history)
}

fn in_script(shell_command: &str, client: &str, history: &Path) -> Command {
    let mut command = Command::new("script");
    command
        .args(["-q", "-e", "-c", shell_command, "/dev/null"])
        .envs([("CLIENT", client), ("TERM", "xterm"), ("NO_COLOR", "1"), ("SHELL", "/bin/sh")])
        .env("KVCLIENT_HISTORY", history)
        // Not the file of whoever runs the tests.
        .env("KVCLIENT_CONFIG", "");
    command
}
