//! What the word at the cursor may become: names of commands, options, settings, users, keys.
//!
//! Invariant: what is inserted reads back as the name that was meant, whatever bytes it has.

use super::names::Names;
use crate::directives::DIRECTIVES;
use crate::help::{GROUPS, about_option};
use crate::syntax::check::{begins, named};
use crate::syntax::line::{Line, Quotes, Quoting, Word, split};
use crate::syntax::matching::compare;
use crate::syntax::server::is_shown;
use crate::syntax::{Catalog, Command, Kind};
use kvproto::quote::{HighBytes, write_escaped};
use kvproto::{OwnedRequest, spec};

/// Words the prompt itself understands.
pub const OWN_COMMANDS: [&str; 7] = ["?", "clear", "connect", "exit", "help", "peek", "quit"];

/// What a word may become.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// Where the word begins that is replaced.
    pub start: usize,
    /// What may stand in its place, and what it means.
    pub found: Vec<Candidate>,
    /// There may be others.
    pub is_partial: bool,
    /// What is inserted for all of them, if it is not just what their texts have in common.
    pub common: Option<String>,
}

/// What may stand in a word's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// The text.
    pub text: String,
    /// What it means, if that is known.
    pub about: String,
    /// The bytes that the text quotes, if it is no keyword.
    pub quotes: Option<Vec<u8>>,
}

/// Longer names are not offered: they would fill the screen.
const NAME_BYTES_MAX: usize = 1000;

/// Kinds of names, and how they are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    /// In any case, and inserted as the word was begun.
    Any,
    /// As they are.
    Exact,
}

/// Returns what the word that `typed` ends with may become. `keys`: keys may be looked for. `servers`: what may stand behind
/// CONNECT.
pub fn candidates(
    typed: &str,
    quoting: Quoting,
    names: &mut Names,
    catalog: &Catalog,
    keys: bool,
    servers: &[String],
) -> Candidates {
    let lines = split(typed, quoting);
    let Some(line) = lines.last().filter(|line| line.aside.is_none() && !line.is_comment) else {
        return Candidates::default();
    };
    let (before, word) = at_cursor(line, typed.len());
    if word.quotes == Quotes::Wrong {
        return Candidates::default();
    }
    let mut search =
        Search { word: &word, before, names, catalog, keys, servers, found: Vec::new(), is_partial: false };
    search.run();
    let is_partial = search.is_partial;
    let mut found = search.found;
    found.sort_by(|left, right| left.text.cmp(&right.text));
    found.dedup_by(|left, right| left.text == right.text);
    let common = match is_partial {
        true => typed.get(word.start..).map(str::to_owned),
        false => common(&found, &word),
    };
    Candidates { start: word.start, found, is_partial, common }
}

/// Returns what several names begin with, quoted as far as it goes: what their texts have in common may end within an escape.
fn common(found: &[Candidate], word: &Word) -> Option<String> {
    let names: Option<Vec<&[u8]>> = found.iter().map(|candidate| candidate.quotes.as_deref()).collect();
    let names = names.filter(|names| names.len() > 1)?;
    let (first, others) = names.split_first()?;
    let alike = |other: &&[u8]| first.iter().zip(*other).take_while(|(one, other)| one == other).count();
    let length = others.iter().map(alike).min().unwrap_or_default();
    let mut prefix = first.get(..length).unwrap_or_default();
    // A letter is not cut.
    if let Err(error) = std::str::from_utf8(prefix)
        && error.error_len().is_none()
        && std::str::from_utf8(first).is_ok()
    {
        prefix = prefix.get(..error.valid_up_to()).unwrap_or_default();
    }
    if prefix.is_empty() {
        return Some(String::new());
    }
    let mut text = quoted(prefix, word.quotes);
    if text.starts_with(['"', '\'']) {
        text.pop();
    }
    Some(text)
}

/// Splits a line into the words before the cursor and the one at it, which may be empty.
fn at_cursor(line: &Line, cursor: usize) -> (&[Word], Word) {
    match line.words.split_last() {
        Some((last, before)) if last.end == cursor => (before, last.clone()),
        _ => (&line.words, Word { start: cursor, end: cursor, bytes: Vec::new(), quotes: Quotes::None }),
    }
}

