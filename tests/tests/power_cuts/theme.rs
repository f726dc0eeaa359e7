//! What a history is about: how often each step and each call is drawn, on how many keys, and how long values are.
//!
//! Invariant: every theme draws every step that its lanes can take; a theme makes some combinations frequent and none
//! impossible. Rare combinations (a time mark, an exchange, a dropped keyspace, a snapshot beside them) are met within a few
//! histories because some themes draw little else, on few keys, with values so short that the log turns to a new segment
//! rarely.

use fastrand::Rng;

/// A step of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Snapshot,
    /// Time passes. Alone.
    Pass,
    /// Expired keys are removed. Alone.
    Sweep,
    /// The store's durability changes. Alone.
    Level,
    /// The window of `EverySecond` passes. Alone.
    Window,
    LookForTheDead,
    /// Everything of the lane is read, settled.
    Settle,
    /// Some keys are read, settled.
    Read,
    Redeem,
    /// The store's threads come to the disk.
    Breathe,
    Change,
}

/// What a lane does in one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Flush,
    /// Alone.
    FlushAll,
    Drop,
    Swap,
    Across,
    Deferred,
    Plain,
}

use Step::{Breathe, Change, Level, LookForTheDead, Pass, Read, Redeem, Settle, Snapshot, Sweep, Window};
use What::{Across, Deferred, Drop, Flush, FlushAll, Plain, Swap};

/// The weights, and the rest that is drawn by chance alone in most histories.
#[derive(Debug)]
pub struct Theme {
    pub name: &'static str,
    steps: &'static [(u8, Step)],
    calls: &'static [(u8, What)],
    /// Keys of each keyspace.
    pub keys: u64,
    /// Keys of one call at most.
    pub call_keys: usize,
    /// Values are shorter than this.
    pub value_bytes: usize,
    /// One write in so many sets a deadline; 0 for none.
    pub deadline_every: u8,
    /// Deadlines come within so many milliseconds.
    pub deadline_ms: u64,
    /// Of eight changes, how many change a deadline alone.
    pub deadline_changes: u8,
    /// Whether some values are large.
    pub large: bool,
    /// One change in so many copies a key's value to another key, and perhaps deletes the first; 0 for none.
    pub copy_every: u8,
    pub lanes: usize,
    /// Whether the disk fails in every life, and most lives wait for it.
    pub disk_fails: bool,
}

const EVERYTHING: Theme = Theme {
    name: "everything",
    steps: &[
        (3, Snapshot),
        (3, Pass),
        (1, Sweep),
        (1, Level),
        (1, Window),
        (2, LookForTheDead),
        (1, Settle),
        (2, Read),
        (3, Redeem),
        (7, Breathe),
        (24, Change),
    ],
    calls: &[(1, Flush), (1, FlushAll), (1, Drop), (2, Swap), (6, Across), (8, Deferred), (21, Plain)],
    keys: 8,
    call_keys: 3,
    value_bytes: 200,
    deadline_every: 3,
    deadline_ms: 1000,
    deadline_changes: 1,
    large: false,
    copy_every: 12,
    lanes: 1,
    disk_fails: false,
};

/// Keyspaces exchange what they hold, are dropped and made anew.
const NAMES: Theme = Theme {
    name: "names",
    steps: &[
        (5, Snapshot),
        (1, Pass),
        (1, Sweep),
        (2, Level),
        (3, Window),
        (1, LookForTheDead),
        (2, Settle),
        (8, Read),
        (1, Redeem),
        (3, Breathe),
        (23, Change),
    ],
    calls: &[(3, Flush), (1, FlushAll), (9, Drop), (9, Swap), (4, Across), (5, Deferred), (7, Plain)],
    keys: 2,
    call_keys: 2,
    value_bytes: 24,
    deadline_every: 0,
    ..EVERYTHING
};

/// Deadlines pass, and somebody sees it, or nobody does.
const TIME: Theme = Theme {
    name: "time",
    steps: &[
        (5, Snapshot),
        (10, Pass),
        (8, Sweep),
        (2, Level),
        (3, Window),
        (8, LookForTheDead),
        (1, Settle),
        (5, Read),
        (1, Redeem),
        (3, Breathe),
        (14, Change),
    ],
    calls: &[(1, Flush), (1, FlushAll), (1, Drop), (1, Swap), (3, Across), (10, Deferred), (15, Plain)],
    keys: 4,
    call_keys: 2,
    value_bytes: 24,
    deadline_every: 1,
    deadline_ms: 400,
    deadline_changes: 3,
    ..EVERYTHING
};

/// Both, and snapshots.
const NAMES_AND_TIME: Theme = Theme {
    name: "names and time",
    calls: &[(2, Flush), (1, FlushAll), (5, Drop), (6, Swap), (3, Across), (7, Deferred), (8, Plain)],
    deadline_every: 2,
    ..TIME
};

