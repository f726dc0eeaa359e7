//! What one lane does to a store: transactions over several keys and keyspaces, deadlines, keyspaces made, dropped,
//! exchanged and emptied, deferred tickets, settled reads; and what it was promised for each.
//!
//! Invariant: the model makes the same changes as the store, in the same closure; a call that fails has done all of it in
//! memory or nothing, and is noted as whichever it was.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use fastrand::Rng;
use kvcore::hooks::{Lsn, Txn, txn_of};
use kvcore::{Db, Deadline, Durability, Error, Keyspace, LockSet, Ticket};

use crate::history::Life;
use crate::ledger::{Course, Entry, Note, Place, State, alive, show};
use crate::sim::SimDisk;
use crate::theme::{Step, Theme, What};

/// The key whose value is large enough to be changed range by range.
const LARGE: &[u8] = b"large";

/// One thread of a history, with keyspaces of its own.
pub struct Lane {
    pub index: usize,
    rng: Rng,
    pub course: Course,
    /// The transaction whose state the store has in memory.
    pub current: usize,
    /// Of deferred transactions, and whether they promise anything.
    tickets: Vec<(usize, Ticket<()>, bool)>,
    /// Transactions that were not promised when they were answered, and how far the log had come then.
    open: Vec<(usize, Lsn)>,
    /// The log takes no more writes in this life.
    poisoned: bool,
    /// What this life began with.
    adopted: usize,
    theme: Arc<Theme>,
}

impl Lane {
    pub fn new(index: usize, seed: u64, theme: Arc<Theme>) -> Lane {
        let course = Course { states: vec![State::new()], logged: vec![(0, 0)], ..Course::default() };
        let rng = Rng::with_seed(seed);
        Lane { index, rng, course, current: 0, tickets: vec![], open: vec![], poisoned: false, adopted: 0, theme }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.theme.large && self.rng.u8(..4) == 0 {
            true => LARGE.to_vec(),
            false => format!("key{}", self.rng.u64(..self.theme.keys)).into_bytes(),
        }
    }

    /// A new life begins with the state of transaction `number`, which from then on is durable.
    pub fn adopt(&mut self, number: usize, life: &Life<'_>) {
        let number = self.add(self.course.states[number].clone(), (0, 0), life);
        (self.current, self.adopted) = (number, number);
        life.disk.note(Note::Promised { lane: self.index, number });
        self.open.clear();
        self.tickets.clear();
        self.poisoned = false;
    }

    fn add(&mut self, state: State, logged: (u64, u64), life: &Life<'_>) -> usize {
        let number = self.course.states.len();
        life.disk.note(Note::Begun { lane: self.index, number });
        self.course.states.push(state);
        self.course.logged.push(logged);
        number
    }

    /// One step. What a failing disk may refuse is let pass; whatever else goes wrong panics.
    pub fn step(&mut self, life: &Life<'_>) {
        match self.theme.step(&mut self.rng, life.alone) {
            Step::Snapshot => life.snapshot(),
            Step::Pass => {
                life.pass(self.rng.u64(1..400));
                // Before anything else tells the log what time it is; or it is swept first.
                if self.rng.bool() {
                    self.look_for_the_dead(life);
                }
            }
            Step::Sweep => drop(life.db.sweep()),
            Step::Level => life.db.set_durability(any_durability(&mut self.rng)),
            Step::Window if life.db.durability() == Durability::EverySecond => self.let_a_second_pass(life),
            Step::LookForTheDead => self.look_for_the_dead(life),
            Step::Settle => self.settle(life),
            Step::Read => self.read(life),
            Step::Redeem => self.redeem(life),
            // So that it has more than one frame to lose.
            Step::Breathe if life.db.durability() != Durability::Always => life.breathe(),
            // It would be refused, most often; what may be read meanwhile says more.
            Step::Change if self.poisoned && self.rng.u8(..4) > 0 => self.read(life),
            Step::Window | Step::Breathe | Step::Change => self.change(life),
        }
        self.look(life);
    }

    /// What could still be promised is, when the store was closed without an error.
    pub fn all_is_promised(&mut self, disk: &SimDisk) {
        disk.note(Note::Promised { lane: self.index, number: self.current });
    }

    fn promise(&mut self, number: usize, life: &Life<'_>) {
        life.disk.note(Note::Promised { lane: self.index, number });
    }

