//! What clients that track are told.
//!
//! Invariant: it carries the change it tells of, and leaves no sooner than that is durable.

use std::sync::Arc;

use kvcore::hooks::Lsn;
use kvproto::Reply;
use kvproto::resp::Version;

use crate::clients::Address;

/// The channel in which RESP2 clients receive them.
const CHANNEL: &str = "__redis__:invalidate";

/// A message on its way to a client.
#[derive(Debug)]
pub(crate) struct Invalidation {
    /// Who is told.
    pub(crate) to: Address,
    /// If messages are redirected: the client that tracks.
    pub(crate) tracker: Option<Address>,
    pub(crate) what: What,
    pub(crate) lsn: Lsn,
}

/// What the message says.
#[derive(Debug)]
pub(crate) enum What {
    Stale(Stale),
    /// Messages can no longer be redirected to this client.
    RedirectBroken(u64),
}

impl Invalidation {
    /// For a client whose messages no longer reach the client `redirect`.
    pub(crate) fn redirect_broken(to: Address, redirect: u64) -> Invalidation {
        Invalidation { to, tracker: None, what: What::RedirectBroken(redirect), lsn: Lsn::ZERO }
    }

    /// Returns what its receiver is sent; nothing if its protocol has no words for it. `subscribed`: whether the receiver
    /// is subscribed to something.
    pub(crate) fn as_reply(&self, version: Version, subscribed: bool) -> Option<Reply> {
        let resp3 = version == Version::Resp3;
        let words = match &self.what {
            What::RedirectBroken(id) => resp3.then(|| vec![Reply::bulk("tracking-redir-broken"), Reply::count(*id)]),
            What::Stale(stale) => {
                let keys = || match stale {
                    Stale::Keys(keys) => Reply::bulks(keys.iter().map(|key| &**key)),
                    Stale::All => Reply::Nil,
                };
                if resp3 {
                    Some(vec![Reply::bulk("invalidate"), keys()])
                } else if self.tracker.is_some() && subscribed {
                    Some(vec![Reply::bulk("message"), Reply::bulk(CHANNEL), keys()])
                } else {
                    None
                }
            }
        };
        words.map(Reply::Push)
    }

    /// The memory it holds while it is on its way, in bytes.
    pub(crate) fn cost(&self) -> usize {
        let keys = match &self.what {
            What::Stale(Stale::Keys(keys)) => keys.iter().map(|key| size_of_val(key) + key.len()).sum(),
            What::Stale(Stale::All) | What::RedirectBroken(_) => 0,
        };
        size_of::<Invalidation>() + keys
    }
}

/// A change as tracking sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TrackedChange {
    /// `None`: any key may have changed.
    pub(crate) key: Option<Box<[u8]>>,
    /// The client whose command did it; 0 if it was none's, as when a key expires.
    pub(crate) origin: u64,
    pub(crate) lsn: Lsn,
}

/// One list for all who are told the same.
pub(crate) type StaleKeys = Arc<[Box<[u8]>]>;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    Keys(StaleKeys),
    /// Everything it holds.
    All,
}
