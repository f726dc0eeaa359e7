//! Record: one effect, as bytes. Invariant: replaying the log from a snapshot's start over the snapshot, which already holds
//! part of it, ends in the state that the store had. Records are therefore absolute and idempotent, but for
//! [`Copy`](Record::Copy).
//!
//! Encoded with `bincode` 2 (its standard configuration: variable-length integers, little-endian). A new kind of record
//! is added at the end of the enum, because its position is its code in every log ever written.

use bincode::config::{self, Config};
use bincode::enc::write::Writer;
use bincode::error::{DecodeError, EncodeError};
use bincode::{BorrowDecode, Encode};

/// One effect on the store. Deadlines are absolute Unix milliseconds, with 0 for none.
#[derive(Encode, BorrowDecode, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Record<'a> {
    /// The key has this value and deadline.
    Set { keyspace: u32, key: &'a [u8], value: &'a [u8], deadline: u64 },
    /// The key is gone.
    Delete { keyspace: u32, key: &'a [u8] },
    /// The key, if there, has this deadline.
    Deadline { keyspace: u32, key: &'a [u8], deadline: u64 },
    /// The value, if there, has these bytes at `offset` and is `len` bytes long (zero-filled, or cut).
    Range { keyspace: u32, key: &'a [u8], offset: u64, bytes: &'a [u8], len: u64 },
    /// The keyspace is empty.
    Flush { keyspace: u32 },
    /// The name means this keyspace, whatever it or another name meant before.
    Bind { keyspace: u32, name: &'a str },
    /// The keyspace is empty and has no name; its number is not used again.
    Drop { keyspace: u32 },
    /// The store's time was at least this.
    Time { ms: u64 },
    /// The key has the value that another key has at this point of the log, and this deadline. The only record that is not
    /// absolute: it is written only where replay is exact: while no [snapshot](crate::recovery::snapshot) is written, or after the whole
    /// value of the other key, given to the log since the snapshot's start.
    Copy { keyspace: u32, key: &'a [u8], from_keyspace: u32, from: &'a [u8], deadline: u64 },
}

fn configuration() -> impl Config {
    config::standard()
}

struct VecWriter<'a>(&'a mut Vec<u8>);

impl Writer for VecWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl<'a> Record<'a> {
    /// Appends the record to `out`.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // Writing to a Vec cannot fail, and no field has a form that bincode refuses.
        let written = bincode::encode_into_writer(self, VecWriter(out), configuration());
        debug_assert!(written.is_ok());
    }

    /// Takes the first record off `input`.
    #[inline]
    pub(crate) fn decode(input: &mut &'a [u8]) -> Result<Record<'a>, DecodeError> {
        let (record, consumed) = bincode::borrow_decode_from_slice(input, configuration())?;
        *input = &input[consumed..];
        Ok(record)
    }
}

/// Appends a [`Record::Set`] to `out`, but for its value, which has `value_len` bytes. Returns where it belongs.
pub(crate) fn encode_set_without_value(
    keyspace: u32,
    key: &[u8],
    value_len: usize,
    deadline: u64,
    out: &mut Vec<u8>,
) -> usize {
    const SET: u32 = 0;
    let written = bincode::encode_into_writer((SET, keyspace, key, value_len as u64), VecWriter(out), configuration());
    let at = out.len();
    let after = bincode::encode_into_writer(deadline, VecWriter(out), configuration());
    debug_assert!(written.is_ok() && after.is_ok());
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let records = [
            Record::Set { keyspace: 0, key: b"", value: b"", deadline: 0 },
            Record::Set { keyspace: 7, key: b"k", value: &[0; 300], deadline: u64::MAX },
            Record::Delete { keyspace: u32::MAX, key: b"gone" },
            Record::Deadline { keyspace: 1, key: b"k", deadline: 1 },
            Record::Range { keyspace: 1, key: b"k", offset: 1 << 40, bytes: b"xyz", len: 3 },
            Record::Flush { keyspace: 3 },
            Record::Bind { keyspace: 3, name: "sessions" },
            Record::Drop { keyspace: 3 },
            Record::Time { ms: 1_700_000_000_000 },
            Record::Copy { keyspace: 1, key: b"k", from_keyspace: 2, from: b"from", deadline: 9 },
        ];
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        let mut rest = &bytes[..];
        for record in &records {
            assert_eq!(Record::decode(&mut rest).expect("decodes"), *record);
        }
        assert!(rest.is_empty());
    }

    /// A log written today must be readable by every later version.
    #[test]
    fn the_encoding_is_fixed() {
        let mut bytes = Vec::new();
        Record::Set { keyspace: 1, key: b"k", value: b"v", deadline: 0 }.encode(&mut bytes);
        Record::Time { ms: 5 }.encode(&mut bytes);
        Record::Copy { keyspace: 1, key: b"k", from_keyspace: 2, from: b"f", deadline: 0 }.encode(&mut bytes);
        assert_eq!(bytes, [0, 1, 1, b'k', 1, b'v', 0, 7, 5, 8, 1, 1, b'k', 2, 1, b'f', 0]);
    }

    #[test]
    fn a_length_beyond_the_input_is_an_error() {
        let mut input = &[1, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255][..];
        assert!(Record::decode(&mut input).is_err());
        assert!(Record::decode(&mut &[99][..]).is_err(), "so is a kind nobody knows");
    }
}
