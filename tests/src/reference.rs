//! A Redis, or a Valkey, to compare kv with.
//!
//! Invariant: it listens on loopback only, keeps its files in a directory of its own, and is killed when dropped.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait;
use crate::wire::Wire;

/// The environment variable that names another program than `redis-server` 7.0.
pub const PROGRAM_VARIABLE: &str = "KV_REFERENCE";

/// The environment variable that names a `valkey-server`.
pub const VALKEY_VARIABLE: &str = "KV_VALKEY";

/// The program to start; `None` if there is none of the right version.
fn program() -> Option<String> {
    if let Ok(program) = std::env::var(PROGRAM_VARIABLE) {
        return Some(program);
    }
    let version = Command::new("redis-server").arg("--version").output().ok()?;
    String::from_utf8_lossy(&version.stdout).contains("v=7.0.").then(|| "redis-server".to_owned())
}

fn probe() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn free_address() -> SocketAddr {
    probe().local_addr().expect("a port")
}

/// The name of the cluster's node of this number: 40 hexadecimal digits.
pub fn node_id(number: usize) -> String {
    format!("{:040x}", number + 1)
}

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
        let program = program()?;
        let dir = TempDir::new().expect("a directory");
        Some(Reference::start_at(&program, free_address(), dir, arguments))
    }

    /// Starts the program that [`VALKEY_VARIABLE`] names, if it is set.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub fn start_valkey() -> Option<Reference> {
        let program = std::env::var(VALKEY_VARIABLE).ok()?;
        Some(Reference::start_at(&program, free_address(), TempDir::new().expect("a directory"), &[]))
    }

    /// Starts a cluster: a node for each of these ranges of slots, `0-8191`. The nodes know each other from their files, and
    /// accept commands when this returns.
    ///
    /// # Panics
    ///
    /// When there is a program and the nodes do not come up.
    pub fn start_cluster(slots: &[&str]) -> Option<Vec<Reference>> {
        let program = program()?;
        // Each has a port for the other nodes, too. All are reserved at once, so that they differ.
        let probes: Vec<_> = slots.iter().map(|_| (probe(), probe())).collect();
        let address_of = |probe: &TcpListener| probe.local_addr().expect("a port");
        let places: Vec<_> = probes.iter().map(|(node, bus)| (address_of(node), address_of(bus))).collect();
        drop(probes);
        let mut nodes = Vec::new();
        for (own, (address, bus)) in places.iter().enumerate() {
            let dir = TempDir::new().expect("a directory");
            let mut file = String::new();
            for (at, ((address, bus), slots)) in places.iter().zip(slots).enumerate() {
                let (id, port, myself) = (node_id(at), bus.port(), if at == own { "myself," } else { "" });
                file += &format!("{id} {address}@{port} {myself}master - 0 0 {} connected {slots}\n", at + 1);
            }
            file += &format!("vars currentEpoch {} lastVoteEpoch 0\n", slots.len());
            fs::write(dir.path().join("nodes.conf"), file).expect("the file of a node");
            let bus = bus.port().to_string();
            let arguments = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", &bus];
            nodes.push(Reference::start_at(&program, *address, dir, &arguments));
        }
        for node in &nodes {
            wait::until_true("a node of the cluster", || {
                Wire::connect(node.address).text("CLUSTER INFO").contains("cluster_state:ok")
            });
        }
        Some(nodes)
    }

    fn start_at(program: &str, address: SocketAddr, dir: TempDir, arguments: &[&str]) -> Reference {
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
