//! Aside: the folder in which a repair leaves the files that it changes or removes. Invariant: no file is removed of which
//! there is no durable copy; what cannot be copied is moved.

use std::io;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::io::disk::Directory;
use crate::log::manifest::MANIFEST;
use crate::options::Options;
use crate::recovery::check::SET_ASIDE;
use crate::recovery::load::Listing;

const COPY_BYTES: u64 = 1024 * 1024;

/// The folder where files are put before they are changed or removed.
pub(super) struct Aside<'a> {
    dir: &'a dyn Directory,
    /// The folder's name.
    folder: String,
    pub(super) names: Vec<String>,
    /// Those that cannot be copied, because they are no files or cannot be read. They are moved when they have to go.
    to_be_moved: Vec<String>,
}

impl<'a> Aside<'a> {
    /// Copies these files, durably.
    pub(super) fn make(options: &Options, dir: &'a dyn Directory, names: Vec<String>) -> Result<Self> {
        let taken = Listing::names(dir)?.names;
        let dated = format!("{SET_ASIDE}{}", date(options.clock.wall_ms()));
        let name = (1..).map(|n| if n == 1 { dated.clone() } else { format!("{dated}-{n}") });
        let folder = name.into_iter().find(|name| !taken.contains(name)).unwrap_or(dated);
        let mut aside = Aside { dir, folder, names, to_be_moved: Vec::new() };
        let failed = |error| Error::io(format!("copy the damaged files to {}", aside.path().display()), error);
        dir.create_folder(&aside.folder).map_err(failed)?;
        let mut to_be_moved = Vec::new();
        for name in &aside.names {
            if !copy(dir, name, &aside.copy_of(name)).map_err(failed)? {
                to_be_moved.push(name.clone());
            }
        }
        dir.sync_folder(&aside.folder).map_err(failed)?;
        aside.to_be_moved = to_be_moved;
        Ok(aside)
    }

    /// Returns the folder's path.
    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join(&self.folder)
    }

    /// Returns the name in the directory of a file's copy.
    fn copy_of(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    pub(super) fn is_to_be_moved(&self, name: &str) -> bool {
        self.to_be_moved.iter().any(|other| other == name)
    }

    pub(super) fn move_away(&self, name: &str) -> Result<()> {
        let (from, to) = (self.dir.path().join(name), self.path().join(name));
        let failed = |error| Error::io(format!("move {} to {}", from.display(), to.display()), error);
        self.dir.rename(name, &self.copy_of(name)).map_err(failed)?;
        // It is in one place or in both, never in none.
        self.dir.sync_folder(&self.folder).and_then(|()| self.dir.sync()).map_err(failed)
    }

    /// Removes all files of which there are copies, but for the manifest and `replaced`, which are new.
    pub(super) fn remove_originals(&self, replaced: Option<&str>) -> Result<()> {
        for name in self.names.iter().filter(|name| *name != MANIFEST && Some(name.as_str()) != replaced) {
            let removing = |error| Error::io(format!("remove {}", self.dir.path().join(name).display()), error);
            match self.is_to_be_moved(name) {
                true => self.move_away(name)?,
                false => self.dir.remove(name).map_err(removing)?,
            }
        }
        let syncing = |error| Error::io(format!("remove damaged files in {}", self.dir.path().display()), error);
        self.dir.sync().map_err(syncing)
    }
}

/// Copies a file durably. Returns false if it is not a file or cannot be read to its end.
fn copy(dir: &dyn Directory, from: &str, to: &str) -> io::Result<bool> {
    let Ok(source) = dir.open(from) else { return Ok(false) };
    let Ok(len) = source.len() else { return Ok(false) };
    let target = dir.create(to)?;
    let (mut at, mut buffer) = (0, vec![0; len.clamp(1, COPY_BYTES) as usize]);
    loop {
        match source.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                target.write_at(&buffer[..read], at)?;
                at += read as u64;
            }
            Err(_) => return Ok(false),
        }
    }
    target.sync()?;
    Ok(true)
}

/// A time in Unix milliseconds as the date and the time of day in UTC, `20261125T224713Z`.
pub(super) fn date(ms: u64) -> String {
    let (days, second) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Years begin in March, so that a leap day is the last of its year; 400 of them have 146,097 days. After H. Hinnant,
    // "chrono-compatible low-level date algorithms".
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, date) in [
            (0, "19700101T000000Z"),
            (951_782_400_000, "20000229T000000Z"),
            (1_709_251_199_999, "20240229T235959Z"),
            (1_709_251_200_000, "20240301T000000Z"),
            (1_800_000_000_000, "20270115T080000Z"),
        ] {
            assert_eq!(super::date(ms), date);
        }
    }
}
