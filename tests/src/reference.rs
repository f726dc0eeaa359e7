//! A Redis, or a Valkey, to compare kv with.
//!
//! Invariant: it listens on loopback only, keeps its files in a directory of its own, and is killed when dropped.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait;
use crate::wire::Wire;

/// The environment variable that names another program than `redis-server` 7.0.
pub const PROGRAM_VARIABLE: &str = "KV_REFERENCE";

/// The environment variable that names a `valkey-server`.
pub const VALKEY_VARIABLE: &str = "KV_VALKEY";

/// A running reference server.
#[derive(Debug)]
pub struct Reference {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Drop for Reference {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reference {
    /// Starts `redis-server`, if the one in `PATH` is of version 7.0, whose behaviour is the measure; or the program that
    /// [`PROGRAM_VARIABLE`] names, whatever its version. `arguments` are added to the command line.
    ///
    /// # Panics
    ///
    /// When there is a program and it does not come up.
    pub fn start(arguments: &[&str]) -> Option<Reference> {
        let program = match std::env::var(PROGRAM_VARIABLE) {
            Ok(program) => program,
            Err(_) => {
                let version = Command::new("redis-server").arg("--version").output().ok()?;
                if !String::from_utf8_lossy(&version.stdout).contains("v=7.0.") {
                    return None;
                }
                "redis-server".to_owned()
            }
        };
        Some(Reference::launch(&program, arguments))
    }

    /// Starts the program that [`VALKEY_VARIABLE`] names, if it is set.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_valkey() -> Option<Reference> {
        std::env::var(VALKEY_VARIABLE).ok().map(|program| Reference::launch(&program, &[]))
    }

    fn launch(program: &str, arguments: &[&str]) -> Reference {
        let dir = TempDir::new().expect("a directory");
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = probe.local_addr().expect("a port");
        drop(probe);
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes", "--dir", &dir.path().display().to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the reference server");
        let reference = Reference { child, address, _dir: dir };
        wait::until_true("the reference server", || {
            Wire::try_connect(address)
                .and_then(|mut wire| wire.try_send(b"PING\r\n").and_then(|()| wire.try_line()))
                .is_ok_and(|reply| reply == b"+PONG\r\n")
        });
        reference
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
