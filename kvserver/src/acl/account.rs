//! A user's account: what connections that act as a user hold on to.
//!
//! Invariant: a changed user takes the place of the one before it in its account; an account that was removed never has a user again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvcommands::acl::User;
use parking_lot::Mutex;

/// A user's name, and what it is now. Two accounts are the same only if they are one: a user that is removed and made
/// again is another.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: Box<[u8]>,
    user: Mutex<Arc<User>>,
    removed: AtomicBool,
}

impl Account {
    pub(crate) fn new(name: &[u8], user: User) -> Arc<Account> {
        Arc::new(Account { name: name.into(), user: Mutex::new(Arc::new(user)), removed: AtomicBool::new(false) })
    }

    pub(crate) fn user(&self) -> Arc<User> {
        self.user.lock().clone()
    }

    /// Returns what it takes in memory. Its name is kept twice: it is what the accounts are found by.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Account>() + 2 * self.name.len() + size_of::<User>() + self.user().bytes()
    }

    pub(super) fn replace(&self, user: User) {
        *self.user.lock() = Arc::new(user);
    }

    pub(super) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Whether the user is gone: connections that act as it must end.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}
