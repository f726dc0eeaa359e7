//! Sync: the door to locks, conditions, atomics and threads. Invariant: whatever a thread of the store waits for, and
//! whatever it decides by not to wait, is made of what is named here, so that a model checker can decide who goes on when.
//!
//! They are parking_lot's and the standard library's own. Compiled with `--cfg shuttle` they are those of `shuttle`, and
//! `tests/models.rs` runs whole stores under orders of events that are drawn from a seed.

use std::ops::Deref;

#[cfg(not(shuttle))]
pub(crate) use {
    parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    std::sync::{atomic, mpsc},
    std::thread,
    std::thread_local,
};

#[cfg(shuttle)]
pub(crate) use {
    modelled::Condvar,
    shuttle::sync::{atomic, mpsc},
    shuttle::thread,
    shuttle::thread_local,
    shuttle_parking_lot_impl::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Keeps what one thread writes off the cache lines that others read: nothing else lies on its lines. Two of 64 bytes,
/// since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(shuttle)]
mod modelled {
    use std::sync::PoisonError;
    use std::time::Duration;

    use shuttle::rand::Rng;
    use shuttle_parking_lot_impl::MutexGuard;

    /// A wait that may last so long is for tidying up only: whoever relies on its end has missed being told. So in some
    /// runs it never ends by itself.
    const FOR_EVER: Duration = Duration::from_secs(2);

    /// As `parking_lot::Condvar`; a wait with a bound may end at any moment.
    #[derive(Default)]
    pub(crate) struct Condvar {
        /// Who waits, by numbers, in the order in which they came.
        waiting: shuttle::sync::Mutex<(u64, Vec<u64>)>,
        changed: shuttle::sync::Condvar,
    }

    pub(crate) struct WaitTimeoutResult(bool);

    impl WaitTimeoutResult {
        pub(crate) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        fn waiting(&self) -> shuttle::sync::MutexGuard<'_, (u64, Vec<u64>)> {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn enqueue(&self) -> u64 {
            let mut waiting = self.waiting();
            waiting.0 += 1;
            let number = waiting.0;
            waiting.1.push(number);
            number
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let number = self.enqueue();
            MutexGuard::unlocked(guard, || {
                let mut waiting = self.waiting();
                while waiting.1.contains(&number) {
                    waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                }
            });
        }

        pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, at_most: Duration) -> WaitTimeoutResult {
            if at_most >= FOR_EVER && shuttle::rand::thread_rng().gen_bool(0.5) {
                self.wait(guard);
                return WaitTimeoutResult(false);
            }
            let number = self.enqueue();
            MutexGuard::unlocked(guard, || {
                loop {
                    shuttle::thread::yield_now();
                    let mut waiting = self.waiting();
                    if !waiting.1.contains(&number) {
                        return WaitTimeoutResult(false);
                    }
                    if shuttle::rand::thread_rng().gen_bool(0.3) {
                        waiting.1.retain(|other| *other != number);
                        return WaitTimeoutResult(true);
                    }
                }
            })
        }

        pub(crate) fn notify_one(&self) {
            let mut waiting = self.waiting();
            if !waiting.1.is_empty() {
                waiting.1.remove(0);
            }
            drop(waiting);
            self.changed.notify_all();
        }

        pub(crate) fn notify_all(&self) {
            self.waiting().1.clear();
            self.changed.notify_all();
        }
    }
}
