//! Prints replies.
//!
//! Invariant: each reply is written and flushed whole, so that a program reading a pipe sees it at once.

mod csv;
mod hidden;
mod json;
mod numbers;
mod table;
mod text;

pub use hidden::{is_hidden, json_escape};
pub use numbers::grouped;
pub use text::write_string;

use csv::write_csv;
use json::{Strings, write_bytes, write_json};
use kvclient::format::{write_pretty, write_raw_with, write_visible, write_visible_line};
use kvproto::{Reply, Request};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use terminal_size::terminal_size_of;

/// How replies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As they are.
    Raw,
    /// For a terminal, with types and numbers.
    Pretty,
    /// For a terminal, the server's own lines.
    Line,
    /// One JSON value a line.
    Json,
    /// The same in ASCII, with redis-cli's escapes within the strings.
    QuotedJson,
    /// Comma-separated values, a line for each reply.
    Csv,
    /// Aligned columns.
    Table,
}

impl Style {
    /// The styles that a user may choose, by their names.
    pub const NAMES: &[(&str, Style)] = &[
        ("raw", Style::Raw),
        ("pretty", Style::Pretty),
        ("json", Style::Json),
        ("quoted-json", Style::QuotedJson),
        ("csv", Style::Csv),
        ("table", Style::Table),
    ];

    /// Returns the style of this name, whatever its case.
    pub fn from_name(name: &str) -> Option<Style> {
        Style::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, style)| *style)
    }
}

/// What stands between the parts of raw output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between the items of a list.
    pub item: Vec<u8>,
    /// Behind each reply.
    pub reply: Vec<u8>,
}

impl Default for Delimiters {
    fn default() -> Delimiters {
        Delimiters { item: b"\n".to_vec(), reply: b"\n".to_vec() }
    }
}

/// Where replies go.
#[derive(Clone, Debug)]
pub struct Output {
    style: Style,
    delimiters: Delimiters,
    errors_apart: bool,
    hides_pushes: bool,
    keeps_text: bool,
    /// Once it is set, no more than a piece is written.
    interrupt: Option<Arc<AtomicBool>>,
}

/// How much is written between two looks at the interrupt, in bytes.
const PIECE_BYTES: usize = 8 * 1024;

impl Output {
    /// Replies go to standard output in this style.
    pub fn new(style: Style) -> Output {
        Output {
            style,
            delimiters: Delimiters::default(),
            errors_apart: false,
            hides_pushes: false,
            keeps_text: false,
            interrupt: None,
        }
    }

    /// Returns how replies are shown.
    pub fn style(&self) -> Style {
        self.style
    }

    /// From now on replies are shown in this style.
    pub fn set_style(&mut self, style: Style) {
        self.style = style;
    }

    /// From now on these stand between the parts of raw output.
    pub fn set_delimiters(&mut self, delimiters: Delimiters) {
        self.delimiters = delimiters;
    }

    /// From now on messages that the server pushes are left out, unless a subscription receives them.
    pub fn hide_pushes(&mut self) {
        self.hides_pushes = true;
    }

    /// From now on pretty output shows strings that are UTF-8 as text, not in ASCII with redis-cli's escapes.
    pub fn keep_text(&mut self) {
        self.keeps_text = true;
    }

    /// From now on raw error replies go to standard error, so that `$(kvclient GET k)` is never an error's text.
    pub fn errors_apart(&mut self) {
        self.errors_apart = true;
    }

    /// From now on a long text ends where `interrupt` is set.
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) {
        self.interrupt = Some(interrupt);
    }

    /// Prints the reply to `request`.
    pub fn print(&self, request: Request<'_>, reply: &Reply) -> io::Result<()> {
        if let (Style::Raw, true, Reply::Error(text)) = (self.style, self.errors_apart, reply) {
            // A person reads it, most often at a terminal.
            self.note_bytes(text.as_bytes());
            return Ok(());
        }
        let mut bytes = Vec::new();
        self.render(request, reply, &mut bytes);
        self.write(&bytes)
    }

    /// Appends the reply to `request` as it is printed.
    pub fn render(&self, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) {
        if self.hides_pushes && matches!(reply, Reply::Push(_)) && !receives_pushes(request) {
            return;
        }
        match self.style {
            Style::Pretty if self.keeps_text && !is_report(request) => text::write_text(reply, out),
            style => show(style, &self.delimiters, request, reply, out),
        }
    }

    /// Writes what was rendered.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let is_interrupted = || self.interrupt.as_ref().is_some_and(|interrupt| interrupt.load(Ordering::Relaxed));
        if !write_until(bytes, is_interrupted, &mut io::stdout().lock())? {
            // It breaks off within a line.
            self.note("");
            self.note("Cancelled: the rest is not shown.");
        }
        Ok(())
    }

    /// Tells the user something that is no reply.
    pub fn note(&self, text: &str) {
        self.note_bytes(text.as_bytes());
    }

    fn note_bytes(&self, text: &[u8]) {
        let mut bytes = Vec::new();
        write_visible_line(text, &mut bytes);
        bytes.push(b'\n');
        // Nobody can be told that standard error is gone.
        let _ = io::stderr().write_all(&bytes);
    }
}

