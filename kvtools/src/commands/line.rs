//! One key as a line of JSON.
//!
//! Invariant: what a line is made of comes back from it, byte for byte; the same key is always the same line.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A key with all there is to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) keyspace: Cow<'a, str>,
    pub(crate) key: Cow<'a, [u8]>,
    pub(crate) value: Cow<'a, [u8]>,
    /// Unix milliseconds.
    pub(crate) deadline_ms: Option<u64>,
}

/// The same as JSON has it: text as text, anything else in base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelled<'a> {
    #[serde(borrow)]
    keyspace: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

/// As text if it is text that is safe on a terminal, else in base64: one of the two.
pub(crate) fn spell(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    let is_plain =
        |text: &&str| !text.chars().any(|letter| letter.is_control() && !matches!(letter, '\t' | '\n' | '\r'));
    match std::str::from_utf8(bytes).ok().filter(is_plain) {
        Some(text) => (Some(text.into()), None),
        None => (None, Some(STANDARD.encode(bytes).into())),
    }
}

fn read<'a>(name: &str, text: Option<Cow<'a, str>>, base64: Option<Cow<'a, str>>) -> Result<Cow<'a, [u8]>, String> {
    match (text, base64) {
        (Some(Cow::Borrowed(text)), None) => Ok(text.as_bytes().into()),
        (Some(Cow::Owned(text)), None) => Ok(text.into_bytes().into()),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64.as_bytes()).map_err(|error| format!("{name}_base64: {error}"))?;
            Ok(bytes.into())
        }
        (None, None) => Err(format!("{name} or {name}_base64 is missing")),
        (Some(_), Some(_)) => Err(format!("{name} and {name}_base64 exclude each other")),
    }
}

impl Line<'_> {
    /// Writes it, with an end of line.
    pub(crate) fn write(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        let ((key, key_base64), (value, value_base64)) = (spell(&self.key), spell(&self.value));
        let keyspace = Cow::Borrowed(&*self.keyspace);
        let spelled = Spelled { keyspace, key, key_base64, value, value_base64, deadline_ms: self.deadline_ms };
        serde_json::to_writer(&mut *out, &spelled)?;
        out.write_all(b"\n")
    }
}

impl<'a> Line<'a> {
    /// Reads it; the error says what is wrong with it.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let spelled: Spelled<'a> = serde_json::from_slice(bytes).map_err(|error| {
            // It counts lines, too, and would say 1 each time.
            let text = error.to_string();
            text.split(" at line ").next().map(|why| format!("{why} at column {}", error.column())).unwrap_or(text)
        })?;
        let Spelled { keyspace, key, key_base64, value, value_base64, deadline_ms } = spelled;
        let key = read("key", key, key_base64)?;
        Ok(Line { keyspace, key, value: read("value", value, value_base64)?, deadline_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(line: &Line<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        line.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_line_is_easy_to_read() {
        let line = |key: &'static [u8], value: &'static [u8], deadline_ms| Line {
            keyspace: "0".into(),
            key: key.into(),
            value: value.into(),
            deadline_ms,
        };
        for (line, text) in [
            (line(b"k", b"v", None), r#"{"keyspace":"0","key":"k","value":"v"}"#),
            (line("ü\"\n".as_bytes(), b"", Some(5)), r#"{"keyspace":"0","key":"ü\"\n","value":"","deadline_ms":5}"#),
            (line(b"\xff", b"\x1b[2J", None), r#"{"keyspace":"0","key_base64":"/w==","value_base64":"G1sySg=="}"#),
        ] {
            assert_eq!(String::from_utf8_lossy(&written(&line)), format!("{text}\n"));
        }
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (text, why) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("[1]", "invalid"),
            (r#"{"keyspace":"0","value":"v"}"#, "key or key_base64 is missing"),
            (r#"{"keyspace":"0","key":"k"}"#, "value or value_base64 is missing"),
            (r#"{"keyspace":"0","key":"k","key_base64":"aw==","value":""}"#, "exclude each other"),
            (r#"{"keyspace":"0","key":"k","value_base64":"a"}"#, "value_base64: "),
            (r#"{"keyspace":"0","key":"k","value":"v","ttl":5}"#, "unknown field `ttl`"),
            (r#"{"keyspace":"0","key":"k","value":"v","deadline_ms":-5}"#, "invalid value"),
            (r#"{"keyspace":"0","key":"k","value":"v"} x"#, "trailing"),
        ] {
            let error = Line::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("at line"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back_as_it_was(
            keyspace in ".*",
            key in prop_oneof![any::<Vec<u8>>(), ".*".prop_map(String::into_bytes)],
            value in prop_oneof![any::<Vec<u8>>(), ".*".prop_map(String::into_bytes)],
            deadline_ms in any::<Option<u64>>(),
        ) {
            let line = Line { keyspace: keyspace.into(), key: key.into(), value: value.into(), deadline_ms };
            let bytes = written(&line);
            prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(Line::read(&bytes), Ok(line));
        }
    }
}
