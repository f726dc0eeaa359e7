//! What the words of a line are, and what the server will refuse in it.
//!
//! Invariant: what a server accepts is never called wrong, unless it accepts that only where a key is missing. What can still
//! become right while it is typed is not wrong yet.

use super::line::{Line, Quotes, Word};
use super::matching::{Match, Misfit, Role, begins_number, compare};
use super::{Catalog, Command, Kind, Known};

/// What a word of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The name of a command or subcommand.
    Command,
    /// A word of the command.
    Role(Role),
    /// Nothing is known of it.
    Plain,
    /// The server refuses it.
    Wrong,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which word.
    pub word: usize,
    /// Why, in short.
    pub reason: String,
}

/// What the words of a line are.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What each word is.
    pub parts: Vec<Part>,
    /// What is wrong.
    pub fault: Option<Fault>,
    /// Only the server knows whether it has the command.
    pub needs_server: bool,
    /// A quote is not closed yet.
    pub is_open: bool,
}

/// A line's command, and how many words name it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'c> {
    /// The command, or the subcommand.
    pub command: &'c Command,
    /// 2 for a subcommand.
    pub words: usize,
}

/// Why no command could be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// There is none of that name. Which word it is.
    Unknown(usize),
    /// Only the server knows.
    NeedsServer,
}

/// Returns the command, and the subcommand if it has any, that the words begin with.
pub fn named<'c, W: AsRef<[u8]>>(words: &[W], catalog: &'c Catalog) -> Result<Named<'c>, Unnamed> {
    let name = words.first().ok_or(Unnamed::NeedsServer)?;
    let command = match catalog.lookup(name.as_ref()) {
        Known::As(command) => command,
        Known::No => return Err(Unnamed::Unknown(0)),
        Known::Perhaps => return Err(Unnamed::NeedsServer),
    };
    let Some(word) = words.get(1).filter(|_| !command.subcommands.is_empty()) else {
        return Ok(Named { command, words: 1 });
    };
    match command.subcommand(word.as_ref()) {
        Some(sub) => Ok(Named { command: sub, words: 2 }),
        None if catalog.server.is_some() || catalog.is_own => Err(Unnamed::Unknown(1)),
        None => Err(Unnamed::NeedsServer),
    }
}

/// Says what the words of a line are. `is_typing`: the last word may go on.
pub fn check(line: &Line, catalog: &Catalog, is_typing: bool) -> Checked {
    let words: Vec<&[u8]> = line.words.iter().map(|word| word.bytes.as_slice()).collect();
    let last = words.len().saturating_sub(1);
    let mut checked = Checked { parts: vec![Part::Plain; words.len()], ..Checked::default() };
    let found = named(&words, catalog);
    let named_words = match found {
        Ok(named) => named.words,
        Err(Unnamed::Unknown(at)) => at,
        Err(Unnamed::NeedsServer) => {
            usize::from(matches!(words.first().map(|name| catalog.lookup(name)), Some(Known::As(_))))
        }
    };
    for part in checked.parts.iter_mut().take(named_words) {
        *part = Part::Command;
    }
    match found {
        Err(Unnamed::NeedsServer) => checked.needs_server = !words.is_empty(),
        Err(Unnamed::Unknown(at)) => {
            let goes_on = is_typing && at == last && may_become(&words, at, catalog);
            if !goes_on {
                let what = if at == 0 { "no such command" } else { "no such subcommand" };
                checked.wrong(at, what.to_owned());
            }
        }
        Ok(named) => {
            // Another server may not have it; or the table knows little more of it than its name, and the server may know all.
            let is_of_kv = words.first().is_some_and(|typed| is_of_kv(named.command, typed));
            let is_certain = named.command.is_executed && !is_of_kv;
            checked.needs_server = !is_certain && catalog.server.is_none() && !catalog.is_own;
            if !named.command.is_executed && !checked.needs_server {
                checked.wrong(named.words - 1, "this server does not execute it".to_owned());
            } else {
                check_arguments(&words, named, is_typing, &mut checked);
            }
        }
    }
    check_quotes(&line.words, &mut checked);
    checked
}

/// Returns whether kv alone has a command of the name that was typed. The first version of Redis is 1.0.0.
fn is_of_kv(command: &Command, typed: &[u8]) -> bool {
    command.since.starts_with("0.") || command.aliases.iter().any(|alias| alias.as_bytes().eq_ignore_ascii_case(typed))
}

