//! What the line editor calls while a line is typed: completion, hints and colours.
//!
//! Invariant: it never waits for the server longer than [`names`](super::names) allows, and never changes what is typed
//! unless a key is pressed for that.

use super::completion::{Candidate, OWN_COMMANDS, candidates};
use super::highlight;
use super::hints::{self, Hint};
use super::names::{Names, Target};
use crate::directives::DIRECTIVES;
use crate::syntax::Catalog;
use crate::syntax::check::{Checked, Fault, Part, begins, check};
use crate::syntax::line::{Line, Quoting, is_count, split};
use crate::syntax::matching::Role;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::{FileHistory, SearchDirection, SearchResult};
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Context, Editor, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers,
    RepeatCount,
};
use std::borrow::Cow;
use std::cell::RefCell;
use terminal_size::{Height, Width, terminal_size};
use unicode_width::UnicodeWidthStr;

/// A terminal that does not say how wide it is.
const COLUMNS: usize = 80;
/// Up to so many candidates are shown with what they mean, if the terminal is as wide as this.
const EXPLAINED_MAX: usize = 12;
const EXPLAINED_COLUMNS_MIN: usize = 60;

/// What the line editor calls while a line is typed.
#[derive(Debug)]
pub struct Typist {
    /// Text may be coloured.
    colors: bool,
    /// The line replies to a question: there is nothing to complete.
    pub is_answering: bool,
    names: RefCell<Names>,
    /// Whether keys are completed, if the user has chosen.
    keys: Option<bool>,
    quoting: Quoting,
    /// What stands before the line.
    prompt: String,
    /// The names of servers, with their `@`.
    servers: Vec<String>,
}

impl Typist {
    /// Completes, hints and colours lines, for no server yet. `servers`: what may stand behind `:connect`.
    pub fn new(colors: bool, servers: Vec<String>) -> Typist {
        Typist {
            colors,
            is_answering: false,
            names: RefCell::new(Names::new()),
            keys: None,
            quoting: Quoting::Quoted,
            prompt: String::new(),
            servers,
        }
    }

    /// Prepares for the next line: the names are those of `target`, unless there is no connection.
    pub fn begin_line(&mut self, prompt: &str, target: Option<Target>, quoting: Quoting) {
        prompt.clone_into(&mut self.prompt);
        self.names.get_mut().set_target(target);
        self.quoting = quoting;
    }

    /// Sets whether keys are completed.
    pub fn complete_keys(&mut self, completes: bool) {
        self.keys = Some(completes);
    }

    /// Returns whether keys are completed.
    pub fn completes_keys(&self) -> bool {
        self.keys.unwrap_or_else(|| self.names.borrow().is_near())
    }

    fn catalog(&self) -> Catalog {
        Catalog { server: self.names.borrow().known_commands(), is_own: self.quoting == Quoting::Unknown }
    }

    /// Returns the commands that can be typed; the server's own are fetched if they are not known yet.
    pub fn whole_catalog(&self) -> Catalog {
        let mut names = self.names.borrow_mut();
        names.begin_wait();
        Catalog { server: names.commands(), is_own: self.quoting == Quoting::Unknown }
    }

    fn check(&self, line: &Line, catalog: &Catalog, is_typing: bool) -> Checked {
        let mut own = Checked { parts: vec![Part::Plain; line.words.len()], ..Checked::default() };
        // Whether quotes are more than bytes, only the server knows; without them words are certain.
        let is_uncertain = self.quoting == Quoting::Unknown
            && line.words.iter().any(|word| word.bytes.iter().any(|byte| matches!(byte, b'"' | b'\'')));
        let Some(first) = line.words.first().filter(|_| !is_uncertain) else {
            return own;
        };
        let is_alone = is_typing && line.words.len() == 1;
        if first.bytes.starts_with(b":") {
            check_directive(line, is_alone, &mut own);
            return own;
        }
        let is_own = OWN_COMMANDS.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(&first.bytes));
        if is_own {
            mark(&mut own, Part::Command);
            return own;
        }
        // A number may become that of how often a command is run.
        let goes_on =
            is_alone && (is_count(&first.bytes) || OWN_COMMANDS.iter().any(|name| begins(name, &first.bytes)));
        let checked = check(line, catalog, is_typing);
        if goes_on && checked.fault.is_some() { own } else { checked }
    }
}

