//! The prompt.
//!
//! Invariant: whatever the server or the connection does, the prompt comes back; only the user leaves. Each line that is
//! entered is run, or it is shown why not and it can be edited: no line is dropped in silence.

mod clock;
mod completion;
mod confirm;
mod directives;
mod highlight;
mod hints;
mod history;
mod names;
mod pager;
#[cfg(unix)]
mod paste;
mod peek;
mod redirect;
mod stream;
mod typing;
mod view;
mod watch;

use crate::help;
use crate::output::{Style, grouped, is_hidden, is_report};
use crate::session::{Outcome, Session, is_one_of};
use crate::settings::{PagerSetting, Servers, Settings};
use crate::syntax::line::Quoting;
use crate::words::{Lines, Piece, Splitter};
use confirm::Danger;
use kvclient::session_state::is_queued;
use kvproto::{OwnedRequest, Reply, Request};
use pager::Pager;
use redirect::{Place, Redirected};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Cmd, CompletionType, Config, Editor, KeyCode, KeyEvent, Modifiers};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use typing::Typist;
use view::View;

/// How many lines of history are kept.
const HISTORY_LINES_MAX: usize = 10_000;
/// A larger reply is not kept for `:pretty`, in bytes.
const LAST_BYTES_MAX: usize = 16 << 20;

/// What is said of a line with bytes that are no text; what was typed with it is dropped.
const NOT_UTF8: &str = "What was typed is not UTF-8; nothing of it was sent. \"\\xff\" writes a byte.";

