//! Replies as values of Rust's own types.
//!
//! Invariant: a reply is read as a type or it is an error that names both; nothing is cut off or replaced, and only an `f64`
//! is rounded, as Rust rounds its digits. An error reply is an [`Error::Reply`], at whatever depth.

use crate::error::{Error, Result};
use kvproto::{Reply, parse_float, parse_integer};
use std::collections::HashMap;
use std::hash::Hash;

/// A type that a reply can be read as.
///
/// | Type | Replies |
/// |---|---|
/// | `()` | every reply but an error |
/// | `bool` | 1 and 0, true and false; `OK` is true, nil is false (a `SET ... NX` that set nothing) |
/// | `i64`, `i32`, `u64`, `u32`, `usize` | whole numbers, and texts that are one |
/// | `f64` | numbers, and texts that are one |
/// | `Vec<u8>` | texts and numbers, as bytes |
/// | `String` | the same, if it is UTF-8 |
/// | `Option<T>` | nil is `None`, other replies are read as `T` |
/// | `Vec<T>` | lists, sets, and maps as keys and values in turn |
/// | `HashMap<K, V>` | maps, and lists of keys and values in turn |
/// | `(A, B, ...)`, up to eight | lists of exactly so many |
/// | [`Reply`] | every reply but an error, as it is |
///
/// ```
/// use kvclient::{FromReply, Reply};
/// use std::collections::HashMap;
///
/// assert_eq!(i64::from_reply(Reply::bulk("12"))?, 12);
/// assert_eq!(Option::<String>::from_reply(Reply::Nil)?, None);
/// let list = Reply::bulks(["a", "1", "b", "2"]);
/// assert_eq!(Vec::<String>::from_reply(list.clone())?, ["a", "1", "b", "2"]);
/// assert_eq!(HashMap::<String, i64>::from_reply(list)?, HashMap::from([("a".into(), 1), ("b".into(), 2)]));
/// let error = u64::from_reply(Reply::Integer(-1)).unwrap_err();
/// assert_eq!(error.to_string(), "the reply is a number out of range, which cannot be read as u64; ask for another type");
/// # Ok::<(), kvclient::Error>(())
/// ```
///
/// Types of one's own are made of these:
///
/// ```
/// use kvclient::{FromReply, Reply, Result};
///
/// struct Point { x: f64, y: f64 }
///
/// impl FromReply for Point {
///     fn from_reply(reply: Reply) -> Result<Point> {
///         let (x, y) = FromReply::from_reply(reply)?;
///         Ok(Point { x, y })
///     }
/// }
///
/// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
/// client.mset([("x", "1.5"), ("y", "-2")])?;
/// let point: Point = client.execute(["MGET", "x", "y"])?;
/// assert_eq!((point.x, point.y), (1.5, -2.0));
/// # Ok::<(), kvclient::Error>(())
/// ```
pub trait FromReply: Sized {
    /// Reads `reply`.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if it is an error reply, and [`Error::Type`] if it is another kind of reply.
    fn from_reply(reply: Reply) -> Result<Self>;
}

impl FromReply for Reply {
    fn from_reply(reply: Reply) -> Result<Reply> {
        match reply {
            Reply::Error(text) => Err(Error::Reply(text.into_owned())),
            reply => Ok(reply),
        }
    }
}

impl FromReply for () {
    fn from_reply(reply: Reply) -> Result<()> {
        match reply {
            Reply::Error(text) => Err(Error::Reply(text.into_owned())),
            _ => Ok(()),
        }
    }
}

impl FromReply for bool {
    fn from_reply(reply: Reply) -> Result<bool> {
        match reply {
            Reply::Bool(value) => Ok(value),
            Reply::Ok => Ok(true),
            Reply::Simple(text) if text == "OK" => Ok(true),
            Reply::Nil | Reply::NilArray => Ok(false),
            reply => match whole_number(&reply) {
                Some(0) => Ok(false),
                Some(1) => Ok(true),
                _ => Err(mismatch("bool", reply)),
            },
        }
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromReply for $number {
            fn from_reply(reply: Reply) -> Result<$number> {
                match whole_number(&reply) {
                    Some(value) => <$number>::try_from(value)
                        .map_err(|_| Error::Type { wanted: stringify!($number), got: "a number out of range" }),
                    // Larger than an i64.
                    None => match text(&reply).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()) {
                        Some(value) => Ok(value),
                        None => Err(mismatch(stringify!($number), reply)),
                    },
                }
            }
        }
    )*};
}

