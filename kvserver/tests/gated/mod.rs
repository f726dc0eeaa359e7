//! A server with durability `always` over a disk whose syncs can be held up, and what looks at its replies.
//!
//! Invariant: a test that fails lets the disk go on first, so that it ends.

mod disk;
mod observer;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kvcore::{Db, Durability, Options};
use kvproto::Spec;
use kvserver::Server;

use crate::cases::{self, Case};
use crate::support::Client;
use disk::SlowDisk;
pub use disk::Sync;
pub use observer::{MARK, MARK_REPLY, Observer, expect_untold, get_ready, told_later};

/// No value may be longer.
pub const VALUE_BYTES_MAX: usize = 200_000;
/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server over a disk whose syncs can be held up.
pub struct Gated {
    pub server: Server,
    pub db: Db,
    pub disk: SlowDisk,
    /// Watches the others.
    pub controller: Client,
    pub dir: tempfile::TempDir,
}

impl Drop for Gated {
    fn drop(&mut self) {
        // A store with a sync held up cannot be closed, so a failed test would hang.
        if self.disk.waits() {
            self.disk.set(Sync::Works);
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_micros(100));
    }
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Resp,
    Exec,
    Line,
}

impl Gated {
    pub fn new() -> Gated {
        Gated::with_loops(2)
    }

    pub fn with_loops(loops: usize) -> Gated {
        Gated::build(loops, 10_000)
    }

    pub fn build(loops: usize, clients_max: usize) -> Gated {
        let disk = SlowDisk::new();
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().durability(Durability::Always).disk(Arc::new(disk.clone()));
        let options = options.value_bytes_max(VALUE_BYTES_MAX);
        let db = options.open(dir.path().join("data")).unwrap();
        let users = dir.path().join("users");
        std::fs::write(&users, "").unwrap();
        let server = Server::builder()
            .store(db.clone())
            .listen("resp://127.0.0.1:0".parse().unwrap())
            .listen("line://127.0.0.1:0?style=plain".parse().unwrap())
            .listen("line://127.0.0.1:0?style=terse".parse().unwrap())
            .loops(loops)
            .max_clients(clients_max)
            .debug_commands(true)
            .acl_file(users)
            .unwrap()
            .start()
            .unwrap();
        let controller = Client::of(&server);
        Gated { server, db, disk, controller, dir }
    }

    /// A client with its number in CLIENT LIST.
    pub fn client(&self) -> Numbered {
        self.client_at(0)
    }

    /// `listener`: 0 speaks RESP, 1 plain lines, 2 terse ones.
    pub fn client_at(&self, listener: usize) -> Numbered {
        let mut client = Client::at(self.server.addresses()[listener].tcp().unwrap());
        client.send("CLIENT ID\r\n");
        let id = client.line().trim_start_matches(':').trim_start_matches("OK ").parse().unwrap();
        Numbered { id, client }
    }

    /// Waits until all that was written is durable, then holds syncs up.
    #[track_caller]
    pub fn hold(&self) {
        until("all is durable", || self.db.hooks().durable_lsn() == self.db.hooks().last_lsn());
        self.disk.set(Sync::Waits);
    }

    pub fn release(&self) {
        self.disk.set(Sync::Works);
    }

    /// The bytes of replies that wait in the server for a client.
    pub fn waiting_bytes(&mut self, id: u64) -> usize {
        self.controller.send(format!("CLIENT LIST ID {id}\r\n"));
        let line = self.controller.bulk();
        line.split("omem=").nth(1).map_or(0, |rest| rest.split(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until the server holds something back from a client, or `is_enough` of what has come, which is returned.
    #[track_caller]
    pub fn until_held(&mut self, who: &mut Numbered, what: &str, is_enough: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut came = String::new();
        loop {
            let held = self.waiting_bytes(who.id) > 0;
            came += &who.client.arrived();
            if held || is_enough(&came) {
                return came;
            }
            assert!(Instant::now() < deadline, "{what}: the reply neither came nor is held back; so far: {came:?}");
        }
    }

    /// The reply that a client waits for must be held back.
    #[track_caller]
    pub fn expect_held(&mut self, who: &mut Numbered, what: &str) {
        let came = self.until_held(who, what, |came| !came.is_empty());
        assert_eq!(came, "", "{what}: revealed what was not durable");
    }

    /// Sends a case; what MULTI and its queue reply to is read.
    pub fn send(&self, case: &Case, mode: Mode) -> Numbered {
        let mut who = self.client_at(usize::from(mode == Mode::Line));
        match mode {
            Mode::Resp => who.client.send(case.resp()),
            Mode::Line => who.client.send(case.line()),
            Mode::Exec => {
                who.client.send([b"MULTI\r\n", &*case.resp(), b"EXEC\r\n"].concat());
                who.client.expect("+OK\r\n+QUEUED\r\n");
            }
        }
        who
    }

    /// What DUMP gives for [`cases::VALUE`].
    pub fn dump(&mut self) -> Vec<u8> {
        self.controller.ask(&format!("SET dumped {}", cases::VALUE), "+OK\r\n");
        self.controller.send("DUMP dumped\r\n");
        self.controller.bulk_bytes()
    }

    /// Sends lines whose replies must be no errors, and waits for them.
    #[track_caller]
    pub fn prepare(&mut self, lines: &str) {
        self.controller.send(lines);
        for reply in self.controller.reply_lines(lines.lines().count()) {
            assert!(!reply.starts_with('-'), "{lines}: {reply}");
        }
    }

    /// Of the two figures of OBJECT, a server has the one that its policy needs.
    pub fn choose_policy(&mut self, spec: &Spec) {
        if spec.name.starts_with("object|") {
            let policy = if spec.name == "object|freq" { "allkeys-lfu" } else { "noeviction" };
            self.prepare(&format!("CONFIG SET maxmemory-policy {policy}\r\n"));
        }
    }
}

pub struct Numbered {
    pub id: u64,
    pub client: Client,
}

/// The first line of the reply to a case must be no error.
#[track_caller]
pub fn expect_success(who: &mut Numbered, mode: Mode, what: &str) {
    let mut line = who.client.line();
    if mode == Mode::Exec {
        assert_eq!(line, "*1", "{what}");
        line = who.client.line();
    }
    let failed = if mode == Mode::Line { line.starts_with("ERR ") } else { line.starts_with('-') };
    assert!(!failed, "{what}: a case that does not work proves nothing: give it words in tests/cases: {line}");
}
