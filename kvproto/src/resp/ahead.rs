//! Looks ahead at requests that are not their turn yet, for whoever wants to fetch what they will need.
//!
//! Invariant: a guess. It checks nothing and answers nothing where it is not sure; the decoder alone says what a
//! request is.

use super::decode::header;

/// The second word of each whole request of several words at the start of `input`: for most commands, their key.
/// Ends at the first that is incomplete, inline, or no request at all.
pub fn second_words(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (words, head) = header(rest, b'*')?;
        let (_, mut after) = word(rest.get(head..)?)?;
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
    let (len, head) = header(input, b'$')?;
    Some((input.get(head..head + len)?, input.get(head + len + 2..)?))
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