whole_numbers!(i64, i32, u64, u32, usize);

impl FromReply for f64 {
    fn from_reply(reply: Reply) -> Result<f64> {
        let value = match &reply {
            Reply::Double(value) => Some(*value),
            Reply::Integer(value) => parse_float(value.to_string().as_bytes()),
            reply => text(reply).and_then(parse_float),
        };
        value.ok_or_else(|| mismatch("f64", reply))
    }
}

impl FromReply for Vec<u8> {
    fn from_reply(reply: Reply) -> Result<Vec<u8>> {
        match reply {
            Reply::Bulk(bytes) => Ok(bytes.into_vec()),
            Reply::Verbatim { text, .. } => Ok(text),
            Reply::Ok => Ok(b"OK".to_vec()),
            Reply::Integer(value) => Ok(value.to_string().into_bytes()),
            Reply::Double(value) => {
                let mut digits = Vec::new();
                kvproto::number::write_double(value, &mut digits);
                Ok(digits)
            }
            reply => match text(&reply) {
                Some(text) => Ok(text.to_vec()),
                None => Err(mismatch("bytes", reply)),
            },
        }
    }
}

impl FromReply for String {
    fn from_reply(reply: Reply) -> Result<String> {
        if !matches!(reply, Reply::Ok | Reply::Integer(_) | Reply::Double(_)) && text(&reply).is_none() {
            return Err(mismatch("String", reply));
        }
        String::from_utf8(Vec::from_reply(reply)?)
            .map_err(|_| Error::Type { wanted: "String", got: "bytes that are not UTF-8" })
    }
}

impl<T: FromReply> FromReply for Option<T> {
    fn from_reply(reply: Reply) -> Result<Option<T>> {
        match reply {
            Reply::Nil | Reply::NilArray => Ok(None),
            reply => T::from_reply(reply).map(Some),
        }
    }
}

impl<T: FromReply> FromReply for Vec<T> {
    fn from_reply(reply: Reply) -> Result<Vec<T>> {
        items(reply, "a list")?.into_iter().map(T::from_reply).collect()
    }
}

impl<K: FromReply + Eq + Hash, V: FromReply> FromReply for HashMap<K, V> {
    fn from_reply(reply: Reply) -> Result<HashMap<K, V>> {
        let mut items = items(reply, "a map")?.into_iter();
        let mut map = HashMap::with_capacity(items.len() / 2);
        while let Some(key) = items.next() {
            let value =
                items.next().ok_or(Error::Type { wanted: "a map", got: "a list with an odd number of items" })?;
            map.insert(K::from_reply(key)?, V::from_reply(value)?);
        }
        Ok(map)
    }
}

