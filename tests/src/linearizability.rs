//! Whether a history of concurrent operations is linearizable: whether each of them can have happened at one moment
//! between its call and its return.
//!
//! The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", JPDC 1993) with Lowe's memory of where
//! it has been ("Testing for Linearizability", 2017): a set of operations that have happened, and the state they led to,
//! need not be gone on from twice, nor from once more with fewer operations left that might still happen. Objects that are independent are checked one by one: a history is linearizable if and
//! only if each object's part of it is (Herlihy and Wing 1990; Horn and Kroening, "Faster Linearizability Checking via
//! P-Compositionality", 2015).
//!
//! Invariant: an operation whose outcome nobody learned (an error, a lost connection) may have happened at any moment
//! after its call, or never; but not after its process is known to have ended.

use std::collections::HashMap;
use std::fmt::{self, Debug, Write as _};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

/// A sequential object: what it should do when one operation comes after the other.
pub trait Model {
    /// What it holds.
    type State: Clone + Eq + Hash + Debug + Default;
    /// What it is asked.
    type Operation: Clone + Debug;
    /// What it answers.
    type Outcome: Clone + PartialEq + Debug;

    /// What `operation` answers in `state`, and the state after it.
    fn step(state: &Self::State, operation: &Self::Operation) -> (Self::Outcome, Self::State);

    /// Whether `operation` changes nothing, in whatever state.
    fn observes(operation: &Self::Operation) -> bool;

    /// Whether the state after `operation` is the same whatever it was before.
    fn forgets(operation: &Self::Operation) -> bool;
}

/// One operation of a history.
pub struct Event<M: Model> {
    /// Who did it.
    pub client: usize,
    /// What was asked.
    pub operation: M::Operation,
    /// What was answered; `None` if nobody knows.
    pub outcome: Option<M::Outcome>,
    /// When it was called, by a [`Watch`].
    pub called: u64,
    /// When its outcome was known; without an outcome, after when it cannot happen any more: [`NEVER`] if it can.
    pub returned: u64,
}

impl<M: Model> Clone for Event<M> {
    fn clone(&self) -> Self {
        Event { operation: self.operation.clone(), outcome: self.outcome.clone(), ..*self }
    }
}

impl<M: Model> Debug for Event<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}..", self.called)?;
        match &self.outcome {
            Some(outcome) => {
                write!(f, "{:<6} client {:>2}: {:?} -> {outcome:?}", self.returned, self.client, self.operation)
            }
            None => write!(f, "?      client {:>2}: {:?} -> unknown", self.client, self.operation),
        }
    }
}

/// Later than every moment.
pub const NEVER: u64 = u64::MAX;

/// Numbers moments in the order in which they come, for all threads.
#[derive(Debug, Default)]
pub struct Watch(AtomicU64);

impl Watch {
    /// This moment's number.
    pub fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Does `operation` by `run`, which answers its outcome if it learns it.
    pub fn time<M: Model>(
        &self,
        client: usize,
        operation: M::Operation,
        run: impl FnOnce(&M::Operation) -> Option<M::Outcome>,
    ) -> Event<M> {
        let called = self.now();
        let outcome = run(&operation);
        let returned = if outcome.is_some() { self.now() } else { NEVER };
        Event { client, operation, outcome, called, returned }
    }
}

/// Steps of the search after which it is given up. Histories of stores that are right need about one for each operation,
/// unless very many operations were under way at the same time.
const STEPS_MAX: u64 = 20_000_000;
/// How much of a history is shown when it is wrong.
const SHOWN: usize = 30;

/// Why a history is not known to be linearizable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unproven {
    /// It is not: the part of it that cannot have happened, for people to read.
    Impossible(String),
    /// There are too many orders to try them all.
    GivenUp,
}

