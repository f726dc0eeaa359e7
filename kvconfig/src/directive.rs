//! One directive of a configuration: a name, its words, and where it stands.
//!
//! Invariant: a name is in lower case; words are as they were written, without quotes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::value::Kind;

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line(Arc<Path>, usize),
    /// A flag of the program.
    Flag,
}

/// Something that a configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub place: Place,
    /// In lower case.
    pub name: String,
    /// Its values.
    pub words: Vec<Vec<u8>>,
}

impl Place {
    /// Returns the number of the line; 0 if it is none.
    #[must_use]
    pub fn line(&self) -> usize {
        if let Place::Line(_, line) = self { *line } else { 0 }
    }

    /// Returns an error about what stands here.
    pub fn fault(&self, why: impl Into<String>) -> Error {
        Error { place: self.to_string(), why: why.into() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Place::Flag => f.write_str("flags"),
        }
    }
}

impl Directive {
    /// Returns its values as text, at least one.
    ///
    /// # Errors
    /// Says that there is none, or that one is no text.
    pub fn texts(&self) -> Result<Vec<String>, String> {
        let text = |word: &Vec<u8>| String::from_utf8(word.clone()).map_err(|_| "it is no text in UTF-8".to_owned());
        let words: Vec<String> = self.words.iter().map(text).collect::<Result<_, _>>()?;
        if words.is_empty() { Err("a value is missing".to_owned()) } else { Ok(words) }
    }

    /// Returns its only value.
    ///
    /// # Errors
    /// Says that there is none, that there are several, or that it is no text.
    pub fn one(&self) -> Result<String, String> {
        match self.texts()?.as_mut_slice() {
            [word] => Ok(std::mem::take(word)),
            _ => Err("it has one value".to_owned()),
        }
    }

    /// Returns its value as a parameter of this kind takes it: the only one, or all in one text if the kind is a list.
    ///
    /// # Errors
    /// As [`Directive::one`] and [`Directive::texts`].
    pub fn value(&self, kind: Kind) -> Result<String, String> {
        if kind.is_list() { Ok(self.texts()?.join(" ")) } else { self.one() }
    }

    /// Returns an error about it.
    pub fn fault(&self, why: impl fmt::Display) -> Error {
        self.place.fault(format!("{}: {why}", shown(&self.name)))
    }
}

/// A name as an error shows it: of what was no text, or has no end, the beginning.
fn shown(name: &str) -> String {
    let shown: String = name.chars().take(64).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("'{shown}'")
}
