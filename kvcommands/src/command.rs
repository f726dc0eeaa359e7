//! COMMAND: what clients ask about commands, answered from the command table.
//!
//! Invariant: everything told comes from the table that dispatch goes by, so the two cannot differ.

use kvproto::spec::{self, Arg, Begin, Category, Find, Flag, FlagSet, KeyFlag, KeySpec};
use kvproto::{Args, CommandError, OwnedRequest, Reply, Spec};

use crate::gather::gather;
use crate::glob;
use crate::help::help;
use crate::outcome::Outcome;

/// The most commands that COMMAND INFO and COMMAND DOCS show at a time: more than there are.
const NAMES_MAX: usize = 1000;

/// `COMMAND [COUNT|DOCS|GETKEYS|GETKEYSANDFLAGS|HELP|INFO|LIST]`
pub(crate) fn command(mut args: Args<'_>, row: &'static Spec) -> Outcome {
    if args.next_opt().is_none() {
        return Ok(Reply::Array(spec::COMMANDS.iter().map(info).collect()));
    }
    if matches!(row.own_name(), "info" | "docs") && args.remaining() > NAMES_MAX {
        return Err(CommandError::custom(format!("ERR at most {NAMES_MAX} commands at a time")).into());
    }
    match row.own_name() {
        "count" => Ok(Reply::count(spec::COMMANDS.len())),
        "info" if args.is_empty() => Ok(Reply::Array(spec::COMMANDS.iter().map(info).collect())),
        "info" => Ok(Reply::Array(gather(|infos| {
            for (_, spec) in named(args) {
                infos.push(spec.map_or(Reply::Nil, info));
                if infos.is_too_large() {
                    break;
                }
            }
            Ok(())
        })?)),
        "docs" if args.is_empty() => Ok(Reply::Map(spec::COMMANDS.iter().map(documented).collect())),
        "docs" => docs(args),
        "list" => list(args),
        "getkeys" => keys_of(args, |key, _| Reply::bulk(key)),
        "getkeysandflags" => keys_of(args, |key, flags| Reply::Array(vec![Reply::bulk(key), statuses(flags.names())])),
        _ => Ok(help(row)),
    }
}

/// The commands the remaining words name; subcommands as `client|list`.
fn named(mut args: Args<'_>) -> impl Iterator<Item = (&[u8], Option<&'static Spec>)> {
    std::iter::from_fn(move || args.next_opt()).map(|word| {
        let spec = match word.iter().position(|byte| *byte == b'|') {
            None => spec::lookup(word),
            Some(at) => spec::lookup(&word[..at]).and_then(|top| top.subcommand(&word[at + 1..])),
        };
        (word, spec)
    })
}

/// `COMMAND DOCS name ...`: a name that is repeated is documented as often.
fn docs(args: Args<'_>) -> Outcome {
    let mut words = gather(|words| {
        for (name, about) in named(args).filter_map(|(_, spec)| spec).map(documented) {
            words.push(name);
            words.push(about);
            if words.is_too_large() {
                break;
            }
        }
        Ok(())
    })?
    .into_iter();
    Ok(Reply::Map(std::iter::from_fn(|| words.next().zip(words.next())).collect()))
}

fn statuses(names: impl Iterator<Item = &'static str>) -> Reply {
    Reply::Set(names.map(Reply::simple).collect())
}

