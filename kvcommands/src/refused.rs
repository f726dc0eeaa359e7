//! Commands about clusters and replicas, refused in Redis' own words: clients and tools match the text, and conclude from
//! it that this is one server alone.
//!
//! Invariant: nothing here touches a key or changes anything; the only request granted asks for what holds anyway.

use kvproto::{Args, CommandError, Reply, Spec};

use crate::outcome::Outcome;

/// `CLUSTER ...`, `CLUSTERSCAN`, `ASKING`, `READONLY`, `READWRITE`: the error of a Redis that is not in cluster mode. `CLUSTER KEYSLOT` depends
/// on nothing but the key; as in Valkey 9.1 it needs no cluster.
pub(crate) fn cluster(mut args: Args<'_>, row: &'static Spec) -> Outcome {
    if row.name == "cluster|keyslot" {
        args.next()?;
        return Ok(Reply::Integer(i64::from(slot_of(args.next()?))));
    }
    Err(CommandError::custom("ERR This instance has cluster support disabled").into())
}

/// `REPLICAOF host port|NO ONE`, and `SLAVEOF`: `NO ONE` is `OK`, since this server is a master already.
pub(crate) fn replicaof(mut args: Args<'_>, row: &'static Spec) -> Outcome {
    let (host, port) = (args.next()?, args.next()?);
    if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
        return Ok(Reply::Ok);
    }
    if !kvproto::parse_integer(port).is_some_and(|port| (0..=65_535).contains(&port)) {
        return Err(CommandError::custom("ERR Invalid master port").into());
    }
    Err(CommandError::unsupported(row.name).into())
}

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`: there are no replicas to hand over to.
pub(crate) fn failover(mut args: Args<'_>, _: &'static Spec) -> Outcome {
    if args.remaining() == 1 && args.eat("abort") {
        return Err(CommandError::custom("ERR No failover in progress.").into());
    }
    let (mut timeout, mut has_target, mut is_forced) = (0, false, false);
    while !args.is_empty() {
        if timeout == 0 && args.remaining() > 1 && args.eat("timeout") {
            timeout = args.integer()?;
            if timeout <= 0 {
                return Err(CommandError::custom("ERR FAILOVER timeout must be greater than 0").into());
            }
        } else if !has_target && args.remaining() > 2 && args.eat("to") {
            args.next()?;
            args.integer()?;
            has_target = true;
        } else if !is_forced && args.eat("force") {
            is_forced = true;
        } else {
            return Err(CommandError::Syntax.into());
        }
    }
    Err(CommandError::custom("ERR FAILOVER requires connected replicas.").into())
}

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// The slot of a key in a cluster: by what stands between its first `{` and the next `}`, if that is anything, else by all
/// of it.
fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|start| {
        let rest = &key[start + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|len| *len > 0).map(|len| &rest[..len])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16 of the polynomial 0x1021, from zero and not reflected (XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_are_those_of_a_cluster() {
        // The examples of the specification of clusters, and of its command.
        assert_eq!(super::crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"somekey"), 11_058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
        assert_eq!(slot_of(b"bar{hash_tag}"), 2515);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), super::crc16(b"foo{}{bar}") % super::SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
        assert_eq!(slot_of(b"foo{bar}{zap}"), slot_of(b"bar"));
        assert_eq!(slot_of(b""), 0);
    }
}
