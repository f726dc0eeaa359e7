//! Prints replies.
//!
//! Invariant: each reply is written and flushed whole, so that a program reading a pipe sees it at once.

use kvclient::format::{write_pretty, write_raw, write_visible, write_visible_line};
use kvproto::{Reply, Request};
use std::io::{self, Write};

/// How replies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As they are.
    Raw,
    /// For a terminal, with types and numbers.
    Pretty,
    /// For a terminal, the server's own lines.
    Line,
}

/// Where replies go.
#[derive(Debug)]
pub struct Output {
    style: Style,
    errors_apart: bool,
}

impl Output {
    /// Replies go to standard output in this style.
    pub fn new(style: Style) -> Output {
        Output { style, errors_apart: false }
    }

    /// From now on raw error replies go to standard error, so that `$(kvclient GET k)` is never an error's text.
    pub fn errors_apart(&mut self) {
        self.errors_apart = true;
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
        show(self.style, request, reply, out);
    }

    /// Writes what was rendered.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
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

/// Appends a reply as it is printed.
fn show(style: Style, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) {
    match (style, reply) {
        // A report ends its last line itself.
        (Style::Raw, Reply::Bulk(_) | Reply::Verbatim { .. }) if is_report(request) => {
            write_raw(reply, out);
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
        (Style::Raw, Reply::Error(_)) => write_raw(reply, out),
        (Style::Raw | Style::Line, reply) => {
            write_raw(reply, out);
            out.push(b'\n');
        }
    }
}

/// Whether the reply is a text for people, which RESP2 cannot tell from any other bytes.
fn is_report(request: Request<'_>) -> bool {
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
        show(style, request.as_request(), reply, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn reports_are_shown_as_text() {
        let reply = Reply::bulk("# Server\r\nrole:\x1bmaster\r\n");
        assert_eq!(printed(Style::Pretty, &["INFO"], &reply), "# Server\nrole:\\x1bmaster\n");
        assert_eq!(printed(Style::Raw, &["INFO"], &reply), "# Server\r\nrole:\x1bmaster\r\n");
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
    }
}
