//! The table of parameters: what CONFIG GET shows and CONFIG SET changes.
//!
//! Invariant: names and aliases are unique and in lower case, and what a parameter shows it also takes, so that a
//! change can be undone with what was shown before it.

mod inert;
pub(crate) mod lists;
mod parameter;
mod rows;

use kvconfig::Directive;

pub(crate) use parameter::{Change, InFile, Parameter, Setting};

/// Returns every parameter.
pub(crate) fn all() -> impl Iterator<Item = &'static Parameter> {
    rows::ROWS.iter().chain(inert::ROWS)
}

/// The parameter of this name, whatever its case.
pub(crate) fn lookup(name: &[u8]) -> Option<&'static Parameter> {
    all().find(|row| row.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name)))
}

/// Returns whether a directive holds a password, or what stands for one.
pub(crate) fn is_secret(directive: &Directive) -> bool {
    let is_sensitive = || lookup(directive.name.as_bytes()).is_some_and(|row| row.sensitive);
    directive.name == "user" || (is_sensitive() && directive.words.iter().any(|word| !word.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Server;
    use crate::state::ServerState;
    use std::collections::BTreeSet;
    use std::fmt::Write;
    use std::{env, fs, path};

    const INTRODUCTION: &str = "# Parameters\n\n\
        What CONFIG GET shows. A row that says *CONFIG SET* is changed while the server runs; a line of the configuration file with \
        the same name, and the flag, set it at the start. The defaults are those of a server that a program starts by \
        `Server::builder()`; the program `kvserver` also writes a snapshot every 300 seconds if something changed. Made from the \
        table in `kvserver/src/config/parameters/` by its test (`KV_WRITE_DOCS=1 cargo test -p kvserver documentation`).\n\n\
        | Parameter | Values | Default | Changed by | Flag |\n|---|---|---|---|---|\n";

    /// One row of the documentation.
    fn documented(row: &Parameter, server: &ServerState) -> String {
        let name = row.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let (default, by) = match row.change {
            Change::Taken if !row.is_rewritten() => (String::new(), "the start"),
            Change::Taken => (row.value(server), "CONFIG SET"),
            Change::Immutable | Change::Protected => (String::new(), "the start"),
            Change::Refused(_) => (String::new(), "nothing"),
        };
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        let flag = row.flag.map_or_else(String::new, |flag| format!("`--{}`", flag.name));
        format!("| {name} | {} | {default} | {by} | {flag} |\n", row.kind)
    }

    #[test]
    fn the_documentation_is_that_of_the_table() {
        let db = kvcore::Options::new().durability(kvcore::Durability::EverySecond).in_memory().unwrap();
        let server = Server::builder().store(db).listen("resp://127.0.0.1:0".parse().unwrap()).start().unwrap();
        let mut text = INTRODUCTION.to_owned();
        let shown = all().filter(|row| row.inert_default().is_none() && !row.hidden);
        let rows: BTreeSet<String> = shown.map(|row| documented(row, server.state())).collect();
        text.extend(rows);
        text += "\nThese mean nothing here. They are kept and shown, because clients and tools set and read them: ";
        let inert: Vec<&str> = all().filter(|row| row.inert_default().is_some()).map(|row| row.name).collect();
        writeln!(text, "`{}`.", inert.join("`, `")).unwrap();
        let path = path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parameters.md");
        if env::var_os("KV_WRITE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == text, "docs/parameters.md is not what the table says: KV_WRITE_DOCS=1 writes it anew");
    }

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
