//! `watch KEY`: the changes of a key until Ctrl-C.
//!
//! Invariant: how changes are found out is said first: by the server's keyspace notifications, which name every change; else
//! by client tracking, which reports every change; else by reading the key at an interval, which may miss some. The session's
//! own connection takes no part.

use super::clock::Zone;
use super::peek::duration_text;
use super::stream::{TICK, is_over, wait};
use super::view::write_string;
use crate::output::grouped;
use crate::session::{Outcome, Session};
use kvclient::format::write_visible_line;
use kvclient::{Connection, Error, Reply};
use kvproto::OwnedRequest;
use std::io;
use std::time::Duration;

/// How often the key is read where the server does not notify of changes.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How much of a value is read and shown, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// Prints the changes of `key` until Ctrl-C. A lost connection is opened again.
pub fn run(session: &mut Session, key: &[u8]) -> io::Result<Outcome> {
    if session.sends_lines() {
        session.output().note("Changes are watched over the server's redis:// port; :connect goes there.");
        return Ok(Outcome::NotSent);
    }
    if !session.is_ready_for(OwnedRequest::from_words(["GET"]).as_request()) {
        return Ok(Outcome::NotSent);
    }
    session.go_to_key(key)?;
    let zone = Zone::local();
    let (mut was_watched, mut is_lost) = (false, false);
    while !is_over(session) {
        let watched = Watched::begin(session, key).and_then(|mut watched| {
            let how = watched.source.description();
            let mut name = Vec::new();
            write_string(key, &mut name);
            let name = String::from_utf8_lossy(&name).into_owned();
            session.output().note(&format!("Changes of {name}, by {how}; Ctrl-C ends it."));
            (was_watched, is_lost) = (true, false);
            watched.follow(session, zone)
        });
        match watched {
            Ok(written) => {
                written?;
                break;
            }
            Err(_) if is_over(session) => break,
            Err(error) if !was_watched || matches!(error, Error::Reply(_) | Error::Refused { .. }) => {
                session.output().note(&error.to_string());
                return Ok(Outcome::NotSent);
            }
            Err(error) => {
                if !is_lost {
                    let text = format!("{}  {error}. Connecting again; changes in between are missed.", zone.now());
                    session.output().note(&text);
                }
                is_lost = true;
                wait(session, Duration::from_secs(1));
            }
        }
    }
    // Below the ^C.
    session.output().note("");
    Ok(Outcome::Good)
}

/// A key that is watched.
struct Watched<'k> {
    key: &'k [u8],
    source: Source,
    /// Reads the key.
    reader: Connection,
}

/// How changes are found out.
#[derive(Debug)]
enum Source {
    /// A connection that receives keyspace notifications.
    Notifications(Connection),
    /// A connection that receives the names of keys that have changed. No setting of the server is needed.
    Tracking(Connection),
    /// The key is read again and again.
    Polling,
}

