//! Reads what a server says of its own commands: the replies to COMMAND and COMMAND DOCS.
//!
//! Invariant: a reply of any shape is read without a failure; what is not understood is left out.

use super::{Arg, Command, Kind, TABLE};
use kvproto::{Reply, spec};

/// How deep arguments are nested within arguments at most, and how many a command has in all.
const DEPTH_MAX: usize = 8;
const ARGS_MAX: usize = 1000;

/// Returns the commands that `list`, the reply to COMMAND, names, as far as `docs`, the reply to COMMAND DOCS, explains them.
pub fn commands(list: &Reply, docs: &Reply) -> Vec<Command> {
    let mut commands: Vec<Command> = items(list).iter().filter_map(|entry| listed(entry, "")).collect();
    commands.sort_by(|left, right| left.name.cmp(&right.name));
    commands.dedup_by(|left, right| left.name == right.name);
    for (name, about) in pairs(docs) {
        let Some(name) = text(name) else { continue };
        if let Ok(at) = commands.binary_search_by(|command| command.name.as_str().cmp(&name))
            && let Some(command) = commands.get_mut(at)
        {
            explain(command, about);
        }
    }
    // Of its own server the table says which commands it only knows by name.
    let is_own = commands.iter().any(|command| command.name == "put");
    for command in &mut commands {
        judge(command, is_own);
    }
    commands
}

/// Reads one entry of COMMAND's reply.
fn listed(entry: &Reply, container: &str) -> Option<Command> {
    let fields = items(entry);
    let name = text(fields.first()?)?.to_ascii_lowercase();
    let own = name.rsplit('|').next().filter(|own| is_name(own))?.to_owned();
    let arity = integer(fields.get(1)?)?;
    let title = if container.is_empty() { own.clone() } else { format!("{container} {own}") };
    let subcommands = match (fields.get(9), container) {
        (Some(entries), "") => items(entries).iter().filter_map(|entry| listed(entry, &own)).collect(),
        _ => Vec::new(),
    };
    Some(Command {
        title: title.to_ascii_uppercase(),
        name: own,
        arity,
        subcommands,
        is_executed: true,
        ..Command::default()
    })
}

