//! A configuration file: lines of a name and its values, quoted and commented as in Redis' `redis.conf`.
//!
//! Invariant: a file is read whole, or refused with the number of a line that is at fault.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use kvproto::Limits;
use kvproto::line::{LineDecoder, Style};

use crate::directive::{Directive, Place};
use crate::error::{Error, Result};

/// A file may have this many bytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

type Words = Vec<Vec<u8>>;

/// What a file says.
#[derive(Debug)]
pub struct ConfigFile {
    /// Absolute.
    pub path: Arc<Path>,
    /// In the order of its lines.
    pub directives: Vec<Directive>,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    /// Names the file if it cannot be read or is larger than [`FILE_BYTES_MAX`], and the line if one cannot be understood.
    pub fn read(path: &Path) -> Result<ConfigFile> {
        let failed = |error: std::io::Error| Error { place: path.display().to_string(), why: error.to_string() };
        let path = Arc::<Path>::from(std::path::absolute(path).map_err(failed)?);
        let text = read_bounded(&path).map_err(failed)?;
        Ok(ConfigFile { directives: parse(&path, &text)?, path })
    }

    /// Returns whether it has a directive of this name.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.directives.iter().any(|directive| directive.name == name)
    }
}

/// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
///
/// # Errors
/// Returns what the system said, or that the file is too large.
pub fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("the file is too large"));
    }
    Ok(text)
}

/// Returns the lines of a file, without their ends.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n')
}

/// Returns the directives of a file of this text.
///
/// # Errors
/// Names the first line whose quotes do not match, or that holds a zero byte.
pub fn parse(path: &Arc<Path>, text: &[u8]) -> Result<Vec<Directive>> {
    let mut directives = Vec::new();
    for (at, line) in lines(text).enumerate() {
        let place = Place::Line(path.clone(), at + 1);
        match words(line) {
            Ok(Some((name, words))) => directives.push(Directive { place, name, words }),
            Ok(None) => {}
            Err(why) => return Err(place.fault(why)),
        }
    }
    Ok(directives)
}

/// Returns the name, in lower case, and the values of a line; nothing if it is empty or a comment.
fn words(line: &[u8]) -> std::result::Result<Option<(String, Words)>, &'static str> {
    let text = line.trim_ascii();
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
    Ok(Some((name, request.iter().skip(1).map(<[u8]>::to_vec).collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Option<(String, Vec<String>)>, &'static str> {
        let shown = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
        Ok(words(text.as_bytes())?.map(|(name, words)| (name, words.iter().map(shown).collect())))
    }

    fn said(name: &str, words: &[&str]) -> Option<(String, Vec<String>)> {
        Some((name.to_owned(), words.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn a_line_is_a_name_and_values_or_a_comment() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read(" \t\r"), Ok(None));
        assert_eq!(read("  # maxmemory 1"), Ok(None));
        assert_eq!(read(" MaxMemory\t10mb \r"), Ok(said("maxmemory", &["10mb"])));
        assert_eq!(read(r#"requirepass "a b\x21" 'c # d'"#), Ok(said("requirepass", &["a b!", "c # d"])));
        assert_eq!(read("save \"\""), Ok(said("save", &[""])));
        assert_eq!(read("dir \"x"), Err("unbalanced quotes"));
        assert_eq!(read("dir x\0"), Err("the line holds a zero byte"));
    }

    #[test]
    fn a_file_ends_with_its_last_line() {
        let split = |text: &'static str| lines(text.as_bytes()).map(|line| line.to_vec()).collect::<Vec<_>>();
        assert_eq!(split("a\n\nb"), [&b"a"[..], b"", b"b"]);
        assert_eq!(split("a\nb\n"), [b"a", b"b"]);
    }
}
