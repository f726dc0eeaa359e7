//! Completes names and hints at arguments while a line is typed, from the command table.
//!
//! Invariant: a hint is only shown, never inserted.

use crate::help::GROUPS;
use kvproto::Spec;
use kvproto::spec::{Arg, ArgKind, COMMANDS, lookup};
use rustyline::Context;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::Validator;
use std::borrow::Cow;

/// What the line editor asks while a line is typed.
#[derive(Debug)]
pub struct Typist {
    /// Whether hints may be grey.
    pub colors: bool,
    /// A question is answered: there is nothing to complete.
    pub is_answering: bool,
}

/// Words the prompt itself understands.
const OWN_COMMANDS: [&str; 4] = ["clear", "exit", "help", "quit"];

/// A hint at the arguments to come.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage(String);

impl Hint for Usage {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl rustyline::Helper for Typist {}

impl Validator for Typist {}

impl Highlighter for Typist {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colors { Cow::Owned(format!("\x1b[90m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }
}

impl Hinter for Typist {
    type Hint = Usage;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Usage> {
        if pos == line.len() && !self.is_answering { usage_left(line) } else { None }
    }
}

impl Completer for Typist {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(line.get(..pos).unwrap_or(line)))
    }
}

/// What the word that `typed` ends with may become, and where it starts.
fn candidates(typed: &str) -> (usize, Vec<String>) {
    // Up to the last blank, which may be one beyond ASCII.
    let start = typed.trim_end_matches(|c: char| !c.is_whitespace()).len();
    let word = &typed[start..];
    let before: Vec<&str> = last_line(&typed[..start]).split_whitespace().collect();
    let names: Vec<String> = match before[..] {
        [] => command_names().chain(OWN_COMMANDS).map(str::to_owned).collect(),
        [help] if help.eq_ignore_ascii_case("help") => {
            command_names().map(str::to_owned).chain(GROUPS.iter().map(|group| format!("@{}", group.name()))).collect()
        }
        [container] => lookup(container.as_bytes())
            .map_or(&[][..], |spec| spec.subcommands)
            .iter()
            .map(|spec| spec.own_name().to_owned())
            .collect(),
        _ => Vec::new(),
    };
    // As it was begun: in lower case if the word has a small letter, else in capitals.
    let small = word.chars().any(char::is_lowercase) || word.starts_with('@');
    let mut matching: Vec<String> = names
        .into_iter()
        .filter(|name| name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)))
        .map(|name| if small { name } else { name.to_ascii_uppercase() })
        .collect();
    matching.sort();
    matching.dedup();
    (start, matching)
}

fn command_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().flat_map(|spec| spec.aliases.iter().copied().chain([spec.name]))
}

/// The line that is being typed, the last one of several.
fn last_line(text: &str) -> &str {
    text.rsplit('\n').next().unwrap_or(text)
}

/// How the command that the last line of `text` begins with goes on.
fn usage_left(text: &str) -> Option<Usage> {
    let line = last_line(text);
    let mut words = line.split_whitespace();
    let mut spec: &Spec = lookup(words.next()?.as_bytes())?;
    if !spec.subcommands.is_empty()
        && let Some(word) = words.next()
    {
        spec = spec.subcommand(word.as_bytes())?;
    }
    let typed: Vec<&str> = words.collect();
    // Words in fixed places are used up in order; of the options after them those not typed yet are left.
    let fixed = spec.args.iter().take(typed.len()).take_while(|arg| is_one_word(arg)).count();
    let left: Vec<String> = spec
        .args
        .iter()
        .skip(fixed)
        .filter(|arg| !typed.iter().skip(fixed).any(|word| arg.has_token(word.as_bytes())))
        .map(|arg| {
            let mut usage = String::new();
            arg.write_usage(&mut usage);
            usage
        })
        .collect();
    if left.is_empty() {
        return None;
    }
    let gap = if line.ends_with(char::is_whitespace) { "" } else { " " };
    Some(Usage(format!("{gap}{}", left.join(" "))))
}

/// Whether an argument is always exactly one word.
fn is_one_word(arg: &Arg) -> bool {
    arg.token.is_none() && !arg.optional && !arg.multiple && !matches!(arg.kind, ArgKind::OneOf(_) | ArgKind::Block(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(typed: &str) -> Vec<String> {
        candidates(typed).1
    }

    #[test]
    fn names_are_completed_in_the_case_they_were_begun() {
        assert_eq!(completed("pers"), ["persist"]);
        assert_eq!(completed("PERS"), ["PERSIST"]);
        assert_eq!(completed("ex"), ["exec", "exists", "exit", "expire", "expireat", "expiretime"]);
        assert_eq!(completed("CLIENT s"), ["setinfo", "setname"]);
        assert_eq!(candidates("CLIENT s").0, 7);
        assert_eq!(completed("help @tr"), ["@transactions"]);
        assert_eq!(completed("HELP GETD"), ["GETDEL"]);
        assert_eq!(completed("GET k"), [""; 0]);
        assert_eq!(completed("GET k\npers"), ["persist"]);
        assert_eq!(candidates("CLIENT s\nCLIENT s").0, 16);
        assert_eq!(completed("é"), [""; 0]);
        assert_eq!(candidates("CLIENT\u{a0}s"), (8, vec!["setinfo".to_owned(), "setname".to_owned()]));
        assert!(completed("").len() > COMMANDS.len());
    }

    #[test]
    fn hints_show_what_is_left_to_type() {
        let hint = |line: &str| usage_left(line).map(|usage| usage.0);
        assert_eq!(hint("GET").as_deref(), Some(" key"));
        assert_eq!(hint("get ").as_deref(), Some("key"));
        assert_eq!(hint("GET k"), None);
        assert_eq!(hint("SCAN 0 MATCH a*").as_deref(), Some(" [COUNT count] [TYPE type]"));
        assert_eq!(hint("SCAN 0 count 10 ").as_deref(), Some("[MATCH pattern] [TYPE type]"));
        assert_eq!(hint("CLIENT SETNAME").as_deref(), Some(" connection-name"));
        assert_eq!(hint("DEL a b").as_deref(), Some(" key [key ...]"));
        assert_eq!(hint("PING"), Some(" [message]".to_owned()));
        assert_eq!(hint("SET k v\nGET").as_deref(), Some(" key"));
        assert_eq!(hint("GET\n"), None);
        assert_eq!(hint("nope"), None);
        assert_eq!(hint(""), None);
    }

    #[test]
    fn a_hint_is_never_inserted() {
        assert_eq!(usage_left("GET").unwrap().completion(), None);
    }
}