/// Fails unless the history of one object, which was in its default state before, is linearizable. The order of
/// `history` says nothing.
///
/// # Errors
///
/// That it is not, or that nobody knows.
pub fn check<M: Model>(history: &[Event<M>]) -> Result<(), Unproven> {
    let until = match Search::new(history).run() {
        Ok(()) => return Ok(()),
        Err(None) => return Err(Unproven::GivenUp),
        Err(Some(until)) => until,
    };
    // What was called later has no part in it; what returned later was under way.
    let mut part: Vec<&Event<M>> = history.iter().filter(|event| event.called <= until).collect();
    part.sort_by_key(|event| event.called);
    let mut told = format!("not linearizable: of {} operations none can be the next at moment {until}:\n", part.len());
    for event in &part[part.len().saturating_sub(SHOWN)..] {
        let _ = writeln!(told, "{event:?}");
    }
    Err(Unproven::Impossible(told))
}

/// A set of operations.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Set(Box<[u64]>);

impl Set {
    fn flip(&mut self, operation: usize) {
        self.0[operation / 64] ^= 1 << (operation % 64);
    }

    fn has(&self, operation: usize) -> bool {
        self.0[operation / 64] & 1 << (operation % 64) != 0
    }

    fn is_within(&self, other: &Set) -> bool {
        self.0.iter().zip(&other.0).all(|(one, other)| one & !other == 0)
    }
}

/// Operations with a known outcome stand in a list of calls and returns, in the order of time; one that has happened is
/// taken out of it.
struct Search<'h, M: Model> {
    history: &'h [Event<M>],
    /// Of each moment in the list: the operation, and whether it is the return. The first and the last are ends.
    moments: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// Of each operation with a known outcome, its two moments.
    places: Vec<(usize, usize)>,
    /// Operations of unknown outcome, in the order of their calls.
    unknown: Vec<usize>,
}

/// Where the search stands among the operations that might be the next.
#[derive(Clone, Copy)]
enum At {
    Moment(usize),
    /// All that return are tried: now this one of those of unknown outcome.
    Unknown(usize),
}

/// An operation that was taken for the next, and what to go back to.
struct Step<S> {
    at: At,
    operation: usize,
    state: S,
    newest_call: u64,
    /// Nothing else need be tried in its place.
    is_sure: bool,
}

impl<'h, M: Model> Search<'h, M> {
    fn new(history: &'h [Event<M>]) -> Self {
        let mut timed = Vec::new();
        let mut unknown = Vec::new();
        for (operation, event) in history.iter().enumerate() {
            match event.outcome {
                Some(_) => timed.extend([(event.called, operation, false), (event.returned, operation, true)]),
                None => unknown.push(operation),
            }
        }
        timed.sort_unstable();
        unknown.sort_by_key(|&operation| history[operation].called);
        let mut moments = vec![(usize::MAX, false)];
        let mut places = vec![(0, 0); history.len()];
        for (_, operation, is_return) in timed {
            let place = &mut places[operation];
            *(if is_return { &mut place.1 } else { &mut place.0 }) = moments.len();
            moments.push((operation, is_return));
        }
        let end = moments.len();
        moments.push((usize::MAX, true));
        let next = (1..=end + 1).collect();
        let previous = (0..=end + 1).map(|place| usize::saturating_sub(place, 1)).collect();
        Search { history, moments, next, previous, places, unknown }
    }

    fn take_out(&mut self, operation: usize) {
        let (called, returned) = self.places[operation];
        for place in [called, returned] {
            self.next[self.previous[place]] = self.next[place];
            self.previous[self.next[place]] = self.previous[place];
        }
    }

    fn put_back(&mut self, operation: usize) {
        let (called, returned) = self.places[operation];
        for place in [returned, called] {
            self.next[self.previous[place]] = place;
            self.previous[self.next[place]] = place;
        }
    }

    fn is_unknown(&self, operation: usize) -> bool {
        self.history[operation].outcome.is_none()
    }