struct Search<'s> {
    word: &'s Word,
    before: &'s [Word],
    names: &'s mut Names,
    catalog: &'s Catalog,
    keys: bool,
    servers: &'s [String],
    found: Vec<Candidate>,
    is_partial: bool,
}

impl Search<'_> {
    fn run(&mut self) {
        let Some((first, rest)) = self.before.split_first() else {
            return self.first_word();
        };
        if first.bytes.starts_with(b":") {
            return self.directive(&first.bytes, rest.len());
        }
        if is_one_of(&first.bytes, &["peek"]) && rest.is_empty() {
            return self.offer_keys();
        }
        if is_one_of(&first.bytes, &["connect"]) && rest.is_empty() {
            return self.offer_servers();
        }
        if is_one_of(&first.bytes, &["help", "?"]) {
            return self.help(rest);
        }
        let Ok(command) = named(self.before, self.catalog) else { return };
        let given = self.before.len();
        if given == 1 && !command.command.subcommands.is_empty() {
            for sub in command.command.subcommands.iter().filter(|sub| sub.is_executed) {
                self.offer(&sub.name, &sub.summary, Case::Any);
            }
            if command.command.args.is_empty() {
                return;
            }
        }
        if self.special(&command.command.title, given) {
            return;
        }
        self.arguments(command.command, command.words);
    }

    fn first_word(&mut self) {
        if self.word.bytes.starts_with(b":") {
            for (usage, about) in DIRECTIVES {
                self.offer(usage.split(' ').next().unwrap_or(usage), about, Case::Exact);
            }
            return;
        }
        self.commands();
        for name in OWN_COMMANDS.iter().filter(|name| **name != "?") {
            self.offer(name, "", Case::Any);
        }
    }

    fn commands(&mut self) {
        for command in self.catalog.commands() {
            for name in [&command.name].into_iter().chain(&command.aliases) {
                if command.is_executed || self.catalog.server.is_none() {
                    self.offer(name, &command.summary, Case::Any);
                }
            }
        }
    }

    /// Offers the values that a directive's description names.
    fn directive(&mut self, name: &[u8], given: usize) {
        let described = DIRECTIVES.iter().find_map(|(usage, _)| {
            let (directive, values) = usage.split_once(' ')?;
            (directive.as_bytes() == name).then_some(values)
        });
        let Some(values) = described.filter(|_| given == 0) else { return };
        match values {
            "KEY" => return self.offer_keys(),
            "URL" => return self.offer_servers(),
            _ => {}
        }
        for value in values.split('|').filter(|value| value.chars().all(char::is_lowercase)) {
            self.offer(value, "", Case::Exact);
        }
    }

    fn help(&mut self, given: &[Word]) {
        match given {
            [] if self.word.bytes.starts_with(b":") => self.first_word(),
            [] => {
                self.commands();
                let mut groups: Vec<&str> = GROUPS.iter().map(|group| group.name()).collect();
                groups.extend(self.catalog.server.iter().flat_map(|all| all.iter().map(|one| one.group.as_str())));
                for group in groups.iter().filter(|group| !group.is_empty()) {
                    self.offer(&format!("@{group}"), "", Case::Any);
                }
            }
            [container] => {
                let Ok(named) = named(std::slice::from_ref(container), self.catalog) else { return };
                for sub in named.command.subcommands.iter().filter(|sub| sub.is_executed) {
                    self.offer(&sub.name, &sub.summary, Case::Any);
                }
            }
            _ => {}
        }
    }

    /// Offers names of a kind that the grammar does not tell; returns whether this is such a place.
    fn special(&mut self, title: &str, given: usize) -> bool {
        match (title, given) {
            ("CONFIG GET", _) => self.settings(),
            ("CONFIG SET", given) if given % 2 == 0 => self.settings(),
            ("ACL GETUSER" | "ACL SETUSER" | "ACL DRYRUN", 2) | ("ACL DELUSER", _) | ("AUTH", 1) => self.users(),
            ("COMMAND INFO" | "COMMAND DOCS" | "LATENCY HISTOGRAM", _) => self.commands(),
            ("COMMAND GETKEYS" | "COMMAND GETKEYSANDFLAGS", 2) | ("ACL DRYRUN", 3) => self.commands(),
            _ => return false,
        }
        true
    }

    fn settings(&mut self) {
        let given: Vec<&[u8]> = self.before.iter().map(|word| word.bytes.as_slice()).collect();
        for name in self.names.settings().iter().flat_map(|names| names.iter()) {
            if !given.contains(&name.as_bytes()) {
                self.offer(name, "", Case::Exact);
            }
        }
    }

    fn users(&mut self) {
        for name in self.names.users().iter().flat_map(|names| names.iter()) {
            self.offer_quoted(name);
        }
    }

    /// Offers the options that may come here, and keys where a key may.
    fn arguments(&mut self, command: &Command, skipped: usize) {
        let given: Vec<&[u8]> = self.before.iter().skip(skipped).map(|word| word.bytes.as_slice()).collect();
        let mut takes_key = false;
        if let Some(compared) = compare(&command.args, &given) {
            for expected in compared.expected {
                match (&expected.arg.kind, &expected.arg.token) {
                    (_, Some(token)) if expected.is_token => {
                        self.offer(token, about_option(&command.title, token), Case::Any);
                    }
                    (Kind::Key, _) => takes_key = true,
                    _ => {}
                }
            }
        }
        if takes_key || self.is_key_by_position() {
            self.offer_keys();
        }
    }

    /// Whether the table's key positions say that the word at the cursor is a key.
    fn is_key_by_position(&self) -> bool {
        let words = self.before.iter().chain([self.word]).map(|word| word.bytes.as_slice());
        let request = OwnedRequest::from_words(words);
        let request = request.as_request();
        let at = self.before.len();
        let Some(spec) = spec::lookup(request.name()) else { return false };
        let spec = request.get(1).and_then(|word| spec.subcommand(word)).unwrap_or(spec);
        spec.args.is_empty() && spec.takes_keys() && spec.find_keys(request).iter().any(|(key, _)| *key == at)
    }

    fn offer_keys(&mut self) {
        if !self.keys {
            return;
        }
        let prefix = self.word.bytes.clone();
        let Some(keys) = self.names.keys(&prefix) else { return };
        for key in &keys.names {
            self.offer_quoted(key);
        }
        self.is_partial |= !keys.is_complete();
    }

    fn offer_servers(&mut self) {
        for name in self.servers {
            self.offer(name, "", Case::Exact);
        }
    }

    fn offer(&mut self, name: &str, about: &str, case: Case) {
        // A quoted word is rarely meant as a name. What a server names otherwise than with one plain word is not typed.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:@*=~$+".contains(&byte);
        if self.word.quotes != Quotes::None || !name.bytes().all(is_plain) {
            return;
        }
        let begun = self.word.bytes.as_slice();
        let text = match case {
            Case::Exact if name.as_bytes().starts_with(begun) => name.to_owned(),
            Case::Any if begins(name, begun) => {
                if self.is_small() {
                    name.to_ascii_lowercase()
                } else {
                    name.to_ascii_uppercase()
                }
            }
            _ => return,
        };
        // Groups are written in small letters.
        let text = if text.starts_with('@') { text.to_ascii_lowercase() } else { text };
        self.found.push(Candidate { text, about: about.to_owned(), quotes: None });
    }

    /// Whether names go on in small letters: as the word was begun, or else the command.
    fn is_small(&self) -> bool {
        let letters =
            |word: &Word| word.bytes.iter().find(|byte| byte.is_ascii_alphabetic()).map(u8::is_ascii_lowercase);
        let has_small = |word: &Word| word.bytes.iter().any(u8::is_ascii_lowercase);
        match letters(self.word) {
            Some(_) => has_small(self.word),
            None => self.before.first().is_some_and(has_small),
        }
    }

    /// Offers a name as it is, in quotes where it needs them.
    fn offer_quoted(&mut self, name: &[u8]) {
        if !name.starts_with(&self.word.bytes) {
            return;
        }
        if name.len() > NAME_BYTES_MAX {
            self.is_partial = true;
            return;
        }
        let text = quoted(name, self.word.quotes);
        self.found.push(Candidate { text, about: String::new(), quotes: Some(name.to_vec()) });
    }
}

