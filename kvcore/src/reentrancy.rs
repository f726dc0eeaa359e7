//! Re-entrancy guard: which store's locks this thread holds. Invariant: a closure that runs under a store's locks gets an error
//! when it calls that store, and never waits for itself.

use std::cell::{Cell, RefCell};

use crate::error::{Error, Result};
use crate::sync::thread_local;

thread_local! {
    /// The store whose locks this thread holds, 0 for none: a call back into it would wait for itself.
    static CURRENT_STORE: Cell<u64> = const { Cell::new(0) };
    /// The stores around that one, where a closure running in one store calls another.
    static OUTER_STORES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread may not enter the store again.
pub(crate) struct ReentrancyGuard {
    nested: bool,
}

impl ReentrancyGuard {
    #[inline]
    pub(crate) fn new(store_id: u64) -> Result<ReentrancyGuard> {
        let held = CURRENT_STORE.with(Cell::get);
        if held == 0 {
            CURRENT_STORE.with(|held| held.set(store_id));
            return Ok(ReentrancyGuard { nested: false });
        }
        ReentrancyGuard::within(held, store_id)
    }

    /// ReentrancyGuard from a closure that another store, or this one, runs.
    #[cold]
    fn within(held: u64, store_id: u64) -> Result<ReentrancyGuard> {
        OUTER_STORES.with(|before| {
            let mut before = before.borrow_mut();
            if held == store_id || before.contains(&store_id) {
                return Err(Error::Reentered);
            }
            before.push(held);
            CURRENT_STORE.with(|held| held.set(store_id));
            Ok(ReentrancyGuard { nested: true })
        })
    }
}

impl Drop for ReentrancyGuard {
    #[inline]
    fn drop(&mut self) {
        let before = if self.nested { OUTER_STORES.with(|before| before.borrow_mut().pop().unwrap_or(0)) } else { 0 };
        CURRENT_STORE.with(|held| held.set(before));
    }
}

/// Returns whether this thread holds locks of a store.
pub(crate) fn is_held(store_id: u64) -> bool {
    CURRENT_STORE.with(Cell::get) == store_id || OUTER_STORES.with(|before| before.borrow().contains(&store_id))
}
