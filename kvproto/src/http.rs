//! Recognizes HTTP on a listener that does not speak it.
//!
//! A browser sends what a web page asks it to send to any port of the machine it runs on. The header lines and the body
//! would be read as requests (CVE-2016-10517), and here `GET`, `PUT` and `DELETE` are commands, too.
//!
//! Invariant: what is recognized here is never executed, and neither is anything that follows it on the connection.

/// The length of `HTTP/1.1`, in bytes.
const VERSION_BYTES: usize = 8;

/// Returns whether a line is the request line of HTTP, `METHOD target HTTP/1.1`: three words of which the last is a version
/// of HTTP. Letter case does not matter.
pub(crate) fn is_request_line(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let Some((rest, version)) = line.split_last_chunk::<VERSION_BYTES>() else { return false };
    let [name @ .., _, _, _] = version;
    let [.., major, dot, minor] = version;
    name.eq_ignore_ascii_case(b"HTTP/")
        && major.is_ascii_digit()
        && *dot == b'.'
        && minor.is_ascii_digit()
        && rest.last().is_some_and(u8::is_ascii_whitespace)
        && rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count() == 2
}

/// Returns whether no request but one of HTTP begins with this word: `POST`, or the header `Host:`. Letter case does not
/// matter, and a header needs no blank behind its colon.
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
        ] {
            assert!(!is_request_line(line.as_bytes()), "{line:?}");
        }
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