/// Adds what COMMAND DOCS says.
fn explain(command: &mut Command, about: &Reply) {
    for (field, value) in pairs(about) {
        let Some(field) = text(field) else { continue };
        match field.as_str() {
            "summary" => command.summary = text(value).unwrap_or_default(),
            "since" => command.since = text(value).unwrap_or_default(),
            "group" => command.group = text(value).unwrap_or_default(),
            "complexity" => command.complexity = text(value).unwrap_or_default(),
            "deprecated_since" => command.deprecated.insert_str(0, &text(value).unwrap_or_default()),
            "replaced_by" => command.deprecated.push_str(&format!("; use {}", text(value).unwrap_or_default())),
            "arguments" => command.args = arguments(value, 0, &mut 0).unwrap_or_default(),
            "subcommands" => {
                for (name, about) in pairs(value) {
                    let Some(name) = text(name) else { continue };
                    let own = name.rsplit('|').next().unwrap_or(&name);
                    if let Some(sub) = command.subcommands.iter_mut().find(|sub| sub.name == own) {
                        explain(sub, about);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Reads a list of arguments, `count` of which were read before; `None` if there are too many, or one makes no sense.
fn arguments(list: &Reply, depth: usize, count: &mut usize) -> Option<Vec<Arg>> {
    let entries = items(list);
    *count += entries.len();
    if depth > DEPTH_MAX || *count > ARGS_MAX {
        return None;
    }
    entries.iter().map(|entry| argument(entry, depth, count)).collect()
}

fn argument(entry: &Reply, depth: usize, count: &mut usize) -> Option<Arg> {
    let mut arg = Arg::default();
    let mut members = Vec::new();
    let mut kind = String::new();
    for (field, value) in pairs(entry) {
        let Some(field) = text(field) else { continue };
        match field.as_str() {
            "name" if arg.name.is_empty() => arg.name = text(value).unwrap_or_default(),
            // What people are shown.
            "display_text" => arg.name = text(value).unwrap_or_default(),
            "type" => kind = text(value).unwrap_or_default(),
            // An empty keyword stands for a word that has to be given as an empty one.
            "token" => arg.token = text(value).filter(|token| !token.is_empty() && token != "\"\""),
            "arguments" => members = arguments(value, depth + 1, count)?,
            "flags" => {
                for flag in items(value).iter().filter_map(text) {
                    match flag.as_str() {
                        "optional" => arg.optional = true,
                        "multiple" => arg.multiple = true,
                        "multiple_token" => (arg.multiple, arg.multiple_token) = (true, true),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    arg.kind = match kind.as_str() {
        "integer" | "unix-time" => Kind::Integer,
        "double" => Kind::Double,
        "key" => Kind::Key,
        "pure-token" => Kind::Token,
        // A group of nothing can be matched by nothing.
        "oneof" | "block" if members.is_empty() => return None,
        "oneof" => Kind::OneOf(members),
        "block" => Kind::Block(members),
        _ => Kind::String,
    };
    Some(arg)
}

/// Says whether the arguments can be relied on: those of the commands that the table knows well, too.
fn judge(command: &mut Command, is_own: bool) {
    let row = spec::lookup(command.name.as_bytes())
        .filter(|spec| spec.name == command.name)
        .and_then(|spec| TABLE.get(spec.index()));
    let Some(row) = row else { return };
    if is_own {
        // No other server has them, and its own does not list them.
        command.aliases.clone_from(&row.aliases);
    }
    adopt(command, row, is_own);
    for sub in &mut command.subcommands {
        if let Some(row) = row.subcommand(sub.name.as_bytes()) {
            adopt(sub, row, is_own);
        }
    }
}

fn adopt(command: &mut Command, row: &Command, is_own: bool) {
    command.is_executed = row.is_executed || !is_own;
    // A server before 7.0 has no COMMAND DOCS.
    if command.summary.is_empty() {
        command.summary.clone_from(&row.summary);
        command.group.clone_from(&row.group);
        command.since.clone_from(&row.since);
        command.complexity.clone_from(&row.complexity);
        command.args.clone_from(&row.args);
    }
    command.is_exact = row.is_exact;
    command.correct();
}

/// The elements of a list of any kind.
fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) | Reply::Set(items) => items,
        _ => &[],
    }
}

/// The pairs of a map, which is a flat list in RESP2.
fn pairs(reply: &Reply) -> Vec<(&Reply, &Reply)> {
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        reply => items(reply)
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [key, value] => Some((key, value)),
                _ => None,
            })
            .collect(),
    }
}

/// A text, without what could command a terminal.
pub fn text(reply: &Reply) -> Option<String> {
    let text = match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) => text.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Verbatim { text, .. } => String::from_utf8_lossy(text).into_owned(),
        _ => return None,
    };
    Some(text.chars().filter(|&character| is_shown(character)).collect())
}

/// Whether a character shows as what it is, wherever it stands.
pub fn is_shown(character: char) -> bool {
    matches!(character, ' '..='~') || (!character.is_ascii() && character.is_alphanumeric())
}

/// Whether a text is the name of a command or setting, which is typed as it is.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn integer(reply: &Reply) -> Option<i32> {
    match reply {
        Reply::Integer(value) => i32::try_from(*value).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::matching::compare;
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec().into())
    }

    fn map(pairs: &[(&str, Reply)]) -> Reply {
        Reply::Array(pairs.iter().flat_map(|(key, value)| [bulk(key), value.clone()]).collect())
    }

    fn group(kind: &str, members: Vec<Reply>) -> Reply {
        map(&[("type", bulk(kind)), ("arguments", Reply::Array(members))])
    }

    fn option() -> Reply {
        map(&[("type", bulk("string")), ("flags", Reply::Array(vec![bulk("optional")]))])
    }

    /// The arguments that a server documents for its command `name`.
    fn described(name: &str, args: Vec<Reply>) -> Vec<Command> {
        let list = Reply::Array(vec![Reply::Array(vec![bulk(name), Reply::Integer(-1)])]);
        commands(&list, &map(&[(name, map(&[("arguments", Reply::Array(args))]))]))
    }

    #[test]
    fn descriptions_that_are_too_large_or_empty_are_left_out() {
        let empty = || group("block", Vec::new());
        for args in [
            vec![empty(); 20_000],
            vec![group("oneof", vec![empty(), empty()]); 40],
            vec![group("block", vec![option()]); 20_000],
        ] {
            assert!(described("deep", args)[0].args.is_empty());
        }
    }

    #[test]
    fn what_takes_too_long_to_compare_is_not_compared() {
        let empty = || group("block", vec![option()]);
        for args in [
            vec![group("oneof", vec![empty(), empty()]); 100],
            vec![empty(); 450],
            vec![map(&[
                ("type", bulk("block")),
                ("arguments", Reply::Array(vec![empty(); 450])),
                ("flags", Reply::Array(vec![bulk("multiple")])),
            ])],
        ] {
            let deep = described("deep", args);
            assert!(!deep[0].args.is_empty());
            let words: Vec<&[u8]> = vec![b"x"; 100];
            assert!(compare(&deep[0].args, &words).is_none());
        }
    }

    #[test]
    fn a_name_that_is_no_plain_word_is_no_command() {
        for name in ["x | touch y #", "a b", "", "a\"b", "\u{e9}", ":quit", "#"] {
            assert_eq!(described(name, Vec::new()).len(), 0, "{name}");
        }
        assert_eq!(described("JSON.SET", Vec::new())[0].name, "json.set");
    }

    #[test]
    fn texts_hold_nothing_that_moves_others() {
        let text = text(&bulk("a\x1b[2J\u{61c}\u{200b}\u{200d}\u{2028}\u{2029}\u{feff}\u{202e}b \u{e9}"));
        assert_eq!(text.as_deref(), Some("a[2Jb \u{e9}"));
    }
}