fn mark(checked: &mut Checked, part: Part) {
    if let Some(first) = checked.parts.first_mut() {
        *first = part;
    }
}

/// Other names of directives.
const SHORT_DIRECTIVES: [&[u8]; 4] = [b":?", b":exit", b":h", b":q"];

/// Says whether the prompt has such a directive. What it is given, it judges itself.
fn check_directive(line: &Line, is_alone: bool, checked: &mut Checked) {
    let Some(first) = line.words.first() else { return };
    let mut names = DIRECTIVES.iter().map(|(usage, _)| usage.split(' ').next().unwrap_or(usage).as_bytes());
    let typed = first.bytes.to_ascii_lowercase();
    if names.clone().chain(SHORT_DIRECTIVES).any(|name| name == typed) {
        mark(checked, Part::Command);
    } else if !(is_alone && names.any(|name| name.starts_with(&typed))) {
        mark(checked, Part::Wrong);
        checked.fault = Some(Fault { word: 0, reason: "no such directive, see :help".to_owned() });
    }
}

fn columns() -> usize {
    terminal_size().map_or(COLUMNS, |(Width(columns), Height(_))| usize::from(columns))
}

impl rustyline::Helper for Typist {}

impl Validator for Typist {}

impl Highlighter for Typist {
    fn highlight<'l>(&self, text: &'l str, pos: usize) -> Cow<'l, str> {
        if !self.colors || text.is_empty() || self.is_answering {
            return Cow::Borrowed(text);
        }
        let catalog = self.catalog();
        let mut painted = String::with_capacity(text.len() * 2);
        let mut at = 0;
        for line in split(text, self.quoting) {
            // The word at the cursor may go on.
            let is_typing = line.words.last().is_some_and(|word| word.end == pos);
            let checked = self.check(&line, &catalog, is_typing);
            at = highlight::paint(text, at, &line, &checked, &mut painted);
        }
        painted.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(painted)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        match self.colors {
            true if hint.starts_with("  <-") => Cow::Owned(highlight::red(hint)),
            true => Cow::Owned(highlight::grey(hint)),
            false => Cow::Borrowed(hint),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        // A letter may change the colour of what stands before it.
        self.colors && kind != CmdKind::MoveCursor
    }
}

impl Hinter for Typist {
    type Hint = Hint;

    fn hint(&self, text: &str, pos: usize, context: &Context<'_>) -> Option<Hint> {
        if pos != text.len() || text.is_empty() || self.is_answering {
            return None;
        }
        let room = hints::room(&self.prompt, text, columns());
        let lines = split(text, self.quoting);
        let line = lines.last()?;
        let mut catalog = self.catalog();
        // The word at the cursor may go on.
        let is_typing = line.words.last().is_some_and(|word| word.end == pos);
        let mut checked = self.check(line, &catalog, is_typing);
        // The first word is whole, and only the server knows whether it has such a command, and what it takes. It is waited
        // for once; what comes later is there at the next key.
        let is_named = line.words.len() > 1 || (!line.words.is_empty() && !is_typing);
        if checked.needs_server && is_named && self.names.borrow().may_wait_for_commands() {
            catalog = self.whole_catalog();
            checked = self.check(line, &catalog, is_typing);
        }
        // Servers differ in their options, and in what they take. Other lines need no second connection.
        let may_differ = checked.fault.is_some() || checked.parts.contains(&Part::Role(Role::Option));
        if may_differ && catalog.server.is_none() {
            self.names.borrow_mut().request_commands();
        }
        if let Some(fault) = &checked.fault {
            return hints::reason(fault, room);
        }
        // Without colours nobody could tell what was typed from what is only suggested.
        if self.colors
            && let Some(rest) = suggestion(text, context)
        {
            return Hint::offered(&rest, room);
        }
        if checked.is_open {
            return Hint::shown("  the quote is not closed", room);
        }
        Hint::shown(&hints::usage(line, text, &catalog)?, room)
    }
}

