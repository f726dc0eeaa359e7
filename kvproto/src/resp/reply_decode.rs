//! Reads replies, for clients and tests.
//!
//! Invariant: a server, even a hostile one, can make it neither recurse nor hold items that take more memory than is
//! permitted for one reply, and where memory for them runs out that is an error; what was read stays read, so a reply that
//! arrives in pieces costs no more than one that arrives whole.

use crate::bulk::Bulk;
use crate::error::ProtocolError;
use crate::number::parse_integer;
use crate::reply::Reply;
use memchr::memchr;

/// Reads one reply after the other from the bytes of a connection.
#[derive(Clone, Debug)]
pub struct ReplyDecoder {
    bytes_max: usize,
    /// Bytes of this reply that were [released](Self::release).
    released: usize,
    /// What the complete items of the open lists take in memory, about.
    held: usize,
    /// Where the next part begins in the input.
    at: usize,
    /// Up to where that part was searched for its line end.
    searched: usize,
    /// The lists begun and not yet complete, the innermost last.
    open: Vec<OpenList>,
}

#[derive(Clone, Debug)]
struct OpenList {
    kind: ListKind,
    items_left: usize,
    items: Vec<Reply>,
    /// What complete items took in memory when it began.
    held_before: usize,
}

#[derive(Clone, Copy, Debug)]
enum ListKind {
    Array,
    Map,
    Set,
    Push,
    /// Remarks on the reply that follows; read and dropped.
    Attributes,
}

/// How deep lists may nest. Redis' deepest reply, COMMAND DOCS, needs under ten.
const DEPTH_MAX: usize = 64;
/// How many items a list gets room for before any has arrived.
const ITEMS_RESERVED_MAX: usize = 64;
/// The longest line, without its end: a simple text, an error, a number. What is longer comes as a bulk.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The shortest reply, `_\r\n`, in bytes: a list of n items takes at least n times as many.
const REPLY_BYTES_MIN: usize = 3;

/// What one header line turned out to be.
enum Part {
    Reply(Reply),
    Open(ListKind, usize),
    /// More bytes are needed.
    Incomplete,
}

impl ReplyDecoder {
    /// A decoder that accepts replies of up to `bytes_max` bytes, on the wire and in memory.
    pub fn new(bytes_max: usize) -> ReplyDecoder {
        ReplyDecoder { bytes_max, released: 0, held: 0, at: 0, searched: 0, open: Vec::new() }
    }

    /// Returns how many bytes at the beginning of the input are not needed any more although the reply is not complete.
    /// The next call of [`decode`](Self::decode) must get the input without them: so a long list is not held twice.
    pub fn release(&mut self) -> usize {
        let done = std::mem::take(&mut self.at);
        self.searched -= done;
        self.released += done;
        done
    }

    /// Reads on. `input` begins, on every call, at the first byte of the reply that was not complete yet and was not
    /// [released](Self::release). Gives the reply and how many bytes of the input it took, or `None` if more are needed.
    /// An error is final: close the connection.
    ///
    /// `+OK` reads as [`Reply::Ok`], a bulk error as [`Reply::Error`]; the bytes of simple texts and errors are kept as they are.
    pub fn decode(&mut self, input: &[u8]) -> Result<Option<(Reply, usize)>, ProtocolError> {
        // A reply that is accepted ends inside this window, so the answer is the same however the bytes arrive.
        let bytes_max = self.bytes_max.saturating_sub(self.released);
        let window = &input[..input.len().min(bytes_max)];
        let decoded = self.decode_in(window, input.len() > bytes_max);
        if decoded.is_err() {
            // Frees the items so far, which may be why memory ran out.
            *self = ReplyDecoder::new(self.bytes_max);
        }
        decoded
    }