/// Reads lines and runs them until the user leaves. `has_format`: a flag says how replies are shown. Errors are of the
/// terminal.
pub fn run(session: Session, settings: Settings, has_format: bool) -> io::Result<bool> {
    let mut prompt = Prompt::new(session, settings, has_format)?;
    prompt.session.begin_prompt();
    prompt.session.connect();
    // What is left of a text that was not run to its end.
    let mut kept = String::new();
    loop {
        // The cursor stands at the end of the first line, which is the one to edit.
        let cursor = kept.find('\n').unwrap_or(kept.len());
        let shown = prompt.begin_line();
        match prompt.editor.readline_with_initial(&shown, kept.split_at(cursor)) {
            Ok(text) => match prompt.run(&text)? {
                Next::Read(rest) => kept = rest,
                Next::Leave => break,
            },
            Err(ReadlineError::Interrupted) => kept.clear(),
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                kept.clear();
                prompt.refuse_bytes();
            }
            Err(ReadlineError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    let mut out = io::stdout().lock();
    out.write_all(b"Goodbye.\n")?;
    out.flush()?;
    Ok(true)
}

/// What happens after a text was entered.
enum Next {
    /// The next one is read; this much is left of the last one.
    Read(String),
    Leave,
}

struct Prompt {
    session: Session,
    editor: Editor<Typist, FileHistory>,
    /// The history's file, unless none is kept.
    history: Option<PathBuf>,
    view: View,
    pager: Pager,
    /// Behind each reply the time is shown that it took.
    shows_time: bool,
    /// Commands that remove everything or stop the server ask first.
    confirms: bool,
    /// The last replies and the command that they are for.
    last: Option<(OwnedRequest, Vec<Reply>)>,
    /// The servers that have names.
    servers: Servers,
    /// What stands before the cursor, with names in braces.
    text: Option<String>,
}

/// A command as it is run.
struct Command<'t> {
    request: OwnedRequest,
    /// What was typed, for servers that are sent lines as they are.
    typed: &'t str,
    /// Where its reply goes instead of the terminal.
    place: Option<Place>,
    /// It is one of several that were entered together.
    is_one_of_many: bool,
}

impl Prompt {
    fn new(mut session: Session, settings: Settings, has_format: bool) -> io::Result<Prompt> {
        let Settings { servers, prompt: chosen } = settings;
        let names = servers.names().map(|name| format!("@{name}")).collect();
        let mut editor = editor(names)?;
        let history = history::path(chosen.history).filter(|path| match prepare_history(path) {
            Ok(()) => true,
            Err(error) => {
                let text = format!("history is not kept: {}: {error}", path.display());
                session.output().note(&text);
                false
            }
        });
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        if let (Some(keys), Some(typist)) = (chosen.keys, editor.helper_mut()) {
            typist.complete_keys(keys);
        }
        // Of the line protocol a person sees the server's own lines.
        if let Some(style) = chosen.format.filter(|style| !has_format && *style != Style::Pretty) {
            session.output().set_style(style);
        }
        let view = View { colors: has_colors(), json: chosen.json.unwrap_or_default(), ..View::default() };
        let pager = match chosen.pager {
            None => Pager::default(),
            Some(PagerSetting::Default(on)) => Pager { is_off: !on, command: None },
            Some(PagerSetting::Command(command)) => Pager { is_off: false, command: Some(command) },
        };
        Ok(Prompt {
            session,
            editor,
            history,
            view,
            pager,
            shows_time: chosen.timing.unwrap_or_default(),
            confirms: chosen.confirm.unwrap_or(true),
            last: None,
            servers,
            text: chosen.text,
        })
    }

    /// Returns what stands before the cursor.
    fn text(&self) -> String {
        if !self.session.has_connection() {
            return "not connected> ".to_owned();
        }
        let address = self.session.address();
        let db = if address.db == 0 { String::new() } else { format!("[{}]", address.db) };
        let state = self.session.state_text();
        let Some(template) = &self.text else {
            return format!("{address}{db}{state}> ");
        };
        // Each name is one that the file of settings may hold.
        let value = |name: &str| match name {
            "server" => self.servers.name_of(address).map_or_else(|| address.to_string(), str::to_owned),
            "host" => address.socket.as_ref().map_or(address.host.clone(), |path| path.display().to_string()),
            "port" => address.port.to_string(),
            "db" => db.clone(),
            "user" => address.user.clone().unwrap_or_default(),
            _ => state.clone(),
        };
        let mut text = String::new();
        for (at, part) in template.split('{').enumerate() {
            match part.split_once('}').filter(|_| at > 0) {
                Some((name, rest)) => text += &(value(name) + rest),
                None => text += part,
            }
        }
        // A name that the user has not written may hold anything.
        text.chars().filter(|character| !is_hidden(*character)).collect()
    }

    /// Prepares the help while the next line is typed; returns what stands before that line.
    fn begin_line(&mut self) -> String {
        let shown = self.text();
        let connection = self.session.connections();
        let target = self.session.target().map(|(address, options)| names::Target { address, options, connection });
        let quoting = if self.session.sends_lines() { Quoting::Unknown } else { Quoting::Quoted };
        if let Some(typist) = self.editor.helper_mut() {
            typist.begin_line(&shown, target, quoting);
        }
        shown
    }

    /// Runs the commands of a text: a line that was typed, or several that were pasted.
    fn run(&mut self, text: &str) -> io::Result<Next> {
        let is_one_line = !text.trim().contains('\n');
        let mut rest = text;
        let mut line = 1;
        self.session.clear_interrupt();
        self.view.columns = self.editor.dimensions().map_or(0, |(columns, _)| usize::from(columns));
        while !rest.is_empty() {
            if self.session.is_interrupted() {
                // Pressed between two commands.
                return Ok(Next::Read(rest.trim_end().to_owned()));
            }
            let (length, command) = match self.next_piece(rest) {
                (length, Ok(command)) => (length, command),
                (_, Err(kind)) => {
                    self.remember(rest, is_one_line, history::may_hold_secret(rest));
                    if is_one_line {
                        self.session.output().note(&format!("{kind}; nothing was sent"));
                        return Ok(Next::Read(String::new()));
                    }
                    let typed = rest.lines().next().unwrap_or(rest);
                    self.session.output().note(&format!("line {line}: {kind}: {}", typed.trim_end()));
                    return Ok(Next::Read(rest.trim_end().to_owned()));
                }
            };
            // Pieces end at an end of line, so this cuts no character in two.
            let (typed, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            let outcome = match command {
                Entered::Blank => {
                    self.remember(typed, is_one_line, history::may_hold_secret(typed));
                    Some(Outcome::Good)
                }
                Entered::Directive => {
                    self.remember(typed, is_one_line, directives::is_secret(typed));
                    self.run_directive(typed)?
                }
                Entered::Command(request, place) => {
                    // Of a shell command nothing is known but its text.
                    let is_secret =
                        history::is_secret(&request) || (place.is_some() && history::may_hold_secret(typed));
                    self.remember(typed, is_one_line, is_secret);
                    self.run_command(Command { request, typed, place, is_one_of_many: !is_one_line })?
                }
            };
            match outcome {
                None => {
                    let left = after.lines().filter(|line| !line.trim().is_empty()).count();
                    if left > 0 {
                        let lines = if left == 1 { "line after it was" } else { "lines after it were" };
                        self.session.output().note(&format!("{left} {lines} not run."));
                    }
                    return Ok(Next::Leave);
                }
                // What was typed for one connection is not run on another without the user's word.
                Some(Outcome::NotSent) if !is_one_line => return Ok(Next::Read(rest.trim_end().to_owned())),
                Some(Outcome::Lost) => return Ok(Next::Read(after.trim_end().to_owned())),
                Some(Outcome::Good | Outcome::Error | Outcome::NotSent) => {}
            }
            line += typed.matches('\n').count();
            rest = after;
        }
        Ok(Next::Read(String::new()))
    }

    /// Returns the length of what `text`, which is not empty, begins with, and what that is, or why it is nothing.
    fn next_piece(&self, text: &str) -> (usize, Result<Entered, String>) {
        if directives::is_directive(text.lines().next().unwrap_or_default()) {
            let length = text.find('\n').map_or(text.len(), |end| end + 1);
            return (length, Ok(Entered::Directive));
        }
        // Lines that are sent as they are typed have no quotes, without which a value could not be told from a pipe.
        if !self.session.sends_lines()
            && let Some(Redirected { command, place, length }) = redirect::find(text)
        {
            let entered = place.and_then(|place| {
                let words = kvproto::line::split_text(command.as_bytes(), kvproto::Limits::default().args_max);
                Ok(Entered::Command(words.map_err(|error| error.to_string())?, Some(place)))
            });
            return (length, entered);
        }
        let lines = if self.session.sends_lines() { Lines::AsTyped } else { Lines::Quoted };
        match Splitter::new(lines).next(text.as_bytes(), true) {
            Some((Piece::Command(request), length)) => (length, Ok(Entered::Command(request, None))),
            Some((Piece::Bad(kind), length)) => (length, Err(kind.to_string())),
            Some((Piece::Blank, length)) => (length, Ok(Entered::Blank)),
            None => (text.len(), Ok(Entered::Blank)),
        }
    }

    /// Adds what was typed to the history. A blank in front keeps a line out of it; in a text of several lines that is
    /// only how they are set.
    fn remember(&mut self, typed: &str, is_one_line: bool, is_secret: bool) {
        let typed = if is_one_line { typed.trim_end() } else { typed.trim() };
        if is_secret || typed.is_empty() {
            return;
        }
        // At once, so that nothing is lost however the program ends.
        let added = self.editor.add_history_entry(typed).unwrap_or(false);
        if let (true, Some(path)) = (added, &self.history) {
            let _ = self.editor.append_history(path);
        }
    }

    /// Runs one command; `None` if it leaves.
    fn run_command(&mut self, command: Command<'_>) -> io::Result<Option<Outcome>> {
        let words = command.request.as_request();
        if let Some(outcome) = self.run_own(&command)? {
            return Ok(outcome);
        }
        if let Some((count, command)) = repeated(&command) {
            let mut outcome = Some(Outcome::Good);
            for _ in 0..count {
                outcome = self.run_command(Command {
                    place: command.place.clone(),
                    request: command.request.clone(),
                    ..command
                })?;
                if self.session.is_interrupted() || !matches!(outcome, Some(Outcome::Good | Outcome::Error)) {
                    break;
                }
            }
            return Ok(outcome);
        }
        if self.session.streams(words) {
            if command.place.is_some() {
                let name = String::from_utf8_lossy(words.name()).to_ascii_uppercase();
                return self.refuse(&format!(
                    "{name} cannot be piped at the prompt; in a shell, kvclient {name} ... | COMMAND can"
                ));
            }
            let line = self.session.sends_lines().then(|| line_of(command.typed));
            if is_one_of(words, &["ssubscribe"])
                && let Some(channel) = words.get(1)
            {
                self.session.go_to_key(channel)?;
            }
            return stream::run(&mut self.session, self.view, &command.request, line).map(Some);
        }
        if !self.is_confirmed(words)? {
            return Ok(Some(Outcome::NotSent));
        }
        let outcome = match &command.place {
            None => self.exchange(&command.request, command.typed)?,
            Some(Place::Input(path)) => {
                let last = match redirect::read(path) {
                    Ok(last) => last,
                    Err(error) => {
                        self.session.output().note(&error);
                        return Ok(Some(Outcome::NotSent));
                    }
                };
                let request = OwnedRequest::from_words(words.iter().chain([last.as_slice()]));
                self.exchange(&request, command.typed)?
            }
            Some(place) => self.redirect(&command.request, place)?,
        };
        let chooses = is_one_of(words, &["select", "auth", "hello"]);
        // What follows in a text was meant for another database or user: there is none that it could be sent to.
        Ok(Some(if chooses && outcome == Outcome::Error { Outcome::NotSent } else { outcome }))
    }

    /// Runs a command of the prompt's own; `None` if it is another one, `Some(None)` if it leaves.
    fn run_own(&mut self, command: &Command<'_>) -> io::Result<Option<Option<Outcome>>> {
        let words = command.request.as_request();
        let is_own = is_one_of(words, &["quit", "exit", "clear", "help", "?", "peek", "connect"]);
        // The server's WATCH guards the next transaction. In small letters, alone, with one key it is ours.
        let watches = words.name() == b"watch"
            && words.len() == 2
            && !command.is_one_of_many
            && !self.session.is_in_transaction();
        if !is_own && !watches {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(words.name()).to_ascii_uppercase();
        if command.place.is_some() {
            return self
                .refuse(&format!("{name} is the prompt's own command: it has no reply that could be piped"))
                .map(Some);
        }
        if is_one_of(words, &["quit", "exit"]) {
            return Ok(Some(None));
        }
        let outcome = match (words.name().to_ascii_lowercase().as_slice(), words.get(1), words.len()) {
            (b"clear", ..) => {
                self.editor.clear_screen().map_err(io::Error::other)?;
                Some(Outcome::Good)
            }
            (b"help" | b"?", ..) => {
                let catalog = self.editor.helper_mut().map(|typist| typist.whole_catalog()).unwrap_or_default();
                let text = help::text_with(words, &catalog).unwrap_or_else(|unknown| unknown + "\n");
                self.show_text(text.as_bytes())?;
                Some(Outcome::Good)
            }
            (b"watch", Some(_), 2) if self.session.sends_lines() => self.refuse(
                "Changes are watched over the server's redis:// port; :connect goes there. WATCH in capitals is sent.",
            )?,
            (b"watch", Some(key), 2) => {
                self.session.output().note("(WATCH in capitals guards the next transaction.)");
                Some(watch::run(&mut self.session, key)?)
            }
            (b"peek", Some(key), 2) => self.peek(key)?,
            (b"connect", ..) => {
                let words: Vec<String> =
                    words.iter().skip(1).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
                self.connect_to(&words.iter().map(String::as_str).collect::<Vec<_>>())?
            }
            _ => self.refuse("Type PEEK KEY, with one key.")?,
        };
        Ok(Some(outcome))
    }

    /// Sends a command and shows its replies.
    fn exchange(&mut self, request: &OwnedRequest, typed: &str) -> io::Result<Outcome> {
        let line = self.session.sends_lines().then(|| line_of(typed));
        let begin = Instant::now();
        let mut replies = Vec::new();
        let outcome = self.session.run_shown(request, line, &mut |reply| replies.push(reply))?;
        let took = begin.elapsed();
        let mut text = Vec::new();
        for reply in &replies {
            self.render(request.as_request(), reply, &mut text);
        }
        if self.shows_time && !matches!(outcome, Outcome::NotSent) {
            text.extend_from_slice(format!("({})\n", time_text(took)).as_bytes());
        }
        self.show_text(&text)?;
        if self.session.sends_lines() && outcome == Outcome::Error && redirect::find(typed).is_some() {
            self.session.output().note("Over the line protocol a line is sent as it is typed: | > < are words. Connect to redis:// for pipes and files.");
        }
        let bytes: usize = replies.iter().map(Reply::payload_bytes).sum();
        self.last = (bytes <= LAST_BYTES_MAX && !replies.is_empty()).then(|| (request.clone(), replies));
        Ok(outcome)
    }

    /// Sends a command; its reply goes to a shell command or a file, unless it is an error, no value, or only says that
    /// the command waits for EXEC.
    fn redirect(&mut self, request: &OwnedRequest, place: &Place) -> io::Result<Outcome> {
        let begin = Instant::now();
        let mut replies = Vec::new();
        let outcome = self.session.run_shown(request, None, &mut |reply| replies.push(reply))?;
        let took = begin.elapsed();
        let mut bytes = Vec::new();
        let mut has_value = false;
        for reply in &replies {
            match reply {
                Reply::Error(_) | Reply::Nil | Reply::NilArray | Reply::Push(_) => self.show_reply(request, reply)?,
                reply if is_queued(reply) => self.show_reply(request, reply)?,
                reply => {
                    has_value = true;
                    self.write_redirected(request.as_request(), reply, &mut bytes);
                }
            }
        }
        let said = match place {
            _ if replies.is_empty() => None,
            Place::Shell(_) if !has_value => Some("The shell command was not run.".to_owned()),
            Place::File { .. } if !has_value => Some("The file was not written.".to_owned()),
            Place::Shell(command) => {
                let ran = redirect::run_shell(command, &bytes);
                self.begin_row()?;
                match ran {
                    Ok(status) => redirect::failure(status),
                    Err(error) => Some(format!("The shell cannot be run: {error}; SHELL names it.")),
                }
            }
            Place::File { path, appends } => match redirect::write(path, *appends, &bytes) {
                Ok(()) => Some(format!("{} bytes written to {}.", grouped(bytes.len()), path.display())),
                Err(error) => Some(error),
            },
            Place::Input(_) => None,
        };
        if let Some(said) = said {
            self.session.output().note(&said);
        }
        if self.shows_time && !matches!(outcome, Outcome::NotSent) {
            self.session.output().note(&format!("({})", time_text(took)));
        }
        Ok(outcome)
    }

    /// Moves the cursor to the beginning of an empty row, wherever a shell command has left it. The next prompt would erase
    /// what stands in its row.
    fn begin_row(&mut self) -> io::Result<()> {
        let Some((columns, _)) = self.editor.dimensions().filter(|_| io::stdout().is_terminal()) else {
            return Ok(());
        };
        // As many blanks as a row has: from its beginning they fill it, from anywhere else they end in the next one.
        let row = " ".repeat(usize::from(columns)) + "\r";
        self.session.output().write(row.as_bytes())
    }

    fn show_reply(&mut self, request: &OwnedRequest, reply: &Reply) -> io::Result<()> {
        let mut text = Vec::new();
        self.render(request.as_request(), reply, &mut text);
        self.session.output().write(&text)
    }

    /// Appends what goes to a shell command or a file: a string as it is; a list as JSON or CSV, if that is how replies are
    /// to be shown, else as lines.
    fn write_redirected(&mut self, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) {
        let is_string = matches!(reply, Reply::Bulk(_) | Reply::Verbatim { .. });
        match self.session.output().style() {
            Style::Json | Style::QuotedJson | Style::Csv if !is_string => {
                self.session.output().render(request, reply, out)
            }
            _ => out.append(&mut redirect::bytes_of(reply)),
        }
    }

    /// Appends a reply as it is shown.
    fn render(&mut self, request: Request<'_>, reply: &Reply, out: &mut Vec<u8>) {
        match (self.session.output().style(), reply) {
            // It knows whether such messages are shown.
            (_, Reply::Push(_)) => self.session.output().render(request, reply, out),
            (Style::Pretty, reply) if reply.is_error() || !is_report(request) => self.view.write(reply, out),
            (Style::Line, Reply::Error(_)) if self.view.colors => {
                out.extend_from_slice(view::RED);
                self.session.output().render(request, reply, out);
                // The colour ends before the line does.
                out.pop();
                out.extend_from_slice(view::PLAIN);
                out.push(b'\n');
            }
            _ => self.session.output().render(request, reply, out),
        }
    }

    /// Shows text, in the pager if it is longer than the screen.
    fn show_text(&mut self, text: &[u8]) -> io::Result<()> {
        let screen = self.editor.dimensions().filter(|_| io::stdout().is_terminal());
        // Without a known size there are as many rows as fit a number.
        let screen = screen.map(|(columns, rows)| (usize::from(columns), usize::from(rows)));
        if self.pager.show(text, screen) {
            return Ok(());
        }
        self.session.output().write(text)
    }

    /// Asks whether a command that removes everything, or the like, is to be run.
    fn is_confirmed(&mut self, request: Request<'_>) -> io::Result<bool> {
        let Some(danger) = Danger::of(request).filter(|_| self.confirms) else {
            return Ok(true);
        };
        let keys = if danger.counts_keys() { self.session.count_keys() } else { None };
        let name = String::from_utf8_lossy(request.name()).to_ascii_uppercase();
        if self.session.is_interrupted() {
            // While the keys were counted: that was for this command.
            self.session.output().note(&format!("Cancelled: '{name}' was not sent."));
            return Ok(false);
        }
        let address = self.session.address();
        let Some(question) = danger.question(&name, &address.to_string(), address.db, keys) else {
            return Ok(true);
        };
        let typist = self.editor.helper_mut().map(|typist| std::mem::replace(&mut typist.is_answering, true));
        let answer = self.editor.readline(&question);
        if let (Some(typist), Some(was)) = (self.editor.helper_mut(), typist) {
            typist.is_answering = was;
        }
        let is_yes = match answer {
            Ok(answer) => confirm::is_yes(&answer),
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => false,
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.refuse_bytes();
                false
            }
            Err(ReadlineError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        };
        if is_yes {
            // A signal that came before the answer does not cancel what was just confirmed.
            self.session.clear_interrupt();
        } else {
            self.session.output().note(&format!("'{name}' was not sent. (:confirm off asks no more.)"));
        }
        Ok(is_yes)
    }

    /// Says that what was typed is no text. The rest of a paste is dropped with it: half of it must not be run.
    fn refuse_bytes(&mut self) {
        #[cfg(unix)]
        {
            // Without a terminal there is nothing to drop.
            let _ = paste::drop_rest();
        }
        // Below the line.
        self.session.output().note("");
        self.session.output().note(NOT_UTF8);
    }

    /// Shows everything about a key.
    fn peek(&mut self, key: &[u8]) -> io::Result<Option<Outcome>> {
        if self.session.sends_lines() {
            return self.refuse("PEEK needs the server's redis:// port; :connect goes there.");
        }
        self.session.go_to_key(key)?;
        let view = self.view;
        match self.session.aside(|connection| peek::peek(connection, view, key)) {
            Some(Ok(text)) => {
                self.show_text(&text)?;
                Ok(Some(Outcome::Good))
            }
            Some(Err(_)) if self.session.is_interrupted() => self.refuse("Cancelled."),
            Some(Err(error)) => self.refuse(&error.to_string()),
            None => Ok(Some(Outcome::NotSent)),
        }
    }
}

/// What was entered.
enum Entered {
    Blank,
    Directive,
    Command(OwnedRequest, Option<Place>),
}

/// Returns how often a command is to be run, and the command, if a number stands before it.
fn repeated<'t>(command: &Command<'t>) -> Option<(u64, Command<'t>)> {
    let words = command.request.as_request();
    let number = std::str::from_utf8(words.name()).ok()?;
    let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    if !is_number(words.name()) || words.get(1).is_none_or(is_number) {
        return None;
    }
    let count = number.parse().ok()?;
    let request = OwnedRequest::from_words(words.iter().skip(1));
    let typed = command.typed.trim_start().strip_prefix(number)?.trim_start();
    Some((count, Command { request, typed, place: command.place.clone(), is_one_of_many: command.is_one_of_many }))
}

/// Returns a line without its end.
fn line_of(typed: &str) -> &[u8] {
    typed.trim_end_matches(['\n', '\r']).as_bytes()
}

fn time_text(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{:.2} ms", took.as_secs_f64() * 1000.0)
    } else {
        format!("{:.2} s", took.as_secs_f64())
    }
}

/// Whether the terminal shows colours, and the user wants them.
fn has_colors() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
        && io::stdout().is_terminal()
}

