//! Looks ahead at requests that are not their turn yet, for whoever wants to fetch what they will need.
//!
//! Invariant: a guess. It checks nothing and answers nothing where it is not sure; the decoder alone says what a
//! request is.

/// The second word of each whole request of several words at the start of `input`: for most commands, their key.
/// Ends at the first that is incomplete, inline, or no request at all.
pub fn second_words(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (words, mut after) = header(rest, b'*')?;
        (_, after) = word(after)?;
        let second;
        (second, after) = word(after)?;
        for _ in 2..words {
            (_, after) = word(after)?;
        }
        rest = after;
        Some(second)
    })
}

fn word(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = header(input, b'$')?;
    let word = rest.get(..len)?;
    Some((word, rest.get(len + 2..)?))
}

/// The number in a line that begins with `kind`, and what comes after the line.
fn header(input: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let (first, digits) = input.split_first()?;
    if *first != kind {
        return None;
    }
    let mut number = 0;
    // Six digits are more than a read's worth of bytes.
    for at in 0..7 {
        match *digits.get(at)? {
            digit @ b'0'..=b'9' => number = number * 10 + usize::from(digit - b'0'),
            _ => return Some((number, digits.get(at + 2..)?)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_words_of_whole_requests() {
        let input = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nxx\r\n*2\r\n$3\r\nGET\r\n$2\r\nbb\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$2\r\nx";
        assert_eq!(second_words(input).collect::<Vec<_>>(), [&b"a"[..], b"bb"]);
    }

    #[test]
    fn nothing_where_it_is_not_sure() {
        for input in [
            &b""[..],
            b"GET a\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"*2\r\n",
            b"*2\r\n$3\r\nGET\r\n$99999999\r\n",
            b"*2\r\nx",
        ] {
            assert_eq!(second_words(input).next(), None, "{input:?}");
        }
        let ended = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        assert_eq!(second_words(ended).next(), None);
    }
}
