//! Colours of what is being typed.
//!
//! Invariant: only colours are added: without them the text is what was typed.

use crate::syntax::check::{Checked, Part};
use crate::syntax::line::{Line, Quotes};
use crate::syntax::matching::Role;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "34";
const MAGENTA: &str = "35";
const CYAN: &str = "36";

/// Appends the part of `text` from `from` on that `line` covers, in colours; returns where that ends.
pub fn paint(text: &str, from: usize, line: &Line, checked: &Checked, out: &mut String) -> usize {
    let mut at = from;
    for (word, part) in line.words.iter().zip(&checked.parts) {
        out.push_str(text.get(at..word.start).unwrap_or_default());
        let typed = text.get(word.start..word.end).unwrap_or_default();
        let is_quoted = !matches!(word.quotes, Quotes::None);
        let color = match part {
            Part::Wrong => RED,
            Part::Command => CYAN,
            Part::Role(Role::Option) => MAGENTA,
            Part::Role(Role::Key) => BLUE,
            Part::Role(Role::Number) => YELLOW,
            _ if is_quoted => GREEN,
            Part::Role(Role::Value) | Part::Plain => "",
        };
        match word.quotes {
            // The quote that misses its other one.
            Quotes::Open(_, at) if *part != Part::Wrong => {
                let (before, quote) = typed.split_at_checked(at - word.start).unwrap_or((typed, ""));
                let (quote, after) = quote.split_at_checked(1).unwrap_or((quote, ""));
                colored(before, color, out);
                colored(quote, RED, out);
                colored(after, color, out);
            }
            _ => colored(typed, color, out),
        }
        at = word.end;
    }
    at
}

fn colored(text: &str, color: &str, out: &mut String) {
    if text.is_empty() || color.is_empty() {
        out.push_str(text);
        return;
    }
    out.push_str("\x1b[");
    out.push_str(color);
    out.push('m');
    out.push_str(text);
    out.push_str("\x1b[0m");
}

/// Returns a text in grey.
pub fn grey(text: &str) -> String {
    format!("\x1b[90m{text}\x1b[0m")
}

/// Returns a text in red.
pub fn red(text: &str) -> String {
    let mut out = String::new();
    colored(text, RED, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::Catalog;
    use crate::syntax::check::check;
    use crate::syntax::line::{Quoting, split};

    fn painted(text: &str) -> String {
        let mut out = String::new();
        let mut at = 0;
        for line in split(text, Quoting::Quoted) {
            at = paint(text, at, &line, &check(&line, &Catalog::default(), true), &mut out);
        }
        out.push_str(&text[at..]);
        out.replace("\x1b[0m", "}").replace("\x1b[", "{")
    }

    #[test]
    fn each_word_has_the_colour_of_what_it_is() {
        assert_eq!(painted("SET k \"v w\" EX 10 "), "{36mSET} {34mk} {32m\"v w\"} {35mEX} {33m10} ");
        assert_eq!(painted("CLIENT LIST"), "{36mCLIENT} {36mLIST}");
        assert_eq!(painted("SET k v FOO"), "{36mSET} {34mk} v {31mFOO}");
        assert_eq!(painted("GET 'a"), "{36mGET} {31m'}{34ma}");
        assert_eq!(painted("GET a\n  INCRBY n x y"), "{36mGET} {34ma}\n  {36mINCRBY} {34mn} x {31my}");
        assert_eq!(painted("# a b"), "# a b");
        assert_eq!(painted("GET k | wc -c"), "{36mGET} {34mk} | wc -c");
        assert_eq!(painted("é ü"), "é ü");
    }
}
