//! A bound for every length a peer can name.
//!
//! Invariant: nothing in this crate sets memory aside for a length before it was compared with one of these.

/// How large a request may be. All sizes are in bytes.
///
/// Plain values: change the fields you want to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most words in one request, the command's name included.
    pub args_max: usize,
    /// Longest single word of a RESP request.
    pub bulk_bytes_max: usize,
    /// Longest inline request, and longest header line of a RESP request, without its line end.
    pub inline_bytes_max: usize,
    /// Longest line of the line protocol, without its line end.
    pub line_bytes_max: usize,
    /// Longest RESP request as a whole, headers included. More than 4 GiB counts as 4 GiB.
    pub request_bytes_max: usize,
    /// Whether these limits bind a client that has logged in (or need not). It changes the text of an error only.
    pub authenticated: bool,
}

impl Limits {
    /// The limits of a client that still has to log in: enough for AUTH and HELLO, useless for filling memory.
    pub fn unauthenticated() -> Limits {
        Limits {
            args_max: 10,
            bulk_bytes_max: 16 * 1024,
            inline_bytes_max: 64 * 1024,
            line_bytes_max: 64 * 1024,
            request_bytes_max: 64 * 1024,
            authenticated: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            inline_bytes_max: 64 * 1024,
            line_bytes_max: 1024 * 1024,
            request_bytes_max: 1024 * 1024 * 1024,
            authenticated: true,
        }
    }
}
