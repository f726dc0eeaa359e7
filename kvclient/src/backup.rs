//! `kvclient backup`: a backup of the server's whole store, as a file.
//!
//! Invariant: the file appears only when all of it is on disk; nobody else on this machine can read it; what has its name,
//! at whatever moment, is replaced only if the user has said so. Until then it is called `FILE.partial-` and 16 hexadecimal
//! digits, which no other run uses, and it is removed when the backup is given up, be it by Ctrl-C or SIGTERM.

use crate::signals::Signals;
use kvclient::{Connection, Reply};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Requests that are sent ahead, so that the server need not wait for this side.
const AHEAD: u64 = 4;
/// How often progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// How often a wait for the server looks whether the backup was interrupted.
const TICK: Duration = Duration::from_millis(100);

/// The flags of a backup.
#[derive(Debug, clap::Args)]
pub struct BackupFlags {
    /// The file to write; - for standard output
    pub file: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server or the connection.
    #[error("{0}")]
    Client(#[from] kvclient::Error),
    /// The file.
    #[error("cannot {what}: {source}")]
    File { what: String, source: io::Error },
    /// Something has the file's name.
    #[error("{0} exists: name another file, or add --force to replace it")]
    Exists(String),
    /// What has the file's name is a directory, a device or a pipe.
    #[error("{0} exists and is not a file: name a new file, or - for standard output")]
    NotAFile(String),
    /// The server's replies make no sense.
    #[error("the server's reply is not one to BACKUP {0}: is it a kv server of this version?")]
    Reply(&'static str),
    /// It is not whole.
    #[error("the backup has {got} bytes, but the server announced {wanted}: nothing was kept, try again")]
    Length { got: u64, wanted: u64 },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted: nothing was kept")]
    Interrupted,
}

type Result<T> = std::result::Result<T, Failure>;

/// What was taken.
#[derive(Debug)]
pub struct Taken {
    /// Bytes of the archive.
    pub bytes: u64,
    /// The newest change in it.
    pub lsn: u64,
}

/// Takes a backup and writes it to `to`; `-` is standard output.
pub fn run(client: &mut Connection, to: &Path, force: bool, signals: &Signals) -> Result<Taken> {
    if to == Path::new("-") {
        let mut out = io::stdout().lock();
        let taken = receive(client, &mut out, signals)?;
        out.flush().map_err(|source| Failure::File { what: "write standard output".to_owned(), source })?;
        return Ok(taken);
    }
    // Before the file is created: from here on a signal does not end the program with the file left behind.
    signals.begin_file().map_err(|source| Failure::File { what: "watch for signals".to_owned(), source })?;
    let backed_up = to_file(client, to, force, signals);
    signals.end_stream();
    backed_up
}

fn to_file(client: &mut Connection, to: &Path, force: bool, signals: &Signals) -> Result<Taken> {
    let mut partial = Partial::create(to, force)?;
    let taken = receive(client, &mut partial.file, signals)?;
    partial.finish(to, force, signals)?;
    Ok(taken)
}

/// A file that is not whole yet. It is removed unless it is finished.
struct Partial {
    file: File,
    path: PathBuf,
    is_finished: bool,
}

impl Partial {
    fn create(to: &Path, force: bool) -> Result<Partial> {
        if fs::metadata(to).is_ok_and(|found| !found.is_file()) {
            return Err(Failure::NotAFile(to.display().to_string()));
        }
        if !force {
            check_is_free(to)?;
        }
        let mut name = to.to_owned().into_os_string();
        name.push(format!(".partial-{:016x}", RandomState::new().hash_one(std::process::id())));
        let path = PathBuf::from(name);
        // A new one, so that nobody else has it open and it is no link.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Partial { file, path, is_finished: false }),
            Err(source) => Err(Failure::File { what: format!("create {}", path.display()), source }),
        }
    }

    fn finish(mut self, to: &Path, force: bool, signals: &Signals) -> Result<()> {
        let failed = |source| Failure::File { what: format!("write {}", to.display()), source };
        self.file.sync_all().map_err(failed)?;
        check_goes_on(signals)?;
        if force {
            self.rename(to)?;
        } else {
            // Unlike a rename, a second name never replaces what has appeared meanwhile.
            match fs::hard_link(&self.path, to) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Failure::Exists(to.display().to_string()));
                }
                // Some file systems give a file only one name.
                Err(_) => {
                    check_is_free(to)?;
                    self.rename(to)?;
                }
            }
        }
        // Removes the first name if there are two.
        drop(self);
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    fn rename(&mut self, to: &Path) -> Result<()> {
        let failed = |source| Failure::File { what: format!("write {}", to.display()), source };
        fs::rename(&self.path, to).map_err(failed)?;
        self.is_finished = true;
        Ok(())
    }
}

