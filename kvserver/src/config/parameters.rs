//! The table of parameters: what CONFIG GET shows and CONFIG SET changes.
//!
//! Invariant: names and aliases are unique and in lower case, and what a parameter shows it also takes, so that a
//! change can be undone with what was shown before it.

mod inert;
mod kind;
pub(crate) mod lists;
mod parameter;
mod rows;

pub(crate) use kind::{Kind, show_percentile};
pub(crate) use parameter::{Change, InFile, Parameter};

/// Returns every parameter.
pub(crate) fn all() -> impl Iterator<Item = &'static Parameter> {
    rows::ROWS.iter().chain(inert::ROWS)
}

/// The parameter of this name, whatever its case.
pub(crate) fn lookup(name: &[u8]) -> Option<&'static Parameter> {
    all().find(|row| row.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_lower_case_and_inert_defaults_are_of_their_kind() {
        let mut seen = BTreeSet::new();
        for row in all() {
            for name in row.names() {
                assert!(seen.insert(name), "{name} twice");
                assert_eq!(name, name.to_ascii_lowercase());
            }
            if let Some(default) = row.inert_default() {
                assert_eq!(row.kind.normalize(default).as_deref(), Ok(default), "{}", row.name);
            }
        }
        assert_eq!(lookup(b"LUA-time-limit").map(|row| row.name), Some("busy-reply-threshold"));
    }
}
