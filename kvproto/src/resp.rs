//! RESP, versions 2 and 3, and the inline requests people type into a raw socket.
//!
//! Invariant: whatever is encoded here decodes here to the same thing (RESP2: to its documented downgrade), however
//! the bytes are split on the way.

mod ahead;
mod decode;
mod encode;
mod reply_decode;

pub use ahead::second_word;
pub use decode::RequestDecoder;
pub use encode::{Output, encode, encode_request, encoded_len};
pub use reply_decode::ReplyDecoder;

/// The version of RESP a connection has agreed on, by HELLO; 2 until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Five kinds of reply; what every client knows.
    #[default]
    Resp2,
    /// Maps, sets, doubles, booleans, pushes.
    Resp3,
}