/// Returns a name as it is typed: in the quotes that were begun, or else in double quotes if it needs any.
fn quoted(name: &[u8], begun: Quotes) -> String {
    let quote = match begun {
        Quotes::Open(quote, _) | Quotes::Closed(quote) => Some(quote),
        Quotes::None | Quotes::Wrong => None,
    };
    let text = std::str::from_utf8(name).ok().filter(|text| text.chars().all(is_shown));
    match (text, quote) {
        (Some(text), None) if !needs_quotes(text) => text.to_owned(),
        // Within single quotes only they can be escaped, and not behind the last backslash.
        (Some(text), Some(b'\'')) if !text.ends_with('\\') => format!("'{}'", text.replace('\'', "\\'")),
        (text, _) => {
            let high = if text.is_some() { HighBytes::Keep } else { HighBytes::Escape };
            let mut quoted = vec![b'"'];
            write_escaped(name, b'"', high, &mut quoted);
            quoted.push(b'"');
            String::from_utf8_lossy(&quoted).into_owned()
        }
    }
}

fn needs_quotes(text: &str) -> bool {
    let is_plain = |character: char| !matches!(character, ' ' | '"' | '\'');
    text.is_empty() || matches!(text, "|" | ">" | ">>" | "<") || !text.chars().all(is_plain)
}

