//! Classes of keyspace events, and the letters `notify-keyspace-events` writes them with.
//!
//! Invariant: what is shown is read as the same classes.

use super::EventMessage;

/// A class of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`: of keys of any type.
    Generic,
    /// `$`: of strings.
    String,
    /// `x`: a key's deadline has passed.
    Expired,
    /// `e`: a key was removed to make room.
    Evicted,
    /// `n`: a key is new.
    New,
    /// `m`: a key that was looked up is not there.
    KeyMiss,
    /// `o`: a value was replaced.
    Overwritten,
}

/// The letters and their bits, in the order in which they are shown. Some stand for types of values that are not here.
const LETTERS: [(u8, u32); 16] = [
    (b'g', 1 << 0),
    (b'$', 1 << 1),
    (b'l', 1 << 2),
    (b's', 1 << 3),
    (b'h', 1 << 4),
    (b'z', 1 << 5),
    (b'x', 1 << 6),
    (b'e', 1 << 7),
    (b't', 1 << 8),
    (b'd', 1 << 9),
    (b'n', NEW),
    (b'K', KEYSPACE),
    (b'E', KEYEVENT),
    (b'm', KEY_MISS),
    (b'o', OVERWRITTEN),
    (b'c', TYPE_CHANGED),
];
/// What `A` stands for: all but new, missed, overwritten and changed keys, and the two kinds of channels.
const ALL: u32 = (1 << 10) - 1;
const NEW: u32 = 1 << 10;
const KEYSPACE: u32 = 1 << 11;
const KEYEVENT: u32 = 1 << 12;
const KEY_MISS: u32 = 1 << 13;
/// Since Redis 8.2.
const OVERWRITTEN: u32 = 1 << 14;
/// Of keys that get a value of another type, of which there is none here.
const TYPE_CHANGED: u32 = 1 << 15;

/// Classes of events, and on which of the two kinds of channels they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u32);

impl Classes {
    /// Returns the classes of these [bits](Classes::bits).
    #[must_use]
    pub fn from_bits(bits: u32) -> Classes {
        Classes(bits)
    }

    /// Returns them as bits, of which the upper 16 are zero.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether no class is among them.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads letters in any order; none if one of them is unknown.
    #[must_use]
    pub fn parse(letters: &str) -> Option<Classes> {
        letters.bytes().try_fold(Classes::default(), |classes, letter| {
            let bits = match letter {
                b'A' => ALL,
                _ => LETTERS.iter().find(|(known, _)| *known == letter)?.1,
            };
            Some(Classes(classes.0 | bits))
        })
    }

    /// Returns the letters, in the one order in which they are shown.
    #[must_use]
    pub fn show(self) -> String {
        let mut shown = String::new();
        let mut left = self.0;
        // Redis keeps quiet about `n` behind an `A`; then what it shows is not what it does.
        if left & ALL == ALL {
            shown.push('A');
            left &= !ALL;
        }
        shown.extend(LETTERS.iter().filter(|(_, bits)| left & bits != 0).map(|(letter, _)| char::from(*letter)));
        shown
    }

    /// Returns whether a class is among them.
    #[must_use]
    pub fn has(self, class: Class) -> bool {
        let bit = match class {
            Class::Generic => 1 << 0,
            Class::String => 1 << 1,
            Class::Expired => 1 << 6,
            Class::Evicted => 1 << 7,
            Class::New => NEW,
            Class::KeyMiss => KEY_MISS,
            Class::Overwritten => OVERWRITTEN,
        };
        self.0 & bit != 0
    }

    /// Adds the messages about an event of `key`, if it is wanted.
    pub fn describe(self, class: Class, name: &'static str, database: usize, key: &[u8], into: &mut Vec<EventMessage>) {
        if !self.has(class) {
            return;
        }
        let mut tell = |kind: &str, about: &[u8], what: &[u8]| {
            let channel = [format!("__{kind}@{database}__:").as_bytes(), about].concat();
            into.push(EventMessage { channel: channel.into(), payload: what.into() });
        };
        if self.0 & KEYSPACE != 0 {
            tell("keyspace", key, name.as_bytes());
        }
        if self.0 & KEYEVENT != 0 {
            tell("keyevent", name.as_bytes(), key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_in_one_order_whatever_order_they_came_in() {
        for (said, shown) in [
            ("", ""),
            ("gKE", "gKE"),
            ("$lshzxeKE", "$lshzxeKE"),
            ("KA", "AK"),
            ("EA", "AE"),
            ("mKEA", "AKEm"),
            ("KEg$lshzxetd", "AKE"),
            ("nE", "nE"),
            ("nAE", "AnE"),
            ("mE", "Em"),
            ("coEA", "AEoc"),
            ("KEo", "KEo"),
        ] {
            assert_eq!(Classes::parse(said).map(Classes::show).as_deref(), Some(shown), "{said}");
        }
        assert_eq!(Classes::parse("KEq"), None);
        assert!(
            Classes::parse("A").is_some_and(|all| [Class::New, Class::KeyMiss, Class::Overwritten]
                .iter()
                .all(|class| !all.has(*class)))
        );
    }
}
