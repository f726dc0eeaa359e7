//! The prompt.
//!
//! Invariant: whatever the server or the connection does, the prompt comes back; only the user leaves.

use crate::completion::Typist;
use crate::help;
use crate::history;
use crate::session::{Session, is_one_of};
use crate::words::split;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// How many lines of history are kept.
const HISTORY_LINES_MAX: usize = 10_000;

/// Reads lines and runs them until the user leaves. Errors are of the terminal.
pub fn run(mut session: Session) -> io::Result<bool> {
    let mut editor = editor()?;
    let history = history::path();
    let history = history.filter(|path| match prepare_history(path) {
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
    session.connect();
    loop {
        match editor.readline(&session.prompt()) {
            Ok(line) => {
                if run_line(&mut session, &mut editor, history.as_ref(), &line)? == Next::Leave {
                    return Ok(true);
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => return Ok(true),
            Err(ReadlineError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

fn run_line(
    session: &mut Session,
    editor: &mut Editor<Typist, FileHistory>,
    history: Option<&PathBuf>,
    line: &str,
) -> io::Result<Next> {
    if line.trim().is_empty() {
        return Ok(Next::Stay);
    }
    let request = match split(line.as_bytes()) {
        Ok(request) => request,
        Err(kind) => {
            session.output().note(&format!("{kind}; nothing was sent"));
            return Ok(Next::Stay);
        }
    };
    if !history::is_secret(&request) {
        // At once, so that nothing is lost however the program ends.
        let added = editor.add_history_entry(line).unwrap_or(false);
        if let (true, Some(path)) = (added, history) {
            let _ = editor.append_history(path);
        }
    }
    let words = request.as_request();
    if is_one_of(words, &["quit", "exit"]) {
        return Ok(Next::Leave);
    }
    if is_one_of(words, &["clear"]) {
        editor.clear_screen().map_err(io::Error::other)?;
        return Ok(Next::Stay);
    }
    if is_one_of(words, &["help", "?"]) {
        let asked: Vec<&str> = line.split_whitespace().skip(1).collect();
        let mut out = io::stdout().lock();
        out.write_all(help::text(&asked).as_bytes())?;
        out.flush()?;
        return Ok(Next::Stay);
    }
    let streams = session.streams(words);
    if streams {
        session.output().note("Receiving messages; Ctrl-C ends it.");
    }
    if session.sends_lines() {
        session.run_line(&request, line)?;
    } else {
        session.run(&request)?;
    }
    if streams {
        // Below the ^C, and ready for the next command.
        session.output().note("");
        session.connect();
    }
    Ok(Next::Stay)
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