    /// An operation that only observes, and can be the next without ending what else might happen. Whatever order there is
    /// with it in a later place, there is one with it here.
    fn sure(&self, state: &M::State, newest_call: u64) -> Option<usize> {
        let mut place = self.next[0];
        while !self.moments[place].1 {
            let operation = self.moments[place].0;
            let event = &self.history[operation];
            let fits = || event.outcome.as_ref() == Some(&M::step(state, &event.operation).0);
            let ends_none = || {
                let ended = newest_call..event.called;
                !self.unknown.iter().any(|&unknown| ended.contains(&self.history[unknown].returned))
            };
            if M::observes(&event.operation) && fits() && ends_none() {
                return Some(operation);
            }
            place = self.next[place];
        }
        None
    }

    /// When the first returns of those that have not happened: nothing called later can come before it.
    fn first_return(&self) -> u64 {
        let mut place = self.next[0];
        while !self.moments[place].1 {
            place = self.next[place];
        }
        self.history[self.moments[place].0].returned
    }

    /// The moment up to which no order was found, if there is none; no moment if the search is given up.
    fn run(mut self) -> Result<(), Option<u64>> {
        let end = self.moments.len() - 1;
        let none = Set(vec![0; self.history.len().div_ceil(64)].into());
        let (mut known, mut used, mut state, mut newest_call) = (none.clone(), none, M::State::default(), 0);
        // Where it has been, and which of unknown outcome had been used up then.
        let mut been: HashMap<(Set, M::State), Vec<Set>> = HashMap::new();
        let mut done: Vec<Step<M::State>> = Vec::new();
        let mut at = At::Moment(self.next[0]);
        let (mut furthest, mut steps) = (0, 0);
        while self.next[0] != end {
            steps += 1;
            if steps > STEPS_MAX {
                return Err(None);
            }
            let candidate = match at {
                At::Moment(place) => match self.moments[place] {
                    (operation, false) => operation,
                    _ => {
                        at = At::Unknown(0);
                        continue;
                    }
                },
                At::Unknown(index) => match self.unknown.get(index) {
                    Some(&operation) => operation,
                    None => {
                        // None can be the next: back.
                        furthest = furthest.max(self.first_return());
                        let Some(step) = done.pop() else { return Err(Some(furthest)) };
                        (state, newest_call) = (step.state, step.newest_call);
                        if !self.is_unknown(step.operation) {
                            known.flip(step.operation);
                            self.put_back(step.operation);
                        } else {
                            used.flip(step.operation);
                        }
                        // Past the last of those of unknown outcome it goes back at once.
                        at = if step.is_sure { At::Unknown(self.unknown.len()) } else { self.after(step.at) };
                        continue;
                    }
                },
            };
            let sure = match at {
                At::Moment(place) if place == self.next[0] => self.sure(&state, newest_call),
                _ => None,
            };
            let candidate = sure.unwrap_or(candidate);
            let event = &self.history[candidate];
            let (outcome, after) = M::step(&state, &event.operation);
            let fits = match &event.outcome {
                Some(told) => *told == outcome,
                // One that changes nothing is as good as one that does not happen.
                None => {
                    !used.has(candidate)
                        && event.called < self.first_return()
                        && event.returned >= newest_call
                        && after != state
                        // Nor does one that is forgotten before anybody could learn of it.
                        && !(M::forgets(&event.operation) && done.last().is_some_and(|last| self.is_unknown(last.operation)))
                }
            };
            if fits {
                (if event.outcome.is_some() { &mut known } else { &mut used }).flip(candidate);
                let newest = newest_call.max(event.called);
                // What cannot happen any more makes no difference.
                let mut spent = used.clone();
                for &operation in &self.unknown {
                    if spent.has(operation) && self.history[operation].returned < newest {
                        spent.flip(operation);
                    }
                }
                let before = been.entry((known.clone(), after.clone())).or_default();
                if !before.iter().any(|less| less.is_within(&spent)) {
                    before.push(spent);
                    done.push(Step { at, operation: candidate, state, newest_call, is_sure: sure.is_some() });
                    (state, newest_call) = (after, newest);
                    if event.outcome.is_some() {
                        self.take_out(candidate);
                    }
                    at = At::Moment(self.next[0]);
                    continue;
                }
                (if event.outcome.is_some() { &mut known } else { &mut used }).flip(candidate);
            }
            at = if sure.is_some() { At::Unknown(self.unknown.len()) } else { self.after(at) };
        }
        Ok(())
    }

