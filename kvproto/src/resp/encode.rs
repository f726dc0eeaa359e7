//! Writes replies, and requests for clients.
//!
//! Invariant: one reply is one well-formed piece of RESP: nothing in a text can end its line early.

use std::sync::Arc;

use super::Version;
use crate::number::write_double;
use crate::reply::Reply;

/// What replies are written to: a buffer, and perhaps a way to send large values without a copy.
pub trait Output {
    /// Returns the buffer that the next bytes are appended to.
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// Appends a [large value](crate::Bulk::as_large). Unless implemented otherwise it is copied.
    fn share(&mut self, value: &Arc<Vec<u8>>) {
        self.buffer().extend_from_slice(value);
    }
}

impl Output for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }
}

/// Returns how many bytes a reply has as RESP. Large values are not copied for that.
pub fn encoded_len(reply: &Reply, version: Version) -> usize {
    #[derive(Default)]
    struct Length(Vec<u8>, usize);
    impl Output for Length {
        fn buffer(&mut self) -> &mut Vec<u8> {
            &mut self.0
        }
        fn share(&mut self, value: &Arc<Vec<u8>>) {
            self.1 += value.len();
        }
    }
    let mut length = Length::default();
    encode(reply, version, &mut length);
    length.0.len() + length.1
}

/// Appends `reply` as RESP. Replies nest only as deep as the code that made them, so this recurses over no input.
pub fn encode(reply: &Reply, version: Version, output: &mut impl Output) {
    match (reply, version) {
        (Reply::Ok, _) => output.buffer().extend_from_slice(b"+OK\r\n"),
        (Reply::Simple(text), _) => write_line(b'+', text.as_bytes(), output.buffer()),
        (Reply::Error(text), _) => write_line(b'-', text.as_bytes(), output.buffer()),
        (Reply::Integer(value), _) => write_header(b':', *value, output.buffer()),
        (Reply::Bulk(bytes), _) => match bytes.as_large() {
            None => write_bulk(bytes, output.buffer()),
            Some(value) => {
                write_length(b'$', value.len(), output.buffer());
                output.share(value);
                output.buffer().extend_from_slice(b"\r\n");
            }
        },
        (Reply::Array(items), _) => write_list(b'*', items, version, output),
        (Reply::Nothing, _) => {}

        (Reply::Nil, Version::Resp2) => output.buffer().extend_from_slice(b"$-1\r\n"),
        (Reply::NilArray, Version::Resp2) => output.buffer().extend_from_slice(b"*-1\r\n"),
        (Reply::Nil | Reply::NilArray, Version::Resp3) => output.buffer().extend_from_slice(b"_\r\n"),

        (Reply::Double(value), Version::Resp2) => {
            let mut text = Vec::with_capacity(32);
            write_double(*value, &mut text);
            write_bulk(&text, output.buffer());
        }
        (Reply::Double(value), Version::Resp3) => {
            let out = output.buffer();
            out.push(b',');
            write_double(*value, out);
            out.extend_from_slice(b"\r\n");
        }
        (Reply::Decimal(digits), Version::Resp2) => write_bulk(digits.as_bytes(), output.buffer()),
        (Reply::Decimal(digits), Version::Resp3) => write_line(b',', digits.as_bytes(), output.buffer()),
        (Reply::Bool(value), Version::Resp2) => write_header(b':', i64::from(*value), output.buffer()),
        (Reply::Bool(true), Version::Resp3) => output.buffer().extend_from_slice(b"#t\r\n"),
        (Reply::Bool(false), Version::Resp3) => output.buffer().extend_from_slice(b"#f\r\n"),
        (Reply::BigNumber(digits), Version::Resp2) => write_bulk(digits.as_bytes(), output.buffer()),
        (Reply::BigNumber(digits), Version::Resp3) => write_line(b'(', digits.as_bytes(), output.buffer()),
        (Reply::Verbatim { text, .. }, Version::Resp2) => write_bulk(text, output.buffer()),
        (Reply::Verbatim { format, text }, Version::Resp3) => {
            let out = output.buffer();
            write_length(b'=', format.len() + 1 + text.len(), out);
            out.extend_from_slice(format);
            out.push(b':');
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        (Reply::Map(pairs), Version::Resp2) => {
            write_length(b'*', pairs.len() * 2, output.buffer());
            write_pairs(pairs, version, output);
        }
        (Reply::Map(pairs), Version::Resp3) => {
            write_length(b'%', pairs.len(), output.buffer());
            write_pairs(pairs, version, output);
        }
        (Reply::Attribute(_), Version::Resp2) => {}
        (Reply::Attribute(pairs), Version::Resp3) => {
            write_length(b'|', pairs.len(), output.buffer());
            write_pairs(pairs, version, output);
        }
        (Reply::Set(items) | Reply::Push(items), Version::Resp2) => {
            write_list(b'*', items, version, output);
        }
        (Reply::Set(items), Version::Resp3) => write_list(b'~', items, version, output),
        (Reply::Push(items), Version::Resp3) => write_list(b'>', items, version, output),
    }
}

/// Appends a request made of `words`, the first being the command's name.
pub fn encode_request<I>(words: I, out: &mut Vec<u8>)
where
    I: IntoIterator,
    I::IntoIter: ExactSizeIterator,
    I::Item: AsRef<[u8]>,
{
    let words = words.into_iter();
    write_length(b'*', words.len(), out);
    for word in words {
        write_bulk(word.as_ref(), out);
    }
}

fn write_list(kind: u8, items: &[Reply], version: Version, output: &mut impl Output) {
    write_length(kind, items.len(), output.buffer());
    for item in items {
        write_item(item, version, output);
    }
}

fn write_pairs(pairs: &[(Reply, Reply)], version: Version, output: &mut impl Output) {
    for (key, value) in pairs {
        write_item(key, version, output);
        write_item(value, version, output);
    }
}

/// A reply within another, which was counted and so must be there.
fn write_item(item: &Reply, version: Version, output: &mut impl Output) {
    match item {
        Reply::Nothing | Reply::Attribute(_) => encode(&Reply::Nil, version, output),
        item => encode(item, version, output),
    }
}

fn write_bulk(bytes: &[u8], out: &mut Vec<u8>) {
    write_length(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn write_length(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_header(kind: u8, value: i64, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    // Texts may quote what a client sent; a line end in one would be read as the next reply.
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply, version: Version) -> String {
        let mut out = Vec::new();
        encode(reply, version, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_kind_is_spelled_as_its_version_asks() {
        let item = || vec![Reply::Integer(1), Reply::bulk("x")];
        for (reply, resp2, resp3) in [
            (Reply::Ok, "+OK\r\n", "+OK\r\n"),
            (Reply::simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (Reply::error("ERR no"), "-ERR no\r\n", "-ERR no\r\n"),
            (Reply::Integer(-5), ":-5\r\n", ":-5\r\n"),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Reply::Decimal("0.30".into()), "$4\r\n0.30\r\n", ",0.30\r\n"),
            (Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Bool(false), ":0\r\n", "#f\r\n"),
            (Reply::BigNumber("123".into()), "$3\r\n123\r\n", "(123\r\n"),
            (Reply::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::text("hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (Reply::Nil, "$-1\r\n", "_\r\n"),
            (Reply::NilArray, "*-1\r\n", "_\r\n"),
            (Reply::Array(item()), "*2\r\n:1\r\n$1\r\nx\r\n", "*2\r\n:1\r\n$1\r\nx\r\n"),
            (Reply::Map(vec![(Reply::bulk("k"), Reply::Nil)]), "*2\r\n$1\r\nk\r\n$-1\r\n", "%1\r\n$1\r\nk\r\n_\r\n"),
            (Reply::Set(item()), "*2\r\n:1\r\n$1\r\nx\r\n", "~2\r\n:1\r\n$1\r\nx\r\n"),
            (Reply::Push(item()), "*2\r\n:1\r\n$1\r\nx\r\n", ">2\r\n:1\r\n$1\r\nx\r\n"),
            (Reply::Attribute(vec![(Reply::bulk("k"), Reply::Integer(1))]), "", "|1\r\n$1\r\nk\r\n:1\r\n"),
            (Reply::Nothing, "", ""),
            (Reply::Array(vec![Reply::Nothing]), "*1\r\n$-1\r\n", "*1\r\n_\r\n"),
        ] {
            assert_eq!(encoded(&reply, Version::Resp2), resp2, "{reply:?}");
            assert_eq!(encoded(&reply, Version::Resp3), resp3, "{reply:?}");
        }
    }

    /// Keeps the order of what it is given, and what was shared.
    #[derive(Default)]
    struct Sharing(Vec<u8>, Vec<(usize, Arc<Vec<u8>>)>);

    impl Output for Sharing {
        fn buffer(&mut self) -> &mut Vec<u8> {
            &mut self.0
        }

        fn share(&mut self, value: &Arc<Vec<u8>>) {
            self.1.push((self.0.len(), Arc::clone(value)));
        }
    }

    #[test]
    fn large_values_are_shared_where_they_stand_and_small_ones_copied() {
        let (large, small) = (Arc::new(vec![b'l'; 70_000]), Arc::new(vec![b's'; 20]));
        let items = [Reply::bulk(Arc::clone(&large)), Reply::bulk(Arc::clone(&small)), Reply::bulk(Arc::clone(&large))];
        let reply = Reply::Push(vec![Reply::bulk("k"), Reply::Map(vec![(Reply::Nil, Reply::Array(items.to_vec()))])]);
        for version in [Version::Resp2, Version::Resp3] {
            let mut sharing = Sharing::default();
            encode(&reply, version, &mut sharing);
            let Sharing(mut whole, shared) = sharing;
            assert_eq!(shared.len(), 2);
            assert!(whole.len() < 100 && shared.iter().all(|(_, value)| Arc::ptr_eq(value, &large)));
            for (at, value) in shared.iter().rev() {
                whole.splice(at..at, value.iter().copied());
            }
            let mut copied = Vec::new();
            encode(&reply, version, &mut copied);
            assert!(whole == copied);
            assert_eq!(encoded_len(&reply, version), copied.len());
        }
        assert_eq!(reply.payload_bytes() - reply.copied_bytes(), 140_000);
    }

    #[test]
    fn a_line_end_in_a_text_cannot_forge_a_reply() {
        let reply = Reply::error("ERR a\r\n+OK");
        assert_eq!(encoded(&reply, Version::Resp2), "-ERR a  +OK\r\n");
    }

    #[test]
    fn a_request_is_an_array_of_its_words() {
        let mut out = Vec::new();
        encode_request(["GET", "k"], &mut out);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
