//! HELP: what commands do, how to type them, what each of their options means.
//!
//! Invariant: every command of the table, and every group, has help. What the server says is shown where it has commands
//! that the table does not describe.

mod examples;

use crate::directives;
use crate::syntax::{Arg, Catalog, Command, Known};
use examples::{EXAMPLES, Explained, OPTIONS};
use kvproto::Request;
use kvproto::spec::Group;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use terminal_size::{Width, terminal_size};
use unicode_width::UnicodeWidthStr;

/// The groups, in the order they are listed.
pub const GROUPS: [Group; 9] = [
    Group::String,
    Group::Bitmap,
    Group::HyperLogLog,
    Group::Generic,
    Group::Connection,
    Group::Transactions,
    Group::PubSub,
    Group::Server,
    Group::Scripting,
];

/// Returns what HELP prints for the words after it, without a server: an introduction, a command's help, or a group's commands.
/// `Err` is the text for a command or group that is not known.
pub fn text(request: Request<'_>) -> Result<String, String> {
    text_with(request, &Catalog::default())
}

/// Returns the same, with the commands of a server.
pub fn text_with(request: Request<'_>, catalog: &Catalog) -> Result<String, String> {
    let width =
        if io::stdout().is_terminal() { terminal_size().map(|(Width(columns), _)| usize::from(columns)) } else { None };
    explain(request, catalog).map(|text| wrap(&text, width)).map_err(|text| wrap(&text, width).trim_end().to_owned())
}

fn explain(request: Request<'_>, catalog: &Catalog) -> Result<String, String> {
    let Some(name) = request.get(1) else {
        return Ok(introduction(catalog));
    };
    if let Some(group) = name.strip_prefix(b"@") {
        return group_help(&String::from_utf8_lossy(group), catalog);
    }
    if name.starts_with(b":") {
        return directive_help(&String::from_utf8_lossy(name).to_ascii_lowercase());
    }
    let described = Catalog::default();
    let command = match (described.lookup(name), catalog.lookup(name)) {
        // The table explains its own commands best.
        (Known::As(command), _) if command.is_executed => command,
        (_, Known::As(command)) | (Known::As(command), _) => command,
        _ => return Err(format!("No command is named {}. Try HELP.", String::from_utf8_lossy(name))),
    };
    let mut text = match request.get(2).and_then(|word| command.subcommand(word)) {
        Some(sub) => command_help(sub),
        None => [command].into_iter().chain(&command.subcommands).map(command_help).collect(),
    };
    if catalog.server.is_some() && matches!(catalog.lookup(name), Known::No) {
        text.push_str("  This server has no such command.\n");
    }
    Ok(text)
}

/// The groups of the commands, in order, and how many commands each has.
fn groups(catalog: &Catalog) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for command in catalog.commands().iter().filter(|command| command.is_executed && !command.group.is_empty()) {
        *counts.entry(&command.group).or_default() += 1;
    }
    let mut groups: Vec<(String, usize)> = GROUPS
        .iter()
        .filter_map(|group| counts.remove_entry(group.name()))
        .map(|(name, count)| (name.to_owned(), count))
        .collect();
    groups.extend(counts.into_iter().map(|(name, count)| (name.to_owned(), count)));
    groups
}

fn introduction(catalog: &Catalog) -> String {
    let mut text = "Type a command and its arguments; quote arguments that hold blanks.\n\
        \n\
        \x20 HELP SET        what a command does and how to type it\n\
        \x20 HELP @string    the commands of a group\n\
        \x20 HELP :format    what a directive of the prompt does\n\
        \x20 <Tab>           completes names, options and keys\n\
        \x20 <Right>         accepts the grey rest of a line\n\
        \x20 <Alt-Enter>     begins another line; pasted lines run one after the other\n\
        \x20 CLEAR           clears the screen\n\
        \x20 QUIT            leaves, as do EXIT and Ctrl-D\n\
        \n\
        Groups:\n"
        .to_owned();
    for (group, count) in groups(catalog) {
        let commands = if count == 1 { "command" } else { "commands" };
        let name = format!("@{group}");
        text.push_str(&format!("  {name:<15} {count:>3} {commands}\n"));
    }
    text.push_str("\nDirectives:\n");
    text.push_str(&directives::list());
    text
}