    fn after(&self, at: At) -> At {
        match at {
            At::Moment(place) => At::Moment(self.next[place]),
            At::Unknown(index) => At::Unknown(index + 1),
        }
    }
}

/// One key of the store.
#[derive(Debug)]
pub struct Register;

/// What is done to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// GET.
    Get,
    /// SET.
    Set(String),
    /// SET with GET: what was there before.
    Exchange(String),
    /// INCR.
    Increment,
    /// APPEND, of digits but zero.
    Append(String),
    /// DEL.
    Delete,
}

/// What one key answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Its value, if it has one.
    Value(Option<String>),
    /// A number, a length, or how many were removed.
    Number(i64),
    /// It was done.
    Done,
    /// Its value is no integer.
    NotAnInteger,
}

impl Model for Register {
    type State = Option<String>;
    type Operation = Operation;
    type Outcome = Outcome;

    fn step(state: &Option<String>, operation: &Operation) -> (Outcome, Option<String>) {
        match operation {
            Operation::Get => (Outcome::Value(state.clone()), state.clone()),
            Operation::Set(value) => (Outcome::Done, Some(value.clone())),
            Operation::Exchange(value) => (Outcome::Value(state.clone()), Some(value.clone())),
            Operation::Increment => match state.as_deref().unwrap_or("0").parse::<i64>() {
                Ok(number) if number < i64::MAX => (Outcome::Number(number + 1), Some((number + 1).to_string())),
                _ => (Outcome::NotAnInteger, state.clone()),
            },
            Operation::Append(tail) => {
                let value = state.clone().unwrap_or_default() + tail;
                (Outcome::Number(i64::try_from(value.len()).unwrap_or(i64::MAX)), Some(value))
            }
            Operation::Delete => (Outcome::Number(i64::from(state.is_some())), None),
        }
    }

    fn observes(operation: &Operation) -> bool {
        *operation == Operation::Get
    }

