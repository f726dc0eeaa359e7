//! The prompt's own commands, which begin with a colon and are never sent.
//!
//! Invariant: what [`DIRECTIVES`] does not list is no directive.

use super::{Prompt, history, watch};
use crate::directives::{DIRECTIVES, list, names};
use crate::output::Style;
use crate::session::Outcome;
use kvclient::Address;
use kvclient::address::Scheme;
use kvproto::{OwnedRequest, line};
use std::io;

/// Returns whether a line is a directive.
pub fn is_directive(line: &str) -> bool {
    line.trim_start().starts_with(':')
}

/// Returns whether a directive may hold a password: a URL with a login.
pub fn is_secret(line: &str) -> bool {
    let holds = |(name, words): (String, Vec<String>)| {
        history::is_secret(&OwnedRequest::from_words(std::iter::once(&name).chain(&words)))
    };
    history::may_hold_secret(line) || split(line).is_ok_and(holds)
}

/// Returns the name that a directive begins with, without the colon, and its words.
fn split(line: &str) -> Result<(String, Vec<String>), String> {
    let line = line.trim_start().trim_start_matches(':');
    let request = line::split_text(line.as_bytes(), 64).map_err(|error| error.to_string())?;
    let mut words = request.as_request().iter().map(|word| String::from_utf8_lossy(word).into_owned());
    let name = words.next().unwrap_or_default().to_ascii_lowercase();
    Ok((name, words.collect()))
}

