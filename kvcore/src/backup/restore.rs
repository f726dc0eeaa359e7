//! Restore: a store's directory made from the files of a backup. Invariant: the directory appears only when all of it is
//! there, durable and sound; nothing is written outside it, whatever the files are called and hold.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::backup::partial::Partial;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::recovery::check::{self, Contents, Inspection, Nature, Verdict, nature};

/// So much is read and written at a time.
const STEP_BYTES: u64 = 1024 * 1024;

/// A directory that is being made from a backup's files; from [`Options::begin_restore`].
///
/// Given up (dropped) before [`finish`](Self::finish), it leaves nothing.
pub struct Restore {
    partial: Partial,
    dest: PathBuf,
    names: Vec<String>,
}

impl std::fmt::Debug for Restore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore").field("dest", &self.dest).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Restore {
    pub(crate) fn begin(options: &Options, dest: &Path) -> Result<Self> {
        options.check()?;
        let partial = Partial::create(options.disk.clone(), dest)?;
        Ok(Restore { partial, dest: dest.to_owned(), names: Vec::new() })
    }

    /// Adds a file of the next `bytes` bytes of `from`.
    ///
    /// ```
    /// use kvcore::{Db, Options};
    /// # let root = tempfile::tempdir().unwrap();
    /// # let (dir, copy) = (root.path().join("data"), root.path().join("copy"));
    /// let db = Db::open(dir)?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let mut restore = Options::new().begin_restore(&copy)?;
    /// for file in backup.files() {
    ///     let mut bytes = vec![0; file.bytes() as usize];
    ///     file.read_at(&mut bytes, 0)?;
    ///     restore.add(file.name(), file.bytes(), &mut &bytes[..])?;
    /// }
    /// assert!(restore.finish()?.is_sound());
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotABackup`] if this is not the name of a file of a backup, if there is one of this name already, or if
    /// `from` ends before. [`Error::Io`] if it cannot be read or written.
    pub fn add(&mut self, name: &str, bytes: u64, from: &mut dyn Read) -> Result<()> {
        if !matches!(nature(name), Nature::Segment(_) | Nature::Snapshot | Nature::Manifest) {
            return Err(Error::NotABackup { why: format!("it holds {name:?}, which is no file of a store") });
        }
        if self.names.iter().any(|other| other == name) {
            return Err(Error::NotABackup { why: format!("it holds {name} twice") });
        }
        self.names.push(name.to_owned());
        let mut is_cut_short = false;
        self.partial.write(name, |file| {
            let mut step = vec![0; bytes.clamp(1, STEP_BYTES) as usize];
            let mut at = 0;
            while at < bytes {
                let len = step.len().min((bytes - at) as usize);
                match from.read(&mut step[..len]) {
                    Ok(0) => {
                        is_cut_short = true;
                        return Ok(());
                    }
                    Ok(read) => {
                        file.write_at(&step[..read], at)?;
                        at += read as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        match is_cut_short {
            true => Err(Error::NotABackup { why: format!("it ends in the middle of {name}") }),
            false => Ok(()),
        }
    }

    /// Checks that the files are those of a sound store, and gives the directory its name, durably.
    ///
    /// ```
    /// use kvcore::{Db, Options};
    /// # let root = tempfile::tempdir().unwrap();
    /// # let (dir, copy) = (root.path().join("data"), root.path().join("copy"));
    /// let db = Db::open(dir)?;
    /// db.set("key", "value")?;
    /// let backup = db.begin_backup()?;
    /// let mut restore = Options::new().begin_restore(&copy)?;
    /// for file in backup.files() {
    ///     let mut bytes = vec![0; file.bytes() as usize];
    ///     file.read_at(&mut bytes, 0)?;
    ///     restore.add(file.name(), file.bytes(), &mut &bytes[..])?;
    /// }
    /// restore.finish()?;
    /// assert_eq!(Db::open(copy)?.get("key")?.unwrap(), "value");
    /// # Ok::<(), kvcore::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotABackup`] if opening the store would fail or cut anything.
    pub fn finish(self) -> Result<Inspection> {
        let not_whole = |why: String| Err(Error::NotABackup { why });
        if !self.names.iter().any(|name| matches!(nature(name), Nature::Manifest)) {
            return not_whole("it holds no manifest: it was cut short, or is something else".to_owned());
        }
        let found = check::inspect(self.partial.dir())?;
        match &found.verdict {
            Verdict::Opens if found.is_sound() => {
                let torn_at = found.files.iter().find_map(|file| match file.contents {
                    Contents::Manifest(manifest) => manifest.torn_at,
                    _ => None,
                });
                if let Some(at) = torn_at {
                    return not_whole(format!("manifest is damaged at byte {at}"));
                }
            }
            Verdict::Opens => {
                let damaged = found.files.iter().find_map(|file| Some((&file.name, file.flaw.as_ref()?)));
                let why =
                    damaged.map(|(name, flaw)| format!("{name} is damaged at byte {}: {}", flaw.offset, flaw.why));
                return not_whole(why.unwrap_or_default());
            }
            Verdict::Cuts { file, offset, .. } => return not_whole(format!("{file} is cut short at byte {offset}")),
            Verdict::Refuses(Error::Corrupt { file, offset, why }) => {
                let name = file.file_name().unwrap_or_default().display();
                return not_whole(format!("{name} is damaged at byte {offset}: {why}"));
            }
            Verdict::Refuses(error) => return not_whole(error.to_string()),
        }
        self.partial.finish()?;
        Ok(found)
    }
}
