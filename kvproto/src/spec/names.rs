//! The hash table of names behind [`lookup`](super::lookup). Invariant: each name and alias of a row has exactly one slot; the
//! compiler fills it from the rows.

use super::{COMMANDS, COUNT, Spec, TABLE};

/// A power of two, and several times the names, so that few collide.
const SLOTS_LEN: usize = 2048;
/// A slot without a command; no command has this index.
const FREE: u16 = u16::MAX;
const _: () = assert!(COUNT < FREE as usize && COUNT * 4 <= SLOTS_LEN);

/// A name or alias, and the index of its command.
#[derive(Clone, Copy)]
struct Slot {
    head: u64,
    len: u16,
    index: u16,
}

/// A name is in the slot that its hash gives, or in the first free one after it.
static SLOTS: [Slot; SLOTS_LEN] = slots();

const fn slots() -> [Slot; SLOTS_LEN] {
    let rows = &TABLE;
    let mut slots = [Slot { head: 0, len: 0, index: FREE }; SLOTS_LEN];
    let mut index = 0;
    while index < COUNT {
        slots = with_name(slots, rows[index].name, index);
        let mut alias = 0;
        while alias < rows[index].aliases.len() {
            slots = with_name(slots, rows[index].aliases[alias], index);
            alias += 1;
        }
        index += 1;
    }
    slots
}

const fn with_name(mut slots: [Slot; SLOTS_LEN], name: &str, index: usize) -> [Slot; SLOTS_LEN] {
    let head = head_of(name.as_bytes());
    let mut at = slot_of(head, name.len());
    while slots[at].index != FREE {
        at = (at + 1) % SLOTS_LEN;
    }
    slots[at] = Slot { head, len: name.len() as u16, index: index as u16 };
    slots
}

/// Returns the command of that name or alias, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    let head = head_of(name);
    let mut at = slot_of(head, name.len());
    loop {
        let slot = &SLOTS[at];
        let spec = COMMANDS.get(usize::from(slot.index))?;
        if slot.head == head && usize::from(slot.len) == name.len() && (name.len() <= HEAD_BYTES || spec.is_named(name))
        {
            return Some(spec);
        }
        at = (at + 1) % SLOTS_LEN;
    }
}

const HEAD_BYTES: usize = size_of::<u64>();

/// Returns the first bytes of a name as a number, letters in lower case. With its length it is the whole of a short name.
const fn head_of(name: &[u8]) -> u64 {
    let mut head = 0;
    let mut at = 0;
    while at < name.len() && at < HEAD_BYTES {
        head = head << 8 | name[at] as u64;
        at += 1;
    }
    in_lower_case(head)
}

/// Returns eight bytes with the letters of ASCII among them in lower case, all at once.
const fn in_lower_case(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    // A sum has the high bit of a byte set if the byte is no less than `A`, or more than `Z`.
    let low = bytes & !HIGH;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let past_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = from_a & !past_z & !bytes & HIGH;
    // From the bit of 128 to that of 32, which makes a letter a small one.
    bytes | upper >> 2
}

/// Returns where the search for a name begins, by multiplicative hashing (Knuth, The Art of Computer Programming, 6.4). Of some
/// factors that mix well, this one (of SplitMix64) lets the fewest names collide.
const fn slot_of(head: u64, len: usize) -> usize {
    let hash = (head ^ len as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (hash >> (u64::BITS - SLOTS_LEN.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_nothing_else_are_put_in_lower_case() {
        for byte in 0..=u8::MAX {
            for at in 0..HEAD_BYTES {
                let mut bytes = *b"a[Z@\xff\0A\x7f";
                bytes[at] = byte;
                let folded = in_lower_case(u64::from_be_bytes(bytes)).to_be_bytes();
                assert_eq!(folded[..], bytes.to_ascii_lowercase());
            }
        }
    }
}
