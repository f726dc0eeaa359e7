//! Users: who may do what.
//!
//! What rules permit is in [`kvcommands::acl`]; a session acts by its [`Access`], and what it asks
//! is held against its user unless that is permitted everything.
//!
//! Invariant: whatever changes a user changes the generation afterwards, so a session that sees the generation it knows
//! knows its user as it is. The user `default` always exists.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use kvcommands::acl::{DEFAULT, User};
use kvproto::Text;
use parking_lot::Mutex;

mod access;
mod account;
pub(crate) mod file;
pub(crate) mod log;
#[cfg(test)]
mod tests;

pub(crate) use access::Access;
pub(crate) use account::Account;

/// All users of a server.
pub(crate) struct Acl {
    /// Counts changes of any user. Begins at 1, so that 0 is none.
    generation: AtomicU64,
    accounts: Mutex<BTreeMap<Box<[u8]>, Arc<Account>>>,
    /// What the accounts take in memory. Changed while they are locked.
    bytes: AtomicUsize,
    default: Arc<Account>,
    /// `acl-pubsub-default`: whether a user is made with every channel.
    pub(crate) all_channels: AtomicBool,
    /// `requirepass`, as it was set. Kept because it is shown to those who may see settings.
    password: Mutex<Box<[u8]>>,
    /// Where users are loaded from and saved to.
    pub(crate) file: Option<PathBuf>,
    pub(crate) log: log::Log,
}

impl Default for Acl {
    fn default() -> Acl {
        let default = Account::new(DEFAULT, User::unrestricted());
        Acl {
            generation: AtomicU64::new(1),
            bytes: AtomicUsize::new(default.bytes()),
            accounts: Mutex::new(BTreeMap::from([(DEFAULT.into(), default.clone())])),
            default,
            all_channels: AtomicBool::new(false),
            password: Mutex::default(),
            file: None,
            log: log::Log::default(),
        }
    }
}

impl Acl {
    /// How often users have changed. A session that knows this number knows its user.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes sessions look at their users again.
    fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Returns what the users take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts an account that took `before` bytes, and takes `after` from now on. The accounts are locked.
    fn recount(&self, before: usize, after: usize) {
        let bytes = (self.bytes.load(Ordering::Relaxed) + after).saturating_sub(before);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn all_channels(&self) -> bool {
        self.all_channels.load(Ordering::Relaxed)
    }

    /// Whether a connection may act as `default` without a password.
    pub(crate) fn is_open(&self) -> bool {
        self.default.user().is_open()
    }

    /// Whether AUTH with a password alone makes no sense.
    pub(crate) fn default_takes_any_password(&self) -> bool {
        self.default.user().takes_any_password()
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<Account>> {
        self.accounts.lock().get(name).cloned()
    }

    /// All accounts in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.lock().values().cloned().collect()
    }

    /// The account of that name, if `password` is one of its user's.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<Account>> {
        self.find(name).filter(|account| account.user().admits(password))
    }

    /// Applies rules to the user of that name, which is made if there is none; all of them, or none and the error says
    /// why. Answers the account if it existed before.
    pub(crate) fn set_user<'r>(
        &self,
        name: &[u8],
        rules: impl IntoIterator<Item = &'r [u8]>,
    ) -> Result<Option<Arc<Account>>, Text> {
        let all_channels = self.all_channels();
        // Held throughout, so that of two changes at once none is lost.
        let mut accounts = self.accounts.lock();
        let account = accounts.get(name).cloned();
        let before = account.as_ref().map_or_else(|| Arc::new(User::new(all_channels)), |account| account.user());
        let user = before.set(rules, all_channels)?;
        match &account {
            Some(account) => {
                let before = account.bytes();
                account.replace(user);
                self.recount(before, account.bytes());
            }
            None => {
                let account = Account::new(name, user);
                self.recount(0, account.bytes());
                accounts.insert(name.into(), account);
            }
        }
        drop(accounts);
        self.changed();
        Ok(account)
    }

    /// Removes a user, which must not be `default`. Its connections must be ended.
    pub(crate) fn remove_user(&self, name: &[u8]) -> Option<Arc<Account>> {
        let mut accounts = self.accounts.lock();
        let account = accounts.remove(name)?;
        account.remove();
        self.recount(account.bytes(), 0);
        drop(accounts);
        self.changed();
        Some(account)
    }

    /// Puts `users` in the place of all there are. Answers the accounts whose connections have to be looked at: all
    /// that there were, since only `default` is kept.
    fn replace_all(&self, mut users: BTreeMap<Box<[u8]>, User>) -> Vec<Arc<Account>> {
        let default = users.remove(DEFAULT).unwrap_or_else(User::unrestricted);
        let mut accounts = self.accounts.lock();
        let before: Vec<Arc<Account>> = accounts.values().cloned().collect();
        before.iter().filter(|account| *account.name != *DEFAULT).for_each(|account| account.remove());
        self.default.replace(default);
        *accounts = users.into_iter().map(|(name, user)| (name.clone(), Account::new(&name, user))).collect();
        accounts.insert(DEFAULT.into(), self.default.clone());
        self.bytes.store(accounts.values().map(|account| account.bytes()).sum(), Ordering::Relaxed);
        drop(accounts);
        self.changed();
        before
    }

    /// Sets the password of `default`; an empty one means that none is needed.
    pub(crate) fn set_password(&self, password: &[u8]) {
        let mut shown = self.password.lock();
        let accounts = self.accounts.lock();
        let mut user = User::clone(&self.default.user());
        user.set_password((!password.is_empty()).then_some(password));
        let before = self.default.bytes();
        self.default.replace(user);
        self.recount(before, self.default.bytes());
        drop(accounts);
        *shown = password.into();
        self.changed();
    }

    /// `requirepass` as it was set.
    pub(crate) fn password(&self) -> Box<[u8]> {
        self.password.lock().clone()
    }
}
