//! INFO's section about the sizes of values, as Redis 8.0 has it: how many values of each database are of what length.
//!
//! Invariant: commands keep no counts for it: a request for the section walks over all keys, in steps that hold no lock for
//! long. So it must not run on an event loop, nor inside EXEC.

use kvcore::Keyspace;
use kvcore::hooks::{Cursor, Scan};

/// Keys in one step.
const STEP_KEYS: usize = 512;
/// Empty values, then those of a length from 1 on, from 2 on, from 4 on, and so on.
const CLASSES: usize = 1 + usize::BITS as usize;

/// How many values of one database are of what length.
#[derive(Clone, Copy, Debug)]
pub struct KeySizes {
    /// The database.
    pub database: usize,
    counts: [u64; CLASSES],
}

/// Scans these databases, and returns the sizes of each that has keys, in their order.
///
/// # Errors
///
/// If the store is closed.
pub fn key_sizes<'k>(databases: impl Iterator<Item = (usize, &'k Keyspace)>) -> kvcore::Result<Vec<KeySizes>> {
    let mut all = Vec::new();
    for (database, keyspace) in databases {
        let mut counts = [0; CLASSES];
        let mut cursor = Cursor::START;
        loop {
            cursor = keyspace.scan_step(cursor, STEP_KEYS, &mut |_, value| counts[class(value.bytes().len())] += 1)?;
            if cursor.is_end() {
                break;
            }
        }
        if counts.iter().any(|count| *count > 0) {
            all.push(KeySizes { database, counts });
        }
    }
    all.sort_unstable_by_key(|sizes| sizes.database);
    Ok(all)
}

impl KeySizes {
    /// Returns them as INFO shows them: `1=5,1K=2` for five values of one byte and two of 1,024 to 2,047.
    #[must_use]
    pub fn show(&self) -> String {
        let classes = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        classes.map(|(class, count)| format!("{}={count}", label(class))).collect::<Vec<_>>().join(",")
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