/// Returns bytes as a value of JSON, in the style at hand.
pub fn json_bytes(bytes: &[u8], style: Style) -> serde_json::Value {
    let strings = if style == Style::QuotedJson { Strings::Escaped } else { Strings::Utf8 };
    let mut out = Vec::new();
    write_bytes(bytes, strings, &mut out);
    serde_json::from_slice(&out).unwrap_or_default()
}

/// Writes the first piece, and the others until the interrupt; false if that left some out.
fn write_until(bytes: &[u8], is_interrupted: impl Fn() -> bool, out: &mut impl Write) -> io::Result<bool> {
    let mut is_whole = true;
    for (at, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        if at > 0 && is_interrupted() {
            is_whole = false;
            break;
        }
        out.write_all(piece)?;
    }
    out.flush()?;
    Ok(is_whole)
}

/// Returns the width of the terminal that standard output is.
pub fn terminal_width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    terminal_size_of(out).map(|(width, _)| usize::from(width.0))
}

/// Appends a reply as it is printed.
fn show(style: Style, delimiters: &Delimiters, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) {
    match (style, reply) {
        // A report ends its last line itself.
        (Style::Raw, Reply::Bulk(_) | Reply::Verbatim { .. }) if is_report(request) => {
            write_raw_with(reply, &delimiters.item, out);
        }
        (Style::Pretty, Reply::Bulk(text)) if is_report(request) => write_visible(text, out),
        (Style::Pretty, Reply::Verbatim { text, .. }) if is_report(request) => {
            write_visible(text, out);
        }
        (Style::Pretty, reply) => write_pretty(reply, out),
        (Style::Line, Reply::Simple(text) | Reply::Error(text)) => {
            write_visible_line(text.as_bytes(), out);
            out.push(b'\n');
        }
        // The blank line redis-cli prints after an error would only be in the way.
        (Style::Raw, Reply::Error(_)) => write_raw_with(reply, &delimiters.item, out),
        (Style::Raw | Style::Line, reply) => {
            write_raw_with(reply, &delimiters.item, out);
            out.extend_from_slice(&delimiters.reply);
        }
        (Style::Json, reply) => {
            write_json(reply, Strings::Utf8, out);
            out.push(b'\n');
        }
        (Style::QuotedJson, reply) => {
            write_json(reply, Strings::Escaped, out);
            out.push(b'\n');
        }
        (Style::Csv, reply) => {
            write_csv(reply, out);
            out.push(b'\n');
        }
        (Style::Table, reply) => table::write_reply(request, reply, terminal_width(), out),
    }
}

/// Returns whether messages that are pushed are what `request` is for.
fn receives_pushes(request: Request<'_>) -> bool {
    let name = request.name().to_ascii_lowercase();
    name.ends_with(b"subscribe") || name == b"monitor"
}

