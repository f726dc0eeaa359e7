//! The file of users.
//!
//! Invariant: a file with any fault changes nothing. A saved file takes the place of the old one whole, readable by its
//! owner alone, and is durable when ACL SAVE is answered.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kvproto::Text;

use super::{Account, Acl};
use kvcommands::acl::{DEFAULT, User, parse_users, user_line};
use kvtools::durable_file;

/// A file of users may have this many bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Acl {
    /// Puts the users of the file in the place of all there are; answers the accounts that changed or went.
    pub(crate) fn load(&self) -> Result<Vec<Arc<Account>>, Text> {
        let Some(path) = &self.file else { return Ok(Vec::new()) };
        let failed = |error| Text::from(format!("Error loading ACLs, opening file '{}': {error}", path.display()));
        if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(format!("Error loading ACLs, the file '{}' is too large", path.display()).into());
        }
        let text = fs::read(path).map_err(failed)?;
        Ok(self.replace_all(parse_users(&text, path, self.all_channels())?))
    }

    /// Writes all users to the file.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut text = Vec::new();
        for account in self.all() {
            text.extend(user_line(&account.name, &account.user()));
            text.push(b'\n');
        }
        durable_file::replace(path, &text, 0o600)
    }

    /// Makes the users of a configuration file's lines. `default` stays as it is unless it is among them.
    pub(crate) fn adopt(&self, text: &[u8], path: &Path) -> Result<(), Text> {
        let mut users = parse_users(text, path, self.all_channels())?;
        users.entry(DEFAULT.into()).or_insert_with(|| User::clone(&self.default.user()));
        self.replace_all(users);
        Ok(())
    }

    /// Whether [`adopt`](Self::adopt) would change nothing, in a server that has just been started with the same
    /// `requirepass`.
    pub(crate) fn accords(&self, text: &[u8], path: &Path) -> bool {
        let fresh = Acl { all_channels: self.all_channels().into(), ..Acl::default() };
        fresh.set_password(&self.password());
        fresh.adopt(text, path).is_ok()
            && self.all().len() == fresh.all().len()
            && self
                .all()
                .iter()
                .zip(fresh.all())
                .all(|(own, read)| own.name == read.name && own.user().is_as(&read.user()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.acl");
        fs::write(&path, "user eve on >secret ~a:* %W~b &c -@all +get +client|id (+set ~d)\n").unwrap();
        let acl = Acl { file: Some(path.clone()), ..Acl::default() };
        acl.load().unwrap();
        let lines = || acl.all().iter().map(|account| user_line(&account.name, &account.user())).collect::<Vec<_>>();
        let before = lines();
        assert!(acl.authenticate(b"eve", b"secret").is_some());
        acl.save().unwrap();
        acl.load().unwrap();
        assert_eq!(lines(), before);
        assert!(acl.authenticate(b"eve", b"secret").is_some());
        assert!(!String::from_utf8(fs::read(&path).unwrap()).unwrap().contains("secret"));
        fs::write(&path, "user eve nonsense").unwrap();
        acl.load().unwrap_err();
        assert_eq!(lines(), before);
    }
}
