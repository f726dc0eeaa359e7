//! Users as lines of text: `user <name> <rule> ...`.
//!
//! Invariant: a text with any fault gives no users; the error names every fault.

use std::collections::BTreeMap;
use std::path::Path;

use kvproto::Text;

use super::{RuleError, USER_NAME_BYTES_MAX, User, has_spaces, merge_selectors, quoted};

/// Returns a user's line.
#[must_use]
pub fn user_line(name: &[u8], user: &User) -> Vec<u8> {
    [b"user ", name, b" ", &user.describe()].concat()
}

/// Reads the users of a text. `path`: of its file, for errors; `all_channels`: whether a new user may use all channels.
///
/// # Errors
///
/// All that is wrong with it, in one line.
pub fn parse_users(text: &[u8], path: &Path, all_channels: bool) -> Result<BTreeMap<Box<[u8]>, User>, Text> {
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
        let users = parse_users(text.as_bytes(), Path::new("users.acl"), false)?;
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
}