fn map(fields: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

/// A row as COMMAND and COMMAND INFO show it.
fn info(spec: &'static Spec) -> Reply {
    let keys = spec.legacy_keys();
    Reply::Array(vec![
        Reply::bulk(spec.name),
        Reply::Integer(i64::from(spec.arity)),
        statuses(spec.shown_flags().names()),
        Reply::count(keys.first),
        Reply::Integer(keys.last as i64),
        Reply::count(keys.step),
        Reply::Set(spec.categories().names().map(|name| Reply::simple(format!("@{name}"))).collect()),
        Reply::Set(spec.tips.iter().map(|tip| Reply::bulk(*tip)).collect()),
        Reply::Set(spec.key_specs.iter().map(key_spec).collect()),
        Reply::Array(spec.subcommands.iter().map(info).collect()),
    ])
}

fn key_spec(keys: &KeySpec) -> Reply {
    let mut fields = Vec::new();
    if let Some(notes) = keys.notes {
        fields.push(("notes", Reply::bulk(notes)));
    }
    fields.push(("flags", statuses(keys.flags.names())));
    let (kind, begin) = match keys.begin {
        Begin::Index(index) => ("index", vec![("index", Reply::count(index))]),
        Begin::Keyword { word, from } => {
            ("keyword", vec![("keyword", Reply::bulk(word)), ("startfrom", Reply::Integer(from as i64))])
        }
        Begin::Unknown => ("unknown", Vec::new()),
    };
    fields.push(("begin_search", map(vec![("type", Reply::bulk(kind)), ("spec", map(begin))])));
    let (kind, find) = match keys.find {
        Find::Range { last, step, limit } => (
            "range",
            vec![
                ("lastkey", Reply::Integer(last as i64)),
                ("keystep", Reply::count(step)),
                ("limit", Reply::count(limit)),
            ],
        ),
        Find::Counted { first, step } => (
            "keynum",
            vec![("keynumidx", Reply::Integer(0)), ("firstkey", Reply::count(first)), ("keystep", Reply::count(step))],
        ),
        Find::Unknown => ("unknown", Vec::new()),
    };
    fields.push(("find_keys", map(vec![("type", Reply::bulk(kind)), ("spec", map(find))])));
    map(fields)
}

/// A row as COMMAND DOCS shows it.
fn documented(spec: &'static Spec) -> (Reply, Reply) {
    let mut fields = vec![("summary", Reply::bulk(spec.summary)), ("since", Reply::bulk(spec.since))];
    fields.push(("group", Reply::bulk(spec.group.name())));
    if !spec.complexity.is_empty() {
        fields.push(("complexity", Reply::bulk(spec.complexity)));
    }
    if let Some((since, replaced_by)) = spec.deprecated {
        fields.push(("doc_flags", statuses(["deprecated"].into_iter())));
        fields.push(("deprecated_since", Reply::bulk(since)));
        fields.push(("replaced_by", Reply::bulk(replaced_by)));
    }
    if !spec.args.is_empty() {
        fields.push(("arguments", arguments(spec.args)));
    }
    if !spec.subcommands.is_empty() {
        fields.push(("subcommands", Reply::Map(spec.subcommands.iter().map(documented).collect())));
    }
    (Reply::bulk(spec.name), map(fields))
}

/// The argument tree. It is as deep as the table makes it, which is not very.
fn arguments(args: &'static [Arg]) -> Reply {
    Reply::Array(args.iter().map(argument).collect())
}

fn argument(arg: &'static Arg) -> Reply {
    let members = arg.kind.members();
    let mut fields = vec![("name", Reply::bulk(arg.name)), ("type", Reply::bulk(arg.kind.name()))];
    if members.is_empty() {
        fields.push(("display_text", Reply::bulk(arg.name)));
    }
    if let Some(index) = arg.key_spec {
        fields.push(("key_spec_index", Reply::count(index)));
    }
    if let Some(token) = arg.token {
        fields.push(("token", Reply::bulk(token)));
    }
    if let Some(since) = arg.since {
        fields.push(("since", Reply::bulk(since)));
    }
    let flags = [("optional", arg.optional), ("multiple", arg.multiple), ("multiple_token", arg.multiple_token)];
    if flags.iter().any(|(_, set)| *set) {
        fields.push(("flags", statuses(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name))));
    }
    if !members.is_empty() {
        fields.push(("arguments", arguments(members)));
    }
    map(fields)
}

/// `COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]`
fn list(mut args: Args<'_>) -> Outcome {
    let all = spec::COMMANDS.iter().flat_map(|top| std::iter::once(top).chain(top.subcommands));
    if args.is_empty() {
        return Ok(Reply::bulks(all.map(|spec| spec.name)));
    }
    if args.remaining() != 3 || !args.eat("filterby") {
        return Err(CommandError::Syntax.into());
    }
    let by = args.next()?.to_ascii_lowercase();
    let wanted = args.next()?;
    let matches = |spec: &&Spec| match by.as_slice() {
        b"pattern" => glob::matches_ignoring_case(wanted, spec.name.as_bytes()),
        b"aclcat" => Category::ALL
            .iter()
            .any(|category| category.name().as_bytes() == wanted && spec.categories().has(*category)),
        _ => false,
    };
    match by.as_slice() {
        b"module" | b"aclcat" | b"pattern" => Ok(Reply::bulks(all.filter(matches).map(|spec| spec.name))),
        _ => Err(CommandError::Syntax.into()),
    }
}

/// `COMMAND GETKEYS command [argument ...]`, each key shown by `show`.
fn keys_of(mut args: Args<'_>, show: fn(&[u8], FlagSet<KeyFlag>) -> Reply) -> Outcome {
    let asked = OwnedRequest::from_words(std::iter::from_fn(|| args.next_opt()));
    let request = asked.as_request();
    let top = spec::lookup(request.name());
    let spec = top.and_then(|top| match request.get(1) {
        Some(word) if !top.subcommands.is_empty() => top.subcommand(word),
        _ => Some(top),
    });
    let spec = spec.ok_or(CommandError::custom("ERR Invalid command specified"))?;
    if !spec.takes_keys() {
        return Err(CommandError::custom("ERR The command has no key arguments").into());
    }
    if !spec.arity_ok(request.len()) {
        return Err(CommandError::custom("ERR Invalid number of arguments specified for command").into());
    }
    let found = spec.find_keys(request);
    if found.is_empty() && !spec.flags.has(Flag::NoMandatoryKeys) {
        return Err(CommandError::custom("ERR Invalid arguments specified for command").into());
    }
    let found = found.into_iter().map(|(at, flags)| show(request.get(at).unwrap_or_default(), flags));
    Ok(Reply::Array(found.collect()))
}
