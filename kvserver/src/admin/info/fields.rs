//! The lines that INFO is made of.
//!
//! Invariant: every line ends with CR LF.

use std::fmt::Write as _;

/// A section's lines as they are written.
pub(super) struct Fields<'t> {
    pub(super) text: &'t mut String,
}

impl Fields<'_> {
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\r\n");
    }

    pub(super) fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }
}