    fn forgets(operation: &Operation) -> bool {
        matches!(operation, Operation::Set(_) | Operation::Exchange(_) | Operation::Delete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operation::{Append, Delete, Get, Increment};
    use Outcome::{Done, Number, Value};

    fn event(called: u64, returned: u64, operation: Operation, outcome: Option<Outcome>) -> Event<Register> {
        Event { client: 0, operation, outcome, called, returned }
    }

    fn set(value: &str) -> Operation {
        Operation::Set(value.to_owned())
    }

    fn value(value: &str) -> Option<Outcome> {
        Some(Value(Some(value.to_owned())))
    }

    #[test]
    fn one_after_the_other_is_an_order_and_so_is_any_of_what_overlaps() {
        let history = [
            event(0, 1, set("1"), Some(Done)),
            event(2, 9, set("2"), Some(Done)),
            event(3, 8, Get, value("1")),
            event(4, 7, Get, value("2")),
            event(10, 11, Increment, Some(Number(3))),
            event(12, 13, Append("4".to_owned()), Some(Number(2))),
            event(14, 15, Delete, Some(Number(1))),
            event(16, 17, Get, Some(Value(None))),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    /// A write that would change nothing now may yet have to come later.
    #[test]
    fn a_write_of_what_is_there_is_not_taken_for_a_read() {
        let history = [
            event(0, 1, set("1"), Some(Done)),
            event(2, 9, set("1"), Some(Done)),
            event(3, 4, Increment, Some(Number(2))),
            event(10, 11, Get, value("1")),
        ];
        assert_eq!(check(&history), Ok(()));
    }

    #[test]
    fn a_stale_read_is_caught_and_shown() {
        let history = [
            event(0, 1, set("1"), Some(Done)),
            event(2, 3, set("2"), Some(Done)),
            event(4, 5, Get, value("1")),
            event(6, 7, Delete, Some(Number(1))),
        ];
        let Err(Unproven::Impossible(told)) = check(&history) else { panic!("a stale read") };
        assert!(told.contains("Get -> Value(Some(\"1\"))") && !told.contains("Delete"), "{told}");
    }

    #[test]
    fn reads_that_go_back_are_caught() {
        let history = [
            event(0, 1, set("1"), Some(Done)),
            event(2, 20, set("2"), Some(Done)),
            event(3, 4, Get, value("2")),
            event(5, 6, Get, value("1")),
        ];
        assert!(check(&history).is_err());
    }

    #[test]
    fn a_lost_update_is_caught() {
        let twice = |second| {
            [
                event(0, 5, Increment, Some(Number(1))),
                event(1, 4, Increment, Some(Number(second))),
                event(6, 7, Get, value(&second.to_string())),
            ]
        };
        assert_eq!(check(&twice(2)), Ok(()));
        assert!(check(&twice(1)).is_err());
    }

    #[test]
    fn what_nobody_learned_may_have_happened_then_or_later_or_never_but_only_once() {
        let after = |seen: &[&str]| {
            let mut history = vec![event(0, 1, set("1"), Some(Done)), event(2, NEVER, Increment, None)];
            for (at, seen) in (4..).step_by(2).zip(seen) {
                history.push(event(at, at + 1, Get, value(seen)));
            }
            check(&history)
        };
        assert_eq!(after(&["1", "1"]), Ok(()));
        assert_eq!(after(&["2", "2"]), Ok(()));
        assert_eq!(after(&["1", "2"]), Ok(()));
        assert!(after(&["2", "1"]).is_err());
        assert!(after(&["1", "3"]).is_err());
    }

    #[test]
    fn what_nobody_learned_has_not_happened_before_it_was_called_or_after_its_process_ended() {
        let history = [event(0, 1, Get, value("1")), event(2, NEVER, set("1"), None)];
        assert!(check(&history).is_err());
        let ended = |ended| {
            check(&[event(0, ended, set("1"), None), event(4, 5, Get, Some(Value(None))), event(6, 7, Get, value("1"))])
        };
        assert_eq!(ended(5), Ok(()));
        assert!(ended(3).is_err());
    }

    /// Long histories in which much overlaps: made by a register that is right, and then spoilt in one place.
    #[test]
    fn long_histories_are_told_apart() {
        for seed in 0..6 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut state, mut history) = (None, Vec::new());
            for number in 0..2_000_u64 {
                let operation = match dice.u32(0..6) {
                    0 => Increment,
                    1 => Append(dice.u32(1..10).to_string()),
                    2 => Delete,
                    3 => set(&(number + 1).to_string()),
                    _ => Get,
                };
                let (outcome, after) = Register::step(&state, &operation);
                // It happens at moment 10 * number; others overlap it by up to ten.
                let (called, returned) = (10 * number + 500 - dice.u64(0..50), 10 * number + 500 + dice.u64(0..50));
                // Now and then nobody learns of it, and it did not happen or it did.
                let learned = dice.u32(0..50) > 0;
                if learned || dice.bool() {
                    state = after;
                }
                history.push(event(called, returned, operation, learned.then_some(outcome)));
            }
            assert_eq!(check(&history), Ok(()), "seed {seed}");
            // A value that was there long before.
            let read = history.iter().rposition(|event| event.operation == Get && event.outcome.is_some());
            let read = read.expect("a read");
            history[read].outcome = value("no such value");
            assert!(check(&history).is_err(), "seed {seed}");
        }
    }
}
