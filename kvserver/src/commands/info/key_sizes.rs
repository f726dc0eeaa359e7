//! INFO's section about the sizes of values, as Redis 8.0 has it: how many values of each database are of what length.
//!
//! Invariant: commands keep no counts for it: a request for the section walks over all keys, in steps that hold no lock for
//! long. So it must not run on an event loop, nor inside EXEC.

use kvcore::hooks::{Cursor, Walk};

use super::Fields;
use crate::databases;
use crate::state::ServerState;

/// Keys in one step.
const STEP_KEYS: usize = 512;
/// Empty values, then those of a length from 1 on, from 2 on, from 4 on, and so on.
const CLASSES: usize = 1 + usize::BITS as usize;

/// How many values of one database are of what length.
pub(crate) struct Sizes {
    database: usize,
    counts: [u64; CLASSES],
}

/// Walks over all databases, and returns the sizes of each that has keys.
///
/// # Errors
///
/// If the store is closed.
pub(crate) fn of(server: &ServerState) -> kvcore::Result<Vec<Sizes>> {
    let mut all = Vec::new();
    for keyspace in server.db.keyspaces() {
        let Some(database) = databases::index_of(keyspace.name()) else { continue };
        let mut counts = [0; CLASSES];
        let mut cursor = Cursor::START;
        loop {
            cursor = keyspace.walk(cursor, STEP_KEYS, &mut |_, value| counts[class(value.bytes().len())] += 1)?;
            if cursor.is_end() {
                break;
            }
        }
        if counts.iter().any(|count| *count > 0) {
            all.push(Sizes { database, counts });
        }
    }
    all.sort_unstable_by_key(|sizes| sizes.database);
    Ok(all)
}

pub(super) fn show(all: &[Sizes], fields: &mut Fields<'_>) {
    for Sizes { database, counts } in all {
        let classes = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let shown: Vec<String> = classes.map(|(class, count)| format!("{}={count}", label(class))).collect();
        fields.add(&format!("db{database}_distrib_strings_sizes"), shown.join(","));
    }
}

/// Returns the class of a length: 0 of an empty value, else one more than the power of two that it reaches.
fn class(len: usize) -> usize {
    (usize::BITS - len.leading_zeros()) as usize
}

/// Returns the least length in a class, with the units K, M, G.
fn label(class: usize) -> String {
    let Some(power) = class.checked_sub(1) else { return "0".to_owned() };
    let unit = ["", "K", "M", "G", "T", "P", "E"].get(power / 10).copied().unwrap_or_default();
    format!("{}{unit}", 1 << (power % 10))
}

#[cfg(test)]
mod tests {
    use super::{class, label};

    #[test]
    fn lengths_are_counted_by_the_power_of_two_that_they_reach() {
        for (len, shown) in [
            (0, "0"),
            (1, "1"),
            (2, "2"),
            (3, "2"),
            (4, "4"),
            (7, "4"),
            (512, "512"),
            (1023, "512"),
            (1024, "1K"),
            (2047, "1K"),
            (2048, "2K"),
            (1024 * 1024, "1M"),
            (512 * 1024 * 1024, "512M"),
            (1 << 30, "1G"),
        ] {
            assert_eq!(label(class(len)), shown, "{len}");
        }
    }
}