macro_rules! tuples {
    ($($count:literal: $($item:ident)*;)*) => {$(
        impl<$($item: FromReply),*> FromReply for ($($item,)*) {
            fn from_reply(reply: Reply) -> Result<($($item,)*)> {
                const WANTED: &str = concat!("a tuple of ", $count);
                let items = items(reply, WANTED)?;
                if items.len() != $count {
                    return Err(Error::Type { wanted: WANTED, got: "a list of another length" });
                }
                let mut items = items.into_iter();
                // The length was checked: none is missing.
                Ok(($($item::from_reply(items.next().unwrap_or_default())?,)*))
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
}

/// Returns the items of a list, a set, a map or a push.
fn items(reply: Reply, wanted: &'static str) -> Result<Vec<Reply>> {
    match reply {
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Ok(items),
        Reply::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        reply => Err(mismatch(wanted, reply)),
    }
}

fn whole_number(reply: &Reply) -> Option<i64> {
    match reply {
        Reply::Integer(value) => Some(*value),
        Reply::Bool(value) => Some(i64::from(*value)),
        reply => text(reply).and_then(parse_integer),
    }
}

/// Returns the bytes of a text.
fn text(reply: &Reply) -> Option<&[u8]> {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        Reply::Simple(text) => Some(text.as_bytes()),
        Reply::Verbatim { text, .. } => Some(text),
        Reply::BigNumber(digits) | Reply::Decimal(digits) => Some(digits.as_bytes()),
        _ => None,
    }
}

/// Returns the error for a reply of another kind.
fn mismatch(wanted: &'static str, reply: Reply) -> Error {
    let got = match reply {
        Reply::Error(text) => return Error::Reply(text.into_owned()),
        Reply::Ok => "OK",
        Reply::Simple(_) | Reply::Bulk(_) | Reply::Verbatim { .. } => "a text",
        Reply::Integer(_) | Reply::Double(_) | Reply::Decimal(_) | Reply::BigNumber(_) => "a number",
        Reply::Bool(_) => "true or false",
        Reply::Nil | Reply::NilArray | Reply::Nothing => "nil",
        Reply::Array(_) | Reply::Set(_) | Reply::Push(_) => "a list",
        Reply::Map(_) | Reply::Attribute(_) => "a map",
    };
    Error::Type { wanted, got }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Vec<Reply> {
        vec![
            Reply::Ok,
            Reply::simple("PONG"),
            Reply::Integer(1),
            Reply::Integer(-7),
            Reply::Double(1.5),
            Reply::Bool(true),
            Reply::BigNumber("18446744073709551615".to_owned()),
            Reply::bulk("12"),
            Reply::bulk(b"\xff"),
            Reply::text("txt"),
            Reply::Nil,
            Reply::NilArray,
            Reply::Array(vec![Reply::Integer(1), Reply::bulk("x")]),
            Reply::Set(vec![]),
            Reply::Map(vec![(Reply::bulk("k"), Reply::Integer(2))]),
        ]
    }

    /// Which of the kinds, by their places, can be read as `T`.
    fn readable<T: FromReply>() -> Vec<usize> {
        let read = kinds().into_iter().enumerate().filter_map(|(at, kind)| match T::from_reply(kind) {
            Ok(_) => Some(at),
            Err(error) => {
                assert!(matches!(error, Error::Type { .. }), "{error}");
                None
            }
        });
        read.collect()
    }

    #[test]
    fn each_type_takes_its_kinds_of_reply_and_no_others() {
        assert_eq!(readable::<()>(), (0..kinds().len()).collect::<Vec<_>>());
        assert_eq!(readable::<Reply>(), (0..kinds().len()).collect::<Vec<_>>());
        assert_eq!(readable::<bool>(), [0, 2, 5, 10, 11]);
        assert_eq!(readable::<i64>(), [2, 3, 5, 7]);
        assert_eq!(readable::<u64>(), [2, 5, 6, 7]);
        assert_eq!(readable::<f64>(), [2, 3, 4, 6, 7]);
        assert_eq!(readable::<Vec<u8>>(), [0, 1, 2, 3, 4, 6, 7, 8, 9]);
        assert_eq!(readable::<String>(), [0, 1, 2, 3, 4, 6, 7, 9]);
        assert_eq!(readable::<Option<i64>>(), [2, 3, 5, 7, 10, 11]);
        assert_eq!(readable::<Vec<String>>(), [12, 13, 14]);
        assert_eq!(readable::<(i64, String)>(), [12]);
        assert_eq!(readable::<HashMap<String, String>>(), [12, 13, 14]);
    }

    #[test]
    fn an_error_reply_is_an_error_for_every_type_at_every_depth() {
        fn check<T: FromReply>(reply: Reply) {
            let error = T::from_reply(reply).err().unwrap();
            assert!(matches!(error, Error::Reply(text) if text == "ERR no"));
        }
        let no = || Reply::error("ERR no");
        check::<()>(no());
        check::<bool>(no());
        check::<i64>(no());
        check::<f64>(no());
        check::<String>(no());
        check::<Vec<u8>>(no());
        check::<Option<i64>>(no());
        check::<Vec<i64>>(no());
        check::<(i64, i64)>(no());
        check::<HashMap<String, i64>>(no());
        check::<Reply>(no());
        check::<Vec<Vec<i64>>>(Reply::Array(vec![Reply::Array(vec![no()])]));
    }

    #[test]
    fn numbers_keep_their_value_or_are_refused() {
        assert_eq!(u64::from_reply(Reply::BigNumber(u64::MAX.to_string())).unwrap(), u64::MAX);
        assert!(i64::from_reply(Reply::BigNumber(u64::MAX.to_string())).is_err());
        assert!(u32::from_reply(Reply::Integer(1 << 40)).is_err());
        assert!(i64::from_reply(Reply::Double(1.5)).is_err());
        assert_eq!(f64::from_reply(Reply::bulk("1e3")).unwrap(), 1000.0);
        assert_eq!(Vec::<u8>::from_reply(Reply::Double(0.5)).unwrap(), b"0.5");
    }
}
