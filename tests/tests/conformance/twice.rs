//! A store that runs every body twice, as one that retries after a conflict may. Invariant: the first run leaves nothing
//! behind, and its result is thrown away.

use kvcore::{Commit, Entries, Error, Result, ScanPage, ScanPosition, Store, Ticket, Transaction, ValueRef, View};

/// The store within, with every body run twice.
pub struct Twice(pub Box<dyn Store>);

impl Store for Twice {
    fn keyspace(&self, name: &str) -> Result<Box<dyn Store>> {
        Ok(Box::new(Twice(self.0.keyspace(name)?)))
    }

    fn read(&self, key: &[u8], show: &mut dyn FnMut(ValueRef<'_>)) -> Result<bool> {
        self.0.read(key, show)
    }

    fn run_view(&self, keys: &[&[u8]], body: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Commit> {
        let _first = self.0.run_view(keys, body);
        self.0.run_view(keys, body)
    }

    fn run_transaction(
        &self,
        keys: &[&[u8]],
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Commit> {
        let conflict = self.0.run_transaction(keys, &mut |txn| {
            let _first = body(txn);
            Err(Error::aborted("a conflict"))
        });
        assert!(conflict.is_err(), "a body that fails is no success");
        self.0.run_transaction(keys, body)
    }

    fn wait(&self, commit: Commit) -> Result<()> {
        self.0.wait(commit)
    }

    fn ticket(&self, commit: Commit) -> Ticket<()> {
        self.0.ticket(commit)
    }

    fn scan(&self, position: Option<&ScanPosition>, at_least: usize, prefix: &[u8]) -> Result<ScanPage> {
        self.0.scan(position, at_least, prefix)
    }

    // Made of `scan`, as on a store that has nothing better.
    fn entries<'a>(&'a self, prefix: &[u8]) -> Result<Entries<'a>> {
        Ok(Entries::scanning(self, prefix))
    }

    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn clear(&self) -> Result<u64> {
        self.0.clear()
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
}