impl Prompt {
    /// Runs a directive; `None` if it leaves.
    pub(super) fn run_directive(&mut self, line: &str) -> io::Result<Option<Outcome>> {
        let (name, words) = match split(line) {
            Ok(split) => split,
            Err(error) => return self.refuse(&error),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match (name.as_str(), &words[..]) {
            ("quit" | "exit" | "q", []) => return Ok(None),
            ("clear", []) => self.editor.clear_screen().map_err(io::Error::other)?,
            ("help" | "h" | "?", _) => {
                let text = list() + "HELP explains the server's commands.\n";
                self.show_text(text.as_bytes())?;
            }
            ("connect", _) => return self.connect_to(&words),
            ("format", words) => return self.set_format(words),
            ("history", words) => return self.list_history(words),
            ("pretty", []) => return self.show_pretty(),
            ("peek", [key]) => return self.peek(key.as_bytes()),
            ("watch", [key]) => {
                let outcome = watch::run(&mut self.session, key.as_bytes())?;
                return Ok(Some(outcome));
            }
            ("pager", command) if !command.is_empty() && !matches!(command, ["on" | "off"]) => {
                self.pager.is_off = false;
                self.pager.command = Some(command.join(" "));
                return self.switch(&name, None);
            }
            ("json" | "keys" | "timing" | "confirm" | "pager", [] | ["on" | "off"]) => {
                return self.switch(&name, words.first().map(|word| *word == "on"));
            }
            _ => {
                let known = format!(":{name}");
                let usage = DIRECTIVES.iter().find(|(usage, _)| usage.split(' ').next() == Some(&known));
                let text = match usage {
                    Some((usage, summary)) => format!("Type {usage}: {summary}"),
                    None => format!("No directive is named {known}. There are {}; :help explains them.", names()),
                };
                return self.refuse(&text);
            }
        }
        Ok(Some(Outcome::Good))
    }

    /// Says why nothing was done. In a text of several lines nothing behind it is run: it may be meant for another server.
    pub(super) fn refuse(&mut self, text: &str) -> io::Result<Option<Outcome>> {
        self.session.output().note(text);
        Ok(Some(Outcome::NotSent))
    }

    /// Sets something, or shows how it is set.
    fn switch(&mut self, name: &str, on: Option<bool>) -> io::Result<Option<Outcome>> {
        if let ("keys", Some(typist)) = (name, self.editor.helper_mut()) {
            if let Some(on) = on {
                typist.complete_keys(on);
            }
            let text = format!(":keys {}", if typist.completes_keys() { "on" } else { "off" });
            self.session.output().note(&text);
            return Ok(Some(Outcome::Good));
        }
        let is_on = match name {
            "json" => &mut self.view.json,
            "timing" => &mut self.shows_time,
            "confirm" => &mut self.confirms,
            _ => {
                self.pager.is_off = on.map_or(self.pager.is_off, |on| !on);
                let command = self.pager.command().filter(|_| !self.pager.is_off);
                let text = format!(":pager {}", command.as_deref().unwrap_or("off"));
                self.session.output().note(&text);
                return Ok(Some(Outcome::Good));
            }
        };
        *is_on = on.unwrap_or(*is_on);
        let text = format!(":{name} {}", if *is_on { "on" } else { "off" });
        self.session.output().note(&text);
        Ok(Some(Outcome::Good))
    }

    fn set_format(&mut self, words: &[&str]) -> io::Result<Option<Outcome>> {
        let default = self.default_style();
        let style = match words {
            [] => Some(self.session.output().style()),
            [name] if name.eq_ignore_ascii_case("default") => Some(default),
            // Of the line protocol a person sees the server's own lines.
            [name] if name.eq_ignore_ascii_case("pretty") => Some(default),
            [name] => Style::from_name(name),
            _ => None,
        };
        let names: Vec<&str> = Style::NAMES.iter().map(|(name, _)| *name).collect();
        let Some(style) = style else {
            return self.refuse(&format!("The formats are {} and default.", names.join(", ")));
        };
        self.session.output().set_style(style);
        let name = Style::NAMES.iter().find(|(_, known)| *known == style).map_or("default", |(name, _)| name);
        self.session.output().note(&format!(":format {name}"));
        Ok(Some(Outcome::Good))
    }

    /// The format without `:format`.
    fn default_style(&self) -> Style {
        if self.session.sends_lines() { Style::Line } else { Style::Pretty }
    }

    /// Connects to another server: by a URL, or by host and port.
    pub(super) fn connect_to(&mut self, words: &[&str]) -> io::Result<Option<Outcome>> {
        let address = match words {
            [] => return self.refuse("Type :connect URL, as in :connect redis://host:port/db or :connect host port."),
            [host, port] => format!("{host}:{port}").parse::<Address>(),
            [url] => url.parse(),
            _ => return self.refuse("Type :connect URL; a URL may hold user and password."),
        };
        let (address, is_cluster) = match words {
            [name] if name.starts_with('@') => match self.servers.find(name) {
                Some(Ok(server)) => (Ok(server.address.clone()), server.is_cluster),
                Some(Err(unknown)) => return self.refuse(&unknown),
                None => (address, false),
            },
            _ => (address, false),
        };
        let was_default = self.session.output().style() == self.default_style();
        let was_in_transaction = self.session.is_in_transaction();
        let connected = address.and_then(|address| self.session.connect_to(address));
        if let Err(error) = connected {
            return self.refuse(&format!("{error}; the connection to {} stays", self.session.address()));
        }
        self.session.set_cluster(is_cluster);
        if was_default {
            let style = if self.session.address().scheme == Scheme::Line { Style::Line } else { Style::Pretty };
            self.session.output().set_style(style);
        }
        let dropped = if was_in_transaction { " The open transaction was dropped." } else { "" };
        let text = format!("Connected to {}.{dropped}", self.session.address());
        self.session.output().note(&text);
        Ok(Some(Outcome::Good))
    }

    fn list_history(&mut self, words: &[&str]) -> io::Result<Option<Outcome>> {
        let count = match words {
            [] => usize::MAX,
            [count] if count.parse::<usize>().is_ok() => count.parse().unwrap_or(usize::MAX),
            _ => return self.refuse("Type :history, or :history N for the last N lines."),
        };
        let lines: Vec<&String> = self.editor.history().iter().collect();
        let width = lines.len().to_string().len();
        let mut text = Vec::new();
        for (at, line) in lines.iter().enumerate().skip(lines.len().saturating_sub(count)) {
            text.extend_from_slice(format!("{:width$}  ", at + 1).as_bytes());
            kvclient::format::write_visible_line(line.as_bytes(), &mut text);
            text.push(b'\n');
        }
        self.show_text(&text)?;
        Ok(Some(Outcome::Good))
    }

    fn show_pretty(&mut self) -> io::Result<Option<Outcome>> {
        let Some((_, replies)) = &self.last else {
            return self.refuse("There is no last reply, or it was larger than 16 MiB.");
        };
        let view = super::View { json: true, ..self.view };
        let mut text = Vec::new();
        for reply in replies {
            view.write(reply, &mut text);
        }
        self.show_text(&text)?;
        Ok(Some(Outcome::Good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_a_url_is_kept_out_of_the_history() {
        let lines = [
            ":connect redis://:pw@h",
            "  :CONNECT u:p@h",
            "::connect u:p@h",
            ": : connect u:p@h",
            ":\"connect\" u:p@h",
            ":connect \"u:p\\x40h\"",
            ":connect 'u:p@h",
            ":conect redis://:pw@h",
        ];
        for line in lines {
            assert!(is_secret(line), "{line}");
        }
        assert!(!is_secret(":connect h:1") && !is_secret(":peek user@h"));
    }
}