/// Several lanes do all that to their keyspaces while snapshots begin and end.
const SNAPSHOTS: Theme = Theme {
    name: "snapshots",
    steps: &[(14, Snapshot), (1, LookForTheDead), (1, Settle), (3, Read), (1, Redeem), (2, Breathe), (26, Change)],
    calls: &[(1, Flush), (9, Drop), (9, Swap), (3, Across), (5, Deferred), (5, Plain)],
    lanes: 3,
    ..NAMES
};

/// Large values go from key to key, and from keyspace to keyspace, while snapshots begin and end: the log has a value, or
/// only the name of the key that has it.
const COPIES: Theme = Theme {
    name: "copies",
    steps: &[(12, Snapshot), (1, Settle), (3, Read), (1, Redeem), (2, Breathe), (26, Change)],
    calls: &[(1, Flush), (1, Drop), (2, Swap), (7, Across), (5, Deferred), (16, Plain)],
    keys: 4,
    call_keys: 3,
    large: true,
    copy_every: 2,
    ..SNAPSHOTS
};

/// What was just changed is read, settled, before anything else makes it durable.
const READS: Theme = Theme {
    name: "reads",
    steps: &[
        (1, Snapshot),
        (3, Pass),
        (3, Sweep),
        (1, Level),
        (3, Window),
        (2, LookForTheDead),
        (2, Settle),
        (18, Read),
        (1, Redeem),
        (2, Breathe),
        (22, Change),
    ],
    calls: &[(2, Flush), (1, FlushAll), (3, Drop), (3, Swap), (2, Across), (12, Deferred), (12, Plain)],
    keys: 2,
    call_keys: 1,
    value_bytes: 24,
    deadline_every: 2,
    deadline_ms: 400,
    deadline_changes: 3,
    ..EVERYTHING
};

/// The log fails, and settled reads tell what is not in doubt.
const DOUBT: Theme = Theme {
    name: "doubt",
    steps: &[
        (2, Snapshot),
        (2, Pass),
        (1, Sweep),
        (1, Level),
        (1, Window),
        (2, LookForTheDead),
        (1, Settle),
        (18, Read),
        (1, Redeem),
        (1, Breathe),
        (20, Change),
    ],
    calls: &[(6, Flush), (1, FlushAll), (3, Drop), (9, Swap), (2, Across), (4, Deferred), (14, Plain)],
    deadline_changes: 4,
    disk_fails: true,
    ..READS
};

fn draw<T: Copy>(rng: &mut Rng, weighed: &[(u8, T)]) -> T {
    let sum: u8 = weighed.iter().map(|(weight, _)| *weight).sum();
    let mut at = rng.u8(..sum);
    for (weight, what) in weighed {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *what,
        }
    }
    unreachable!("it is less than the sum")
}

impl Theme {
    /// The theme of a seed. Seeds that follow one another take turns, so that a few histories meet all of them.
    pub fn of(seed: u64, rng: &mut Rng) -> Theme {
        match seed % 11 {
            0 => NAMES,
            1 => TIME,
            2 => SNAPSHOTS,
            // A history of these has one moment that counts.
            3 | 6 | 9 => DOUBT,
            4 => NAMES_AND_TIME,
            5 => READS,
            10 => COPIES,
            _ => Theme {
                lanes: if rng.u8(..3) == 0 { 3 } else { 1 },
                deadline_every: if rng.u8(..4) > 0 { EVERYTHING.deadline_every } else { 0 },
                large: rng.u8(..3) == 0,
                ..EVERYTHING
            },
        }
    }

    /// Whether a change is followed by a copy.
    pub fn copies(&self, rng: &mut Rng) -> bool {
        self.copy_every > 0 && rng.u8(..self.copy_every) == 0
    }

    /// The deadline of a write, if it has one: now and then one that has passed already, which removes the key.
    pub fn deadline(&self, rng: &mut Rng, now_ms: u64) -> Option<u64> {
        let has_deadline = self.deadline_every > 0 && rng.u8(..self.deadline_every) == 0;
        has_deadline.then(|| now_ms + rng.u64(..self.deadline_ms))
    }

    /// What a lane that is `alone` does next, or one of several.
    pub fn step(&self, rng: &mut Rng, alone: bool) -> Step {
        match draw(rng, self.steps) {
            Pass | Sweep | Level | Window if !alone => Change,
            step => step,
        }
    }

    pub fn call(&self, rng: &mut Rng, alone: bool) -> What {
        match draw(rng, self.calls) {
            FlushAll if !alone => Plain,
            call => call,
        }
    }
}
