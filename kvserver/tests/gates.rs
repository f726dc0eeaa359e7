//! Durability `always`: what could be lost is not told (design invariant 3), over a disk that syncs when the test says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use kvcore::{Db, Directory, Disk, DiskFile, Durability, FileDisk, Options, StoreExt};
use support::{Client, serve};

#[derive(Clone, Copy, PartialEq)]
enum Sync {
    Works,
    Waits,
    Fails,
}

/// A real disk whose syncs can be held up or made to fail.
#[derive(Clone)]
struct SlowDisk(Arc<(Mutex<Sync>, Condvar)>);

struct SlowFile(Box<dyn DiskFile>, SlowDisk);

impl SlowDisk {
    fn set(&self, sync: Sync) {
        *self.0.0.lock().unwrap() = sync;
        self.0.1.notify_all();
    }

    fn sync(&self) -> io::Result<()> {
        let held = self.0.1.wait_while(self.0.0.lock().unwrap(), |sync| *sync == Sync::Waits).unwrap();
        if *held == Sync::Fails { Err(io::Error::other("the disk\r\nis broken")) } else { Ok(()) }
    }
}

/// A directory of the real disk whose files are [`SlowFile`]s.
struct SlowDirectory(Arc<dyn Directory>, SlowDisk);

impl Disk for SlowDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileDisk.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Directory>> {
        Ok(Arc::new(SlowDirectory(FileDisk.open_dir(path)?, self.clone())))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileDisk.rename_dir(from, to)
    }
}

impl Directory for SlowDirectory {
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + std::marker::Sync>> {
        self.0.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile(self.0.open(name)?, self.1.clone())))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(SlowFile(self.0.create(name)?, self.1.clone())))
    }
    fn create_folder(&self, name: &str) -> io::Result<()> {
        self.0.create_folder(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn sync_folder(&self, name: &str) -> io::Result<()> {
        self.0.sync_folder(name)
    }
}

impl DiskFile for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}

fn open(dir: &Path) -> (Db, SlowDisk) {
    let disk = SlowDisk(Arc::new((Mutex::new(Sync::Works), Condvar::new())));
    let options = Options::new().durability(Durability::Always).disk(Arc::new(disk.clone()));
    (options.open(dir).unwrap(), disk)
}

#[test]
fn replies_reads_and_messages_wait_for_what_they_reveal_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk) = open(dir.path());
    db.set("settled", "s").unwrap();
    let server = serve(&db);
    let mut subscriber = Client::of(&server);
    subscriber.ask("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let (mut writer, mut reader, mut walker) = (Client::of(&server), Client::of(&server), Client::of(&server));

    disk.set(Sync::Waits);
    writer.send("GET settled\r\nSET k v\r\nGET settled\r\nPUBLISH news k\r\n");
    writer.expect("$1\r\ns\r\n");
    assert_eq!(writer.drain(), "", "a write was acknowledged before it was durable");
    reader.send("PING\r\nGET settled\r\nGET k\r\n");
    reader.expect("+PONG\r\n$1\r\ns\r\n");
    assert_eq!(reader.drain(), "", "a read revealed what was not durable");
    walker.send("MULTI\r\nEXISTS k\r\nEXEC\r\n");
    walker.expect("+OK\r\n+QUEUED\r\n");
    assert_eq!(walker.drain(), "", "a transaction revealed what was not durable");
    assert_eq!(subscriber.drain(), "", "a message revealed what was not durable");

    disk.set(Sync::Works);
    writer.expect("+OK\r\n$1\r\ns\r\n:1\r\n");
    reader.expect("$1\r\nv\r\n");
    walker.expect("*1\r\n:1\r\n");
    subscriber.expect("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nk\r\n");
}

#[test]
fn when_the_log_fails_what_waited_is_refused_and_settled_keys_are_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk) = open(dir.path());
    db.set("settled", "s").unwrap();
    let server = serve(&db);
    let mut waiting = Client::of(&server);
    disk.set(Sync::Waits);
    waiting.send("SET k v\r\nPING\r\n");
    assert_eq!(waiting.drain(), "");
    disk.set(Sync::Fails);
    let told = waiting.drain();
    assert!(told.starts_with("-MISCONF ") && told.lines().count() == 1, "{told}");
    waiting.expect_end();

    let mut client = Client::of(&server);
    client.send("SET settled 2\r\n");
    assert!(client.drain().starts_with("-MISCONF "));
    client.ask("GET settled", "$1\r\ns\r\n");
    client.ask("PING", "+PONG\r\n");
    let mut observer = Client::of(&server);
    observer.send("INFO\r\n");
    let info = observer.drain();
    assert!(info.contains("aof_last_write_status:err\r\n"), "{info}");
    client.send("GET k\r\n");
    assert!(client.drain().starts_with("-MISCONF "), "what was lost is neither shown nor waited for for ever");
}

#[test]
fn a_message_of_a_transaction_waits_for_what_its_client_did_before() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk) = open(dir.path());
    let server = serve(&db);
    let mut subscriber = Client::of(&server);
    subscriber.ask("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let mut writer = Client::of(&server);
    disk.set(Sync::Waits);
    writer.send("SET k v\r\nMULTI\r\nPUBLISH c k\r\nEXEC\r\n");
    let told = (subscriber.drain(), writer.drain());
    // A store with a sync held up cannot be closed, so a failed assertion would hang.
    disk.set(Sync::Works);
    assert_eq!(told, (String::new(), String::new()), "something revealed what was not durable");
    writer.expect("+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    subscriber.expect("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nk\r\n");
}

#[test]
fn a_loop_goes_on_while_the_log_can_take_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (db, disk) = open(dir.path());
    let url = "resp://127.0.0.1:0".parse().unwrap();
    let server = kvserver::Server::builder().store(db.clone()).listen(url).loops(1).max_clients(1).start().unwrap();
    let mut writer = Client::of(&server);
    writer.ask("PING", "+PONG\r\n");
    disk.set(Sync::Waits);
    let line = format!("SET k {}\r\n", "v".repeat(4000));
    let mut sender = writer.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for _ in 0..200_000 {
            if std::io::Write::write_all(&mut sender, line.as_bytes()).is_err() {
                break;
            }
        }
    });
    while !db.is_backlogged() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    // The loop accepts and refuses, so it does not wait for the log.
    let refused = Client::of(&server).drain();
    disk.set(Sync::Works);
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
    writer.expect("+OK\r\n".repeat(1000));
    writer.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
}
