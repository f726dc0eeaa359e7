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
    /// The head and the length tell this name from all others.
    is_short: bool,
}

/// A name is in the slot that its hash gives, or in the first free one after it.
static SLOTS: [Slot; SLOTS_LEN] = slots();

const fn slots() -> [Slot; SLOTS_LEN] {
    let rows = &TABLE;
    let mut slots = [Slot { head: 0, len: 0, index: FREE, is_short: false }; SLOTS_LEN];
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
    slots[at] = Slot { head, len: name.len() as u16, index: index as u16, is_short: is_short(name.as_bytes()) };
    slots
}

/// Returns the command of that name or alias, in any case.
#[inline(always)]
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    let head = head_of(name);
    let mut at = slot_of(head, name.len());
    loop {
        let slot = &SLOTS[at];
        let spec = COMMANDS.get(usize::from(slot.index))?;
        if slot.head == head && usize::from(slot.len) == name.len() && (slot.is_short || spec.is_named(name)) {
            return Some(spec);
        }
        at = (at + 1) % SLOTS_LEN;
    }
}

const HEAD_BYTES: usize = size_of::<u64>();

/// Returns a number that no other name of this length has, in any case, if the name has at most eight bytes and all are letters.
const fn head_of(name: &[u8]) -> u64 {
    let head = match name {
        [] => 0,
        // The first, the middle and the last byte are all there are.
        [first, .., last] if name.len() < 4 => {
            (*first as u64) << 16 | (name[name.len() / 2] as u64) << 8 | *last as u64
        }
        [only] => *only as u64,
        _ => match (name.first_chunk(), name.first_chunk(), name.last_chunk()) {
            (Some(head), ..) => u64::from_le_bytes(*head),
            // Four bytes from either end.
            (None, Some(start), Some(end)) => {
                (u32::from_le_bytes(*start) as u64) << 32 | u32::from_le_bytes(*end) as u64
            }
            _ => 0,
        },
    };
    // Small letters differ from capitals in this bit alone. It makes some other bytes equal, too: see `is_short`.
    head | 0x2020_2020_2020_2020
}

/// Whether a name's head is all of it, and made of letters alone: nothing else than the same letters has the same head.
const fn is_short(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() && name[at].is_ascii_lowercase() {
        at += 1;
    }
    at == name.len() && at <= HEAD_BYTES
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

    /// Each byte of each name replaced by each other: found only if the two differ in case alone.
    #[test]
    fn a_name_is_found_in_any_case_and_nothing_else_is() {
        for spec in COMMANDS {
            for name in spec.aliases.iter().chain([&spec.name]) {
                for (at, byte) in (0..name.len()).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                    let mut typed = name.as_bytes().to_vec();
                    typed[at] = byte;
                    let other = COMMANDS.iter().find(|spec| spec.is_named(&typed)).map(|spec| spec.name);
                    assert_eq!(find(&typed).map(|spec| spec.name), other, "{typed:?}");
                }
            }
        }
    }
}