fn directive_help(name: &str) -> Result<String, String> {
    let found = directives::DIRECTIVES.iter().find(|(usage, _)| usage.split(' ').next() == Some(name));
    match found {
        Some((usage, summary)) => Ok(format!("\n  {usage}\n  {summary}\n")),
        None => Err(format!("No directive is named {name}. Try :help.")),
    }
}

fn command_help(command: &Command) -> String {
    let mut text = format!("\n  {}\n  {}\n", command.usage(), command.summary);
    let options = options(command);
    if !options.is_empty() {
        text.push('\n');
        for option in options {
            text.push_str(&format!("  {:<12} {}\n", option.token, option.text));
            let line = line_of(option, command);
            if !line.is_empty() {
                text.push_str(&format!("  {:<12}   {line}\n", ""));
            }
        }
        text.push('\n');
    }
    if let Some(line) = example_of(&command.title) {
        text.push_str(&format!("  example: {line}\n"));
    }
    let facts = [("group", &command.group), ("since", &command.since), ("cost", &command.complexity)];
    let facts: Vec<String> =
        facts.iter().filter(|(_, fact)| !fact.is_empty()).map(|(name, fact)| format!("{name}: {fact}")).collect();
    if !facts.is_empty() {
        text.push_str(&format!("  {}\n", facts.join("  ")));
    }
    if !command.aliases.is_empty() {
        text.push_str(&format!("  also: {}\n", command.aliases.join(", ").to_ascii_uppercase()));
    }
    if !command.deprecated.is_empty() {
        text.push_str(&format!("  deprecated since {}\n", command.deprecated));
    }
    text
}

fn example_of(title: &str) -> Option<&'static str> {
    EXAMPLES.iter().find(|(name, _)| *name == title).map(|(_, line)| *line)
}

/// The options of a command that are explained, in the order they are typed.
fn options(command: &Command) -> Vec<&'static Explained> {
    fn tokens<'a>(args: &'a [Arg], found: &mut Vec<&'a str>) {
        for arg in args {
            found.extend(arg.token.as_deref());
            tokens(arg.members(), found);
        }
    }
    let mut names = Vec::new();
    tokens(&command.args, &mut names);
    let mut options: Vec<&Explained> = Vec::new();
    for token in names {
        if let Some(option) = explained(&command.title, token)
            && !options.iter().any(|known| std::ptr::eq(*known, option))
        {
            options.push(option);
        }
    }
    options
}

fn explained(title: &str, token: &str) -> Option<&'static Explained> {
    // What is said of all commands is said of those that have an example.
    let of = |named: bool| {
        OPTIONS.iter().find(|option| {
            let is_of = if named { option.of.contains(&title) } else { option.of.is_empty() };
            is_of && option.token == token
        })
    };
    of(true).or_else(|| of(false)).filter(|_| example_of(title).is_some())
}

/// Returns what an option of a command means, if that is explained.
pub fn about_option(title: &str, token: &str) -> &'static str {
    explained(title, token).map_or("", |option| option.text)
}

/// The line that shows an option.
fn line_of(option: &Explained, command: &Command) -> String {
    let base = example_of(&command.title).unwrap_or(&command.title);
    let is_whole =
        option.example.strip_prefix(&command.title).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    match option.example {
        "" => base.to_owned(),
        whole if is_whole => whole.to_owned(),
        rest => format!("{base} {rest}"),
    }
}

fn group_help(name: &str, catalog: &Catalog) -> Result<String, String> {
    let mut text = String::new();
    for command in catalog.commands() {
        if command.is_executed && command.group.eq_ignore_ascii_case(name) {
            text.push_str(&format!("\n  {}\n  {}\n", command.usage(), command.summary));
        }
    }
    if text.is_empty() {
        return Err(format!("No group is named @{name}. Try HELP."));
    }
    Ok(text)
}

/// Returns a text with its lines broken between words; further lines are indented as the first, or as what it explains.
fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        wrap_line(line, width.saturating_sub(1), &mut out);
    }
    out
}

