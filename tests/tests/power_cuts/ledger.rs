//! What was promised, and whether a store keeps it.
//!
//! Invariant: a lane's transactions follow one another, so a store must show exactly one of its states, none before the
//! last promised one, none after the last begun; and of all lanes together what was logged first.

use std::collections::{BTreeMap, BTreeSet};

use kvcore::hooks::Scan;
use kvcore::{Db, Deadline};

/// What goes into the journal between the disk's operations. The number is that of the lane's transaction, from 1.
#[derive(Clone, Copy, Debug)]
pub enum Note {
    Begun {
        lane: usize,
        number: usize,
    },
    Promised {
        lane: usize,
        number: usize,
    },
    /// Somebody was told that a deadline has passed: time is never before it again.
    Seen {
        deadline_ms: u64,
    },
    /// The wall clock shows this.
    Time(u64),
}

/// A keyspace's name and a key.
pub type Place = (String, Vec<u8>);
/// A value and its deadline.
pub type Entry = (Vec<u8>, Option<u64>);
/// What has expired stays until something is put in its place.
pub type State = BTreeMap<Place, Entry>;

/// All that became of one lane.
#[derive(Default)]
pub struct Course {
    /// Before everything, and after transaction 1, 2, ...
    pub states: Vec<State>,
    /// Between which two Lsns each was logged.
    pub logged: Vec<(u64, u64)>,
    /// Those that were refused, given up, or changed nothing: their states are not states of their own.
    pub void: BTreeSet<usize>,
}

/// What a store shows.
#[derive(PartialEq, Eq)]
pub struct Shown {
    pub now_ms: u64,
    pub lanes: Vec<State>,
}

/// What must hold when the power is cut at some moment.
#[derive(Clone)]
pub struct Ledger {
    begun: Vec<usize>,
    promised: Vec<usize>,
    /// Time is at least this.
    seen_ms: u64,
    pub wall_ms: u64,
}

/// The part of a state that has not expired.
pub fn alive(state: &State, now_ms: u64) -> impl Iterator<Item = (&Place, &Entry)> {
    state.iter().filter(move |(_, (_, deadline))| deadline.is_none_or(|at| at > now_ms))
}

/// What a store shows of each lane. A lane's keyspaces are called after its number, and `a` or `b`.
pub fn show(db: &Db, lanes: usize) -> Shown {
    let mut shown = Shown { now_ms: db.now_ms(), lanes: vec![State::new(); lanes] };
    for keyspace in db.keyspaces() {
        let lane = keyspace.name().strip_suffix(['a', 'b']).and_then(|lane| lane.parse().ok());
        let Some(state) = lane.and_then(|lane: usize| shown.lanes.get_mut(lane)) else { continue };
        let show = &mut |key: &[u8], value: kvcore::ValueRef<'_>| {
            let entry = (value.bytes().to_vec(), value.deadline().map(Deadline::as_ms));
            state.insert((keyspace.name().to_owned(), key.to_vec()), entry);
        };
        // The default keyspace is nobody's; one that is dropped meanwhile belongs to whoever drops it.
        keyspace.for_each(show).unwrap();
    }
    shown
}

impl Course {
    fn shows(&self, number: usize, shown: &State, now_ms: u64) -> bool {
        !self.void.contains(&number) && alive(&self.states[number], now_ms).eq(shown.iter())
    }

    /// The Lsns up to which the log may have been kept, if this transaction is the last one that is there.
    fn kept(&self, number: usize, begun: usize) -> (u64, u64) {
        let next = (number + 1..=begun).find(|next| !self.void.contains(next));
        (self.logged[number].0, next.map_or(u64::MAX, |next| self.logged[next].1))
    }
}

impl Ledger {
    pub fn new(lanes: usize, wall_ms: u64) -> Ledger {
        Ledger { begun: vec![0; lanes], promised: vec![0; lanes], seen_ms: 0, wall_ms }
    }

    pub fn take(&mut self, note: Note) {
        match note {
            Note::Begun { lane, number } => self.begun[lane] = number,
            Note::Promised { lane, number } => self.promised[lane] = self.promised[lane].max(number),
            Note::Seen { deadline_ms } => self.seen_ms = self.seen_ms.max(deadline_ms),
            Note::Time(wall_ms) => self.wall_ms = wall_ms,
        }
    }

    /// Which transactions of each lane may be the last one that is there; or what is wrong. There are several where
    /// their states differ only by what has expired.
    pub fn judge(&self, courses: &[Course], shown: &Shown) -> Result<Vec<Vec<usize>>, String> {
        if shown.now_ms < self.seen_ms {
            return Err(format!("TIME RAN BACK to {}, and {} was seen to have passed", shown.now_ms, self.seen_ms));
        }
        let mut numbers = Vec::new();
        let mut kept: Vec<Vec<(u64, u64)>> = Vec::new();
        for (lane, (course, state)) in courses.iter().zip(&shown.lanes).enumerate() {
            let shows = |number: &usize| course.shows(*number, state, shown.now_ms);
            let (promised, begun) = (self.promised[lane], self.begun[lane]);
            let all: Vec<usize> = (promised..=begun).filter(shows).collect();
            if all.is_empty() {
                return Err(match (0..course.states.len()).find(shows) {
                    Some(number) if number < promised => {
                        format!("LOST: lane {lane} shows transaction {number}, and {promised} was promised")
                    }
                    Some(number) => format!("PHANTOM: lane {lane} shows transaction {number}, and {begun} is the last"),
                    None => format!(
                        "HALF: lane {lane} shows a state that never was. Between {promised} and {begun}. Promised: {}. \
                         Shown: {}",
                        spell(&course.states[promised]),
                        spell(state)
                    ),
                });
            }
            kept.push(all.iter().map(|number| course.kept(*number, begun)).collect());
            numbers.push(all);
        }
        // All that was logged up to some Lsn, and nothing after it.
        let is_end = |end: u64| kept.iter().all(|kept| kept.iter().any(|(from, to)| (*from..*to).contains(&end)));
        if !kept.iter().flatten().any(|(from, _)| is_end(*from)) {
            return Err(format!("NO PREFIX: lanes show transactions {numbers:?}, logged up to {kept:?}"));
        }
        Ok(numbers)
    }
}

/// A state in short.
fn spell(state: &State) -> String {
    let entry = |((name, key), (value, deadline)): (&Place, &Entry)| {
        let first = value.iter().find(|byte| **byte != 0).map_or(' ', |byte| *byte as char);
        format!("{name}/{}={first}x{}@{deadline:?}", String::from_utf8_lossy(key), value.len())
    };
    state.iter().map(entry).collect::<Vec<_>>().join(" ")
}