fn is_one_of(word: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::TABLE;

    fn of(typed: &str) -> Candidates {
        candidates(
            typed,
            Quoting::Quoted,
            &mut Names::new(),
            &Catalog::default(),
            true,
            &["@local".to_owned(), "@staging".to_owned()],
        )
    }

    fn completed(typed: &str) -> Vec<String> {
        of(typed).found.into_iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn names_are_completed_in_the_case_they_were_begun() {
        assert_eq!(completed("pers"), ["persist"]);
        assert_eq!(completed("PERS"), ["PERSIST"]);
        assert_eq!(completed("ex"), ["exec", "exists", "exit", "expire", "expireat", "expiretime"]);
        assert_eq!(completed("CLIENT s"), ["setinfo", "setname"]);
        assert_eq!(of("CLIENT s").start, 7);
        assert!(completed("client ").contains(&"setname".to_owned()));
        assert_eq!(completed("help @tr"), ["@transactions"]);
        assert_eq!(completed("? @tr"), ["@transactions"]);
        assert_eq!(completed("HELP GETD"), ["GETDEL"]);
        assert_eq!(completed("help client setn"), ["setname"]);
        assert_eq!(completed("GET k"), [""; 0]);
        assert_eq!(completed("GET k\npers"), ["persist"]);
        assert_eq!(of("CLIENT s\nCLIENT s").start, 16);
        assert_eq!(completed("é"), [""; 0]);
        assert!(completed("").len() > TABLE.len());
    }

    #[test]
    fn options_are_those_that_may_come_here() {
        let all = ["EX", "EXAT", "GET", "IFDEQ", "IFDNE", "IFEQ", "IFNE", "KEEPTTL", "NX", "PX", "PXAT", "XX"];
        assert_eq!(completed("SET k v "), all);
        assert_eq!(completed("set k v e"), ["ex", "exat"]);
        // Neither what was given, nor what that excludes.
        assert_eq!(completed("SET k v NX "), ["EX", "EXAT", "GET", "KEEPTTL", "PX", "PXAT"]);
        assert_eq!(completed("SET k v EX 10 GET "), ["IFDEQ", "IFDNE", "IFEQ", "IFNE", "NX", "XX"]);
        // A value is awaited.
        assert_eq!(completed("SET k v EX "), [""; 0]);
        assert_eq!(completed("SET k "), [""; 0]);
        assert_eq!(completed("SCAN 0 TYPE string "), ["COUNT", "MATCH"]);
        assert_eq!(completed("expire k 10 "), ["gt", "lt", "nx", "xx"]);
        assert_eq!(completed("expire k 10 xx "), ["gt", "lt"]);
        assert_eq!(completed("CLIENT LIST TYPE p"), ["pubsub"]);
        assert_eq!(completed("BITOP a"), ["and", "andor"]);
        assert_eq!(completed("SET k 'v' NX | gre"), [""; 0]);
    }

    #[test]
    fn directives_and_their_values_are_completed() {
        assert_eq!(completed(":ti"), [":timing"]);
        assert_eq!(completed(":keys "), ["off", "on"]);
        assert_eq!(completed(":format t"), ["table"]);
        assert_eq!(completed(":connect "), ["@local", "@staging"]);
        assert_eq!(completed("connect @s"), ["@staging"]);
        assert_eq!(completed(":connect h"), [""; 0]);
        assert_eq!(completed("help :ti"), [":timing"]);
    }

    #[test]
    fn a_name_is_quoted_so_that_it_reads_back() {
        let names: [&[u8]; 14] = [
            b"plain",
            b"user:1",
            b"a b",
            b"it's",
            b"say \"x\"",
            b"",
            b"|",
            b"back\\",
            b"\x00\xff",
            "größe".as_bytes(),
            "a\u{202e}b".as_bytes(),
            b"tab\t",
            b"a\\'b",
            b"\n",
        ];
        for name in names {
            for begun in [Quotes::None, Quotes::Open(b'"', 0), Quotes::Open(b'\'', 0)] {
                let text = format!("GET {}", quoted(name, begun));
                let lines = split(&text, Quoting::Quoted);
                assert_eq!(lines.len(), 1);
                let words: Vec<&[u8]> = lines[0].words.iter().map(|word| word.bytes.as_slice()).collect();
                assert_eq!(words, [b"GET", name], "{text}");
                assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
            }
        }
        assert_eq!(quoted(b"user:1", Quotes::None), "user:1");
        assert_eq!(quoted("größe".as_bytes(), Quotes::None), "größe");
        assert_eq!(quoted(b"a b", Quotes::Open(b'\'', 0)), "'a b'");
    }

    #[test]
    fn what_names_have_in_common_reads_back() {
        let common_of = |names: &[&[u8]], quotes: Quotes| {
            let word = Word { start: 0, end: 0, bytes: Vec::new(), quotes };
            let quotes = |name: &&[u8]| Candidate { quotes: Some(name.to_vec()), ..Candidate::default() };
            common(&names.iter().map(quotes).collect::<Vec<_>>(), &word)
        };
        assert_eq!(common_of(&[b"bin\xff\x01", b"bin\xff\x02"], Quotes::None).as_deref(), Some("\"bin\\xff"));
        assert_eq!(common_of(&[b"user three", b"user:1"], Quotes::None).as_deref(), Some("user"));
        assert_eq!(common_of(&[b"a b1", b"a b2"], Quotes::Open(b'\'', 0)).as_deref(), Some("'a b"));
        assert_eq!(common_of(&["gr\u{fc}".as_bytes(), "gr\u{f6}".as_bytes()], Quotes::None).as_deref(), Some("gr"));
        assert_eq!(common_of(&[b"a", b"b"], Quotes::None).as_deref(), Some(""));
        assert_eq!(common_of(&[b"a"], Quotes::None), None);
    }

    #[test]
    fn keys_of_the_server_are_completed_where_a_key_stands() {
        let (server, mut client) = include!("../../doctests/server.in");
        let place = server.addresses()[0].tcp().unwrap();
        for key in ["user:1", "user:2", "user three", "other"] {
            client.set(key, "x").unwrap();
        }
        let mut names = Names::new();
        let address = format!("redis://{place}").parse().unwrap();
        names.set_target(Some(super::super::names::Target {
            address,
            options: kvclient::Options::default(),
            connection: 1,
        }));
        let mut of = |typed: &str, keys: bool| {
            let found = candidates(typed, Quoting::Quoted, &mut names, &Catalog::default(), keys, &[]).found;
            found.into_iter().map(|candidate| candidate.text).collect::<Vec<_>>()
        };
        // A slow machine may need a second look.
        let mut finds = |typed: &str, expected: &[&str]| {
            let is_found = (0..200).any(|_| of(typed, true) == expected);
            assert!(is_found, "{typed}: {:?}", of(typed, true));
        };
        finds("GET user:", &["user:1", "user:2"]);
        finds("DEL x user", &["\"user three\"", "user:1", "user:2"]);
        finds("OBJECT FREQ o", &["other"]);
        finds("MSET other 1 o", &["other"]);
        finds("GET \"user t", &["\"user three\""]);
        // What the table knows by position only.
        finds("LPUSH o", &["other"]);
        finds("ACL GETUSER d", &["default"]);
        finds("CONFIG GET maxmemory-p", &["maxmemory-policy"]);
        finds("config set maxmemory 1 maxmemory-p", &["maxmemory-policy"]);
        assert_eq!(of("GET user:", false), [""; 0]);
        assert_eq!(of("SET k o", true), [""; 0]);
        assert_eq!(of("ECHO o", true), [""; 0]);
    }
}
