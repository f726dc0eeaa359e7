//! Pipes and files at the prompt: `GET k | jq .`, `GET k > file`, `GET k >> file`, `SET k < file`.
//!
//! Invariant: only a `|`, `>`, `>>` or `<` that stands unquoted as a word of its own, behind the command's name, is one of
//! these, but for the `>` of XREADGROUP; nothing else of a line changes its meaning. Bytes go through unchanged.

use kvclient::format::write_raw;
use kvproto::{Reply, line};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The largest value that a server takes, in bytes.
const VALUE_BYTES_MAX: u64 = 512 << 20;

/// Where a command's reply goes, or where its last argument comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The reply goes to a shell command.
    Shell(String),
    /// The reply goes to a file.
    File { path: PathBuf, appends: bool },
    /// The last argument comes from a file.
    Input(PathBuf),
}

/// A line with a pipe or a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirected<'t> {
    /// What stands before it.
    pub command: &'t str,
    /// Where to, or where from; or what is wrong with that.
    pub place: Result<Place, String>,
    /// The length of the whole, with its end of line.
    pub length: usize,
}

/// Returns the first line of `text` if it has a pipe or a file. Quotes that open a word may hold ends of lines.
pub fn find(text: &str) -> Option<Redirected<'_>> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut has_command = false;
    let (mut name, mut names_streams) = ("", false);
    loop {
        at += bytes[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        let start = at;
        at = end_of_word(bytes, start)?;
        let word = &text[start..at];
        if !has_command && word.starts_with('#') {
            return None;
        }
        if name.is_empty() && !word.bytes().all(|byte| byte.is_ascii_digit()) {
            name = word;
        }
        names_streams |= name.eq_ignore_ascii_case("xreadgroup") && word.eq_ignore_ascii_case("streams");
        // Behind XREADGROUP ... STREAMS a > is an ID: the entries that no consumer has.
        if has_command && matches!(word, "|" | ">" | ">>" | "<") && !(names_streams && word == ">") {
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            let length = (end + 1).min(text.len());
            return Some(Redirected { command: &text[..start], place: place(word, text[at..end].trim()), length });
        }
        has_command = true;
    }
}

/// Returns where the word that begins at `start` ends; `None` at the end of the line, and in a line whose quotes are wrong.
fn end_of_word(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => break,
            b'"' | b'\'' => {
                let mut escaped = false;
                let quoted = bytes[at + 1..].iter().position(|&other| {
                    let closes = other == byte && !escaped;
                    escaped = other == b'\\' && !escaped;
                    // In a word a quote may be an apostrophe.
                    closes || (other == b'\n' && at > start)
                })?;
                at += 1 + quoted;
                if bytes[at] == b'\n' {
                    return None;
                }
            }
            _ => {}
        }
        at += 1;
    }
    (at > start).then_some(at)
}

fn place(word: &str, rest: &str) -> Result<Place, String> {
    if word == "|" {
        return if rest.is_empty() {
            Err("a shell command must stand after |, as in GET k | wc -c; quote a | that is an argument".to_owned())
        } else {
            Ok(Place::Shell(rest.to_owned()))
        };
    }
    let words = line::split_text(rest.as_bytes(), 16).map_err(|error| error.to_string())?;
    let words = words.as_request();
    let (Some(name), 1) = (words.get(0), words.len()) else {
        return Err(format!(
            "one file name must stand after {word}; quote a name that holds blanks, or a {word} that is an argument"
        ));
    };
    let name = String::from_utf8_lossy(name);
    let below = name.strip_prefix("~/").or((name == "~").then_some(""));
    let path = match (below, std::env::home_dir()) {
        (Some(below), Some(home)) if !rest.starts_with(['"', '\'']) => home.join(below),
        _ => PathBuf::from(name.as_ref()),
    };
    Ok(match word {
        "<" => Place::Input(path),
        _ => Place::File { path, appends: word == ">>" },
    })
}

/// Returns the bytes that go to a file or a shell command: a string as it is, anything else as lines of text.
pub fn bytes_of(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    write_raw(reply, &mut out);
    let is_string = matches!(reply, Reply::Bulk(_) | Reply::Verbatim { .. });
    if !is_string && out.last().is_some_and(|last| *last != b'\n') {
        out.push(b'\n');
    }
    out
}

/// Reads a file that is an argument.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let cannot = |error: io::Error| format!("cannot read {shown}: {error}; nothing was sent");
    // Opening a pipe waits for whoever writes to it; a terminal never ends.
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err(format!("{shown} is no regular file; nothing was sent"));
    }
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(format!("{shown} is larger than 512 MiB, the largest value; nothing was sent"));
    }
    Ok(bytes)
}

