//! The command tables of the README and of docs/commands.md say what the command table says.
//!
//! Invariant: what stands between the markers is written by this test alone:
//! `UPDATE_README=1 cargo test -p kvproto --test readme`.

use std::path::Path;

use kvproto::Spec;
use kvproto::spec::{COMMANDS, Group};

/// The families in the order of the tables, with their headings; for those that are not executed, why.
const FAMILIES: [(Group, &str, &str); 18] = [
    (Group::String, "Strings", ""),
    (Group::Bitmap, "Bitmaps", ""),
    (Group::HyperLogLog, "HyperLogLog", "debugging of another implementation"),
    (
        Group::Generic,
        "Keys",
        "they are about other types of value, or other servers, or a mark on keys that is not kept here",
    ),
    (Group::PubSub, "Publish and subscribe", ""),
    (Group::Transactions, "Transactions", ""),
    (Group::Connection, "Connection", "expired keys are shown to nobody"),
    (
        Group::Server,
        "Server",
        "there is no replication (`REPLICAOF NO ONE` is `OK`), there are no modules, and users have no roles",
    ),
    (Group::List, "Lists", "values are strings"),
    (Group::Hash, "Hashes", "values are strings"),
    (Group::Set, "Sets", "values are strings"),
    (Group::SortedSet, "Sorted sets", "values are strings"),
    (Group::Stream, "Streams", "values are strings"),
    (Group::Geo, "Geo", "values are strings"),
    (Group::Array, "Arrays", "values are strings"),
    (Group::VectorSet, "Vector sets", "values are strings"),
    (Group::Scripting, "Scripting", "no programs run inside the server"),
    (
        Group::Cluster,
        "Cluster",
        "a server is one node; the error is that of a Redis without cluster mode (`CLUSTER KEYSLOT` replies)",
    ),
];

const BEGIN: &str = "<!-- begin: written by kvproto/tests/readme.rs -->\n";
const END: &str = "<!-- end -->\n";

fn of(group: Group) -> impl Iterator<Item = &'static Spec> {
    COMMANDS.iter().filter(move |spec| spec.group == group)
}

fn spelled(spec: &Spec) -> String {
    format!("`{}`", spec.name.replace('|', " ").to_ascii_uppercase())
}

/// A row of a table: what holds a `|` must say so.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// One row a family: the names alone.
fn overview() -> String {
    let mut text = "| Family | Commands |\n|---|---|\n".to_owned();
    for (group, heading, _) in FAMILIES {
        let names = of(group).filter(|spec| !spec.unsupported).map(|spec| {
            let aliases = spec.aliases.iter().map(|alias| format!("`{}`", alias.to_ascii_uppercase()));
            let aliases: Vec<String> = aliases.collect();
            if aliases.is_empty() { spelled(spec) } else { format!("{} ({})", spelled(spec), aliases.join(", ")) }
        });
        let names: Vec<String> = names.collect();
        if !names.is_empty() {
            text.push_str(&format!("| {heading} | {} |\n", names.join(" ")));
        }
    }
    text.push_str(
        "\nKnown and refused, with an error that says so:\n\n| Family | Commands | Because |\n|---|---|---|\n",
    );
    for (group, heading, why) in FAMILIES {
        let whole = of(group).filter(|spec| spec.unsupported);
        let parts =
            of(group).filter(|spec| !spec.unsupported).flat_map(|spec| spec.subcommands).filter(|sub| sub.unsupported);
        let names: Vec<String> = whole.chain(parts).map(spelled).collect();
        if !names.is_empty() {
            assert!(!why.is_empty(), "say in FAMILIES why {names:?} are refused");
            text.push_str(&format!("| {heading} | {} | {why} |\n", names.join(" ")));
        }
    }
    text
}

/// One table a family: how to type each command, since when there is one, and what it does.
fn reference() -> String {
    let mut text = String::new();
    for (group, heading, _) in FAMILIES {
        let executed: Vec<&Spec> = of(group).filter(|spec| !spec.unsupported).collect();
        if executed.is_empty() {
            continue;
        }
        text.push_str(&format!("## {heading}\n\n| Command | Since | |\n|---|---|---|\n"));
        for spec in executed {
            let rows: Vec<&Spec> =
                if spec.subcommands.is_empty() { vec![spec] } else { spec.subcommands.iter().collect() };
            for row in rows.into_iter().filter(|row| !row.unsupported) {
                text.push_str(&format!("| `{}` | {} | {} |\n", cell(&row.usage()), row.since, cell(row.summary)));
            }
        }
        text.push('\n');
    }
    text
}

/// Checks, or writes, what stands between the markers of a file.
fn keep(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (before, rest) = text.split_once(BEGIN).expect("a marker where the table begins");
    let (found, after) = rest.split_once(END).expect("a marker where the table ends");
    if found == wanted {
        return;
    }
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, [before, BEGIN, wanted, END, after].concat()).expect("a file to write");
        return;
    }
    let line = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    panic!(
        "{} does not say what the command table says; run UPDATE_README=1 cargo test -p kvproto --test readme\n{line:?}",
        path.display()
    );
}

#[test]
fn every_command_is_in_a_family() {
    for spec in COMMANDS {
        assert!(FAMILIES.iter().any(|(group, ..)| *group == spec.group), "{}", spec.name);
    }
}

#[test]
fn the_readme_lists_the_commands_of_the_table() {
    keep("README.md", &overview());
}

#[test]
fn the_reference_lists_the_commands_of_the_table() {
    keep("docs/commands.md", &reference());
}