impl Source {
    /// Returns the best that the server has, for a key of the selected database.
    fn open(session: &Session, reader: &mut Connection, key: &[u8]) -> kvclient::Result<Source> {
        let classes = reader.pipeline([["CONFIG", "GET", "notify-keyspace-events"]])?;
        if notifies(&classes) {
            let mut connection = session.open_second()?;
            let mut channel = format!("__keyspace@{}__:", session.address().db).into_bytes();
            channel.extend_from_slice(key);
            connection.send([b"SUBSCRIBE".as_slice(), &channel])?;
            // From the confirmation on no change is missed.
            if !connection.receive()?.is_error() {
                return Ok(Source::Notifications(connection));
            }
        }
        let mut connection = session.open_second()?;
        // Only RESP3 has messages beside replies. All keys that begin so are reported, read or not.
        let requests: [&[&[u8]]; 2] = [&[b"HELLO", b"3"], &[b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", key]];
        let tracks = connection.pipeline(requests)?.iter().all(|reply| !reply.is_error());
        Ok(if tracks { Source::Tracking(connection) } else { Source::Polling })
    }

    fn description(&self) -> String {
        match self {
            Source::Notifications(_) => "keyspace notifications".to_owned(),
            Source::Tracking(_) => {
                let why = "the server sends no keyspace notifications";
                format!("client tracking ({why}; what is written may be a key of this name in another database)")
            }
            Source::Polling => {
                let ms = POLL_INTERVAL.as_millis();
                format!("a look every {ms} ms, which may miss some (the server sends no notifications)")
            }
        }
    }
}

/// What is read of a key.
#[derive(Clone, Debug, PartialEq)]
struct State {
    kind: String,
    /// Negative if it is not known.
    size: i64,
    ttl: i64,
    value: Vec<u8>,
}

impl Watched<'_> {
    fn begin<'k>(session: &Session, key: &'k [u8]) -> kvclient::Result<Watched<'k>> {
        let mut reader = session.open_second()?;
        let source = Source::open(session, &mut reader, key)?;
        Ok(Watched { key, source, reader })
    }

    /// Prints changes until Ctrl-C; the inner errors are of the output.
    fn follow(&mut self, session: &mut Session, zone: Zone) -> kvclient::Result<io::Result<()>> {
        let mut last = self.read()?;
        let print = |session: &mut Session, event: &str, state: &State| {
            let mut out = format!("{}  {event:9}  ", zone.now()).into_bytes();
            state.write(&mut out);
            out.push(b'\n');
            session.output().write(&out)
        };
        if let Err(error) = print(session, "is", &last) {
            return Ok(Err(error));
        }
        while !is_over(session) {
            let (event, state) = match &mut self.source {
                Source::Notifications(events) => match events.receive_within(TICK)?.as_ref().and_then(event_of) {
                    None => continue,
                    Some(event) => (event, self.read()?),
                },
                Source::Tracking(events) => match events.receive_within(TICK)? {
                    Some(reply) if reports(&reply, self.key) => {
                        let state = self.read()?;
                        match last.change_to(&state) {
                            Some(event) => (event.to_owned(), state),
                            // Written in another database.
                            None if state.is_gone() => continue,
                            // It may have been written, though what is read of it is the same.
                            None => ("written".to_owned(), state),
                        }
                    }
                    _ => continue,
                },
                Source::Polling => {
                    wait(session, POLL_INTERVAL);
                    let state = self.read()?;
                    let Some(event) = last.change_to(&state) else {
                        last = state;
                        continue;
                    };
                    (event.to_owned(), state)
                }
            };
            if let Err(error) = print(session, &event, &state) {
                return Ok(Err(error));
            }
            last = state;
        }
        Ok(Ok(()))
    }

    fn read(&mut self) -> kvclient::Result<State> {
        let key = self.key;
        let last = (VALUE_BYTES_MAX - 1).to_string();
        let first: [&[&[u8]]; 2] = [&[b"TYPE", key], &[b"PTTL", key]];
        let mut replies = self.reader.pipeline(first)?.into_iter();
        let kind = match replies.next() {
            Some(Reply::Simple(kind)) => kind.to_string(),
            Some(Reply::Error(text)) => return Err(Error::Reply(text.to_string())),
            _ => String::new(),
        };
        let ttl = integer(replies.next());
        let size = match kind.as_str() {
            "string" => "STRLEN",
            "hash" => "HLEN",
            "list" => "LLEN",
            "set" => "SCARD",
            "zset" => "ZCARD",
            "stream" => "XLEN",
            _ => return Ok(State { kind, ttl, size: -1, value: Vec::new() }),
        };
        let second: [&[&[u8]]; 2] = [&[size.as_bytes(), key], &[b"GETRANGE", key, b"0", last.as_bytes()]];
        let second = if kind == "string" { &second[..] } else { &second[..1] };
        let mut replies = self.reader.pipeline(second.iter().copied())?.into_iter();
        let size = integer(replies.next());
        let value = match replies.next() {
            Some(Reply::Bulk(bytes)) => bytes.into_vec(),
            _ => Vec::new(),
        };
        Ok(State { kind, ttl, size, value })
    }
}

impl State {
    fn is_gone(&self) -> bool {
        self.kind == "none"
    }

    /// Returns what a change is called that notifications would have named; `None` if there is none.
    fn change_to(&self, now: &State) -> Option<&'static str> {
        match (self.is_gone(), now.is_gone()) {
            (true, true) => None,
            (false, true) => Some("gone"),
            (true, false) => Some("new"),
            _ if self.kind != now.kind || self.size != now.size || self.value != now.value => Some("changed"),
            // A deadline comes nearer by itself.
            _ if now.ttl > self.ttl || (now.ttl < 0) != (self.ttl < 0) => Some("ttl"),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self.kind.as_str() {
            "none" => return out.extend_from_slice(b"(no such key)"),
            "string" => {
                write_string(&self.value, out);
                let left = usize::try_from(self.size).unwrap_or(0).saturating_sub(self.value.len());
                if left > 0 {
                    out.extend_from_slice(format!("... {} more bytes", grouped(left)).as_bytes());
                }
            }
            kind => {
                // The server's word, whatever it is.
                write_visible_line(kind.as_bytes(), out);
                if self.size >= 0 {
                    let unit = if self.size == 1 { "element" } else { "elements" };
                    out.extend_from_slice(format!(" of {} {unit}", grouped(self.size)).as_bytes());
                }
            }
        }
        if self.ttl >= 0 {
            out.extend_from_slice(format!("  ttl {}", duration_text(self.ttl)).as_bytes());
        }
    }
}

