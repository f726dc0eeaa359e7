//! A store on which each transaction meets conflicts and is run again, as on one that others write to at the same time. Invariant:
//! a run that meets a conflict sees other values than the last, leaves nothing behind, and its result is thrown away.

use std::cell::RefCell;

use kvcore::hooks::{Lookup, ReadTxn};
use kvcore::{
    Deadline, Error, Result, ScanPage, ScanPosition, SetOptions, Store, Ticket, Transaction, ValueRef, View, Watch,
    WatchOptions,
};

/// How often a transaction is run at most.
pub const RUNS_MAX: u32 = 4;

/// What every key holds in a run that meets a conflict, or else no key is there: a number, so that what counts goes on.
const OTHER: &str = "7777";
const OTHER_DEADLINE: Deadline = Deadline::at_ms(9_000_000_000_000);

/// The store within, on which each transaction, and each view, meets so many conflicts. It has only what a store must have, and
/// watches: everything else is the default.
pub struct Contended(pub Box<dyn Store>, pub u32);

impl Contended {
    /// Calls `conflicting` for each run that meets a conflict, with whether the keys are there in it, and `last` for the one
    /// that does not.
    fn retry<R>(&self, conflicting: impl FnMut(bool), last: impl FnOnce() -> Result<R>) -> Result<R> {
        (0..self.1.min(RUNS_MAX)).map(|run| run % 2 == 0).for_each(conflicting);
        if self.1 >= RUNS_MAX { Err(Error::Conflict { runs: RUNS_MAX }) } else { last() }
    }
}

/// A view's keys as they are in a run that meets a conflict.
struct Other<'a> {
    view: &'a View<'a>,
    is_there: bool,
}

impl ReadTxn for Other<'_> {
    fn now_ms(&self) -> u64 {
        self.view.now_ms()
    }

    fn lookup(&self, key: &[u8], _: Lookup) -> Result<Option<ValueRef<'_>>> {
        // It must have been named all the same.
        self.view.get(key)?;
        Ok(self.is_there.then(|| ValueRef::new(OTHER.as_bytes(), Some(OTHER_DEADLINE))))
    }
}

impl Store for Contended {
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(Contended(self.0.keyspace(name)?, self.1)))
    }

    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
        let body = RefCell::new(body);
        let conflicting = |is_there| {
            let run = &mut |view: &View<'_>| (*body.borrow_mut())(&View::new(&Other { view, is_there }));
            let _thrown_away = self.0.run_view(keys, run);
        };
        self.retry(conflicting, || self.0.run_view(keys, &mut |view| (*body.borrow_mut())(view)))
    }

    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>> {
        let body = RefCell::new(body);
        let conflicting = |is_there| {
            let conflict = self.0.run_transaction(keys, &mut |txn| {
                for key in keys {
                    match is_there {
                        true => drop(txn.set_with(key, OTHER, SetOptions::new().expires_at(OTHER_DEADLINE))?),
                        false => drop(txn.delete(key)?),
                    }
                }
                let _thrown_away = (*body.borrow_mut())(txn);
                Err(Error::aborted("a conflict"))
            });
            assert!(conflict.is_err(), "a body that fails is no success");
        };
        self.retry(conflicting, || self.0.run_transaction(keys, &mut |txn| (*body.borrow_mut())(txn)))
    }

    fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
        self.0.scan(position, at_least, prefix)
    }

    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn run_clear(&self) -> Result<Ticket<u64>> {
        self.0.run_clear()
    }

    fn begin_sync(&self) -> Result<Ticket<()>> {
        self.0.begin_sync()
    }

    fn begin_watch(&self, prefix: &[u8], options: WatchOptions) -> Result<Watch> {
        self.0.begin_watch(prefix, options)
    }
}