    /// `is_cut`: there is more input than the window.
    fn decode_in(&mut self, window: &[u8], is_cut: bool) -> Result<Option<(Reply, usize)>, ProtocolError> {
        loop {
            let reply = match self.part(window)? {
                Part::Incomplete if is_cut => {
                    return Err(ProtocolError::ReplyTooLong);
                }
                Part::Incomplete => return Ok(None),
                Part::Open(kind, items) => {
                    if self.open.len() == DEPTH_MAX {
                        return Err(ProtocolError::ReplyTooDeep);
                    }
                    let mut list = Vec::new();
                    let reserved = list.try_reserve_exact(items.min(ITEMS_RESERVED_MAX));
                    reserved.and_then(|()| self.open.try_reserve(1)).map_err(|_| ProtocolError::ReplyTooLong)?;
                    self.open.push(OpenList { kind, items_left: items, items: list, held_before: self.held });
                    None
                }
                Part::Reply(reply) => Some(reply),
            };
            if let Some(reply) = self.close(reply)? {
                let consumed = self.at;
                (self.at, self.searched, self.released, self.held) = (0, 0, 0, 0);
                return Ok(Some((reply, consumed)));
            }
        }
    }

    /// Puts `reply` into the innermost open list and closes every list this completes; gives the outermost reply
    /// once that is complete.
    fn close(&mut self, mut reply: Option<Reply>) -> Result<Option<Reply>, ProtocolError> {
        let mut bytes = reply.as_ref().map_or(size_of::<Reply>(), Reply::payload_bytes);
        loop {
            let Some(list) = self.open.last_mut() else {
                return Ok(reply);
            };
            if let Some(item) = reply.take() {
                self.held += bytes;
                // What follows is a list, whose items were counted one by one.
                bytes = size_of::<Reply>();
                if self.held > self.bytes_max || list.items.try_reserve(1).is_err() {
                    return Err(ProtocolError::ReplyTooLong);
                }
                list.items.push(item);
                list.items_left = list.items_left.saturating_sub(1);
            }
            if list.items_left > 0 {
                return Ok(None);
            }
            let Some(list) = self.open.pop() else { return Ok(None) };
            reply = match list.kind {
                ListKind::Array => Some(Reply::Array(list.items)),
                ListKind::Set => Some(Reply::Set(list.items)),
                ListKind::Push => Some(Reply::Push(list.items)),
                ListKind::Map => Some(Reply::Map(pairs(list.items)?)),
                // Nothing to put into the list around it, which goes on waiting for its item.
                ListKind::Attributes => {
                    self.held = list.held_before;
                    return Ok(None);
                }
            };
        }
    }