fn integer(reply: Option<Reply>) -> i64 {
    match reply {
        Some(Reply::Integer(value)) => value,
        _ => -1,
    }
}

/// Returns whether keyspace events of all classes that change a key are sent, by the reply to CONFIG GET.
fn notifies(replies: &[Reply]) -> bool {
    let classes = match replies {
        [Reply::Array(words)] => words.get(1),
        [Reply::Map(pairs)] => pairs.first().map(|(_, value)| value),
        _ => None,
    };
    let Some(Reply::Bulk(classes)) = classes else {
        return false;
    };
    classes.contains(&b'K') && (classes.contains(&b'A') || b"g$lshzxet".iter().all(|class| classes.contains(class)))
}

/// Returns whether a message of client tracking is about `key`, or about all keys.
fn reports(reply: &Reply, key: &[u8]) -> bool {
    let Reply::Push(items) = reply else {
        return false;
    };
    match &items[..] {
        [Reply::Bulk(kind), Reply::Array(keys)] if **kind == *b"invalidate" => {
            keys.iter().any(|other| matches!(other, Reply::Bulk(other) if **other == *key))
        }
        [Reply::Bulk(kind), Reply::Nil | Reply::NilArray] => **kind == *b"invalidate",
        _ => false,
    }
}

/// Returns the name of the change that a notification is about.
fn event_of(reply: &Reply) -> Option<String> {
    let (Reply::Push(items) | Reply::Array(items)) = reply else {
        return None;
    };
    match &items[..] {
        [Reply::Bulk(kind), _, Reply::Bulk(event)] if **kind == *b"message" => {
            let mut name = Vec::new();
            write_visible_line(event, &mut name);
            Some(String::from_utf8_lossy(&name).into_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_must_name_every_change() {
        let classes = |classes: &str| notifies(&[Reply::bulks(["notify-keyspace-events", classes])]);
        assert!(classes("AK") && classes("g$lshzxetK") && !classes("AE") && !classes("K$") && !classes(""));
        assert!(!notifies(&[Reply::error("NOPERM")]));
        let map = Reply::Map(vec![(Reply::bulk("notify-keyspace-events"), Reply::bulk("KEA"))]);
        assert!(notifies(&[map]));
    }

    #[test]
    fn tracking_reports_a_key_or_all_keys() {
        let message = |keys: Reply| Reply::Push(vec![Reply::bulk("invalidate"), keys]);
        assert!(reports(&message(Reply::bulks(["l", "k"])), b"k"));
        assert!(reports(&message(Reply::Nil), b"k"));
        assert!(!reports(&message(Reply::bulks(["kk"])), b"k"));
        assert!(!reports(&Reply::Push(vec![Reply::bulk("other"), Reply::Nil]), b"k"));
    }

    #[test]
    fn what_the_server_calls_a_type_or_an_event_cannot_command_the_terminal() {
        let state = |kind: &str, size| {
            let mut out = Vec::new();
            State { kind: kind.to_owned(), size, ttl: -1, value: Vec::new() }.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(state("a\x1b\u{9b}\u{202e}\n", -1), "a\\x1b\\x9b\\u{202e}\\n");
        assert_eq!([state("set", 1), state("set", 0)], ["set of 1 element", "set of 0 elements"]);
        let event = event_of(&Reply::bulks(["message", "__keyspace@0__:k", "s\x1b\u{202e}et\n"]));
        assert_eq!(event.as_deref(), Some("s\\x1b\\u{202e}et\\n"));
    }

    #[test]
    fn a_look_finds_what_has_changed() {
        let state = |kind: &str, value: &str, ttl| State { kind: kind.to_owned(), size: 1, ttl, value: value.into() };
        let (none, a) = (state("none", "", -2), state("string", "a", -1));
        assert_eq!(none.change_to(&none), None);
        assert_eq!((none.change_to(&a), a.change_to(&none)), (Some("new"), Some("gone")));
        assert_eq!(a.change_to(&state("string", "b", -1)), Some("changed"));
        let with_ttl = |ttl| state("string", "a", ttl);
        assert_eq!(a.change_to(&with_ttl(1000)), Some("ttl"));
        assert_eq!(with_ttl(1000).change_to(&with_ttl(800)), None);
        assert_eq!(with_ttl(800).change_to(&with_ttl(1000)), Some("ttl"));
    }
}
