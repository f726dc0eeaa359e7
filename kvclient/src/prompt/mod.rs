//! The prompt.
//!
//! Invariant: whatever the server or the connection does, the prompt comes back; only the user leaves. Each line that is
//! entered is run, or it is shown why not and it can be edited: no line is dropped in silence.

mod completion;
mod directives;
mod history;

use crate::help;
use crate::session::{Outcome, Session, is_one_of};
use crate::words::{Lines, Piece, Splitter};
use completion::Typist;
use kvproto::OwnedRequest;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Cmd, CompletionType, Config, Editor, KeyCode, KeyEvent, Modifiers};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// How many lines of history are kept.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads lines and runs them until the user leaves. Errors are of the terminal.
pub fn run(session: Session) -> io::Result<bool> {
    let mut prompt = Prompt::new(session)?;
    prompt.session.begin_prompt();
    prompt.session.connect();
    // What is left of a text that was not run to its end.
    let mut kept = String::new();
    loop {
        // The cursor stands at the end of the first line, which is the one to edit.
        let cursor = kept.find('\n').unwrap_or(kept.len());
        match prompt.editor.readline_with_initial(&prompt.session.prompt(), kept.split_at(cursor)) {
            Ok(text) => match prompt.run(&text)? {
                Next::Read(rest) => kept = rest,
                Next::Leave => break,
            },
            Err(ReadlineError::Interrupted) => kept.clear(),
            Err(ReadlineError::Eof) => break,
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
}

impl Prompt {
    fn new(mut session: Session) -> io::Result<Prompt> {
        let mut editor = editor()?;
        let history = history::path().filter(|path| match prepare_history(path) {
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
        Ok(Prompt { session, editor, history })
    }

    /// Runs the commands of a text: a line that was typed, or several that were pasted.
    fn run(&mut self, text: &str) -> io::Result<Next> {
        let lines = if self.session.sends_lines() { Lines::AsTyped } else { Lines::Quoted };
        let mut splitter = Splitter::new(lines);
        let is_one_line = !text.trim().contains('\n');
        let mut rest = text;
        let mut line = 1;
        while let Some((piece, length)) = splitter.next(rest.as_bytes(), true) {
            // Pieces end at an end of line, so this cuts no character in two.
            let (typed, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            match piece {
                Piece::Blank => self.remember(typed, is_one_line, history::may_hold_secret(typed)),
                Piece::Bad(kind) => {
                    self.remember(rest, is_one_line, history::may_hold_secret(rest));
                    if is_one_line {
                        self.session.output().note(&format!("{kind}; nothing was sent"));
                        return Ok(Next::Read(String::new()));
                    }
                    self.session.output().note(&format!("line {line}: {kind}: {}", typed.trim_end()));
                    return Ok(Next::Read(rest.trim_end().to_owned()));
                }
                Piece::Command(request) => {
                    self.remember(typed, is_one_line, history::is_secret(&request));
                    match self.run_command(&request, typed)? {
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
                }
            }
            line += typed.matches('\n').count();
            rest = after;
        }
        Ok(Next::Read(String::new()))
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
    fn run_command(&mut self, request: &OwnedRequest, typed: &str) -> io::Result<Option<Outcome>> {
        let words = request.as_request();
        if is_one_of(words, &["quit", "exit"]) {
            return Ok(None);
        }
        if is_one_of(words, &["clear"]) {
            self.editor.clear_screen().map_err(io::Error::other)?;
            return Ok(Some(Outcome::Good));
        }
        if is_one_of(words, &["help", "?"]) {
            let text = help::text(words).unwrap_or_else(|unknown| unknown + "\n");
            self.session.output().write(text.as_bytes())?;
            return Ok(Some(Outcome::Good));
        }
        let streams = self.session.streams(words);
        if streams {
            self.session.output().note("Receiving messages; Ctrl-C ends it.");
        }
        let outcome = if self.session.sends_lines() {
            self.session.run_line(request, typed.trim_end_matches(['\n', '\r']).as_bytes())?
        } else {
            self.session.run(request)?
        };
        if streams {
            // Below the ^C, and ready for the next command.
            self.session.output().note("");
            self.session.connect();
        }
        Ok(Some(outcome))
    }
}

fn editor() -> io::Result<Editor<Typist, FileHistory>> {
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .map_err(io::Error::other)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).map_err(io::Error::other)?;
    editor.set_helper(Some(Typist { colors: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }));
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
