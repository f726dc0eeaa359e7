//! OBJECT: how a value is kept and used.
//!
//! Invariant: encoding and references follow from the value alone, not from how it came about. Asking is not using.

use kvcore::hooks::Txn;
use kvproto::{CommandError, Reply, parse_integer};

/// Redis keeps a short string and its header in one allocation, up to this many bytes of text.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Redis keeps the integers below this once for all keys, and counts their references without end.
const SHARED_INTEGERS: i64 = 10_000;
/// How often a key counts as used in Redis when it has just been made.
const FREQUENCY_FIRST: u8 = 5;

/// The name of the encoding Redis would choose for a value that was just SET. (There a value that was appended to, or
/// written into, stays `raw` whatever its length; here nothing remembers that.)
pub(crate) fn encoding_of(value: &[u8]) -> &'static str {
    match value {
        value if parse_integer(value).is_some() => "int",
        value if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

/// Replies to `OBJECT ENCODING|FREQ|IDLETIME|REFCOUNT key`. `by_frequency`: whether keys are evicted by how often they are used.
///
/// # Errors
///
/// Those of the store.
pub fn object(subcommand: &str, key: &[u8], txn: &dyn Txn, by_frequency: bool) -> kvcore::Result<Reply> {
    let (Some(value), Some(usage)) = (txn.look(key)?, txn.usage(key)?) else { return Ok(Reply::Nil) };
    Ok(match subcommand {
        "encoding" => Reply::bulk(encoding_of(&value)),
        "refcount" => {
            let shared = parse_integer(&value).is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
            Reply::Integer(if shared { i64::from(i32::MAX) } else { 1 })
        }
        "idletime" if by_frequency => policy_error("An LFU maxmemory policy is selected, idle time not tracked"),
        "idletime" => Reply::Integer(usage.idle_secs.into()),
        _ if by_frequency => Reply::Integer(usage.frequency.unwrap_or(FREQUENCY_FIRST).into()),
        _ => policy_error("An LFU maxmemory policy is not selected, access frequency not tracked"),
    })
}

fn policy_error(what: &str) -> Reply {
    CommandError::custom(format!(
        "ERR {what}. Please note that when switching between policies at runtime LRU and LFU data will take some time \
         to adjust."
    ))
    .into()
}
