//! Compare and set: what SET's conditions ask of the old value; DELEX, DELIFEQ, DIGEST, MSETEX.
//!
//! Invariant: a condition looks at the value under the same lock as the change it decides about.

use kvcore::ValueRef;
use kvcore::hooks::{ReadTxn, Txn};
use kvproto::{Args, CommandError, Reply, parse_integer};
use xxhash_rust::xxh3::xxh3_64;

use super::SetOptions;
use crate::cost::charge_scan;
use crate::expiry::Lifetime;
use crate::outcome::{Failure, Outcome};

/// What has to be true of the old value for a command to do its work.
#[derive(Clone, Copy)]
pub(super) enum Condition<'b> {
    Absent,
    Present,
    /// It is there, and has these bytes.
    Equal(&'b [u8]),
    /// It is not there, or has other bytes.
    Unequal(&'b [u8]),
    /// It is there, and has this digest.
    DigestEqual(&'b [u8]),
    /// It is not there, or has another digest.
    DigestUnequal(&'b [u8]),
}

impl<'b> Condition<'b> {
    /// Takes the next words if they are a condition on the bytes of a value.
    pub(super) fn take(args: &mut Args<'b>) -> Result<Option<Condition<'b>>, CommandError> {
        Ok(Some(if args.eat("IFEQ") {
            Condition::Equal(args.next()?)
        } else if args.eat("IFNE") {
            Condition::Unequal(args.next()?)
        } else if args.eat("IFDEQ") {
            Condition::DigestEqual(args.next()?)
        } else if args.eat("IFDNE") {
            Condition::DigestUnequal(args.next()?)
        } else {
            return Ok(None);
        }))
    }

    /// Whether it is true. A digest is only read where there is a value to compare it with.
    pub(super) fn holds(self, value: Option<ValueRef<'_>>, txn: &dyn Txn) -> Result<bool, Failure> {
        let Some(value) = value else {
            return Ok(matches!(self, Condition::Absent | Condition::Unequal(_) | Condition::DigestUnequal(_)));
        };
        if matches!(self, Condition::DigestEqual(_) | Condition::DigestUnequal(_)) {
            charge_scan(txn, value.len())?;
        }
        Ok(match self {
            Condition::Absent => false,
            Condition::Present => true,
            Condition::Equal(bytes) => value.bytes() == bytes,
            Condition::Unequal(bytes) => value.bytes() != bytes,
            Condition::DigestEqual(digest) => xxh3_64(value.bytes()) == parse_digest(digest)?,
            Condition::DigestUnequal(digest) => xxh3_64(value.bytes()) != parse_digest(digest)?,
        })
    }

    /// Whether it may be said behind `other`: the same condition again, of which the last counts.
    pub(super) fn may_follow(self, other: Condition<'_>) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// A digest as DIGEST shows it, in any case of its letters.
fn parse_digest(word: &[u8]) -> Result<u64, CommandError> {
    std::str::from_utf8(word)
        .ok()
        .filter(|digits| digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(CommandError::custom("ERR must be exactly 16 hexadecimal characters"))
}

/// `DIGEST key`: XXH3 (64 bits) of the value in 16 hexadecimal digits.
pub fn digest(mut args: Args<'_>, txn: &dyn ReadTxn) -> Outcome {
    let Some(value) = txn.get(args.next()?)? else { return Ok(Reply::Nil) };
    charge_scan(txn, value.len())?;
    Ok(Reply::bulk(format!("{:016x}", xxh3_64(value.bytes()))))
}

/// `DELIFEQ key value`: 1 if the key had the value and is gone.
pub fn delifeq(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    let condition = Condition::Equal(args.next()?);
    let deletes = condition.holds(txn.get_to_write(key)?, txn)?;
    Ok(Reply::flag(deletes && txn.delete(key)?))
}

/// `DELEX key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]`: 1 if the key was there, met the condition, and is gone.
pub fn delex(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let key = args.next()?;
    if args.is_empty() {
        return Ok(Reply::flag(txn.delete(key)?));
    }
    if args.remaining() != 2 {
        return Err(CommandError::wrong_arity("delex").into());
    }
    // Of a key that is not there the condition is not read.
    if txn.get_to_write(key)?.is_none() {
        return Ok(Reply::flag(false));
    }
    let condition = Condition::take(&mut args)?
        .ok_or(CommandError::custom("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"))?;
    let deletes = condition.holds(txn.peek(key)?, txn)?;
    Ok(Reply::flag(deletes && txn.delete(key)?))
}

/// `MSETEX numkeys key value [key value ...] [NX|XX] [EX s|PX ms|EXAT unix-s|PXAT unix-ms|KEEPTTL]`: 1 if all were set,
/// 0 if none was, because one of the keys did not meet the condition.
pub fn msetex(mut args: Args<'_>, txn: &mut dyn Txn) -> Outcome {
    let count = parse_integer(args.next()?)
        .and_then(|count| u32::try_from(count).ok())
        .filter(|count| (1..=i32::MAX.cast_unsigned()).contains(count))
        .ok_or(CommandError::custom("ERR invalid numkeys value"))? as usize;
    if args.remaining() / 2 < count {
        return Err(CommandError::custom("ERR wrong number of key-value pairs").into());
    }
    let first = args;
    let pairs = || {
        let mut args = first;
        (0..count).map_while(move |_| Some((args.next_opt()?, args.next_opt()?)))
    };
    for _ in 0..2 * count {
        args.next()?;
    }
    let SetOptions { only_if, lifetime, .. } = SetOptions::parse(args, false)?;
    let until = lifetime.until(txn.now_ms(), "msetex")?;
    if let Some(condition) = only_if {
        for (key, _) in pairs() {
            if !condition.holds(txn.get_to_write(key)?, txn)? {
                return Ok(Reply::flag(false));
            }
        }
    }
    for (key, value) in pairs() {
        let deadline = match lifetime {
            Lifetime::Keyword => txn.peek(key)?.and_then(|value| value.deadline()),
            _ => until,
        };
        txn.set(key, value, deadline)?;
    }
    Ok(Reply::flag(true))
}

#[cfg(test)]
mod tests {
    use crate::shell::Shell;

    const SYNTAX: &str = "ERR syntax error";
    const BAD_DIGEST: &str = "ERR must be exactly 16 hexadecimal characters";

    /// Digests printed by the reference implementation, `xxhsum -H3`.
    #[test]
    fn digests_are_xxh3() {
        let shell = Shell::new();
        shell.converse(
            r#"
            DIGEST k         -> nil
            SET k ''         -> OK
            DIGEST k         -> "2d06800538d394c2"
            SET k hello      -> OK
            DIGEST k         -> "9555e8555c62dcfd"
            "#,
        );
        shell.refuses(&[("DIGEST k k", "ERR wrong number of arguments for 'digest' command")]);
    }

    #[test]
    fn set_compares_with_the_old_value() {
        let shell = Shell::new();
        shell.converse(
            r#"
            SET k a IFEQ a                   -> nil
            SET k a IFDEQ 9555e8555c62dcfd   -> nil
            SET k a IFDEQ 1234567890         -> nil
            EXISTS k                         -> 0
            SET k a IFNE a                   -> OK
            DEL k                            -> 1
            SET k hello IFDNE x              -> OK
            SET k b IFEQ x                   -> nil
            SET k b IFEQ x GET               -> "hello"
            SET k b IFNE hello               -> nil
            SET k b IFDEQ 9555e8555c62dcfe   -> nil
            SET k b IFDNE 9555E8555C62DCFD   -> nil
            GET k                            -> "hello"
            SET k b ifdeq 9555E8555C62DCFD EX 9 -> OK
            TTL k                            -> 9
            SET k c IFEQ b GET KEEPTTL       -> "b"
            TTL k                            -> 9
            SET k d IFEQ x IFEQ c            -> OK
            SET k e IFNE c                   -> OK
            SET k f IFDNE 9555e8555c62dcfd   -> OK
            GET k                            -> "f"
            "#,
        );
        shell.refuses(&[
            ("SET k v IFEQ", SYNTAX),
            ("SET k v IFEQ f IFNE x", SYNTAX),
            ("SET k v IFEQ f XX", SYNTAX),
            ("SET k v NX IFNE x", SYNTAX),
            ("SET k v IFDEQ 123", BAD_DIGEST),
            ("SET k v IFDNE +555e8555c62dcfd", BAD_DIGEST),
            ("SET k v IFDNE 9555e8555c62dcfdf", BAD_DIGEST),
        ]);
    }

    #[test]
    fn deletion_compares_with_the_old_value() {
        let shell = Shell::new();
        for (command, left) in [
            ("DELEX k", 0),
            ("DELEX k IFEQ hello", 0),
            ("DELEX k IFEQ x", 1),
            ("DELEX k IFNE x", 0),
            ("DELEX k IFNE hello", 1),
            ("DELEX k ifdeq 9555e8555c62dcfd", 0),
            ("DELEX k IFDEQ 0000000000000000", 1),
            ("DELEX k IFDNE 0000000000000000", 0),
            ("DELEX k IFDNE 9555e8555c62dcfd", 1),
            ("DELIFEQ k hello", 0),
            ("DELIFEQ k Hello", 1),
        ] {
            shell.run("SET k hello");
            shell.converse(&format!("{command} -> {}\n EXISTS k -> {left}\n DEL k -> {left}", 1 - left));
            shell.converse(&format!("{command} -> 0"));
        }
        shell.converse("DELEX k nonsense x -> 0");
        shell.run("SET k v");
        shell.refuses(&[
            ("DELEX k IFEQ", "ERR wrong number of arguments for 'delex' command"),
            ("DELEX k IFEQ v x", "ERR wrong number of arguments for 'delex' command"),
            ("DELEX k XX v", "ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE"),
            ("DELEX k IFDEQ v", BAD_DIGEST),
            ("DELIFEQ k", "ERR wrong number of arguments for 'delifeq' command"),
        ]);
    }

    #[test]
    fn msetex_sets_all_or_none() {
        let shell = Shell::new();
        shell.converse(
            r#"
            MSETEX 2 a 1 b 2                 -> 1
            MGET a b                         -> ["1", "2"]
            MSETEX 2 b 3 c 3 NX              -> 0
            MSETEX 2 b 3 c 3 XX              -> 0
            MGET a b c                       -> ["1", "2", nil]
            MSETEX 2 a 4 b 5 XX PX 70        -> 1
            PTTL b                           -> 70
            MSETEX 2 a 6 c 7 KEEPTTL         -> 1
            MGET a c                         -> ["6", "7"]
            PTTL a                           -> 70
            PTTL c                           -> -1
            MSETEX 1 NX 1 EX 5 NX            -> 1
            TTL NX                           -> 5
            MSETEX 1 a 1 PXAT 1700000000007 XX XX -> 1
            PTTL a                           -> 7
            MSETEX 2 a 1 a 2                 -> 1
            GET a                            -> "2"
            PTTL a                           -> -1
            MSETEX 2 a 1 b 1 EXAT 1          -> 1
            EXISTS a b                       -> 0
            "#,
        );
        let (numkeys, pairs) = ("ERR invalid numkeys value", "ERR wrong number of key-value pairs");
        shell.run("SET k v EX 9");
        shell.refuses(&[
            ("MSETEX 1 k", "ERR wrong number of arguments for 'msetex' command"),
            ("MSETEX x k v", numkeys),
            ("MSETEX 0 k v", numkeys),
            ("MSETEX -1 k v", numkeys),
            ("MSETEX 2147483648 k v", numkeys),
            ("MSETEX 2147483647 k v", pairs),
            ("MSETEX 2 k w new", pairs),
            ("MSETEX 1 k w x", SYNTAX),
            ("MSETEX 1 k w NX XX", SYNTAX),
            ("MSETEX 1 k w EX 1 PX 1", SYNTAX),
            ("MSETEX 1 k w KEEPTTL EX 1", SYNTAX),
            ("MSETEX 1 k w EX", SYNTAX),
            ("MSETEX 1 k w EX x", "ERR value is not an integer or out of range"),
            ("MSETEX 1 k w EX 0", "ERR invalid expire time in 'msetex' command"),
        ]);
    }
}
