//! What serves test suites alone: DEBUG's looks at the data, PFDEBUG and PFSELFTEST.
//!
//! Invariant: nothing here changes a value, though PFDEBUG may change how one is kept, as in Redis.

mod digest;
mod hyperloglog;

use kvcore::hooks::{CrossTxn, Txn};
use kvproto::resp::Version;
use kvproto::{CommandError, Reply};

use crate::databases::DATABASES;
use crate::object::encoding_of;
use crate::outcome::Outcome;
use crate::rdb;
use digest::Digest;

pub(crate) use hyperloglog::{pfdebug, pfselftest};

/// Returns the digest of all databases, for `DEBUG DIGEST`: equal data have an equal one, here and in Redis. `keyspaces`: the
/// names and ids of those that are locked.
///
/// # Errors
///
/// Those of the store.
pub fn digest<'n>(
    txn: &mut dyn CrossTxn,
    keyspaces: impl Iterator<Item = (&'n str, u32)> + Clone,
) -> kvcore::Result<Reply> {
    let mut total = Digest::default();
    for index in 0..DATABASES {
        let name = index.to_string();
        let Some((_, id)) = keyspaces.clone().find(|(own, _)| *own == name) else { continue };
        txn.select(id)?;
        let mut of_keys: Option<Digest> = None;
        txn.as_scan().for_each(&mut |key, value| {
            let one = Digest::of_entry(key, &value, value.deadline().is_some());
            of_keys.get_or_insert_default().add(&one);
        })?;
        if let Some(of_keys) = of_keys {
            total.mix(&u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
            total.add(&of_keys);
        }
    }
    Ok(Reply::simple(total.to_string()))
}

/// Returns the digest of the value of each key, for `DEBUG DIGEST-VALUE`.
///
/// # Errors
///
/// Those of the store.
pub fn digest_values(keys: &[&[u8]], txn: &dyn Txn) -> kvcore::Result<Reply> {
    let digest_of = |key: &&[u8]| {
        let mut digest = Digest::default();
        if let Some(value) = txn.peek(key)? {
            digest.mix_value(&value, value.deadline().is_some());
        }
        Ok(Reply::simple(digest.to_string()))
    };
    Ok(Reply::Array(keys.iter().map(digest_of).collect::<kvcore::Result<_>>()?))
}

/// Describes a value, for `DEBUG OBJECT`; none if there is no such key.
///
/// # Errors
///
/// Those of the store.
pub fn object(key: &[u8], txn: &dyn Txn) -> kvcore::Result<Option<String>> {
    // A place that stays the same while the key does.
    let place = Digest::place_of(key);
    Ok(txn.peek(key)?.map(|value| {
        let (encoding, length) = (encoding_of(&value), rdb::encoded_len(&value));
        format!("Value at:{place:#x} refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:0")
    }))
}

/// Returns one value of each type of reply, as Redis does. What is sent before it is added to `before`.
///
/// # Errors
///
/// If there is no such type, or `version` has no pushed messages.
pub fn protocol(name: &[u8], version: Version, before: &mut Vec<Reply>) -> Outcome {
    let integers = || (0..3).map(Reply::Integer);
    Ok(match &*name.to_ascii_lowercase() {
        b"string" => Reply::bulk("Hello World"),
        b"integer" => Reply::Integer(12345),
        b"double" => Reply::Double(3141.0 / 1000.0),
        b"bignum" => Reply::BigNumber("1234567999999999999999999999999999999".to_owned()),
        b"null" => Reply::Nil,
        b"array" => Reply::Array(integers().collect()),
        b"set" => Reply::Set(integers().collect()),
        b"map" => Reply::Map(integers().map(|key| (key.clone(), Reply::Bool(key == Reply::Integer(1)))).collect()),
        b"attrib" => {
            let about = Reply::Array(vec![Reply::bulk("key:123"), Reply::Integer(90)]);
            before.push(Reply::Attribute(vec![(Reply::bulk("key-popularity"), about)]));
            Reply::bulk("Some real reply following the attribute")
        }
        b"push" if version == Version::Resp2 => {
            return Err(CommandError::custom("ERR RESP2 is not supported by this command").into());
        }
        b"push" => {
            before.push(Reply::Push(vec![Reply::bulk("server-cpu-usage"), Reply::Integer(42)]));
            Reply::bulk("Some real reply following the push reply")
        }
        b"true" => Reply::Bool(true),
        b"false" => Reply::Bool(false),
        b"verbatim" => Reply::text("This is a verbatim\nstring"),
        _ => {
            let text = "ERR Wrong protocol type name. Please use one of the following: \
                        string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
            return Err(CommandError::custom(text).into());
        }
    })
}