    fn failed(&mut self, error: &Error, life: &Life<'_>) {
        self.poisoned |= matches!(error, Error::LogFailed { .. });
        life.excuse(error);
        if matches!(error, Error::NoSpace { .. }) && self.rng.bool() {
            // Somebody makes room, and tells nobody.
            life.disk.work_again();
            let is_over = |health| matches!(health, Ok(()) | Err(Error::LogFailed { .. }));
            life.wait_until("there is room, and writes are taken", || is_over(life.db.health()));
        }
    }

    fn change(&mut self, life: &Life<'_>) {
        let db = life.db;
        let names = ["a", "b"].map(|suffix| format!("{}{suffix}", self.index));
        let keyspaces = match names.each_ref().map(|name| db.keyspace(name)) {
            [Ok(one), Ok(other)] => [one, other],
            [Err(error), _] | [_, Err(error)] => return self.failed(&error, life),
        };
        let what = self.theme.call(&mut self.rng, life.alone);
        let which = self.rng.usize(..2);
        let strong = self.rng.u8(..4) == 0;
        let keyspace =
            if strong { keyspaces[which].with_durability(Durability::Always) } else { keyspaces[which].clone() };
        // What goes over several keyspaces promises what the store does.
        let of_db = matches!(what, What::FlushAll | What::Drop | What::Swap | What::Across);
        let durability = if of_db { db.durability() } else { keyspace.durability() };

        let mut state = self.course.states[self.current].clone();
        let from = db.hooks().last_lsn().get() + 1;
        let number = self.add(State::new(), (from, 0), life);
        let outcome = self.perform(what, db, &keyspaces, &names, which, &keyspace, &mut state);
        let end = db.hooks().last_lsn();
        self.course.logged[number].1 = end.get();

        let now_ms = db.now_ms();
        let has_changed = !alive(&state, now_ms).eq(alive(&self.course.states[self.current], now_ms));
        let is_there = match &outcome {
            Ok(_) => has_changed,
            Err(error) => {
                self.failed(error, life);
                has_changed && self.is_in_memory(&state, life)
            }
        };
        self.course.states[number] = state;
        if !is_there {
            self.course.void.insert(number);
        } else {
            assert!(!(self.poisoned && outcome.is_ok()), "lane {}: a write was taken after the log failed", self.index);
            self.current = number;
            self.open.push((number, end));
        }
        match outcome {
            // What changed nothing promises nothing: it may not even have looked at what others had changed.
            _ if !is_there => {}
            Ok(Some(ticket)) => self.tickets.push((number, ticket, durability == Durability::Always)),
            Ok(None) if durability == Durability::Always => self.promise(number, life),
            _ => {}
        }
        let durable = db.hooks().durable_lsn();
        if let Some(promised) = self.open.iter().filter(|(_, lsn)| *lsn <= durable).map(|(number, _)| *number).max() {
            self.open.retain(|(number, _)| *number > promised);
            self.promise(promised, life);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a step has decided on")]
    fn perform(
        &mut self,
        what: What,
        db: &Db,
        keyspaces: &[Keyspace; 2],
        names: &[String; 2],
        which: usize,
        keyspace: &Keyspace,
        state: &mut State,
    ) -> Result<Option<Ticket<()>>, Error> {
        let keys: Vec<Vec<u8>> = (0..self.rng.usize(1..=self.theme.call_keys)).map(|_| self.key()).collect();
        let gives_up = self.rng.u8(..20) == 0;
        let (before, theme, rng) = (gives_up.then(|| state.clone()), &*self.theme, &mut self.rng);
        let mut body = |txn: &mut dyn Txn| {
            keys.iter().for_each(|key| change(rng, txn, state, &names[which], key, theme));
            keys.windows(2).for_each(|pair| copy(rng, txn, state, &names[which], [&pair[0], &pair[1]], theme));
            if gives_up { Err(Error::aborted("of its own will")) } else { Ok(()) }
        };
        let outcome = match what {
            What::Plain => keyspace.hooks().transact(&keys, |txn| body(txn)).map(|()| None),
            What::Deferred => keyspace.deferred().transact(&keys, |txn| body(txn_of(txn))).map(Some),
            What::Across => {
                let named: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let locks = keyspaces.iter().fold(LockSet::new(), |locks, keyspace| locks.keys(keyspace, &named));
                db.hooks()
                    .transact_across(locks, |txn| {
                        for (keyspace, name) in keyspaces.iter().zip(names) {
                            txn.select(keyspace.hooks().id())?;
                            keys.iter().for_each(|key| change(rng, txn, state, name, key, theme));
                        }
                        // The second is the one that calls speak of.
                        let [from, to] = [&names[0], &names[1]].map(|name| (name.clone(), keys[0].clone()));
                        if theme.copies(rng) {
                            let (now_ms, deadline) = (txn.now_ms(), theme.deadline(rng, txn.now_ms()));
                            let copied = copy_in_model(state, &from, to, deadline, now_ms);
                            let at = deadline.map(Deadline::at_ms);
                            assert_eq!(
                                txn.copy_from(keyspaces[0].hooks().id(), &from.1, &from.1, at)?,
                                copied,
                                "as in the model"
                            );
                        }
                        if gives_up { Err(Error::aborted("of its own will")) } else { Ok(()) }
                    })
                    .map(|()| None)
            }
            What::Flush => {
                state.retain(|(name, _), _| *name != names[which]);
                return keyspace.clear().map(|_| None);
            }
            What::FlushAll => {
                state.clear();
                return db.clear_all().map(|_| None);
            }
            What::Drop => {
                state.retain(|(name, _), _| *name != names[which]);
                return db.drop_keyspace(&names[which]).map(|_| None);
            }
            What::Swap => {
                let other = |name: &String| names[usize::from(*name == names[0])].clone();
                *state = std::mem::take(state).into_iter().map(|((name, key), to)| ((other(&name), key), to)).collect();
                return db.swap(&names[0], &names[1]).map(|()| None);
            }
        };
        match (outcome, before) {
            // It was given up, and then nothing of it must be seen, ever.
            (Err(Error::Aborted(_)), Some(before)) => {
                *state = before;
                Ok(None)
            }
            (outcome, _) => outcome,
        }
    }

    /// After a call that failed: whether it was applied all the same. It was, or nothing of it was.
    fn is_in_memory(&self, new: &State, life: &Life<'_>) -> bool {
        let shown = show(life.db, self.index + 1);
        let (old, state) = (&self.course.states[self.current], &shown.lanes[self.index]);
        let is = |of: &State| alive(of, shown.now_ms).eq(state.iter());
        assert!(is(new) || is(old), "lane {}: a call that failed was applied in part", self.index);
        is(new) && !is(old)
    }

    /// Reads go on, whatever has failed, and show what was written last.
    fn look(&mut self, life: &Life<'_>) {
        let state = &self.course.states[self.current];
        let Some(at) = self.rng.usize(..=state.len()).checked_sub(1) else { return };
        let Some((place, (value, _))) = alive(state, life.db.now_ms()).nth(at) else { return };
        let keyspace = life.db.keyspace(&place.0).unwrap();
        assert_eq!(keyspace.get(&place.1).unwrap().unwrap(), *value, "a read shows what was written");
        // What is durable needs no log to be shown. Where there are deadlines the passing of one may need it.
        let no_deadlines = self.theme.deadline_every == 0;
        let settled = self.open.is_empty() && life.db.durability() == Durability::Always && no_deadlines;
        if settled && life.db.hooks().durable_lsn() == life.db.hooks().last_lsn() {
            assert_eq!(keyspace.get_durable(&place.1).unwrap().unwrap(), *value, "settled data is read");
        }
    }

    /// A settled read that finds a key expired promises that it stays so.
    fn look_for_the_dead(&mut self, life: &Life<'_>) {
        let now_ms = life.db.now_ms();
        let state = &self.course.states[self.current];
        let dead = |(place, (_, deadline)): (_, &Entry)| Some((place, deadline.filter(|at| *at <= now_ms)?));
        let dead: Vec<(&Place, u64)> = state.iter().filter_map(dead).collect();
        if dead.is_empty() {
            return;
        }
        let (place, deadline_ms) = dead[self.rng.usize(..dead.len())];
        // A keyspace that was dropped with them is made anew, for which the log must work.
        let keyspace = match life.db.keyspace(&place.0) {
            Ok(keyspace) => keyspace.with_durability(Durability::Always),
            Err(error) => return self.failed(&error, life),
        };
        // Perhaps somebody has found it before, who waits for nothing, or the sweeper has.
        match self.rng.u8(..4) {
            0 if life.alone => drop(life.db.sweep()),
            1 | 2 => drop(keyspace.hooks().commit(&[&place.1], &mut |txn| txn.get(&place.1).map(drop))),
            _ => {}
        }
        match keyspace.get_durable(&place.1) {
            Ok(value) => {
                assert!(value.is_none(), "lane {}: served past its deadline", self.index);
                life.disk.note(Note::Seen { deadline_ms });
            }
            Err(error) => self.failed(&error, life),
        }
    }

    /// Whoever sees a key, settled, has been promised the last transaction that changed it.
    fn read(&mut self, life: &Life<'_>) {
        let name = format!("{}{}", self.index, if self.rng.bool() { "a" } else { "b" });
        let keyspace = match life.db.keyspace(&name) {
            Ok(keyspace) => keyspace.with_durability(Durability::Always),
            Err(error) => return self.failed(&error, life),
        };
        let keys: Vec<Vec<u8>> = (0..self.rng.usize(1..=2)).map(|_| self.key()).collect();
        let (mut now_ms, mut found) = (0, Vec::new());
        let outcome = keyspace.transact(&keys, |txn| {
            now_ms = txn.now_ms();
            for key in &keys {
                let value = txn.get(key)?;
                found.push(value.map(|value| (value.bytes().to_vec(), value.deadline().map(Deadline::as_ms))));
            }
            Ok(())
        });
        if let Err(error) = outcome {
            return self.failed(&error, life);
        }
        let shows = |number: usize, place: &Place| {
            let entry = self.course.states[number].get(place);
            entry.filter(|(_, deadline)| deadline.is_none_or(|at| at > now_ms))
        };
        let mut promised = self.adopted;
        for (key, found) in keys.into_iter().zip(&found) {
            let place = (name.clone(), key);
            let shown = shows(self.current, &place);
            assert_eq!(found.as_ref(), shown, "lane {}: a settled read shows what was written", self.index);
            let is_there = |number: &usize| !self.course.void.contains(number);
            let mut changed = self.current;
            for number in (self.adopted..=self.current).rev().filter(is_there) {
                if shows(number, &place) != shown {
                    promised = promised.max(changed);
                    break;
                }
                changed = number;
            }
        }
        self.promise(promised, life);
    }

    /// Whoever sees everything, settled, has been promised everything.
    fn settle(&mut self, life: &Life<'_>) {
        let handle = life.db.with_durability(Durability::Always);
        let outcome = match life.db.durability() {
            Durability::Always => {
                let names = ["a", "b"].map(|suffix| life.db.keyspace(&format!("{}{suffix}", self.index)));
                let keyspaces: Result<Vec<Keyspace>, Error> = names.into_iter().collect();
                keyspaces.and_then(|keyspaces| {
                    let locks = keyspaces.iter().fold(LockSet::new(), LockSet::whole);
                    life.db.hooks().transact_across(locks, |_| Ok(()))
                })
            }
            _ => handle.hooks().wait(life.db.hooks().last_lsn()),
        };
        match outcome {
            Ok(()) => self.promise(self.current, life),
            Err(error) => self.failed(&error, life),
        }
    }

    fn redeem(&mut self, life: &Life<'_>) {
        if self.tickets.is_empty() {
            return;
        }
        let (number, ticket, promises) = self.tickets.swap_remove(self.rng.usize(..self.tickets.len()));
        match if self.rng.bool() { ticket.wait() } else { block_on(ticket) } {
            Ok(()) if promises => self.promise(number, life),
            Ok(()) => {}
            Err(error) => self.failed(&error, life),
        }
    }

    /// `EverySecond` keeps its window: what is older than a second is durable as soon as the log is written to, and
    /// however often it is written to meanwhile.
    fn let_a_second_pass(&mut self, life: &Life<'_>) {
        let (number, lsn) = (self.current, life.db.hooks().last_lsn());
        let busy = life.db.keyspace("busy").map(|keyspace| keyspace.with_durability(Durability::Os));
        if self.rng.bool() {
            life.pass(1_001);
            self.change(life);
        } else {
            for _ in 0..10 {
                let _ = busy.as_ref().map(|busy| busy.set("busy", "yes"));
                life.breathe();
                life.pass(101);
            }
        }
        // Nobody asks for it, nor is the log left alone for so long that it is sealed, nor is so much written that a new
        // segment is begun: either would make it durable, too.
        let mut since = Instant::now();
        life.wait_until("what is older than a second is durable", || {
            if since.elapsed() > Duration::from_millis(900) {
                let _ = busy.as_ref().map(|busy| busy.set("busy", "yes"));
                since = Instant::now();
            }
            life.db.hooks().durable_lsn() >= lsn || life.db.health().is_err()
        });
        if life.db.hooks().durable_lsn() >= lsn {
            self.promise(number, life);
        }
    }
}

pub fn any_durability(rng: &mut Rng) -> Durability {
    match rng.u8(..8) {
        0..=3 => Durability::Always,
        4..=6 => Durability::EverySecond,
        _ => Durability::Os,
    }
}

/// One effect of a transaction, on the store and on its model.
fn change(rng: &mut Rng, txn: &mut (impl Txn + ?Sized), state: &mut State, name: &str, key: &[u8], theme: &Theme) {
    let place = (name.to_owned(), key.to_vec());
    let now_ms = txn.now_ms();
    if state.get(&place).is_some_and(|(_, deadline)| deadline.is_some_and(|at| at <= now_ms)) {
        state.remove(&place);
    }
    let old_len = state.get(&place).map_or(0, |(value, _)| value.len());
    let len =
        if key == LARGE && old_len < 8 * 1024 { rng.usize(8 * 1024..9 * 1024) } else { rng.usize(..theme.value_bytes) };
    let value: Vec<u8> = std::iter::repeat_n(rng.alphanumeric() as u8, len).collect();
    let deadline = theme.deadline(rng, now_ms);
    let what = if key == LARGE && old_len > 0 && rng.u8(..8) > 0 { 1 } else { rng.u8(..8) };
    match what {
        _ if (2..2 + theme.deadline_changes).contains(&what) => {
            let there = txn.set_deadline(key, deadline.map(Deadline::at_ms)).unwrap();
            assert_eq!(there, state.contains_key(&place) && there, "the model has what the store has");
            match state.get_mut(&place) {
                Some(_) if deadline.is_some_and(|at| at <= now_ms) => drop(state.remove(&place)),
                Some((_, old)) => *old = deadline,
                None => {}
            }
        }
        0 => {
            txn.delete(key).unwrap();
            state.remove(&place);
        }
        1 if !value.is_empty() => {
            // At the end, somewhere inside, or beyond.
            let offset = if rng.bool() { old_len } else { rng.usize(..old_len + 100) };
            let new_len = txn.write_range(key, offset, &value).unwrap();
            let (old, _) = state.entry(place).or_default();
            old.resize(old.len().max(offset + value.len()), 0);
            old[offset..offset + value.len()].copy_from_slice(&value);
            assert_eq!(new_len, old.len());
        }
        _ => {
            txn.set(key, &value, deadline.map(Deadline::at_ms)).unwrap();
            match deadline {
                Some(at) if at <= now_ms => drop(state.remove(&place)),
                _ => drop(state.insert(place, (value, deadline))),
            }
        }
    }
}

/// Copies the value of one key to another, in the store and in its model, and perhaps deletes the first.
fn copy(
    rng: &mut Rng,
    txn: &mut (impl Txn + ?Sized),
    state: &mut State,
    name: &str,
    [from, to]: [&[u8]; 2],
    theme: &Theme,
) {
    if !theme.copies(rng) {
        return;
    }
    let (now_ms, deadline) = (txn.now_ms(), theme.deadline(rng, txn.now_ms()));
    let [source, target] = [from, to].map(|key| (name.to_owned(), key.to_vec()));
    let copied = copy_in_model(state, &source, target, deadline, now_ms);
    assert_eq!(txn.copy(from, to, deadline.map(Deadline::at_ms)).unwrap(), copied, "as in the model");
    if rng.bool() {
        txn.delete(from).unwrap();
        state.remove(&source);
    }
}

/// Returns whether there is something to copy.
fn copy_in_model(state: &mut State, from: &Place, to: Place, deadline: Option<u64>, now_ms: u64) -> bool {
    let is_live = |(_, deadline): &&Entry| deadline.is_none_or(|at| at > now_ms);
    let Some((value, _)) = state.get(from).filter(is_live).cloned() else { return false };
    match deadline {
        Some(at) if at <= now_ms => drop(state.remove(&to)),
        _ => drop(state.insert(to, (value, deadline))),
    }
    true
}

/// Awaits `future` on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