fn editor(servers: Vec<String>) -> io::Result<Editor<Typist, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .completion_show_all_if_ambiguous(true)
        .build();
    let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(Typist::new(has_colors(), servers)));
    typing::bind_keys(&mut editor);
    editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), Cmd::Newline);
    Ok(editor)
}

/// Makes the directory the history lies in, for the user alone.
fn prepare_history(path: &std::path::Path) -> io::Result<()> {
    let Some(directory) = path.parent() else {
        return Ok(());
    };
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(typed: &str) -> Option<(u64, String, usize)> {
        let request = kvproto::line::split_text(typed.as_bytes(), 100).unwrap();
        let command = Command { request, typed, place: None, is_one_of_many: false };
        let (count, command) = repeated(&command)?;
        Some((count, command.typed.to_owned(), command.request.as_request().len()))
    }

    #[test]
    fn a_number_before_a_command_says_how_often() {
        assert_eq!(counted("5 INCR k"), Some((5, "INCR k".to_owned(), 2)));
        assert_eq!(counted("  0   PING"), Some((0, "PING".to_owned(), 1)));
        for other in ["INCR k", "5", "5 5", "5 5 INCR k", "-1 PING", "99999999999999999999 PING", "'' k"] {
            assert_eq!(counted(other), None, "{other}");
        }
    }

    #[test]
    fn times_are_in_the_unit_that_fits() {
        assert_eq!(time_text(Duration::from_micros(1_234)), "1.23 ms");
        assert_eq!(time_text(Duration::from_millis(12_340)), "12.34 s");
    }
}
