//! The grey text behind the cursor: why the line is wrong, a line of the history that goes on from here, or how the command
//! goes on.
//!
//! Invariant: it never takes more than what is left of the row, so that the prompt stays where it is.

use crate::directives::DIRECTIVES;
use crate::syntax::Catalog;
use crate::syntax::check::{Fault, named};
use crate::syntax::line::{Line, Quotes};
use crate::syntax::matching::compare;
use rustyline::hint::Hint as Shown;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A text behind the cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// What is shown.
    shown: String,
    /// What is typed if it is accepted.
    inserted: Option<String>,
}

impl Shown for Hint {
    fn display(&self) -> &str {
        &self.shown
    }

    fn completion(&self) -> Option<&str> {
        self.inserted.as_deref()
    }
}

/// Less room than this holds no hint.
const COLUMNS_MIN: usize = 4;
/// A reason is not cut shorter than this.
const REASON_COLUMNS_MIN: usize = 16;
const CUT: &str = "...";

impl Hint {
    /// Returns a hint that is only shown; `None` if there is no room.
    pub fn shown(text: &str, room: usize) -> Option<Hint> {
        cut(text, room).map(|shown| Hint { shown, inserted: None })
    }

    /// Returns a hint that can be accepted.
    pub fn offered(text: &str, room: usize) -> Option<Hint> {
        cut(text, room).map(|shown| Hint { shown, inserted: Some(text.to_owned()) })
    }
}

/// Returns as much of a text as fits; `None` if that is next to nothing. What would move the cursor ends it.
fn cut(text: &str, room: usize) -> Option<String> {
    let line = text.split(char::is_control).next().unwrap_or_default();
    if room < COLUMNS_MIN || line.is_empty() {
        return None;
    }
    if line.width() <= room && line.len() == text.len() {
        return Some(line.to_owned());
    }
    let mut left = room - CUT.len();
    let fits = |character: &char| {
        let width = character.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let shown: String = line.chars().take_while(fits).collect();
    Some(shown + CUT)
}

/// Returns how many columns are left of the row behind `typed`, which follows `prompt`.
pub fn room(prompt: &str, typed: &str, columns: usize) -> usize {
    let mut column = 0;
    for character in prompt.chars().chain(typed.chars()) {
        // The editor's tabs are eight columns apart.
        let width = if character == '\t' { 8 - column % 8 } else { character.width().unwrap_or(0) };
        column = match character {
            '\n' => 0,
            _ if column + width > columns => width,
            _ => column + width,
        };
    }
    // A full row would move the cursor to the next one.
    columns.saturating_sub(column + 1)
}

/// Returns the reason why a line is wrong, as far as there is room for it. The red word alone says more than its first letters.
pub fn reason(fault: &Fault, room: usize) -> Option<Hint> {
    let text = format!("  <- {}", fault.reason);
    let is_readable = text.width() <= room || room >= REASON_COLUMNS_MIN;
    if is_readable { Hint::shown(&text, room) } else { None }
}

/// Returns the rest of the newest line of the history that begins as `typed` does. `entries` are the lines, the newest first.
pub fn suggestion<'h>(typed: &str, entries: impl Iterator<Item = &'h str>) -> Option<&'h str> {
    if typed.trim().is_empty() {
        return None;
    }
    entries.filter_map(|entry| entry.strip_prefix(typed)).find(|rest| !rest.trim().is_empty() && !rest.contains('\n'))
}