impl Checked {
    fn wrong(&mut self, word: usize, reason: String) {
        if let Some(part) = self.parts.get_mut(word) {
            *part = Part::Wrong;
        }
        if self.fault.is_none() {
            self.fault = Some(Fault { word, reason });
        }
    }
}

/// Whether the word at `at` begins the name of a command or subcommand.
fn may_become(words: &[&[u8]], at: usize, catalog: &Catalog) -> bool {
    let Some(word) = words.get(at) else { return true };
    let names = match words.first().map(|name| catalog.lookup(name)) {
        Some(Known::As(command)) if at == 1 => command.subcommands.as_slice(),
        _ => catalog.commands(),
    };
    names.iter().any(|command| begins(&command.name, word) || command.aliases.iter().any(|alias| begins(alias, word)))
}

/// Whether `name` begins with `word`, in any case.
pub fn begins(name: &str, word: &[u8]) -> bool {
    name.as_bytes().get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn check_arguments(words: &[&[u8]], named: Named<'_>, is_typing: bool, checked: &mut Checked) {
    let command = named.command;
    let Some(arguments) = words.get(named.words..) else { return };
    let compared = if command.args.is_empty() { None } else { compare(&command.args, arguments) };
    for (part, role) in
        checked.parts.iter_mut().skip(named.words).zip(compared.iter().flat_map(|compared| &compared.roles))
    {
        *part = Part::Role(*role);
    }
    if command.is_too_long(words.len()) {
        let at = usize::try_from(command.arity).unwrap_or(words.len());
        return checked.wrong(at, too_many(command, at.saturating_sub(named.words)));
    }
    if !command.is_exact {
        return;
    }
    let Some(Match { misfit: Some((at, misfit)), .. }) = &compared else { return };
    let word = arguments.get(*at).copied().unwrap_or_default();
    if is_typing && at + 1 == arguments.len() && may_fit(command, arguments, word) {
        return;
    }
    // Of an option that is given twice servers look at the last value only.
    let option = at.checked_sub(1).and_then(|before| arguments.get(before)).copied().unwrap_or_default();
    let is_given_again = arguments.iter().skip(at + 1).any(|word| word.eq_ignore_ascii_case(option));
    if matches!(misfit, Misfit::NotInteger | Misfit::NotNumber) && is_given_again {
        return;
    }
    checked.wrong(named.words + at, reason(command, misfit, arguments.len()));
}

/// Whether the last word may still become one that fits.
fn may_fit(command: &Command, arguments: &[&[u8]], word: &[u8]) -> bool {
    let before = arguments.split_last().map_or(&[][..], |(_, before)| before);
    let Some(Match { misfit: None, expected, .. }) = compare(&command.args, before) else { return false };
    expected.iter().any(|expected| match (&expected.arg.token, &expected.arg.kind) {
        (Some(token), _) if expected.is_token => begins(token, word),
        (_, Kind::Integer | Kind::Cursor) => word == b"-",
        (_, Kind::Double) => begins_number(word),
        _ => false,
    })
}

fn reason(command: &Command, misfit: &Misfit, count: usize) -> String {
    match misfit {
        Misfit::NotInteger => "not an integer".to_owned(),
        Misfit::NotNumber => "not a number".to_owned(),
        Misfit::NotOption => "no such option".to_owned(),
        Misfit::Excluded(other) => format!("excludes {other}"),
        Misfit::TooMany => too_many(command, count),
    }
}

fn too_many(command: &Command, takes: usize) -> String {
    match (command.arity > 0, takes) {
        (true, 0) => "takes no argument".to_owned(),
        (true, 1) => "takes one argument".to_owned(),
        (true, takes) => format!("takes {takes} arguments"),
        (false, _) => "too many arguments".to_owned(),
    }
}

fn check_quotes(words: &[Word], checked: &mut Checked) {
    let Some((at, word)) =
        words.iter().enumerate().find(|(_, word)| !matches!(word.quotes, Quotes::None | Quotes::Closed(_)))
    else {
        return;
    };
    match word.quotes {
        Quotes::Wrong => {
            // Nothing of the line is sent, whatever else is wrong.
            checked.fault = None;
            checked.wrong(at, "a blank has to follow the quote".to_owned());
        }
        _ => checked.is_open = true,
    }
}
