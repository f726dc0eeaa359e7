//! Messages until Ctrl-C: SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and MONITOR at the prompt.
//!
//! Invariant: the session's own connection takes no part. The stream has a second one with the same login, name, protocol
//! and database: on the first, RESP2 has no way back from MONITOR but RESET, which would drop the login, the database and
//! watched keys; and messages that are under way when a stream ends can never be read as a later command's reply. When the
//! stream's connection is lost it is opened again, and the request is sent again.

use super::clock::Zone;
use super::view::{View, write_string};
use crate::output::Style;
use crate::session::{Outcome, Session};
use kvclient::format::write_visible_line;
use kvclient::{Connection, Error, Reply};
use kvproto::{OwnedRequest, Request};
use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

/// How long at most a stream waits before it checks for Ctrl-C.
pub const TICK: Duration = Duration::from_millis(100);
/// How long the first and the longest pause between two attempts to connect again are.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Sends `request`, or `line` if there is one, and prints what comes until Ctrl-C.
pub fn run(session: &mut Session, view: View, request: &OwnedRequest, line: Option<&[u8]>) -> io::Result<Outcome> {
    let words = request.as_request();
    if !session.is_ready_for(words) {
        return Ok(Outcome::NotSent);
    }
    let begin = |session: &Session| {
        let mut connection = session.open_second()?;
        match line {
            Some(line) => connection.send_line(line)?,
            None => connection.send(words)?,
        }
        Ok::<Connection, Error>(connection)
    };
    let mut connection = match begin(session) {
        Ok(connection) => connection,
        Err(error) => {
            session.output().note(&error.to_string());
            return Ok(Outcome::NotSent);
        }
    };
    session.output().note("Receiving messages; Ctrl-C ends it.");
    let zone = Zone::local();
    let mut confirmed = false;
    while !is_over(session) {
        match connection.receive_within(TICK) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                print(session, view, zone, words, &reply)?;
                if !confirmed && reply.is_error() {
                    return Ok(Outcome::Error);
                }
                confirmed = true;
            }
            Err(_) if is_over(session) => break,
            Err(error) => {
                session.output().note(&format!("{}  {error}. Connecting again; Ctrl-C ends it.", zone.now()));
                match again(session, begin) {
                    None => break,
                    Some(Ok(second)) => connection = second,
                    Some(Err(error)) => {
                        session.output().note(&error.to_string());
                        return Ok(Outcome::Error);
                    }
                }
                let text = format!("{}  Receiving messages again; those in between were missed.", zone.now());
                session.output().note(&text);
                // What the server replies to this request is the confirmation once more.
                confirmed = false;
            }
        }
    }
    // Below the ^C.
    session.output().note("");
    Ok(Outcome::Good)
}

/// Returns whether nobody waits for more: Ctrl-C was pressed, or the terminal is gone. A program that ignores SIGHUP, as under
/// `nohup`, outlives its terminal.
pub fn is_over(session: &Session) -> bool {
    session.is_interrupted() || !io::stdin().is_terminal()
}

/// Tries to begin again until that succeeds, or the server refuses the login; `None` if the stream is over.
fn again(
    session: &Session,
    begin: impl Fn(&Session) -> kvclient::Result<Connection>,
) -> Option<kvclient::Result<Connection>> {
    let mut pause = PAUSE_MIN;
    while !is_over(session) {
        match begin(session) {
            Err(error) if !matches!(error, Error::Refused { .. }) => {}
            begun => return Some(begun),
        }
        wait(session, pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
    None
}

/// Waits so long, or until the stream is over.
pub fn wait(session: &Session, pause: Duration) {
    let begin = Instant::now();
    while !is_over(session) {
        let left = pause.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(TICK));
    }
}

/// Prints a message on one line behind the time; what is no message as any reply.
fn print(session: &mut Session, view: View, zone: Zone, request: Request<'_>, reply: &Reply) -> io::Result<()> {
    let mut out = Vec::new();
    match session.output().style() {
        Style::Pretty | Style::Line => match message(reply) {
            Some(text) => {
                out.extend_from_slice(zone.now().as_bytes());
                out.extend_from_slice(b"  ");
                out.extend_from_slice(&text);
                out.push(b'\n');
            }
            None if session.sends_lines() => session.output().render(request, reply, &mut out),
            None => view.write(reply, &mut out),
        },
        _ => session.output().render(request, reply, &mut out),
    }
    session.output().write(&out)
}

/// Returns the text of a message; `None` if it is a confirmation or an error.
fn message(reply: &Reply) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match reply {
        // What MONITOR and the line protocol send.
        Reply::Simple(text) if text != "OK" => write_visible_line(text.as_bytes(), &mut out),
        Reply::Push(items) | Reply::Array(items) => {
            let mut words = Vec::new();
            for item in items {
                let Reply::Bulk(bytes) = item else { return None };
                words.push(bytes);
            }
            let (kind, words) = words.split_first()?;
            let names: &[u8] = kind;
            if !(matches!(names, b"message" | b"smessage") && words.len() == 2
                || names == b"pmessage" && words.len() == 3)
            {
                return None;
            }
            for (at, word) in words.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(b"  ");
                }
                write_string(word, &mut out);
            }
        }
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(reply: &Reply) -> Option<String> {
        message(reply).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn a_message_is_one_line() {
        let message = shown(&Reply::Push(["message", "news", "a\nb"].map(Reply::bulk).into()));
        assert_eq!(message.as_deref(), Some("\"news\"  \"a\\nb\""));
        let message = shown(&Reply::Array(["pmessage", "n*", "news", "é"].map(Reply::bulk).into()));
        assert_eq!(message.as_deref(), Some("\"n*\"  \"news\"  \"é\""));
        assert_eq!(shown(&Reply::simple("1.5 [0 h:1] \"GET\"\x1b")).as_deref(), Some("1.5 [0 h:1] \"GET\"\\x1b"));
        let confirmation = Reply::Array(vec![Reply::bulk("subscribe"), Reply::bulk("news"), Reply::Integer(1)]);
        for other in [confirmation, Reply::error("ERR no"), Reply::simple("OK"), Reply::Ok] {
            assert_eq!(shown(&other), None);
        }
    }
}