    /// Reads the next part: a whole reply, or the header of a list.
    fn part(&mut self, input: &[u8]) -> Result<Part, ProtocolError> {
        // A line that is accepted ends, its end included, inside this window.
        let window_end = input.len().min(self.at.saturating_add(LINE_BYTES_MAX + 2));
        let unseen = input.get(self.searched..window_end).unwrap_or_default();
        let Some(found) = memchr(b'\n', unseen) else {
            if input.len() - self.at.min(input.len()) > LINE_BYTES_MAX + 2 {
                return Err(ProtocolError::ReplyTooLong);
            }
            self.searched = window_end;
            // Refuse what can be no reply at once, rather than wait for a line end that may never come.
            if let Some(&first) = input.get(self.at)
                && !b"+-:$*_#,(!=%~>|".contains(&first)
            {
                return Err(ProtocolError::InvalidReply(first));
            }
            return Ok(Part::Incomplete);
        };
        let end = self.searched + found;
        let line = input.get(self.at..end).unwrap_or_default();
        let (kind, text) = match line {
            [kind, text @ .., b'\r'] => (*kind, text),
            [first, ..] => return Err(ProtocolError::InvalidReply(*first)),
            [] => return Err(ProtocolError::InvalidReply(b'\n')),
        };
        let body = end + 1;
        let reply = match kind {
            b'+' if text == b"OK" => Reply::Ok,
            b'+' => Reply::Simple(copied(text)?.into()),
            b'-' => Reply::Error(copied(text)?.into()),
            b':' => Reply::Integer(parse_integer(text).ok_or(ProtocolError::InvalidReplyNumber)?),
            b'_' if text.is_empty() => Reply::Nil,
            b'#' => match text {
                b"t" => Reply::Bool(true),
                b"f" => Reply::Bool(false),
                _ => return Err(ProtocolError::InvalidReplyNumber),
            },
            b',' => Reply::Double(parse_double(text)?),
            b'(' => Reply::BigNumber(parse_big_number(text)?),
            b'$' | b'!' | b'=' => {
                let Some(len) = self.length(text)? else {
                    self.move_to(body);
                    return Ok(Part::Reply(Reply::Nil));
                };
                let Some(bytes) = input.get(body..body + len) else {
                    return Ok(Part::Incomplete);
                };
                let line_end = body + len;
                match input.get(line_end..line_end + 2) {
                    Some(b"\r\n") => {}
                    Some(_) => return Err(ProtocolError::InvalidReplyNumber),
                    None => return Ok(Part::Incomplete),
                }
                self.move_to(line_end + 2);
                return Ok(Part::Reply(match (kind, bytes) {
                    (b'!', _) => Reply::Error(copied(bytes)?.into()),
                    (b'=', [a, b, c, b':', text @ ..]) => Reply::Verbatim { format: [*a, *b, *c], text: copied(text)? },
                    (b'=', _) => return Err(ProtocolError::InvalidReplyNumber),
                    _ => Reply::Bulk(Bulk::try_copy(bytes).ok_or(ProtocolError::ReplyTooLong)?),
                }));
            }
            b'*' | b'%' | b'~' | b'>' | b'|' => {
                let Some(items) = self.length(text)? else {
                    self.move_to(body);
                    return Ok(Part::Reply(Reply::NilArray));
                };
                self.move_to(body);
                let (kind, items) = match kind {
                    b'%' => (ListKind::Map, items.saturating_mul(2)),
                    b'|' => (ListKind::Attributes, items.saturating_mul(2)),
                    b'~' => (ListKind::Set, items),
                    b'>' => (ListKind::Push, items),
                    _ => (ListKind::Array, items),
                };
                if items.saturating_mul(REPLY_BYTES_MIN) > self.bytes_max {
                    return Err(ProtocolError::ReplyTooLong);
                }
                return Ok(Part::Open(kind, items));
            }
            b'_' => return Err(ProtocolError::InvalidReplyNumber),
            kind => return Err(ProtocolError::InvalidReply(kind)),
        };
        self.move_to(body);
        Ok(Part::Reply(reply))
    }

    /// The length a header names; `None` for -1, which stands for no value.
    fn length(&self, text: &[u8]) -> Result<Option<usize>, ProtocolError> {
        match parse_integer(text) {
            Some(-1) => Ok(None),
            Some(length) => match usize::try_from(length) {
                Ok(length) if length <= self.bytes_max.saturating_sub(self.held) => Ok(Some(length)),
                Ok(_) => Err(ProtocolError::ReplyTooLong),
                Err(_) => Err(ProtocolError::InvalidReplyNumber),
            },
            None => Err(ProtocolError::InvalidReplyNumber),
        }
    }

    fn move_to(&mut self, at: usize) {
        self.at = at;
        self.searched = at;
    }
}

/// Copies bytes, if there is memory for them.
fn copied(bytes: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| ProtocolError::ReplyTooLong)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

fn parse_double(text: &[u8]) -> Result<f64, ProtocolError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(ProtocolError::InvalidReplyNumber)
}

fn parse_big_number(text: &[u8]) -> Result<String, ProtocolError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError::InvalidReplyNumber);
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn pairs(items: Vec<Reply>) -> Result<Vec<(Reply, Reply)>, ProtocolError> {
    let mut items = items.into_iter();
    let mut pairs = Vec::new();
    pairs.try_reserve_exact(items.len() / 2).map_err(|_| ProtocolError::ReplyTooLong)?;
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    Ok(pairs)
}