/// Returns how the command of a line goes on. `typed` is the text that the line ends.
pub fn usage(line: &Line, typed: &str, catalog: &Catalog) -> Option<String> {
    let first = line.words.first().filter(|_| line.aside.is_none())?;
    if line.words.iter().any(|word| !matches!(word.quotes, Quotes::None | Quotes::Closed(_))) {
        return None;
    }
    let gap = if typed.ends_with(char::is_whitespace) { "" } else { " " };
    if first.bytes.starts_with(b":") {
        let (_, values) = DIRECTIVES
            .iter()
            .filter_map(|(usage, _)| usage.split_once(' '))
            .find(|(name, _)| name.as_bytes() == first.bytes && line.words.len() == 1)?;
        return Some(format!("{gap}{values}"));
    }
    let words: Vec<&[u8]> = line.words.iter().map(|word| word.bytes.as_slice()).collect();
    // In small letters and with one key it is the prompt's own.
    if matches!(words.as_slice(), [b"watch", _]) {
        return None;
    }
    let named = named(&words, catalog).ok()?;
    let command = named.command;
    if command.args.is_empty() {
        let names: Vec<&str> =
            command.subcommands.iter().filter(|sub| sub.is_executed).map(|sub| sub.name.as_str()).collect();
        return (words.len() == 1 && !names.is_empty()).then(|| format!("{gap}{}", names.join("|")));
    }
    let arguments = words.get(named.words..)?;
    let compared = compare(&command.args, arguments)?;
    if compared.misfit.is_some() {
        return None;
    }
    let mut left = Vec::new();
    let due: Vec<&str> = compared
        .expected
        .iter()
        .filter(|expected| expected.is_due && !expected.is_token)
        .map(|expected| expected.arg.name.as_str())
        .collect();
    if !due.is_empty() {
        left.push(due.join("|"));
    }
    for (arg, given) in command.args.iter().zip(&compared.given) {
        let mut usage = String::new();
        match given {
            false => arg.write_usage(&mut usage),
            true if arg.multiple => arg.write_repeated(&mut usage),
            true => continue,
        }
        left.push(usage);
    }
    if left.is_empty() {
        return None;
    }
    Some(format!("{gap}{}", left.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::line::{Quoting, split};

    fn hint(typed: &str) -> Option<String> {
        let lines = split(typed, Quoting::Quoted);
        usage(lines.last().unwrap(), typed, &Catalog::default())
    }

    #[test]
    fn hints_show_what_is_left_to_type() {
        assert_eq!(hint("GET").as_deref(), Some(" key"));
        assert_eq!(hint("get ").as_deref(), Some("key"));
        assert_eq!(hint("GET k"), None);
        assert_eq!(hint("SCAN 0 MATCH a*").as_deref(), Some(" [COUNT count] [TYPE type]"));
        assert_eq!(hint("SCAN 0 count 10 ").as_deref(), Some("[MATCH pattern] [TYPE type]"));
        assert_eq!(hint("SCAN 0 MATCH ").as_deref(), Some("pattern [COUNT count] [TYPE type]"));
        assert_eq!(hint("CLIENT SETNAME").as_deref(), Some(" connection-name"));
        assert_eq!(hint("DEL a b").as_deref(), Some(" [key ...]"));
        assert_eq!(hint("MSET a ").as_deref(), Some("value [key value ...]"));
        assert_eq!(hint("BITCOUNT k 1 ").as_deref(), Some("end"));
        assert_eq!(hint("PING"), Some(" [message]".to_owned()));
        assert_eq!(hint("SET k v\nGET").as_deref(), Some(" key"));
        assert_eq!(hint("SET \"a b\" v NX "), hint("SET k v NX "));
        assert!(hint("SLOWLOG ").unwrap().starts_with("get|help|len"));
        assert_eq!(hint(":keys").as_deref(), Some(" on|off"));
        assert_eq!(hint("watch k"), None);
        assert_eq!(hint("WATCH k").as_deref(), Some(" [key ...]"));
        assert_eq!(hint("GET\n"), None);
        assert_eq!(hint("GET k | wc"), None);
        assert_eq!(hint("nope"), None);
        assert_eq!(hint(""), None);
    }

    #[test]
    fn a_hint_takes_no_more_than_the_row() {
        assert_eq!(cut("abcdef", 6).as_deref(), Some("abcdef"));
        assert_eq!(cut("abcdefg", 6).as_deref(), Some("abc..."));
        assert_eq!(cut("寿司寿司", 7).as_deref(), Some("寿司..."));
        assert_eq!(cut("寿司寿司", 6).as_deref(), Some("寿..."));
        assert_eq!(cut("a\x1b[2J", 20).as_deref(), Some("a..."));
        assert_eq!(cut("abc", 3), None);
        assert_eq!(room("> ", "GET", 20), 14);
        assert_eq!(room("> ", "寿", 20), 15);
        assert_eq!(room("> ", "GET\nx", 20), 18);
        assert_eq!(room("> ", "GET\tx", 20), 10);
        assert_eq!(room("> ", "0123456789", 10), 7);
        // A wide character that does not fit goes to the next row.
        assert_eq!(room("", "012345678寿", 10), 7);
        for columns in 0..40 {
            for typed in
                ["", "GET key", "SET k 寿司", "SET a 012345678901234567890123456789012345678901234567890123456789"]
            {
                let room = room("127.0.0.1:6379> ", typed, columns);
                assert!(cut("[NX|XX] [寿司 寿司寿司寿司]", room).is_none_or(|hint| hint.width() <= room));
            }
        }
    }

    #[test]
    fn a_reason_is_readable_or_not_there() {
        let fault = Fault { word: 0, reason: "not an integer".to_owned() };
        let shown = |room| reason(&fault, room).map(|hint| hint.shown);
        assert_eq!(shown(19).as_deref(), Some("  <- not an integer"));
        assert_eq!(shown(16).as_deref(), Some("  <- not an i..."));
        assert_eq!(shown(15), None);
    }

    #[test]
    fn the_newest_line_that_begins_so_is_suggested() {
        let entries = ["SET a 1", "GET k\nGET l", "GET key", "GET other"];
        assert_eq!(suggestion("GET ", entries.into_iter()), Some("key"));
        assert_eq!(suggestion("GET o", entries.into_iter()), Some("ther"));
        assert_eq!(suggestion("GET other", entries.into_iter()), None);
        assert_eq!(suggestion(" ", entries.into_iter()), None);
        assert_eq!(suggestion("get ", entries.into_iter()), None);
    }

    #[test]
    fn a_usage_is_never_inserted() {
        assert_eq!(Hint::shown("key", 20).unwrap().completion(), None);
        let offered = Hint::offered("0123456789", 8).unwrap();
        assert_eq!((offered.display(), offered.completion()), ("01234...", Some("0123456789")));
    }
}
