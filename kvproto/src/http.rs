//! Recognizes HTTP and TLS on a listener that does not speak them.
//!
//! A browser sends what a web page makes it send to any port of the machine it runs on. The header lines and the body of
//! HTTP would be read as requests (CVE-2016-10517), and here `GET`, `PUT` and `DELETE` are commands, too; the first message
//! of TLS holds bytes that a server of the page's choice has named.
//!
//! Invariant: what is recognized here is never executed, and neither is anything that follows it on the connection.

use crate::words::is_blank;

/// The length of `HTTP/1.1`, in bytes.
const VERSION_BYTES: usize = 8;
/// What the first message of TLS begins with: a handshake record, version 3.
const TLS_HANDSHAKE: &[u8] = &[0x16, 3];

/// Returns whether a line is of another protocol. `words`: how many words it was split into; `None` if it could not be.
pub(crate) fn is_other_protocol(line: &[u8], words: Option<usize>) -> bool {
    line.starts_with(TLS_HANDSHAKE) || (words.is_none_or(|words| words == 3) && is_request_line(line))
}

/// Returns whether a line is the request line of HTTP, `METHOD target HTTP/1.1`: three words of which the last is a version
/// of HTTP. Letter case does not matter.
fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let (Some(_), Some(_), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return false;
    };
    let Ok::<&[u8; VERSION_BYTES], _>([name @ .., major, b'.', minor]) = version.try_into() else { return false };
    name.eq_ignore_ascii_case(b"HTTP/") && major.is_ascii_digit() && minor.is_ascii_digit()
}

/// Returns whether a first word is one of HTTP and of no command: `POST`, or the header `Host:`. Letter case does not matter,
/// and a header needs no blank behind its colon.
pub fn is_http_word(word: &[u8]) -> bool {
    const HOST: &[u8] = b"Host:";
    word.eq_ignore_ascii_case(b"POST") || word.get(..HOST.len()).is_some_and(|start| start.eq_ignore_ascii_case(HOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_has_a_method_a_target_and_a_version() {
        for line in [
            "GET / HTTP/1.1",
            "PUT /foo?bar=\"baz' HTTP/1.0\r",
            "  delete   http://127.0.0.1:6379/x \t http/1.1  ",
            "PRI * HTTP/2.0",
            "x y Http/9.9",
        ] {
            assert!(is_request_line(line.as_bytes()), "{line:?}");
        }
        for line in [
            "",
            "HTTP/1.1",
            "ECHO HTTP/1.1",
            "SET k HTTP/1.1 EX 10",
            "MSET a b c HTTP/1.1",
            "SET k xHTTP/1.1",
            "SET k \"HTTP/1.1\"",
            "SET k HTTP/1,1",
            "SET k HTTP/x.1",
            "SET k HTTPS/1.1",
            "SET k HTTP/1.10",
            "SET\x0ck HTTP/1.1",
        ] {
            assert!(!is_request_line(line.as_bytes()), "{line:?}");
        }
    }

    #[test]
    fn a_line_that_was_not_split_into_three_words_is_none_of_http() {
        assert!(is_other_protocol(b"GET / HTTP/1.1", Some(3)) && is_other_protocol(b"GET /\" HTTP/1.1", None));
        assert!(!is_other_protocol(b"SET \"k HTTP/1.1", Some(2)));
        assert!(is_other_protocol(b"\x16\x03\x01\x02\x00x", Some(1)) && !is_other_protocol(b"\x16\x02", Some(1)));
    }

    #[test]
    fn some_words_begin_only_requests_of_http() {
        for word in ["POST", "post", "Host:", "HOST:", "host:localhost"] {
            assert!(is_http_word(word.as_bytes()), "{word}");
        }
        for word in ["", "Host", "POSTS", "PUT", "GET", "Hosts:", "xHost:"] {
            assert!(!is_http_word(word.as_bytes()), "{word}");
        }
    }
}
