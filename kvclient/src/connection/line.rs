//! The line protocol's side of a client: words to a line, a line to a reply.
//!
//! Invariant: a request is one line, whatever bytes its words hold.

use kvproto::quote::{HighBytes, write_quoted};
use kvproto::{ProtocolError, Reply};

/// A word of the line protocol: as it is where that is possible, since the terse style knows no quotes.
pub(super) fn write_word(word: &[u8], out: &mut Vec<u8>) {
    if !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'".contains(byte)) {
        out.extend_from_slice(word);
    } else {
        write_quoted(word, HighBytes::Keep, out);
    }
}

/// A line of the line protocol as a reply, once its end has arrived. `searched` is up to where an earlier call looked
/// for that: a line that comes in many pieces is looked at once.
pub(super) fn decode(
    input: &[u8],
    searched: &mut usize,
    bytes_max: usize,
) -> Result<Option<(Reply, usize)>, ProtocolError> {
    let unseen = input.get(*searched..).unwrap_or_default();
    let Some(found) = unseen.iter().position(|&byte| byte == b'\n') else {
        if input.len() > bytes_max {
            return Err(ProtocolError::ReplyTooLong);
        }
        *searched = input.len();
        return Ok(None);
    };
    let end = *searched + found;
    *searched = 0;
    let line = input.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let is_error = line.starts_with(b"ERR ") || line.starts_with(b"ERROR ");
    let text = line.to_vec();
    let reply = if is_error { Reply::error(text) } else { Reply::simple(text) };
    Ok(Some((reply, end + 1)))
}
