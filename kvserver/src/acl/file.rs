//! Users as lines of a file: `user <name> <rule> ...`.
//!
//! Invariant: a file with any fault changes nothing. A saved file takes the place of the old one whole, readable by its
//! owner alone, and is durable when ACL SAVE is answered.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kvproto::Text;

use super::{Account, Acl};
use kvcommands::acl::{DEFAULT, RuleError, USER_NAME_BYTES_MAX, User, has_spaces, merge_selectors, quoted};
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
        Ok(self.replace_all(parse(&text, path, self.all_channels())?))
    }

    /// Writes all users to the file.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut text = Vec::new();
        for account in self.all() {
            text.extend(describe(&account));
            text.push(b'\n');
        }
        durable_file::replace(path, &text, 0o600)
    }

    /// Makes the users of a configuration file's lines. `default` stays as it is unless it is among them.
    pub(crate) fn adopt(&self, text: &[u8], path: &Path) -> Result<(), Text> {
        let mut users = parse(text, path, self.all_channels())?;
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

/// A user's line.
pub(crate) fn describe(account: &Account) -> Vec<u8> {
    [b"user ", &*account.name, b" ", &account.user().describe()].concat()
}

/// The users of a file; or all that is wrong with it, in one line.
fn parse(text: &[u8], path: &Path, all_channels: bool) -> Result<BTreeMap<Box<[u8]>, User>, Text> {
    let mut users = BTreeMap::new();
    let mut errors = Vec::new();
    // An error that quotes a word, as it is in the file.
    let quoting =
        |before: String, word: &[u8], after: &str| [before.as_bytes(), &quoted(word), after.as_bytes()].concat();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let number = at + 1;
        let place = format!("{}:{number}", path.display());
        let mut words = line.split(|&byte| byte == b' ').map(<[u8]>::trim_ascii);
        let (keyword, name) = (words.next(), words.next());
        let Some(name) = name.filter(|_| keyword == Some(b"user")) else {
            errors.extend(format!("{place} should start with user keyword followed by the username. ").into_bytes());
            continue;
        };
        if has_spaces(name) {
            errors.extend(quoting(format!("{place}: username '"), name, "' contains invalid characters. "));
            continue;
        }
        if name.len() > USER_NAME_BYTES_MAX {
            let after = format!("...' is longer than {USER_NAME_BYTES_MAX} bytes. ");
            errors.extend(quoting(format!("{place}: username '"), &name[..USER_NAME_BYTES_MAX], &after));
            continue;
        }
        if users.contains_key(name) {
            let found = format!("' found on line {number}. ");
            errors.extend(quoting("WARNING: Duplicate user '".to_owned(), name, &found));
            continue;
        }
        let user =
            match merge_selectors(words) {
                Err(_) => {
                    errors.extend(format!("{place}: Unmatched parenthesis in selector definition. ").into_bytes());
                    continue;
                }
                Ok(rules) => User::new(all_channels).with(rules.iter().map(|rule| &**rule), all_channels).map_err(
                    |(rule, error)| match error {
                        // A command's name gives nothing away; other rules may hold a password.
                        RuleError::UnknownCommand => {
                            let place = format!("{place}: Error in applying operation '");
                            quoting(place, rule, &format!("': {error}. "))
                        }
                        error => format!("{place}: {error}. ").into_bytes(),
                    },
                ),
            };
        match user {
            Ok(user) => {
                users.insert(name.into(), user);
            }
            Err(error) => {
                errors.extend(error);
                users.insert(name.into(), User::new(all_channels));
            }
        }
    }
    if errors.is_empty() {
        return Ok(users);
    }
    errors.extend(b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    Err(errors.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>, Text> {
        let users = parse(text.as_bytes(), Path::new("users.acl"), false)?;
        Ok(users
            .iter()
            .map(|(name, user)| format!("{} {}", name.escape_ascii(), user.describe().escape_ascii()))
            .collect())
    }

    #[test]
    fn a_file_is_read_line_by_line_and_any_fault_refuses_all_of_it() {
        assert_eq!(
            parsed("\nuser a on  nopass ~* +@all\r\n\n user b %R~x +get (~y\t +set )\n"),
            Ok(vec![
                "a on nopass ~* resetchannels +@all".to_owned(),
                "b off %R~x resetchannels -@all +get (~y resetchannels -@all +set)".to_owned()
            ])
        );
        let end = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
        for (text, error) in [
            ("# comment", "users.acl:1 should start with user keyword followed by the username. "),
            ("user", "users.acl:1 should start with user keyword followed by the username. "),
            ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
            ("user a on (~x", "users.acl:1: Unmatched parenthesis in selector definition. "),
            (
                "user a +nope",
                "users.acl:1: Error in applying operation '+nope': Unknown command or category name in ACL. ",
            ),
            ("user a nonsense", "users.acl:1: Syntax error. "),
        ] {
            assert_eq!(parsed(text), Err(format!("{error}{end}").into()));
        }
        let name = "n".repeat(USER_NAME_BYTES_MAX);
        assert!(parsed(&format!("user {name} on")).is_ok());
        let error = format!("users.acl:1: username '{name}...' is longer than 256 bytes. {end}");
        assert_eq!(parsed(&format!("user {name}n on")), Err(error.into()));
    }

    #[test]
    fn what_is_saved_is_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.acl");
        fs::write(&path, "user eve on >secret ~a:* %W~b &c -@all +get +client|id (+set ~d)\n").unwrap();
        let acl = Acl { file: Some(path.clone()), ..Acl::default() };
        acl.load().unwrap();
        let lines = || acl.all().iter().map(|account| describe(account)).collect::<Vec<_>>();
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
