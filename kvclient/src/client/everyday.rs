//! A method for each everyday command.
//!
//! Invariant: a method gives the same results over RESP2, RESP3 and each style of the line protocol, or fails with
//! [`Error::LineProtocol`] before anything is sent.

use super::line_reply::Shape;
use super::set_options::{milliseconds, unix_milliseconds};
use super::{Client, Expiry, SetOptions};
use crate::error::{Error, Result};
use crate::from_reply::FromReply;
use kvproto::Reply;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a key expires; see [`Client::ttl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// It does not expire.
    Never,
    /// After this time.
    In(Duration),
}

impl Client {
    // Values.

    /// Returns the value of `key`, read as `T`; `None` if there is no such key.
    ///
    /// Over the line protocol this is MGET, whose replies show a value exactly.
    ///
    /// # Errors
    ///
    /// [`Error::Type`] if the value cannot be read as `T`; [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("n", "12")?;
    /// assert_eq!(client.get::<i64>("n")?, Some(12));
    /// assert_eq!(client.get::<Vec<u8>>("n")?, Some(b"12".to_vec()));
    /// let missing: Option<String> = client.get("missing")?;
    /// assert_eq!(missing, None);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn get<T: FromReply>(&mut self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        if self.is_line() {
            return Ok(self.mget([key])?.pop().flatten());
        }
        self.ask(Shape::Value, &[b"GET", key.as_ref()])
    }

    /// Sets `key` to `value`; it does not expire.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// client.set(b"\x00binary", vec![0, 255])?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.ask(Shape::Done, &[b"SET", key.as_ref(), value.as_ref()])
    }

    /// Sets `key` to `value` with a condition or an expiry; returns whether it was set.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::SetOptions;
    ///
    /// assert!(client.set_with("k", "1", &SetOptions::new().if_absent())?);
    /// assert!(!client.set_with("k", "2", &SetOptions::new().if_absent())?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_with(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: &SetOptions) -> Result<bool> {
        let options = options.words();
        let mut words: Vec<&[u8]> = vec![b"SET", key.as_ref(), value.as_ref()];
        words.extend(options.iter().map(String::as_bytes));
        self.ask(Shape::Done, &words)
    }

    /// Sets `key` to `value`, to expire after `ttl`, which is rounded up to milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if `ttl` is zero; a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::Duration;
    ///
    /// client.set_ex("session", "alice", Duration::from_secs(1_800))?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_ex(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) -> Result<()> {
        let ttl = milliseconds(ttl).to_string();
        self.ask(Shape::Done, &[b"PSETEX", key.as_ref(), ttl.as_bytes(), value.as_ref()])
    }

    /// Sets `key` to `value` if there is no such key; returns whether it was set.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert!(client.set_nx("lock", "mine")?);
    /// assert!(!client.set_nx("lock", "theirs")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_nx(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool> {
        self.ask(Shape::Number, &[b"SETNX", key.as_ref(), value.as_ref()])
    }

    /// Sets `key` to `value` and returns the value it had.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.get_set::<String>("k", "new")?, None);
    /// assert_eq!(client.get_set::<String>("k", "newer")?, Some("new".to_owned()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn get_set<T: FromReply>(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.ask(Shape::Value, &[b"GETSET", key.as_ref(), value.as_ref()])
    }

    /// Removes `key` and returns the value it had.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// assert_eq!(client.get_del::<String>("k")?, Some("v".to_owned()));
    /// assert_eq!(client.get_del::<String>("k")?, None);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn get_del<T: FromReply>(&mut self, key: impl AsRef<[u8]>) -> Result<Option<T>> {
        self.ask(Shape::Value, &[b"GETDEL", key.as_ref()])
    }

    /// Returns the value of `key` and changes when it expires.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::Expiry;
    /// use std::time::Duration;
    ///
    /// client.set("session", "alice")?;
    /// let name = client.get_ex::<String>("session", Expiry::In(Duration::from_secs(60)))?;
    /// assert_eq!(name.as_deref(), Some("alice"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn get_ex<T: FromReply>(&mut self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<Option<T>> {
        let expiry = expiry.words();
        let mut words: Vec<&[u8]> = vec![b"GETEX", key.as_ref()];
        words.extend(expiry.iter().map(String::as_bytes));
        self.ask(Shape::Value, &words)
    }

    /// Returns the values of keys, in their order; `None` for those that do not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("a", "1"), ("b", "2")])?;
    /// assert_eq!(client.mget::<i64>(["a", "missing", "b"])?, [Some(1), None, Some(2)]);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn mget<T: FromReply>(&mut self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<Option<T>>> {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut values: Vec<Option<Reply>> = self.ask_about(Shape::Items, "MGET", &keys)?;
        if self.is_line() {
            // A line shows nil as it shows the value "(nil)", which has five bytes.
            for (key, value) in keys.iter().zip(&mut values).filter(|(_, value)| value.is_none()) {
                if self.strlen(key)? == 5 {
                    *value = Some(Reply::bulk("(nil)"));
                }
            }
        }
        values.into_iter().map(|value| value.map(T::from_reply).transpose()).collect()
    }

    /// Sets keys to values, all at once; returns how many pairs there were.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.mset([("a", "1"), ("b", "2")])?, 2);
    /// assert_eq!(client.mset(std::collections::BTreeMap::from([("c", "3")]))?, 1);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn mset<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<usize> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        if !pairs.is_empty() {
            self.ask::<()>(Shape::Done, &pair_words(b"MSET", &pairs))?;
        }
        Ok(pairs.len())
    }

    /// Sets keys to values, all at once, if none of the keys exists; returns whether they were set.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert!(client.mset_nx([("a", "1"), ("b", "2")])?);
    /// assert!(!client.mset_nx([("b", "3"), ("c", "4")])?);
    /// assert!(!client.exists("c")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn mset_nx<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<bool> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.ask(Shape::Number, &pair_words(b"MSETNX", &pairs))
    }

    /// Appends bytes to the value of `key`, which is created if it does not exist; returns the value's length.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.append("log", "one ")?, 4);
    /// assert_eq!(client.append("log", "two")?, 7);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn append(&mut self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) -> Result<u64> {
        self.ask(Shape::Number, &[b"APPEND", key.as_ref(), bytes.as_ref()])
    }

    /// Returns the length of the value of `key`, in bytes; 0 if there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "four")?;
    /// assert_eq!((client.strlen("k")?, client.strlen("missing")?), (4, 0));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn strlen(&mut self, key: impl AsRef<[u8]>) -> Result<u64> {
        self.ask(Shape::Number, &[b"STRLEN", key.as_ref()])
    }

    /// Returns a part of the value of `key`: from the byte at `first` to the one at `last`, counted from 0, or from -1 at the end.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "hello world")?;
    /// assert_eq!(client.get_range::<String>("k", 0, 4)?, "hello");
    /// assert_eq!(client.get_range::<Vec<u8>>("k", -5, -1)?, b"world");
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn get_range<T: FromReply>(&mut self, key: impl AsRef<[u8]>, first: i64, last: i64) -> Result<T> {
        let (first, last) = (first.to_string(), last.to_string());
        self.ask(Shape::Value, &[b"GETRANGE", key.as_ref(), first.as_bytes(), last.as_bytes()])
    }

    /// Overwrites a part of the value of `key`, from the byte at `offset` on; what lies between the old end and it becomes zeros.
    /// Returns the value's length.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "hello world")?;
    /// assert_eq!(client.set_range("k", 6, "there")?, 11);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_range(&mut self, key: impl AsRef<[u8]>, offset: u64, bytes: impl AsRef<[u8]>) -> Result<u64> {
        let offset = offset.to_string();
        self.ask(Shape::Number, &[b"SETRANGE", key.as_ref(), offset.as_bytes(), bytes.as_ref()])
    }

    // Numbers.

    /// Adds 1 to the number at `key`, which is 0 if there is no such key; returns the sum.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the value is no number, or the result would be out of range.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.incr("visits")?, 1);
    /// assert_eq!(client.incr("visits")?, 2);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn incr(&mut self, key: impl AsRef<[u8]>) -> Result<i64> {
        self.ask(Shape::Number, &[b"INCR", key.as_ref()])
    }

    /// Adds `amount` to the number at `key`; returns the sum.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the value is no number, or the result would be out of range.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.incr_by("visits", 10)?, 10);
    /// assert_eq!(client.incr_by("visits", -3)?, 7);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn incr_by(&mut self, key: impl AsRef<[u8]>, amount: i64) -> Result<i64> {
        let amount = amount.to_string();
        self.ask(Shape::Number, &[b"INCRBY", key.as_ref(), amount.as_bytes()])
    }

    /// Adds `amount` to the number at `key`, which may have a fraction; returns the sum.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the value is no number, or the result would be out of range.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.incr_by_float("sum", 1.5)?, 1.5);
    /// assert_eq!(client.incr_by_float("sum", -0.25)?, 1.25);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn incr_by_float(&mut self, key: impl AsRef<[u8]>, amount: f64) -> Result<f64> {
        let amount = amount.to_string();
        self.ask(Shape::Text, &[b"INCRBYFLOAT", key.as_ref(), amount.as_bytes()])
    }

    /// Subtracts 1 from the number at `key`; returns the difference.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the value is no number, or the result would be out of range.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("left", "3")?;
    /// assert_eq!(client.decr("left")?, 2);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn decr(&mut self, key: impl AsRef<[u8]>) -> Result<i64> {
        self.ask(Shape::Number, &[b"DECR", key.as_ref()])
    }

    /// Subtracts `amount` from the number at `key`; returns the difference.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the value is no number, or the result would be out of range.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("left", "30")?;
    /// assert_eq!(client.decr_by("left", 10)?, 20);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn decr_by(&mut self, key: impl AsRef<[u8]>, amount: i64) -> Result<i64> {
        let amount = amount.to_string();
        self.ask(Shape::Number, &[b"DECRBY", key.as_ref(), amount.as_bytes()])
    }

    // Keys.

    /// Removes `key`; returns whether it existed.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// assert!(client.delete("k")?);
    /// assert!(!client.delete("k")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.delete_all([key])? > 0)
    }

    /// Removes keys; returns how many of them existed.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("a", "1"), ("b", "2")])?;
    /// assert_eq!(client.delete_all(["a", "b", "missing"])?, 2);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn delete_all(&mut self, keys: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<u64> {
        let keys: Vec<_> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(0);
        }
        // A line of the line protocol has words of its own for DEL of one key, but not for this.
        let command = if self.is_line() { "UNLINK" } else { "DEL" };
        self.ask_about(Shape::Number, command, keys)
    }

    /// Returns whether `key` exists.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// assert!(client.exists("k")? && !client.exists("missing")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn exists(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.ask(Shape::Number, &[b"EXISTS", key.as_ref()])
    }

    /// Lets `key` expire after `ttl`, which is rounded up to milliseconds; returns whether it exists. A `ttl` of zero removes it.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::Duration;
    ///
    /// client.set("k", "v")?;
    /// assert!(client.expire("k", Duration::from_secs(60))?);
    /// assert!(!client.expire("missing", Duration::from_secs(60))?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn expire(&mut self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool> {
        let ttl = milliseconds(ttl).to_string();
        self.ask(Shape::Number, &[b"PEXPIRE", key.as_ref(), ttl.as_bytes()])
    }

    /// Lets `key` expire at `time`; returns whether it exists. A time that has passed removes it.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::{Duration, SystemTime};
    ///
    /// client.set("k", "v")?;
    /// assert!(client.expire_at("k", SystemTime::now() + Duration::from_secs(60))?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn expire_at(&mut self, key: impl AsRef<[u8]>, time: SystemTime) -> Result<bool> {
        let time = unix_milliseconds(time).to_string();
        self.ask(Shape::Number, &[b"PEXPIREAT", key.as_ref(), time.as_bytes()])
    }

    /// Lets `key` no longer expire; returns whether it would have.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::Duration;
    ///
    /// client.set_ex("k", "v", Duration::from_secs(60))?;
    /// assert!(client.persist("k")?);
    /// assert!(!client.persist("k")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn persist(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.ask(Shape::Number, &[b"PERSIST", key.as_ref()])
    }

    /// Returns when `key` expires.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use kvclient::Ttl;
    /// use std::time::Duration;
    ///
    /// assert_eq!(client.ttl("k")?, Ttl::Missing);
    /// client.set("k", "v")?;
    /// assert_eq!(client.ttl("k")?, Ttl::Never);
    /// client.expire("k", Duration::from_secs(60))?;
    /// assert!(matches!(client.ttl("k")?, Ttl::In(left) if left <= Duration::from_secs(60)));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn ttl(&mut self, key: impl AsRef<[u8]>) -> Result<Ttl> {
        Ok(match self.ask::<i64>(Shape::Number, &[b"PTTL", key.as_ref()])? {
            -2 => Ttl::Missing,
            // -1, or what no server sends.
            ..0 => Ttl::Never,
            left => Ttl::In(Duration::from_millis(left.unsigned_abs())),
        })
    }

    /// Renames a key; what has the new name is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if there is no such key; a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("old", "v")?;
    /// client.rename("old", "new")?;
    /// assert!(client.exists("new")? && !client.exists("old")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn rename(&mut self, key: impl AsRef<[u8]>, new: impl AsRef<[u8]>) -> Result<()> {
        self.ask(Shape::Done, &[b"RENAME", key.as_ref(), new.as_ref()])
    }

    /// Returns the type of the value of `key`, `string`; `none` if there is no such key.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// assert_eq!((client.key_type("k")?, client.key_type("missing")?), ("string".to_owned(), "none".to_owned()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn key_type(&mut self, key: impl AsRef<[u8]>) -> Result<String> {
        self.ask(Shape::Text, &[b"TYPE", key.as_ref()])
    }

    /// Returns all keys that match a pattern (`*`, `?`, `[a-z]`), in one reply. For many keys, [`Client::scan`] is better.
    ///
    /// Over the line protocol a key that is called `(nil)` is shown as it is.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("user:1", "a"), ("other", "b")])?;
    /// assert_eq!(client.keys::<String>("user:*")?, ["user:1"]);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn keys<T: FromReply>(&mut self, pattern: impl AsRef<[u8]>) -> Result<Vec<T>> {
        let keys: Vec<Reply> = self.ask(Shape::Items, &[b"KEYS", pattern.as_ref()])?;
        // In a list of keys none is nil.
        let keys = keys.into_iter().map(|key| if key == Reply::Nil { Reply::bulk("(nil)") } else { key });
        keys.map(T::from_reply).collect()
    }

    /// Returns one of the keys, at random; `None` if there are none.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.random_key::<String>()?, None);
    /// client.set("k", "v")?;
    /// assert_eq!(client.random_key::<String>()?, Some("k".to_owned()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn random_key<T: FromReply>(&mut self) -> Result<Option<T>> {
        self.ask(Shape::Value, &[b"RANDOMKEY"])
    }

    // The database and the server.

    /// Removes all keys of the database; returns how many there were. A command of kv, which Redis does not have.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("a", "1"), ("b", "2")])?;
    /// assert_eq!(client.flush()?, 2);
    /// assert_eq!(client.flush()?, 0);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn flush(&mut self) -> Result<u64> {
        self.ask(Shape::Number, &[b"FLUSH"])
    }

    /// Returns how many keys the database has.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// assert_eq!(client.dbsize()?, 1);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn dbsize(&mut self) -> Result<u64> {
        self.ask(Shape::Number, &[b"DBSIZE"])
    }

    /// Writes a snapshot of all databases, and returns when it is on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the server cannot; a failure of the connection. [`Error::TimedOut`] if it takes longer than
    /// [`Options::reply_timeout`](crate::Options::reply_timeout): then it goes on.
    ///
    /// ```
    /// # let (_server, mut client, _dir) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/stored.in"));
    /// client.save()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn save(&mut self) -> Result<()> {
        self.ask(Shape::Done, &[b"SAVE"])
    }

    /// Begins to write a snapshot of all databases; [`Client::lastsave`] shows when it is done.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the server cannot, or is writing one already; a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client, _dir) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/stored.in"));
    /// client.bgsave()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn bgsave(&mut self) -> Result<()> {
        self.ask(Shape::Done, &[b"BGSAVE"])
    }

    /// Returns when a snapshot was last written, in whole seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// use std::time::SystemTime;
    ///
    /// assert!(client.lastsave()? <= SystemTime::now());
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn lastsave(&mut self) -> Result<SystemTime> {
        let seconds: u64 = self.ask(Shape::Number, &[b"LASTSAVE"])?;
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .ok_or(Error::Type { wanted: "a time", got: "a number out of range" })
    }

    /// Returns what the server says of itself in one section of INFO (`server`, `memory`, `stats`, ...) or `all`.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.info("clients")?.get("connected_clients").map(String::as_str), Some("1"));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn info(&mut self, section: &str) -> Result<HashMap<String, String>> {
        let text: String = self.ask(Shape::Quoted, &[b"INFO", section.as_bytes()])?;
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Ok(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Publishes a message on `channel`; returns how many clients received it.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// let mut news = client.subscribe(["news"])?;
    /// assert_eq!(client.publish("news", "rain")?, 1);
    /// assert_eq!(news.next().expect("one more, or an error")?.payload, b"rain");
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn publish(&mut self, channel: impl AsRef<[u8]>, message: impl AsRef<[u8]>) -> Result<u64> {
        self.ask(Shape::Number, &[b"PUBLISH", channel.as_ref(), message.as_ref()])
    }

    // The connection.

    /// Returns when the server has replied.
    ///
    /// # Errors
    ///
    /// A failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.ping()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn ping(&mut self) -> Result<()> {
        self.ask(Shape::Text, &[b"PING"])
    }

    /// Selects the database that the requests to come are about, also on the connections to come.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if there is no such database; a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set("k", "v")?;
    /// client.select(1)?;
    /// assert!(!client.exists("k")?);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn select(&mut self, db: u32) -> Result<()> {
        let db = db.to_string();
        self.ask(Shape::Done, &[b"SELECT", db.as_bytes()])
    }

    /// Logs in as another user, also on the connections to come; the first login is in the address.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the server refuses: then the connection is logged in as before.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.execute::<()>(["ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read"])?;
    /// client.auth("reader", "secret")?;
    /// assert!(client.set("k", "v").is_err());
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn auth(&mut self, user: &str, password: &str) -> Result<()> {
        self.ask(Shape::Done, &[b"AUTH", user.as_bytes(), password.as_bytes()])
    }

    /// Names the connection, and those to come, as CLIENT LIST shows it; an empty name is none.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] if the name has blanks; a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.set_name("worker-7")?;
    /// assert_eq!(client.client_name()?, Some("worker-7".to_owned()));
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn set_name(&mut self, name: &str) -> Result<()> {
        self.ask(Shape::Done, &[b"CLIENT", b"SETNAME", name.as_bytes()])
    }

    /// Returns the connection's name, as the server knows it.
    ///
    /// # Errors
    ///
    /// [`Error::LineProtocol`] over the line protocol, which does not show values exactly.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert_eq!(client.client_name()?, None);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn client_name(&mut self) -> Result<Option<String>> {
        let name: Option<String> = self.ask(Shape::Value, &[b"CLIENT", b"GETNAME"])?;
        // Redis 6 shows no name as an empty one.
        Ok(name.filter(|name| !name.is_empty()))
    }

    /// Returns the connection's id, as CLIENT LIST shows it; another after each connection that was lost.
    ///
    /// # Errors
    ///
    /// [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// assert!(client.client_id()? > 0);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn client_id(&mut self) -> Result<i64> {
        self.ask(Shape::Number, &[b"CLIENT", b"ID"])
    }

    /// Sends a command about several keys.
    pub(super) fn ask_about<T: FromReply>(
        &mut self,
        shape: Shape,
        command: &str,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<T> {
        let keys: Vec<_> = keys.into_iter().collect();
        let mut words: Vec<&[u8]> = vec![command.as_bytes()];
        words.extend(keys.iter().map(AsRef::as_ref));
        self.ask(shape, &words)
    }
}

/// Returns a command's words: its name, and keys and values in turn.
fn pair_words<'p, K: AsRef<[u8]>, V: AsRef<[u8]>>(command: &'p [u8], pairs: &'p [(K, V)]) -> Vec<&'p [u8]> {
    let mut words = vec![command];
    words.extend(pairs.iter().flat_map(|(key, value)| [key.as_ref(), value.as_ref()]));
    words
}