/// Returns the rest of the newest line of the history that begins as `typed` does.
fn suggestion(typed: &str, context: &Context<'_>) -> Option<String> {
    let history = context.history();
    // While the history is walked, what is shown is a line of it.
    if context.history_index() != history.len() {
        return None;
    }
    let mut from = history.len();
    let entries = std::iter::from_fn(|| {
        let found = history.starts_with(typed, from.checked_sub(1)?, SearchDirection::Reverse).ok()??;
        let SearchResult { entry, idx, .. } = found;
        from = idx;
        Some(entry.into_owned())
    });
    let entries: Vec<String> = entries.take(SUGGESTIONS_MAX).collect();
    hints::suggestion(typed, entries.iter().map(String::as_str)).map(str::to_owned)
}

/// How many lines of the history are looked at that begin as what is typed.
const SUGGESTIONS_MAX: usize = 16;

impl Completer for Typist {
    type Candidate = Pair;

    fn complete(&self, text: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.is_answering {
            return Ok((pos, Vec::new()));
        }
        // Nothing is inserted into a word that goes on behind the cursor.
        let is_within = |line: &Line| line.words.iter().any(|word| word.start <= pos && pos < word.end);
        if split(text, self.quoting).iter().any(is_within) {
            return Ok((pos, Vec::new()));
        }
        let catalog = self.whole_catalog();
        let keys = self.completes_keys();
        let typed = text.get(..pos).unwrap_or(text);
        let found = candidates(typed, self.quoting, &mut self.names.borrow_mut(), &catalog, keys, &self.servers);
        let is_only = found.found.len() == 1 && pos == text.len() && !found.is_partial;
        let columns = columns();
        let explains = found.found.len() <= EXPLAINED_MAX && columns >= EXPLAINED_COLUMNS_MIN;
        let width = found.found.iter().map(|candidate| candidate.text.width()).max().unwrap_or_default();
        let common = found.common;
        let pair = |Candidate { text, about, .. }: Candidate| Pair {
            display: match explains && !about.is_empty() {
                true => shortened(&format!("{text:width$}  {about}"), columns.saturating_sub(3)),
                false => shortened(&text, columns.saturating_sub(3)),
            },
            // The only one is followed by what comes next.
            replacement: match &common {
                Some(common) => common.clone(),
                None if is_only => text + " ",
                None => text,
            },
        };
        let mut pairs: Vec<Pair> = found.found.into_iter().map(pair).collect();
        if found.is_partial && !pairs.is_empty() {
            // The list is not all: the next Tab looks further.
            pairs.push(Pair { display: MORE.to_owned(), replacement: common.unwrap_or_default() });
        }
        Ok((found.start, pairs))
    }
}

/// Stands for candidates that are not known yet.
const MORE: &str = "...";

fn shortened(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if short.width() + 3 > columns {
            short.pop();
            break;
        }
    }
    short + "..."
}

/// Binds the keys that accept a suggestion at the end of a line: Ctrl-E and End all of it, Alt-F and Ctrl-Right a word.
/// (The right arrow does so by itself.)
pub fn bind_keys(editor: &mut Editor<Typist, FileHistory>) {
    let whole = [KeyEvent(KeyCode::Char('E'), Modifiers::CTRL), KeyEvent(KeyCode::End, Modifiers::NONE)];
    for key in whole {
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(Accept { only_a_word: false })));
    }
    let word = [KeyEvent(KeyCode::Char('f'), Modifiers::ALT), KeyEvent(KeyCode::Right, Modifiers::CTRL)];
    for key in word {
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(Accept { only_a_word: true })));
    }
    let rows = [KeyCode::Up, KeyCode::Down].map(|key| KeyEvent(key, Modifiers::NONE));
    for key in rows {
        editor.bind_sequence(key, EventHandler::Conditional(Box::new(ChangeRow)));
    }
}

/// A key that accepts a suggestion, if there is one.
struct Accept {
    only_a_word: bool,
}

impl ConditionalEventHandler for Accept {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        let rest = context.hint_text().filter(|_| context.pos() == context.line().len())?;
        if !self.only_a_word {
            return Some(Cmd::CompleteHint);
        }
        let blanks = rest.len() - rest.trim_start().len();
        let word = rest.trim_start().find(char::is_whitespace).map_or(rest.len(), |end| blanks + end);
        Some(Cmd::Insert(1, rest.get(..word)?.to_owned()))
    }
}