/// Whether the reply is a text for people, which RESP2 cannot tell from any other bytes.
pub fn is_report(request: Request<'_>) -> bool {
    let is = |at: usize, name: &str| request.get(at).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    is(0, "info") || (is(0, "client") && (is(1, "list") || is(1, "info")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    fn printed(style: Style, words: &[&str], reply: &Reply) -> String {
        let request = OwnedRequest::from_words(words);
        let mut out = Vec::new();
        Output::new(style).render(request.as_request(), reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reports_are_shown_as_text() {
        let reply = Reply::bulk("# Server\r\nrole:\x1bmaster\r\n");
        assert_eq!(printed(Style::Pretty, &["INFO"], &reply), "# Server\nrole:\\x1bmaster\n");
        assert_eq!(printed(Style::Raw, &["INFO"], &reply), "# Server\r\nrole:\x1bmaster\r\n");
        assert_eq!(printed(Style::Json, &["INFO"], &reply), "\"# Server\\r\\nrole:\\u001bmaster\\r\\n\"\n");
        assert_eq!(printed(Style::Pretty, &["client", "List"], &Reply::bulk("id=1\n")), "id=1\n");
        assert_eq!(printed(Style::Pretty, &["GET", "info"], &Reply::bulk("a\n")), "\"a\\n\"\n");
    }

    #[test]
    fn every_style_ends_its_replies_once() {
        assert_eq!(printed(Style::Raw, &["GET", "k"], &Reply::bulk("v")), "v\n");
        assert_eq!(printed(Style::Raw, &["GET", "k"], &Reply::Nil), "\n");
        assert_eq!(printed(Style::Raw, &["GET"], &Reply::error("ERR no")), "ERR no\n");
        assert_eq!(printed(Style::Pretty, &["GET", "k"], &Reply::bulk("v")), "\"v\"\n");
        assert_eq!(printed(Style::Line, &["GET", "k"], &Reply::simple("v")), "v\n");
        assert_eq!(printed(Style::Line, &["GET"], &Reply::error("ERR no")), "ERR no\n");
        assert_eq!(printed(Style::Json, &["GET", "k"], &Reply::Nil), "null\n");
        assert_eq!(printed(Style::QuotedJson, &["GET", "k"], &Reply::bulk("\u{e9}")), "\"\\\\xc3\\\\xa9\"\n");
        assert_eq!(printed(Style::Csv, &["GET"], &Reply::error("ERR no")), "ERROR,\"ERR no\"\n");
        assert_eq!(printed(Style::Table, &["GET", "k"], &Reply::bulk("v")), "v\n");
    }

    #[test]
    fn ctrl_c_ends_a_long_text_but_not_a_short_one() {
        let mut out = Vec::new();
        assert!(write_until(&[b'x'; PIECE_BYTES], || true, &mut out).unwrap());
        assert_eq!(out.len(), PIECE_BYTES);
        let looks = std::cell::Cell::new(0);
        let is_interrupted = || looks.replace(looks.get() + 1) == 1;
        assert!(!write_until(&[b'x'; 4 * PIECE_BYTES], is_interrupted, &mut out).unwrap());
        assert_eq!(out.len(), 3 * PIECE_BYTES);
    }

    #[test]
    fn text_is_kept_where_a_terminal_shows_it() {
        let mut output = Output::new(Style::Pretty);
        output.keep_text();
        let request = OwnedRequest::from_words(["MGET", "k", "l"]);
        let mut out = Vec::new();
        output.render(request.as_request(), &Reply::bulks(["\u{e9}\x1b\u{202e}", "\u{5bff}"]), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "1) \"\u{e9}\\x1b\\xe2\\x80\\xae\"\n2) \"\u{5bff}\"\n");
    }

    #[test]
    fn styles_have_names() {
        assert_eq!(Style::from_name("JSON"), Some(Style::Json));
        assert_eq!(Style::from_name("line"), None);
    }

    #[test]
    fn raw_output_may_have_other_delimiters() {
        let mut output = Output::new(Style::Raw);
        output.set_delimiters(Delimiters { item: b", ".to_vec(), reply: Vec::new() });
        let request = OwnedRequest::from_words(["X"]);
        let mut out = Vec::new();
        output.render(request.as_request(), &Reply::bulks(["a", "b"]), &mut out);
        output.render(request.as_request(), &Reply::bulk("c"), &mut out);
        assert_eq!(out, b"a, bc");
    }

    #[test]
    fn pushes_are_left_out_where_nothing_waits_for_them() {
        let mut output = Output::new(Style::Raw);
        output.hide_pushes();
        let push = Reply::Push(vec![Reply::bulk("invalidate")]);
        let mut out = Vec::new();
        output.render(OwnedRequest::from_words(["GET", "k"]).as_request(), &push, &mut out);
        assert_eq!(out, b"");
        output.render(OwnedRequest::from_words(["SUBSCRIBE", "k"]).as_request(), &push, &mut out);
        assert_eq!(out, b"invalidate\n");
    }
}
