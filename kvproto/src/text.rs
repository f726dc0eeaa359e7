//! A line of text in a reply: the server's own words, and between them bytes of a client's.
//!
//! Invariant: bytes are kept as they came, whether they are UTF-8 or not; how they are kept to one line is the affair of
//! whoever writes them.

use std::borrow::Cow;
use std::fmt;

/// A line of text that may quote any bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Cow<'static, [u8]>);

impl Text {
    /// Returns the parts, one after the other.
    pub fn join(parts: &[&[u8]]) -> Text {
        Text(Cow::Owned(parts.concat()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text as UTF-8; bytes that are not are replaced by U+FFFD.
    pub fn into_owned(self) -> String {
        self.to_string()
    }

    /// Returns whether the text begins with `beginning`.
    pub fn starts_with(&self, beginning: &str) -> bool {
        self.0.starts_with(beginning.as_bytes())
    }

    /// Returns the first word: of an error, its code.
    pub fn first_word(&self) -> &[u8] {
        self.0.split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// Returns the bytes without the code `ERR`, if that is what an error begins with.
    pub fn without_err(&self) -> &[u8] {
        self.0.strip_prefix(b"ERR ").unwrap_or(&self.0)
    }
}

/// Bytes that are not UTF-8 are shown as U+FFFD.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Text {
        Text(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text(Cow::Owned(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        Text(Cow::Owned(bytes))
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Text {
        match text {
            Cow::Borrowed(text) => Text::from(text),
            Cow::Owned(text) => Text::from(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_and_shown_as_far_as_they_are_text() {
        let text = Text::join(&[b"ERR no '", b"\xff", b"'"]);
        assert_eq!(text.as_bytes(), b"ERR no '\xff'");
        assert_eq!(text.to_string(), "ERR no '\u{fffd}'");
        assert_eq!(text.first_word(), b"ERR");
        assert_eq!(text.without_err(), b"no '\xff'");
        assert_eq!(Text::from("OOM no").without_err(), b"OOM no");
        assert_eq!(format!("{text:?}"), r#""ERR no \'\xff\'""#);
    }
}
