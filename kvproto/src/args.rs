//! A cursor that reads what a command expects from the words of its request.
//!
//! Invariant: it only moves forward, and every failed read is the error text the client gets.

use crate::error::CommandError;
use crate::number::parse_integer;
use crate::request::Request;

/// The words of a request from the one after the command's name on. Copying it remembers a position.
#[derive(Clone, Copy, Debug)]
pub struct Args<'b> {
    request: Request<'b>,
    next: usize,
}

impl<'b> Args<'b> {
    /// A cursor at the word after the command's name.
    pub fn new(request: Request<'b>) -> Args<'b> {
        Args { request, next: 1 }
    }

    /// The whole request, whatever was read of it.
    pub fn request(&self) -> Request<'b> {
        self.request
    }

    /// How many words are left.
    pub fn remaining(&self) -> usize {
        self.request.len().saturating_sub(self.next)
    }

    /// Whether no word is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The next word, left where it is.
    pub fn peek(&self) -> Option<&'b [u8]> {
        self.request.get(self.next)
    }

    /// The next word, if there is one.
    pub fn next_opt(&mut self) -> Option<&'b [u8]> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    /// The next word; [`CommandError::Syntax`] if there is none.
    #[expect(clippy::should_implement_trait, reason = "a missing word is an error here, not the end of an iteration")]
    pub fn next(&mut self) -> Result<&'b [u8], CommandError> {
        // Not `ok_or`: its error would be made, and dropped, for each word that is there.
        match self.next_opt() {
            Some(word) => Ok(word),
            None => Err(CommandError::Syntax),
        }
    }

    /// Whether the next word is `keyword`, in any case; if so it is taken.
    pub fn eat(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(keyword.as_bytes()));
        if found {
            self.next += 1;
        }
        found
    }

    /// The next word as an integer; [`CommandError::Syntax`] if there is none, [`CommandError::NotAnInteger`] if it
    /// is anything else. See [`parse_integer`] for what counts as one.
    pub fn integer(&mut self) -> Result<i64, CommandError> {
        parse_integer(self.next()?).ok_or(CommandError::NotAnInteger)
    }

    /// [`CommandError::Syntax`] if words are left.
    pub fn finish(&self) -> Result<(), CommandError> {
        if self.is_empty() { Ok(()) } else { Err(CommandError::Syntax) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::OwnedRequest;

    #[test]
    fn reads_in_order_and_stops_at_the_end() {
        let owned = OwnedRequest::from_words(["SET", "k", "v", "eX", "10", "+1"]);
        let mut args = Args::new(owned.as_request());
        assert_eq!(args.remaining(), 5);
        assert_eq!(args.next(), Ok(&b"k"[..]));
        assert_eq!(args.next(), Ok(&b"v"[..]));
        assert!(!args.eat("PX"));
        assert!(args.eat("EX"));
        assert_eq!(args.integer(), Ok(10));
        assert_eq!(args.finish(), Err(CommandError::Syntax));
        assert_eq!(args.integer(), Err(CommandError::NotAnInteger));
        assert_eq!(args.finish(), Ok(()));
        assert_eq!(args.next(), Err(CommandError::Syntax));
        assert_eq!(args.next_opt(), None);
    }

    #[test]
    fn a_request_without_words_has_no_arguments() {
        let owned = OwnedRequest::from_words([""; 0]);
        let mut args = Args::new(owned.as_request());
        assert!(args.is_empty());
        assert!(!args.eat(""));
        assert_eq!(args.integer(), Err(CommandError::Syntax));
    }
}