/// Writes a file as a shell does: one that exists is replaced, or appended to.
pub fn write(path: &Path, appends: bool, bytes: &[u8]) -> Result<(), String> {
    // Opening a pipe waits for whoever reads it.
    if fs::metadata(path).is_ok_and(|found| is_pipe(&found)) {
        return Err(format!("cannot write {}: it is a pipe; choose a file", path.display()));
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).append(appends).truncate(!appends);
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| format!("cannot write {}: {error}; choose another file", path.display()))
}

#[cfg(unix)]
fn is_pipe(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_found: &fs::Metadata) -> bool {
    false
}

/// Runs a shell command with `input` as its standard input. It may end before it has read all of that.
pub fn run_shell(command: &str, input: &[u8]) -> io::Result<ExitStatus> {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "sh".into());
    feed(Command::new(shell).arg("-c").arg(command), input)
}

/// Runs a program with `input` as its standard input.
pub fn feed(command: &mut Command, input: &[u8]) -> io::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // What was not read was not wanted.
        let _ = pipe.write_all(input);
    }
    child.wait()
}

/// Returns what is shown of a shell command that did not succeed.
pub fn failure(status: ExitStatus) -> Option<String> {
    if status.success() {
        return None;
    }
    Some(match status.code() {
        Some(code) => format!("The shell command ended with exit status {code}."),
        None => format!("The shell command was ended: {status}."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(&str, Place)> {
        find(text).map(|found| (found.command, found.place.unwrap()))
    }

    #[test]
    fn a_pipe_is_a_word_of_its_own() {
        assert_eq!(found("GET k | jq '.a | .b'"), Some(("GET k ", Place::Shell("jq '.a | .b'".to_owned()))));
        assert_eq!(found("GET 'a | b' | cat"), Some(("GET 'a | b' ", Place::Shell("cat".to_owned()))));
        let read = "XREADGROUP GROUP g c STREAMS s > ";
        assert_eq!(found(&format!("{read}| cat")), Some((read, Place::Shell("cat".to_owned()))));
        assert_eq!(
            found("SET xreadgroup streams > f"),
            Some(("SET xreadgroup streams ", Place::File { path: "f".into(), appends: false }))
        );
        // Whatever quotes the shell command has.
        assert_eq!(found("GET k | sed s/it\\'s/x/"), Some(("GET k ", Place::Shell("sed s/it\\'s/x/".to_owned()))));
        for text in [
            "XREADGROUP GROUP g c STREAMS s t > >",
            "XREADGROUP GROUP g c STREAMS s >\nGET k > f",
            "3 xreadgroup GROUP g c streams s >",
            "GET a|b",
            "GET '|'",
            "GET \"a\" \"|\"",
            "# a | b",
            "SET k it's | cat",
            "GET k\n| cat",
            "| cat",
            "",
            "\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_is_one_word() {
        let file = |path: &str, appends| Place::File { path: path.into(), appends };
        assert_eq!(found("GET k > 'a b'"), Some(("GET k ", file("a b", false))));
        assert_eq!(found("GET k >> f\r\nGET l"), Some(("GET k ", file("f", true))));
        assert_eq!(found("SET k 'a\nb' > f"), Some(("SET k 'a\nb' ", file("f", false))));
        assert_eq!(found("SET k < /f"), Some(("SET k ", Place::Input("/f".into()))));
        for text in ["GET k >", "GET k > a b", "GET k |  ", "SET k < 'a"] {
            assert!(find(text).unwrap().place.is_err(), "{text}");
        }
        let home = std::env::home_dir().unwrap();
        assert_eq!(found("GET k > ~"), Some(("GET k ", file(&home.to_string_lossy(), false))));
        assert_eq!(found("GET k > '~'"), Some(("GET k ", file("~", false))));
        assert_eq!(find("GET k > f\nPING").unwrap().length, 10);
    }

    #[test]
    fn strings_go_through_as_they_are_and_the_rest_as_lines() {
        assert_eq!(bytes_of(&Reply::bulk("a\0\r")), b"a\0\r");
        assert_eq!(bytes_of(&Reply::bulk("")), b"");
        assert_eq!(bytes_of(&Reply::Integer(3)), b"3\n");
        assert_eq!(bytes_of(&Reply::bulks(["a", "b"])), b"a\nb\n");
    }
}
