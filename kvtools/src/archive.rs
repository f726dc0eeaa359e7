//! The archive that a backup is sent and kept as: plain files one behind the other in POSIX `ustar` form, so that `tar` can
//! list and unpack it.
//!
//! Invariant: an entry is what a backup writes, to the byte, or it is refused: so there is no link, path, device or extension
//! to be careful with.
//!
//! Before each file stands a header of 512 bytes, behind it zeros up to a multiple of 512; behind the last two blocks of
//! zeros. A length that 11 octal digits cannot spell is in base 256, as GNU tar and libarchive write it.

/// Headers and files begin at multiples of this many bytes.
pub const BLOCK_BYTES: usize = 512;
/// What an archive ends with.
pub const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];
/// The longest name that fits.
const NAME_BYTES_MAX: usize = 99;
/// The longest length of 11 octal digits.
const OCTAL_MAX: u64 = (1 << 33) - 1;

/// Describes one file of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Without directories.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Unix seconds.
    pub modified: u64,
}

/// Returns how many zeros follow a file of `bytes`.
#[must_use]
pub fn padding(bytes: u64) -> u64 {
    bytes.wrapping_neg() % BLOCK_BYTES as u64
}

impl Entry {
    /// Returns the header that stands before the file.
    #[must_use]
    pub fn header(&self) -> [u8; BLOCK_BYTES] {
        let mut header = [0; BLOCK_BYTES];
        let name = self.name.as_bytes();
        let name = &name[..name.len().min(NAME_BYTES_MAX)];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(b"0000600");
        // Owner and group: nobody in particular, so that no name or number of this machine is told.
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        number(&mut header[124..136], self.bytes);
        number(&mut header[136..148], self.modified);
        // The checksum counts its own place as blanks.
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header
    }

    /// Returns the entry that this is the header of.
    ///
    /// # Errors
    ///
    /// What it is instead.
    pub fn of_header(header: &[u8; BLOCK_BYTES]) -> Result<Entry, String> {
        if &header[257..265] != b"ustar\x0000" {
            return Err("it is not an archive as BACKUP and `kvclient backup` write it".to_owned());
        }
        let end = header[..100].iter().position(|byte| *byte == 0).unwrap_or(100);
        let name = String::from_utf8_lossy(&header[..end]).into_owned();
        let entry = match (read_number(&header[124..136]), read_number(&header[136..148])) {
            (Some(bytes), Some(modified)) => Entry { name, bytes, modified },
            _ => return Err(format!("the header of {name:?} is damaged")),
        };
        match entry.header() == *header {
            true => Ok(entry),
            false => Err(format!("the entry {:?} is damaged, or not one that a backup writes", entry.name)),
        }
    }
}

/// Spells a number, in octal digits if they suffice.
fn number(field: &mut [u8], value: u64) {
    if value <= OCTAL_MAX {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..12].copy_from_slice(&value.to_be_bytes());
    }
}

fn read_number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return field.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    }
    let digits = std::str::from_utf8(&field[..11]).ok()?;
    u64::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_nothing_that_is_like_one_does() {
        for bytes in [0, 1, 511, OCTAL_MAX, OCTAL_MAX + 1, u64::MAX] {
            let entry = Entry { name: "wal-0000000000000001.log".to_owned(), bytes, modified: 1_800_000_000 };
            let header = entry.header();
            assert_eq!(Entry::of_header(&header), Ok(entry));
            for bit in 0..BLOCK_BYTES * 8 {
                let mut damaged = header;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(Entry::of_header(&damaged).is_err(), "bit {bit}");
            }
        }
        assert!(Entry::of_header(&[0; BLOCK_BYTES]).is_err());
        assert!(Entry::of_header(&[0xff; BLOCK_BYTES]).is_err());
    }

    #[test]
    fn files_fill_whole_blocks() {
        for (bytes, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(bytes), zeros);
        }
    }
}
