//! OBJECT: how a value is represented.
//!
//! Invariant: the answers follow from the value alone, not from how it came about.

use kvproto::parse_integer;

/// Redis keeps a short string and its header in one allocation, up to this many bytes of text.
const EMBEDDED_BYTES_MAX: usize = 44;

/// The name of the encoding Redis would choose for a value that was just SET. (There a value that was appended to, or
/// written into, stays `raw` whatever its length; here nothing remembers that.)
pub(crate) fn encoding_of(value: &[u8]) -> &'static str {
    match value {
        value if parse_integer(value).is_some() => "int",
        value if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}
