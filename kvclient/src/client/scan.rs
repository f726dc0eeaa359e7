//! All keys, a page at a time.
//!
//! Invariant: after an error, or the last key, there are no more keys.

use super::Client;
use super::line_reply::Shape;
use crate::error::{Error, Result};
use std::vec;

/// An iterator over the keys of the database; made by [`Client::scan`].
#[derive(Debug)]
pub struct Scan<'c> {
    client: &'c mut Client,
    /// Where the next page begins; `None` if there is none.
    cursor: Option<Vec<u8>>,
    pattern: Option<Vec<u8>>,
    page_keys: u32,
    page: vec::IntoIter<Vec<u8>>,
}

impl Client {
    /// Returns an iterator over all keys of the database, which asks for a page of them at a time and so blocks nobody. A key
    /// that exists from beginning to end is returned; one may be returned twice; one that comes or goes meanwhile may be
    /// returned or not.
    ///
    /// # Errors
    ///
    /// The iterator ends after its first error: [`Error::LineProtocol`] over the line protocol, which has
    /// [`Client::keys`]; [`Error::Reply`] or a failure of the connection.
    ///
    /// ```
    /// # let (_server, mut client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// client.mset([("user:1", "a"), ("user:2", "b"), ("other", "c")])?;
    /// let mut users: Vec<Vec<u8>> = client.scan().matching("user:*").page_keys(100).collect::<Result<_, _>>()?;
    /// users.sort();
    /// assert_eq!(users, [b"user:1", b"user:2"]);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn scan(&mut self) -> Scan<'_> {
        Scan {
            client: self,
            cursor: Some(b"0".to_vec()),
            pattern: None,
            page_keys: 1_000,
            page: Vec::new().into_iter(),
        }
    }
}

impl Scan<'_> {
    /// Returns only keys that match a pattern: `*`, `?`, `[a-z]`.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// client.mset([("user:1", "a"), ("other", "b")])?;
    /// assert_eq!(client.scan().matching("user:*").count(), 1);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn matching(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.pattern = Some(pattern.as_ref().to_vec());
        self
    }

    /// Sets how many keys the server looks at for a page; 1,000 unless changed.
    ///
    /// ```
    /// # let (_server, client) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doctests/server.in"));
    /// # let mut client = client;
    /// client.mset([("a", "1"), ("b", "2")])?;
    /// assert_eq!(client.scan().page_keys(1).count(), 2);
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    #[must_use]
    pub fn page_keys(mut self, keys: u32) -> Self {
        self.page_keys = keys.max(1);
        self
    }

    /// Asks for the page at `cursor`.
    fn next_page(&mut self, cursor: &[u8]) -> Result<()> {
        if self.client.is_line() {
            return Err(Error::LineProtocol { what: "SCAN for programs" });
        }
        let count = self.page_keys.to_string();
        let mut words: Vec<&[u8]> = vec![b"SCAN", cursor, b"COUNT", count.as_bytes()];
        if let Some(pattern) = &self.pattern {
            words.extend([&b"MATCH"[..], pattern]);
        }
        let (next, keys): (Vec<u8>, Vec<Vec<u8>>) = self.client.ask(Shape::Any, &words)?;
        self.cursor = (next != b"0").then_some(next);
        self.page = keys.into_iter();
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Result<Vec<u8>>> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let cursor = self.cursor.take()?;
            if let Err(error) = self.next_page(&cursor) {
                return Some(Err(error));
            }
        }
    }
}
