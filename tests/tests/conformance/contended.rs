//! A store on which each transaction meets conflicts and is run again, as on one that others write to at the same time. Invariant:
//! a run that meets a conflict leaves nothing behind, and its result is thrown away.

use kvcore::{Error, Result, ScanPage, ScanPosition, Store, Ticket, Transaction, View, Watch, WatchOptions};

/// How often a transaction is run at most.
pub const RUNS_MAX: u32 = 4;

/// The store within, on which each transaction, and each view, meets so many conflicts. It has only what a store must have:
/// everything else is the default.
pub struct Contended(pub Box<dyn Store>, pub u32);

impl Contended {
    /// Calls `conflicting` for each run that meets a conflict, and `last` for the one that does not.
    fn retry<R>(&self, conflicting: &mut dyn FnMut(), last: impl FnOnce() -> Result<R>) -> Result<R> {
        (0..self.1.min(RUNS_MAX)).for_each(|_| conflicting());
        if self.1 >= RUNS_MAX { Err(Error::Conflict { runs: RUNS_MAX }) } else { last() }
    }
}

impl Store for Contended {
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(Contended(self.0.keyspace(name)?, self.1)))
    }

    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
        let body = std::cell::RefCell::new(body);
        let run = || self.0.run_view(keys, &mut |view| (*body.borrow_mut())(view));
        self.retry(&mut || drop(run()), run)
    }

    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>> {
        let body = std::cell::RefCell::new(body);
        let mut conflicting = || {
            let conflict = self.0.run_transaction(keys, &mut |txn| {
                let _thrown_away = (*body.borrow_mut())(txn);
                Err(Error::aborted("a conflict"))
            });
            assert!(conflict.is_err(), "a body that fails is no success");
        };
        self.retry(&mut conflicting, || self.0.run_transaction(keys, &mut |txn| (*body.borrow_mut())(txn)))
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
