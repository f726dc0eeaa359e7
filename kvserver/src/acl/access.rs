//! As whom a session acts, and whether anything has to be checked for that user.
//!
//! Invariant: a session that sees the generation it knows knows its user as it is; one that may do everything pays one
//! load and one comparison for a request.

use std::sync::Arc;

use super::{Account, Acl};
use kvcommands::acl::User;

/// As whom a session acts.
#[derive(Clone)]
pub(crate) struct Access {
    account: Arc<Account>,
    /// What the account's user was in the generation `known`.
    user: Arc<User>,
    known: u64,
    /// Said who it is, or did not have to when it came.
    authenticated: bool,
    /// The generation in which it may do everything; 0 for none.
    free_in: u64,
}

impl Access {
    fn new(account: &Arc<Account>, acl: &Acl) -> Access {
        // The generation before the user: one that changes in between is looked at again.
        let known = acl.generation();
        let user = account.user();
        let authenticated = user.is_open();
        let mut access = Access { account: account.clone(), user, known, authenticated, free_in: 0 };
        access.judge(acl);
        access
    }

    /// Whether nothing has to be checked.
    #[inline]
    pub(crate) fn is_free(&self, acl: &Acl) -> bool {
        self.free_in == acl.generation()
    }

    /// Whether the session said who it is, or does not have to.
    #[inline]
    pub(crate) fn is_authenticated(&self, acl: &Acl) -> bool {
        self.authenticated || acl.is_open()
    }

    pub(crate) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The user as it is now.
    pub(crate) fn user(&mut self, acl: &Acl) -> &Arc<User> {
        let generation = acl.generation();
        if self.known != generation {
            self.known = generation;
            self.user = self.account.user();
            self.judge(acl);
        }
        &self.user
    }

    fn judge(&mut self, acl: &Acl) {
        let free = self.user.is_unrestricted() && !self.account.is_removed() && self.is_authenticated(acl);
        self.free_in = if free { self.known } else { 0 };
    }

    /// Becomes another user, who has proved to be that.
    pub(crate) fn become_user(&mut self, account: Arc<Account>, acl: &Acl) {
        *self = Access::new(&account, acl);
        self.authenticated = true;
        self.judge(acl);
    }
}

impl Acl {
    /// What a connection may do when it begins.
    pub(crate) fn newcomer(&self) -> Access {
        Access::new(&self.default, self)
    }
}
