//! A server in this process, and the requests of a client that means no good.
//!
//! Invariant: each request gets exactly one well-formed reply, whatever its words are, and the server is there for the
//! next.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kvcore::Options;
use kvproto::resp::{ReplyDecoder, encode_request};
use kvproto::{OwnedRequest, Reply, spec};
use kvserver::Server;

use super::requests::split_quoted;

/// Values are no longer: long ones are no better a test, and there may be many.
const VALUE_BYTES_MAX: usize = 256 * 1024;

struct Peer {
    _server: Server,
    stream: TcpStream,
    decoder: ReplyDecoder,
    input: Vec<u8>,
}

thread_local! {
    static PEER: RefCell<Peer> = RefCell::new(Peer::start());
}

impl Peer {
    fn start() -> Peer {
        let db = Options::new().value_bytes_max(VALUE_BYTES_MAX).shards(4).in_memory().unwrap();
        let url = "resp://127.0.0.1:0".parse().unwrap();
        let server = Server::builder().store(db).listen(url).loops(1).start().unwrap();
        let stream = TcpStream::connect(server.addresses()[0].tcp().unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Peer { _server: server, stream, decoder: ReplyDecoder::new(1 << 30), input: Vec::new() }
    }

    fn exchange(&mut self, requests: &[Vec<Vec<u8>>]) -> Vec<Reply> {
        let mut output = Vec::new();
        for words in requests {
            encode_request(words, &mut output);
        }
        self.stream.write_all(&output).unwrap();
        let mut replies = Vec::new();
        while replies.len() < requests.len() {
            match self.decoder.decode(&self.input).expect("a reply") {
                Some((reply, consumed)) => {
                    self.input.drain(..consumed);
                    replies.push(reply);
                }
                None => {
                    let held = self.input.len();
                    self.input.resize(held + (64 << 10), 0);
                    let read = self.stream.read(&mut self.input[held..]).expect("the server answers");
                    assert!(read > 0, "the server closed the connection");
                    self.input.truncate(held + read);
                }
            }
        }
        assert!(self.input.is_empty(), "more replies than requests");
        replies
    }
}

/// Sends requests to a server of this thread's own and gives their replies. It holds nothing at first.
pub fn exchange(requests: &[Vec<Vec<u8>>]) -> Vec<Reply> {
    PEER.with_borrow_mut(|peer| {
        peer.exchange(&[words(&["RESET"]), words(&["FLUSHALL"])]);
        peer.exchange(requests)
    })
}

/// The same without a fresh start.
pub fn go_on(requests: &[Vec<Vec<u8>>]) -> Vec<Reply> {
    PEER.with_borrow_mut(|peer| peer.exchange(requests))
}

pub fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Those that end the server or the connection, are answered more than once or not at all, or outlive RESET.
fn is_left_out(words: &[Vec<u8>]) -> bool {
    let owned = OwnedRequest::from_words(words);
    let Some(top) = spec::lookup(owned.as_request().name()) else { return false };
    let sub = words.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match top.name {
        "shutdown" | "debug" | "monitor" | "quit" | "failover" | "auth" => true,
        "subscribe" | "psubscribe" | "ssubscribe" | "unsubscribe" | "punsubscribe" | "sunsubscribe" => true,
        "client" => [&b"reply"[..], b"pause", b"kill", b"tracking", b"unblock"].contains(&&sub[..]),
        "acl" => [&b"setuser"[..], b"deluser", b"load", b"save"].contains(&&sub[..]),
        "config" => [&b"set"[..], b"rewrite"].contains(&&sub[..]),
        "hello" => words.iter().any(|word| word.eq_ignore_ascii_case(b"auth")),
        _ => false,
    }
}

/// Lines, each a request.
pub fn commands(input: &[u8]) {
    let requests: Vec<Vec<Vec<u8>>> = input
        .split(|byte| *byte == b'\n')
        .filter_map(split_quoted)
        .filter(|words| !words.is_empty() && !is_left_out(words))
        .take(48)
        .collect();
    for (words, reply) in requests.iter().zip(exchange(&requests)) {
        check_reply(words, &reply);
    }
    // The replies are still in step, and what is stored is sound.
    let begin = [words(&["RESET"]), words(&["SELECT", "0"]), words(&["PING"]), words(&["KEYS", "*"])];
    let replies = go_on(&begin);
    assert_eq!(replies[1..3], [Reply::Ok, Reply::simple("PONG")]);
    let Reply::Array(keys) = &replies[3] else { panic!("{:?}", replies[3]) };
    for key in keys.iter().take(8) {
        let Reply::Bulk(key) = key else { panic!("{key:?}") };
        let of = |name: &str| vec![name.as_bytes().to_vec(), key.to_vec()];
        let replies = go_on(&[of("GET"), of("STRLEN"), of("DUMP"), of("TYPE")]);
        // It may have expired between any two.
        let (Reply::Bulk(value), Reply::Integer(len), Reply::Bulk(dump)) = (&replies[0], &replies[1], &replies[2])
        else {
            continue;
        };
        assert_eq!(*len, value.len() as i64);
        assert!(value.len() <= VALUE_BYTES_MAX);
        let copy = [b"RESTORE".to_vec(), b"a copy".to_vec(), b"0".to_vec(), dump.to_vec(), b"REPLACE".to_vec()];
        let replies = go_on(&[copy.to_vec(), words(&["GET", "a copy"])]);
        assert_eq!(replies, [Reply::Ok, Reply::Bulk(value.clone())]);
    }
}

/// Errors are one line of text with a code before it.
pub fn check_reply(words: &[Vec<u8>], reply: &Reply) {
    if let Reply::Error(text) = reply {
        let code = text.first_word();
        let is_code = !code.is_empty() && code.iter().all(u8::is_ascii_uppercase);
        assert!(is_code && text.len() < 2048, "{words:?}: {text:?}");
    }
}
