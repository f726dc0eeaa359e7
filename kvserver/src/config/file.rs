//! The configuration file: lines of a name and its values, quoted and commented as in Redis' `redis.conf`.
//!
//! [`startup`] lays it under the flags of the program, [`rewrite`] writes back what clients changed since.
//!
//! Invariant: a file is obeyed whole, or refused with the number of a line that is at fault; reading one changes
//! nothing.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use kvproto::Limits;
use kvproto::line::{LineDecoder, Style};

use crate::config::parameters::{self, Kind, Parameter};
use crate::error::{Error, Result};

pub(crate) mod rewrite;

/// A file may have this many bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In lower case.
    pub(crate) name: String,
    pub(crate) words: Vec<Vec<u8>>,
}

impl Directive {
    /// Whether it holds a password, or what stands for one.
    pub(crate) fn is_secret(&self) -> bool {
        let is_sensitive = || parameters::lookup(self.name.as_bytes()).is_some_and(|row| row.sensitive);
        self.name == "user" || (is_sensitive() && self.words.iter().any(|word| !word.is_empty()))
    }
}

impl Directive {
    /// Its values as text, at least one.
    pub(crate) fn texts(&self) -> std::result::Result<Vec<String>, String> {
        let text = |word: &Vec<u8>| String::from_utf8(word.clone()).map_err(|_| "it is no text in UTF-8".to_owned());
        let words: Vec<String> = self.words.iter().map(text).collect::<std::result::Result<_, _>>()?;
        if words.is_empty() { Err("a value is missing".to_owned()) } else { Ok(words) }
    }

    /// Its only value.
    pub(crate) fn one(&self) -> std::result::Result<String, String> {
        match self.texts()?.as_mut_slice() {
            [word] => Ok(std::mem::take(word)),
            _ => Err("it has one value".to_owned()),
        }
    }

    /// Its value as a parameter of this kind takes it: the only one, or all in one text if the kind is a list.
    pub(crate) fn value(&self, kind: Kind) -> std::result::Result<String, String> {
        if kind.is_list() { Ok(self.texts()?.join(" ")) } else { self.one() }
    }
}

/// What a file says.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    /// Absolute.
    pub(crate) path: PathBuf,
    pub(crate) directives: Vec<Directive>,
}

/// A parameter that a file sets and that only a running server can be told.
pub(crate) struct Setting {
    /// File and line, for an error.
    pub(crate) place: String,
    pub(crate) row: &'static Parameter,
    /// Normalized.
    pub(crate) value: String,
    /// A flag says it: CONFIG REWRITE does not write it unless a client changes it.
    pub(crate) is_flag: bool,
}

impl ConfigFile {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<ConfigFile> {
        let failed = |why: String| Error::Configuration { place: path.display().to_string(), why };
        let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        let text = read_bounded(&path).map_err(|error| failed(error.to_string()))?;
        let mut file = ConfigFile { path, directives: Vec::new() };
        for (at, line) in lines(&text).enumerate() {
            match directive(at + 1, line) {
                Ok(directive) => file.directives.extend(directive),
                Err(why) => return Err(file.fault(at + 1, why)),
            }
        }
        Ok(file)
    }

    /// Whether it has a line of this name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name)
    }

    /// `FILE:LINE`
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }

    pub(crate) fn fault(&self, line: usize, why: impl Into<String>) -> Error {
        Error::Configuration { place: self.place(line), why: why.into() }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    Ok(text)
}

/// The lines of a file, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n')
}

/// What a line says; nothing if it is empty or a comment.
fn directive(line: usize, text: &[u8]) -> std::result::Result<Option<Directive>, &'static str> {
    let text = text.trim_ascii();
    if text.is_empty() || text.starts_with(b"#") {
        return Ok(None);
    }
    if text.contains(&0) {
        return Err("the line holds a zero byte");
    }
    let ended = [text, b"\n"].concat();
    let limits = Limits { line_bytes_max: ended.len(), ..Limits::default() };
    let mut decoder = LineDecoder::new();
    decoder.decode(&ended, Style::Plain, &limits).map_err(|_| "unbalanced quotes")?;
    let request = decoder.request(&ended);
    let name = String::from_utf8_lossy(request.name()).to_ascii_lowercase();
    Ok(Some(Directive { line, name, words: request.iter().skip(1).map(<[u8]>::to_vec).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> std::result::Result<Option<(String, Vec<String>)>, &'static str> {
        let shown = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        Ok(directive(1, text.as_bytes())?.map(|found| (found.name, found.words.iter().map(shown).collect())))
    }

    fn said(name: &str, words: &[&str]) -> Option<(String, Vec<String>)> {
        Some((name.to_owned(), words.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn a_line_is_a_name_and_values_or_a_comment() {
        assert_eq!(words(""), Ok(None));
        assert_eq!(words(" \t\r"), Ok(None));
        assert_eq!(words("  # maxmemory 1"), Ok(None));
        assert_eq!(words(" MaxMemory\t10mb \r"), Ok(said("maxmemory", &["10mb"])));
        assert_eq!(words(r#"requirepass "a b\x21" 'c # d'"#), Ok(said("requirepass", &["a b!", "c # d"])));
        assert_eq!(words("save \"\""), Ok(said("save", &[""])));
        assert_eq!(words("dir \"x"), Err("unbalanced quotes"));
        assert_eq!(words("dir x\0"), Err("the line holds a zero byte"));
    }

    #[test]
    fn a_file_ends_with_its_last_line() {
        let split = |text: &'static str| lines(text.as_bytes()).map(|line| line.to_vec()).collect::<Vec<_>>();
        assert_eq!(split("a\n\nb"), [&b"a"[..], b"", b"b"]);
        assert_eq!(split("a\nb\n"), [b"a", b"b"]);
    }
}
