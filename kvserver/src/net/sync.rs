//! Sync: the door to what a loop sleeps by, and to what marks those who watch. Invariant: the [mailbox](crate::notify::mailbox) and
//! the [table of watchers](crate::notify::watch) are made of what is named here alone, so that a model checker can decide who goes
//! on when.
//!
//! Compiled with `--cfg shuttle` it is made of `shuttle`'s; see `outbox/models.rs` and `watch/models.rs`.

#[cfg(not(shuttle))]
pub(crate) use {mio::Waker, parking_lot::Mutex, std::sync::atomic};

#[cfg(shuttle)]
pub(crate) use {modelled::Waker, shuttle::sync::atomic, shuttle_parking_lot_impl::Mutex};

#[cfg(shuttle)]
mod modelled {
    use std::io;
    use std::sync::PoisonError;

    use shuttle::sync::{Condvar, Mutex};

    /// Wakes a loop of a model, in whose runs no time-out helps.
    #[derive(Default)]
    pub(crate) struct Waker {
        woken: Mutex<bool>,
        bell: Condvar,
    }

    impl Waker {
        pub(crate) fn new(_: &mio::Registry, _: mio::Token) -> io::Result<Waker> {
            Ok(Self::default())
        }

        pub(crate) fn wake(&self) -> io::Result<()> {
            *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.bell.notify_all();
            Ok(())
        }

        /// Sleeps until it is woken, as a poll does that has nothing else to wait for.
        #[cfg(test)]
        pub(crate) fn sleep(&self) {
            let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
            while !*woken {
                woken = self.bell.wait(woken).unwrap_or_else(PoisonError::into_inner);
            }
            *woken = false;
        }
    }
}
