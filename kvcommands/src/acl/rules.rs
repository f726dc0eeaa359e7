//! The words rules are written in: what can be wrong with one, and how a selector's words are brought together.
//!
//! Invariant: reading rules takes time in proportion to their length, and no recursion: a selector holds no selectors.

use std::borrow::Cow;

use super::key_access::KeyAccess;

/// Why a rule is refused. The texts are those Redis sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is no such command, subcommand or category.
    #[error("Unknown command or category name in ACL")]
    UnknownCommand,
    /// It is no rule.
    #[error("Syntax error")]
    Syntax,
    /// A pattern of keys after `~*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AllKeysAlready,
    /// A pattern of channels after `&*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannelsAlready,
    /// `<password` of one that the user does not have.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#hash` that is none.
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    BadHash,
    /// `+command|subcommand|argument`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
    /// Ours: Redis has no bound.
    #[error("The rules of a user may take {USER_BYTES_MAX} bytes")]
    TooLong,
}

/// What the rules of one user may take in memory, in bytes. They are compared one by one, on an event loop.
pub const USER_BYTES_MAX: usize = 1024 * 1024;

/// The longest name of a user, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 256;

/// What a pattern, a password or a command's argument takes beside its bytes.
pub const ITEM_BYTES: usize = 64;

/// How much of a rule an error quotes, in bytes.
const QUOTED_BYTES_MAX: usize = 512;

/// Returns the beginning of a word, as an error quotes it.
pub fn quoted(word: &[u8]) -> Vec<u8> {
    kvproto::error::quoted(word, QUOTED_BYTES_MAX)
}

/// Whether a name or pattern holds what a rule cannot: white space would end it where users are written in lines.
pub fn has_spaces(word: &[u8]) -> bool {
    word.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

/// A rule on keys: what may be done, to which. `~p`, `%R~p`, `%W~p`, `%RW~p`.
pub fn key_rule(rule: &[u8]) -> Result<(KeyAccess, &[u8]), RuleError> {
    let Some(permissions) = rule.strip_prefix(b"%") else {
        return Ok((KeyAccess::BOTH, rule.strip_prefix(b"~").ok_or(RuleError::Syntax)?));
    };
    let end = permissions.iter().position(|&byte| byte == b'~').ok_or(RuleError::Syntax)?;
    let mut access = KeyAccess::default();
    for letter in &permissions[..end] {
        match letter.to_ascii_uppercase() {
            b'R' if !access.read => access.read = true,
            b'W' if !access.write => access.write = true,
            _ => return Err(RuleError::Syntax),
        }
    }
    // A pattern that permits nothing could not be written down again.
    if access == KeyAccess::default() {
        return Err(RuleError::Syntax);
    }
    Ok((access, &permissions[end + 1..]))
}

/// Brings together the words of each selector: `(~a`, `+get)` is `(~a +get)`. The error is the word that opens a
/// parenthesis no later word closes.
pub fn merge_selectors<'w>(words: impl IntoIterator<Item = &'w [u8]>) -> Result<Vec<Cow<'w, [u8]>>, &'w [u8]> {
    let mut merged = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        let closes = word.last() == Some(&b')');
        match &mut open {
            None if word.first() == Some(&b'(') && !closes => open = Some((word, word.to_vec())),
            None => merged.push(Cow::Borrowed(word)),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if closes && let Some((_, selector)) = open.take() {
                    merged.push(Cow::Owned(selector));
                }
            }
        }
    }
    match open {
        Some((word, _)) => Err(word),
        None => Ok(merged),
    }
}

/// The rules within a selector's parentheses, if `rule` has them.
pub fn selector_rules(rule: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let inside = rule.strip_prefix(b"(")?.strip_suffix(b")")?;
    Some(inside.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_selector_are_brought_together() {
        let merge = |line: &'static str| {
            merge_selectors(line.split(' ').map(str::as_bytes))
                .map(|words| words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>())
                .map_err(|word| String::from_utf8_lossy(word).into_owned())
        };
        assert_eq!(merge("on (~a +get) off"), Ok(["on", "(~a +get)", "off"].map(str::to_owned).to_vec()));
        assert_eq!(merge("( ~a ) ()"), Ok(["( ~a )", "()"].map(str::to_owned).to_vec()));
        assert_eq!(merge("on (~a +get"), Err("(~a".to_owned()));
        assert_eq!(merge("("), Err("(".to_owned()));
        assert_eq!(merge(")"), Ok(vec![")".to_owned()]));
        assert_eq!(merge(""), Ok(vec![String::new()]));
    }

    #[test]
    fn a_key_rule_permits_something_or_is_refused() {
        assert_eq!(key_rule(b"~a"), Ok((KeyAccess::BOTH, &b"a"[..])));
        assert_eq!(key_rule(b"%r~a~b"), Ok((KeyAccess { read: true, write: false }, &b"a~b"[..])));
        assert_eq!(key_rule(b"%WR~"), Ok((KeyAccess::BOTH, &b""[..])));
        for bad in ["%", "%~", "%~a", "%R", "%RR~a", "%RWX~a", "%R a~b"] {
            assert_eq!(key_rule(bad.as_bytes()), Err(RuleError::Syntax), "{bad}");
        }
    }
}