/// A longer text is not walked row by row, in bytes: the editor counts columns in 16 bits.
const WALKED_BYTES_MAX: usize = 60_000;

/// A key that goes to another row of the text, or to another line of the history.
struct ChangeRow;

impl ConditionalEventHandler for ChangeRow {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        (context.line().len() > WALKED_BYTES_MAX).then_some(Cmd::Noop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::line::Quotes;
    use crate::words::{Lines, Piece, Splitter};

    /// The commands that `text` is sent as, up to the first line that is wrong.
    fn sent(text: &str) -> Vec<Vec<Vec<u8>>> {
        let mut splitter = Splitter::new(Lines::Quoted);
        let mut rest = text.as_bytes();
        let mut commands = Vec::new();
        while let Some((piece, length)) = splitter.next(rest, true) {
            match piece {
                Piece::Blank => {}
                Piece::Command(request) => {
                    commands.push(request.as_request().iter().map(<[u8]>::to_vec).collect());
                }
                Piece::Bad(_) => break,
            }
            rest = &rest[length..];
        }
        commands
    }

    #[test]
    fn lines_are_split_as_they_are_sent() {
        const LETTERS: [&str; 12] = ["a", "b", " ", " ", "\n", "\"", "\"", "'", "\\", "x0f", "#", "\r"];
        let mut random = fastrand::Rng::with_seed(13);
        let mut commands = 0;
        for _ in 0..20_000 {
            let text: String = (0..random.usize(..24)).map(|_| LETTERS[random.usize(..LETTERS.len())]).collect();
            let is_right =
                |line: &Line| line.words.iter().all(|word| matches!(word.quotes, Quotes::None | Quotes::Closed(_)));
            let split: Vec<Vec<Vec<u8>>> = split(&text, Quoting::Quoted)
                .iter()
                .take_while(|line| is_right(line))
                .filter(|line| !line.words.is_empty())
                .map(|line| line.words.iter().map(|word| word.bytes.clone()).collect())
                .collect();
            let sent = sent(&text);
            commands += sent.len();
            assert_eq!(split, sent, "{text:?}");
        }
        assert!(commands > 1000);
    }

    #[test]
    fn what_is_complete_and_wrong_has_its_reason() {
        let typist = Typist::new(true, Vec::new());
        let history = FileHistory::new();
        for line in ["INCRBY n - ", "SET k v KEEP "] {
            let hint = typist.hint(line, line.len(), &Context::new(&history)).unwrap();
            assert!(rustyline::hint::Hint::display(&hint).starts_with("  <- "), "{line}: {hint:?}");
        }
    }

    #[test]
    fn a_word_that_goes_on_behind_the_cursor_is_not_completed() {
        let typist = Typist::new(true, Vec::new());
        let history = FileHistory::new();
        for (text, pos, is_completed) in [
            ("pers", 4, true),
            ("pers k", 4, true),
            ("perso", 4, false),
            ("GET k EX", 0, false),
            ("SET k v E", 9, true),
            ("CLIENT \"li st\"", 10, false),
            ("CLIENT \"li st", 10, false),
        ] {
            let (_, pairs) = typist.complete(text, pos, &Context::new(&history)).unwrap();
            assert_eq!(!pairs.is_empty(), is_completed, "{text} {pos}");
        }
    }

    #[test]
    fn the_prompt_own_words_are_not_wrong() {
        let typist = Typist::new(true, Vec::new());
        let own = Catalog { server: None, is_own: true };
        for (text, is_wrong) in [
            ("help set", false),
            ("? @string", false),
            ("exit", false),
            ("peek k", false),
            (":keys on", false),
            (":KEYS on", false),
            (":q", false),
            (":nope", true),
            ("nope", true),
            ("no", true),
            ("ge", false),
            ("5", false),
            ("5 INCR k", false),
            ("5 INCR", false),
            ("# nope", false),
            ("GET k | nope nope", false),
        ] {
            let lines = split(text, Quoting::Quoted);
            assert_eq!(typist.check(&lines[0], &own, true).fault.is_some(), is_wrong, "{text}");
        }
    }
}