fn wrap_line(line: &str, width: usize, out: &mut String) {
    let blanks = line.len() - line.trim_start().len();
    // What stands in a second column goes on there, if there is room for it.
    let column = line.trim_start().find("  ").map_or(blanks, |gap| {
        let rest = line.get(blanks + gap..).unwrap_or_default();
        blanks + gap + rest.len() - rest.trim_start().len()
    });
    // Facts have no columns.
    let is_fact = line.trim_start().split(' ').next().is_some_and(|word| word.ends_with(':'));
    let column = if is_fact { blanks + 2 } else { column };
    let indent = if column <= width / 2 { column } else { (blanks + 2).min(width / 4) };
    let mut column = 0;
    let mut is_first = true;
    let mut rest = line;
    while !rest.is_empty() {
        let gap = rest.len() - rest.trim_start_matches(' ').len();
        // Alternatives are parted, too.
        let is_end = |(at, letter): (usize, char)| match letter {
            ' ' => Some(at),
            '|' => Some(at + 1),
            _ => None,
        };
        let word_end =
            rest.get(gap..).and_then(|rest| rest.char_indices().find_map(is_end)).map_or(rest.len(), |end| gap + end);
        let (piece, after) = rest.split_at(word_end);
        if !is_first && column + piece.width() > width && column > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push_str(piece.trim_start());
            column = indent + piece.trim_start().width();
        } else {
            out.push_str(piece);
            column += piece.width();
        }
        is_first = false;
        rest = after;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::TABLE;
    use kvproto::OwnedRequest;
    use kvproto::spec::COMMANDS;

    fn text(words: &[&str]) -> String {
        let request = OwnedRequest::from_words(["HELP"].iter().chain(words));
        super::text(request.as_request()).unwrap_or_else(|text| text)
    }

    #[test]
    fn a_command_is_explained_in_any_case() {
        let help = text(&["sEt"]);
        assert!(help.contains("SET key value [NX|XX"), "{help}");
        assert!(help.contains("group: string"), "{help}");
        assert!(help.contains("SET greeting hello EX 60\n"), "{help}");
        assert!(text(&["delete"]).contains("also: DELETE, REMOVE"));
        assert!(text(&["client", "list"]).contains("CLIENT LIST"));
        assert!(text(&["client"]).contains("CLIENT SETNAME"));
        assert!(text(&["setex"]).contains("deprecated since 2.6.12; use"));
        assert!(text(&["nope"]).contains("No command"));
        assert!(text(&["@nope"]).contains("No group"));
        assert!(text(&[":timing"]).contains(":timing on|off"));
        assert!(text(&[":nope"]).contains("No directive"));
    }

    #[test]
    fn every_command_is_in_a_group_that_help_lists() {
        let listed: String = GROUPS.iter().map(|group| text(&[&format!("@{}", group.name())])).collect();
        for spec in COMMANDS.iter().filter(|spec| !spec.unsupported) {
            assert!(listed.contains(spec.summary), "{}", spec.name);
            assert!(text(&[]).contains(spec.group.name()), "{}", spec.name);
        }
        let strings = COMMANDS.iter().filter(|spec| !spec.unsupported && spec.group == Group::String).count();
        assert!(text(&[]).contains(&format!("@string {strings:>11} commands")), "{}", text(&[]));
    }

    #[test]
    fn help_is_broken_between_words() {
        for columns in [20, 40, 80] {
            let wrapped = wrap(
                &explain(OwnedRequest::from_words(["HELP", "SET"]).as_request(), &Catalog::default()).unwrap(),
                Some(columns),
            );
            let longest = "unix-time-milliseconds|".len() + 5;
            assert!(wrapped.lines().all(|line| line.width() < columns.max(longest)), "{wrapped}");
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(letters(&wrapped), letters(&text(&["SET"])));
        }
        assert_eq!(wrap("  EX   lives so long\n", Some(17)), "  EX   lives so\n       long\n");
    }

    /// The executed commands, each with its subcommands instead if it has any.
    fn executed() -> Vec<&'static Command> {
        let all = TABLE.iter().filter(|command| command.is_executed);
        let parts = all.flat_map(|command| [command].into_iter().chain(&command.subcommands));
        let is_shown = |command: &&Command| {
            command.is_executed
                && (command.name != "help" || command.title == "HELP")
                && (command.subcommands.is_empty() || command.title == "COMMAND")
        };
        parts.filter(is_shown).collect()
    }

    #[test]
    fn every_command_has_an_example_and_every_option_is_explained() {
        let mut missing = Vec::new();
        for command in executed() {
            if example_of(&command.title).is_none() {
                missing.push(command.title.clone());
            }
            let known = options(command);
            let mut usage = String::new();
            for arg in &command.args {
                arg.write_usage(&mut usage);
            }
            fn tokens(args: &[Arg], found: &mut Vec<String>) {
                for arg in args {
                    found.extend(arg.token.clone());
                    tokens(arg.members(), found);
                }
            }
            let mut all = Vec::new();
            tokens(&command.args, &mut all);
            for token in all {
                if !known.iter().any(|option| option.token == token) {
                    missing.push(format!("{} {token}", command.title));
                }
            }
        }
        assert!(missing.is_empty(), "not explained: {missing:?}");
        for (title, _) in EXAMPLES {
            assert!(executed().iter().any(|command| command.title == *title), "no such command: {title}");
        }
    }

    /// What the server refuses because of what it holds, or how it was started: the line is right all the same.
    const EXCUSED: &[(&str, &str)] = &[
        ("ACL LOAD", "not configured to use an ACL file"),
        ("ACL SAVE", "not configured to use an ACL file"),
        ("BACKUP READ", "no backup is running"),
        ("BACKUP START", "a store in memory has no files"),
        ("BACKUP STOP", "no backup is running"),
        ("BGREWRITEAOF", "a store in memory has no files"),
        ("BGSAVE", "a store in memory has no files"),
        ("BGSAVE", "not in progress or scheduled"),
        ("CLIENT CACHING", "only when the client is in tracking mode"),
        ("CLIENT TRACKING", "client ID you want redirect to does not exist"),
        ("CONFIG REWRITE", "without a config file"),
        ("DEBUG", "DEBUG command not allowed"),
        ("DISCARD", "without MULTI"),
        ("EXEC", "without MULTI"),
        ("FUNCTION KILL", "NOTBUSY"),
        ("HOTKEYS START", "already in progress"),
        ("LATENCY GRAPH", "No samples available"),
        ("OBJECT FREQ", "LFU maxmemory policy is not selected"),
        ("PFDEBUG", "key does not exist"),
        ("RESTORE", "BUSYKEY"),
        ("RESTORE-ASKING", "BUSYKEY"),
        ("SAVE", "a store in memory has no files"),
        ("SCRIPT KILL", "NOTBUSY"),
    ];

    #[test]
    fn the_server_takes_every_example() {
        let (server, mut client) = include!("../doctests/server.in");
        let address = server.addresses()[0].tcp().unwrap();
        let mut refused = Vec::new();
        for command in executed() {
            let lines = options(command).into_iter().map(|option| line_of(option, command));
            for line in example_of(&command.title).map(str::to_owned).into_iter().chain(lines) {
                // These end the server, the conversation, or it goes on without replies.
                let is_last = ["SHUTDOWN", "QUIT", "MONITOR", "CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT KILL"];
                let is_subscription = command.group == "pubsub" && command.name.ends_with("subscribe");
                if is_last.iter().any(|last| line.starts_with(last)) || is_subscription {
                    continue;
                }
                let mut connection = kvclient::Connection::connect(&format!("redis://{address}")).unwrap();
                // An example does not depend on what others have left behind.
                client.flush().unwrap();
                for (key, value) in [("greeting", "hello"), ("session", "alice"), ("one", "1"), ("two", "2")] {
                    client.set(key, value).unwrap();
                }
                let words = kvproto::line::split_text(line.as_bytes(), 64).unwrap();
                if let Err(error) = connection.command(words.as_request().iter().collect::<Vec<_>>()) {
                    let error = error.to_string();
                    let excused =
                        EXCUSED.iter().any(|(title, excuse)| *title == command.title && error.contains(excuse));
                    if !excused {
                        refused.push(format!("{line}: {error}"));
                    }
                }
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}
