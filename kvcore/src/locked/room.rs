//! Room: what a transaction adds is counted, and paid for, when it commits. Invariant: no shard is waited for, and no key that
//! the transaction named is removed.

use std::time::Duration;

use smallvec::SmallVec;

use super::{Claims, Held, Locked, Named};
use crate::error::Result;
use crate::eviction::{LockedShards, ROOM_STEP, Removal};
use crate::shard::{Growth, Shard};
use crate::sync::thread;

/// How often room is looked for that other transactions are in the way of, before it is waited a little each time; and how
/// often then. Two that hold what the other would remove must both go on: what they are then beyond the limit is removed
/// when they have let go.
const YIELDS_MAX: usize = 64;
const WAITS_MAX: usize = 250;
/// Entries come and go while they are looked for: so often nothing is found before that is believed.
const EXHAUSTED_MAX: usize = 16;
const WAIT: Duration = Duration::from_micros(200);
/// The smallest entry: for so many bytes that are added one entry is removed, at most.
const ENTRY_BYTES: u64 = 16;

/// Waits for another thread to let go.
fn pause(wait: Duration) {
    // A model decides itself who goes on.
    if cfg!(shuttle) { thread::yield_now() } else { std::thread::sleep(wait) }
}

/// The shards that a transaction holds, and what it named.
struct Own<'l, 'a> {
    held: &'l mut SmallVec<[Held<'a>; 1]>,
    claims: Claims<'a>,
    /// Entries that are new: they count in no total yet.
    added: i64,
}

impl Own<'_, '_> {
    fn at(&self, space_id: u32, shard: usize) -> Option<usize> {
        self.held.binary_search_by_key(&(space_id, shard), |held| (held.space.id, held.shard)).ok()
    }
}

impl Claims<'_> {
    fn any_whole(&self) -> bool {
        matches!(self, Claims::Many(claims) if claims.iter().any(|claim| claim.hashes.is_none()))
    }
}

impl LockedShards for Own<'_, '_> {
    fn shard(&self, space_id: u32, shard: usize) -> Option<&Shard> {
        self.at(space_id, shard).map(|at| &*self.held[at].guard)
    }

    fn shard_mut(&mut self, space_id: u32, shard: usize) -> Option<&mut Shard> {
        self.at(space_id, shard).map(|at| &mut *self.held[at].guard)
    }

    fn spares(&self, space_id: u32, hash: u64) -> bool {
        match self.claims {
            Claims::Key(named) => named == hash,
            Claims::Many(claims) => claims
                .iter()
                .filter(|claim| claim.space.id == space_id)
                .any(|claim| claim.hashes.as_ref().is_none_or(|hashes| hashes.binary_search(&hash).is_ok())),
        }
    }

    fn spared_max(&self) -> u64 {
        let named = match self.claims {
            Claims::Key(_) => 1,
            Claims::Many(claims) => {
                let count = |claim: &Named<'_>| claim.hashes.as_ref().map_or(u64::MAX, |hashes| hashes.len() as u64);
                claims.iter().map(count).fold(0, u64::saturating_add)
            }
        };
        if named == u64::MAX { named } else { named.saturating_add_signed(-self.added) }
    }

    fn may_wait(&self) -> bool {
        false
    }
}

impl Locked<'_> {
    fn growth(&self) -> Growth {
        let add = |sum: Growth, held: &Held<'_>| {
            let growth = held.guard.growth();
            Growth { entries: sum.entries + growth.entries, bytes: sum.bytes + growth.bytes }
        };
        self.held.iter().fold(Growth::default(), add)
    }

    /// Counts the changes in the store's totals, and removes an entry for each that the store may not hold more. An error
    /// if that is not possible.
    #[cold]
    pub(super) fn take_room(&mut self) -> Result<()> {
        let eviction = &self.base.eviction;
        let mut busy = 0;
        let can_change = eviction.removes() && !self.claims.any_whole();
        let retries = if can_change { EXHAUSTED_MAX } else { 0 };
        let bytes = u64::try_from(self.growth().bytes).unwrap_or(0);
        while !eviction.admit(self.growth(), self.is_exhausted)? {
            let added = self.growth().entries;
            let mut own = Own { held: &mut self.held, claims: self.claims, added };
            match eviction.remove_one(self.base, &mut own)? {
                Removal::Done(entry) => self.notes.evicted.push(entry),
                Removal::Spared | Removal::Exhausted if busy < retries => {
                    busy += 1;
                    thread::yield_now();
                }
                Removal::Busy if busy < YIELDS_MAX + WAITS_MAX => {
                    busy += 1;
                    if busy < YIELDS_MAX { thread::yield_now() } else { pause(WAIT) }
                }
                Removal::Busy => {
                    eviction.admit_beyond(self.growth());
                    break;
                }
                // Of a keyspace that is claimed whole nothing can be told apart: the room is made when it is let go.
                Removal::Spared if self.claims.any_whole() => {
                    eviction.admit_beyond(self.growth());
                    break;
                }
                Removal::Spared | Removal::Exhausted => return Err(eviction.entry_limit()),
            }
        }
        for held in &mut self.held {
            held.guard.publish();
        }
        self.room_wanted = ROOM_STEP + bytes / ENTRY_BYTES;
        Ok(())
    }

    /// Counts what is left when the changes have been undone.
    pub(super) fn publish(&mut self) {
        for held in &mut self.held {
            self.base.eviction.publish(&mut held.guard);
        }
    }
}
