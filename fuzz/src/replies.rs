//! Replies as a client reads and shows them.
//!
//! Invariant: a server can make a client neither recurse, nor reserve what has not arrived, nor command its terminal.

use kvclient::format::{write_pretty, write_raw, write_visible};
use kvproto::resp::{ReplyDecoder, Version, encode};
use kvproto::{ProtocolError, Reply};

use super::memory::bounded;

fn decode(input: &[u8], piece: usize, bytes_max: usize) -> (Vec<Reply>, Option<ProtocolError>) {
    let mut decoder = ReplyDecoder::new(bytes_max);
    let (mut buffer, mut replies) = (Vec::new(), Vec::new());
    for piece in input.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer) {
                Ok(None) => break,
                Ok(Some((reply, consumed))) => {
                    assert!(consumed > 0 && consumed <= bytes_max);
                    buffer.drain(..consumed);
                    replies.push(reply);
                }
                Err(error) => return (replies, Some(error)),
            }
        }
        assert!(buffer.len() <= bytes_max, "held {} bytes", buffer.len());
    }
    (replies, None)
}

fn encoded(reply: &Reply, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    encode(reply, version, &mut out);
    out
}

/// `[choice][stream]`
pub fn replies(input: &[u8]) {
    let Some((choice, input)) = input.split_first() else { return };
    let bytes_max = [64, 4096, 1 << 20][usize::from(choice % 3)];
    let (replies, error) = decode(input, input.len().max(1), bytes_max);
    let spelled = |replies: &[Reply]| replies.iter().map(|reply| format!("{reply:?}")).collect::<Vec<_>>();
    for piece in [1, usize::from(choice / 3) + 1] {
        let (split, split_error) = decode(input, piece, bytes_max);
        assert_eq!(spelled(&split), spelled(&replies));
        assert_eq!(split_error, error);
    }
    for reply in &replies {
        let written = encoded(reply, Version::Resp3);
        let (again, error) = decode(&written, written.len(), usize::MAX);
        assert_eq!((again.len(), error), (1, None), "{reply:?}");
        // Compared as bytes: NaN is not equal to itself. A nil list has no spelling of its own.
        assert_eq!(encoded(&again[0], Version::Resp3), written);
        let written = encoded(reply, Version::Resp2);
        assert_eq!(decode(&written, written.len(), usize::MAX).0.len(), 1, "{reply:?}");

        let mut shown = Vec::new();
        write_pretty(reply, &mut shown);
        let text = std::str::from_utf8(&shown).expect("text for a terminal");
        let commands = |letter: char| letter.is_control() && letter != '\n' && letter != '\t';
        assert!(text.ends_with('\n') && !text.contains(commands), "{text:?}");
        let mut raw = Vec::new();
        write_raw(reply, &mut raw);
        let mut visible = Vec::new();
        write_visible(&raw, &mut visible);
        assert!(!String::from_utf8(visible).expect("text for a terminal").contains(commands));
    }
    // Every third byte may begin a reply, and a list that is open has room for some; more is not reserved.
    bounded(64 * input.len() + (256 << 10), || {
        let _ = ReplyDecoder::new(1 << 30).decode(input);
    });
}