fn check_is_free(to: &Path) -> Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(Failure::Exists(to.display().to_string())),
        // If it cannot be looked at, it cannot be created.
        Err(_) => Ok(()),
    }
}

fn check_goes_on(signals: &Signals) -> Result<()> {
    if signals.pressed() { Err(Failure::Interrupted) } else { Ok(()) }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_finished {
            // The error that it was given up for is the one to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads a backup from the server, to its end.
fn receive(client: &mut Connection, out: &mut dyn Write, signals: &Signals) -> Result<Taken> {
    client.send(["BACKUP", "START"])?;
    let taken = begun(&next(client, signals)?).ok_or(Failure::Reply("START"))?;
    let mut progress = Progress::new(taken.bytes);
    let received = pieces(client, out, signals, &taken, &mut progress);
    progress.end();
    received.map(|()| taken)
}

fn pieces(
    client: &mut Connection,
    out: &mut dyn Write,
    signals: &Signals,
    taken: &Taken,
    progress: &mut Progress,
) -> Result<()> {
    let (mut got, mut asked, mut piece_max) = (0, 0, 0);
    loop {
        // As many as there are pieces, and the empty one that ends it: to ask for one behind that would be an error.
        // How long a piece is the first one tells.
        let pieces = if piece_max == 0 { 0 } else { (taken.bytes - got).div_ceil(piece_max) };
        while asked < AHEAD.min(pieces + 1) {
            client.send(["BACKUP", "READ"])?;
            asked += 1;
        }
        let piece = match next(client, signals)? {
            Reply::Bulk(piece) => piece,
            _ => return Err(Failure::Reply("READ")),
        };
        asked -= 1;
        if piece.is_empty() {
            let wanted = taken.bytes;
            return if got == wanted { Ok(()) } else { Err(Failure::Length { got, wanted }) };
        }
        got += piece.len() as u64;
        piece_max = piece_max.max(piece.len() as u64);
        if got > taken.bytes {
            return Err(Failure::Length { got, wanted: taken.bytes });
        }
        out.write_all(&piece).map_err(|source| Failure::File { what: "write the backup".to_owned(), source })?;
        progress.show(got);
    }
}

/// Returns the next reply that is no push, however long it takes: another client's SAVE may keep the server for minutes.
fn next(client: &mut Connection, signals: &Signals) -> Result<Reply> {
    loop {
        check_goes_on(signals)?;
        match client.receive_within(TICK)? {
            None | Some(Reply::Push(_)) => {}
            Some(Reply::Error(text)) => return Err(kvclient::Error::Reply(text.into_owned()).into()),
            Some(reply) => return Ok(reply),
        }
    }
}

/// What the server says of a backup that has begun.
fn begun(reply: &Reply) -> Option<Taken> {
    let pairs: Vec<(&Reply, &Reply)> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        Reply::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => return None,
    };
    let number = |wanted: &str| {
        let is_wanted = |name: &Reply| *name == Reply::bulk(wanted);
        match pairs.iter().find(|(name, _)| is_wanted(name))?.1 {
            Reply::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    };
    Some(Taken { bytes: number("bytes")?, lsn: number("lsn")? })
}

/// A line on the terminal that says how far it is; nothing elsewhere.
struct Progress {
    wanted: u64,
    is_shown: bool,
    shown_at: Option<Instant>,
}

impl Progress {
    fn new(wanted: u64) -> Progress {
        Progress { wanted, is_shown: io::stderr().is_terminal(), shown_at: None }
    }

    fn show(&mut self, got: u64) {
        let is_due = self.shown_at.is_none_or(|at| at.elapsed() >= SHOW_EVERY) || got == self.wanted;
        if self.is_shown && is_due {
            self.shown_at = Some(Instant::now());
            let percent = got.saturating_mul(100) / self.wanted.max(1);
            eprint!("\r{} of {} MiB, {percent} %", got >> 20, self.wanted.div_ceil(1 << 20));
        }
    }

    fn end(&self) {
        if self.shown_at.is_some() {
            eprintln!();
        }
    }
}
