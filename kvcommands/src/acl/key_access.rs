//! What a request does to each of its keys.
//!
//! Invariant: every key the store locks for a request is among those told here, so none is reached unchecked.

use std::ops::BitOr;

use kvproto::spec::{FlagSet, KeyFlag};
use kvproto::{Request, Spec};
use smallvec::SmallVec;

/// Reading, writing, both, or merely asking whether a key is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyAccess {
    pub read: bool,
    pub write: bool,
}

impl KeyAccess {
    pub const BOTH: KeyAccess = KeyAccess { read: true, write: true };

    /// Whether who may do this may do `wanted`.
    pub fn covers(self, wanted: KeyAccess) -> bool {
        (self.read || !wanted.read) && (self.write || !wanted.write)
    }

    fn of(flags: FlagSet<KeyFlag>) -> KeyAccess {
        KeyAccess {
            read: flags.has(KeyFlag::Access),
            write: flags.has(KeyFlag::Insert) || flags.has(KeyFlag::Delete) || flags.has(KeyFlag::Update),
        }
    }
}

impl BitOr for KeyAccess {
    type Output = KeyAccess;

    fn bitor(self, other: KeyAccess) -> KeyAccess {
        KeyAccess { read: self.read || other.read, write: self.write || other.write }
    }
}

/// The keys of a request: their positions, and what is done to each.
pub type KeyAccesses = SmallVec<[(usize, KeyAccess); 8]>;

/// What `request`, a request of the command `spec`, does to its keys.
pub fn of_request(spec: &Spec, request: Request<'_>) -> KeyAccesses {
    let mut accesses: KeyAccesses =
        spec.find_keys(request).into_iter().map(|(position, flags)| (position, KeyAccess::of(flags))).collect();
    if spec.unsupported {
        return accesses;
    }
    // What is locked though no rule speaks of it is taken to be read and written.
    let mut known: SmallVec<[usize; 8]> = accesses.iter().map(|(position, _)| *position).collect();
    known.sort_unstable();
    let locked = spec.keys(request).map(|(position, _)| position);
    accesses.extend(
        locked.filter(|position| known.binary_search(position).is_err()).map(|position| (position, KeyAccess::BOTH)),
    );
    accesses
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvproto::OwnedRequest;

    const READ: KeyAccess = KeyAccess { read: true, write: false };
    const WRITE: KeyAccess = KeyAccess { read: false, write: true };

    fn accesses(line: &str) -> Vec<(usize, KeyAccess)> {
        let owned = OwnedRequest::from_words(line.split(' '));
        let spec = kvproto::spec::lookup(owned.as_request().name()).unwrap();
        of_request(spec, owned.as_request()).to_vec()
    }

    #[test]
    fn what_is_done_to_a_key_follows_from_the_table_and_the_options() {
        let none = KeyAccess::default();
        assert_eq!(accesses("GET k"), [(1, READ)]);
        assert_eq!(accesses("EXISTS a b"), [(1, none), (2, none)]);
        assert_eq!(accesses("SET k v EX 1"), [(1, WRITE)]);
        assert_eq!(accesses("SET k v EX get"), [(1, KeyAccess::BOTH)]);
        assert_eq!(accesses("SET k get"), [(1, WRITE)]);
        assert_eq!(accesses("MSET a 1 b 2"), [(1, WRITE), (3, WRITE)]);
        assert_eq!(accesses("RENAME a b"), [(1, KeyAccess::BOTH), (2, WRITE)]);
        assert_eq!(accesses("INCR a"), [(1, KeyAccess::BOTH)]);
        assert_eq!(accesses("PING a"), []);
    }

    #[test]
    fn every_key_that_is_locked_is_told() {
        for spec in kvproto::spec::COMMANDS.iter().filter(|spec| !spec.unsupported) {
            let words: Vec<String> =
                (0..12).map(|at| if at == 0 { spec.name.to_owned() } else { at.to_string() }).collect();
            for count in 1..words.len() {
                let owned = OwnedRequest::from_words(&words[..count]);
                if !spec.arity_ok(count) {
                    continue;
                }
                let told = of_request(spec, owned.as_request());
                for (position, _) in spec.keys(owned.as_request()) {
                    assert!(told.iter().any(|(other, _)| *other == position), "{} {position}", spec.name);
                }
            }
        }
    }
}
