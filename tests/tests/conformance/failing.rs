//! A store of which every call fails, as one that lies behind a broken network. Invariant: nothing is ever done.

use kvcore::{Error, Result, ScanPage, ScanPosition, Store, Ticket, Transaction, View, Watch, WatchOptions};

/// A store whose calls all return this error.
pub struct Failing(pub fn() -> Error);

impl Store for Failing {
    fn keyspace(&self, _: &str) -> Result<Box<dyn Store>> {
        Err(self.0())
    }

    fn run_view(&self, _: &[&[u8]], _: &mut dyn FnMut(&View<'_>) -> Result<()>) -> Result<Ticket<()>> {
        Err(self.0())
    }

    fn run_transaction(
        &self,
        _: &[&[u8]],
        _: &mut dyn FnMut(&mut Transaction<'_>) -> Result<()>,
    ) -> Result<Ticket<()>> {
        Err(self.0())
    }

    fn scan(&self, _: Option<&ScanPosition>, _: usize, _: &[u8]) -> Result<ScanPage> {
        Err(self.0())
    }

    fn len(&self) -> Result<u64> {
        Err(self.0())
    }

    fn run_clear(&self) -> Result<Ticket<u64>> {
        // It was sent, and then the network failed.
        let error = self.0();
        Ok(Ticket::after(async { Err(error) }, 0))
    }

    fn begin_sync(&self) -> Result<Ticket<()>> {
        Err(self.0())
    }

    fn begin_watch(&self, _: &[u8], options: WatchOptions) -> Result<Watch> {
        let (sender, watch) = Watch::channel(options);
        sender.fail(self.0());
        Ok(watch)
    }
}
