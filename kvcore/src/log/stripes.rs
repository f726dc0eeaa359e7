//! Stripes: where transactions wait for the next frame. Invariant: when every stripe is locked, the stripes hold exactly the
//! transactions whose Lsns were given since the last collection.
//!
//! A thread always appends to the same stripe, so its lock and the end of its buffer stay in that processor's cache; all
//! that appending threads share is the counter of Lsns. (One common buffer cost a third of a SET on two threads.)
//! Collecting locks all stripes for an instant, which makes a cut through the order of Lsns without gaps.

use std::array;
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use crate::log::frame::{self, TRANSACTION_HEADER_BYTES};
use crate::log::records::{Part, Records};
use crate::lsn::Lsn;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{CachePadded, Mutex, thread_local};

const STRIPES: usize = 8;
/// A stripe this full is worth writing at once.
const FLUSH_BYTES: usize = 256 * 1024;
/// From here on, writers wait before they take any lock.
const STRIPE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A buffer of up to this many bytes is kept however little it is used.
const KEPT_BYTES: usize = 1024 * 1024;
/// A larger one is given back when it has held less than this part of what it can hold. One that was filled is likely to
/// be filled again: the pages of buffers that were given back and grown anew cost a tenth of a SET.
const USED_PART: usize = 16;

pub(crate) struct Stripes {
    stripes: [CachePadded<Mutex<Stripe>>; STRIPES],
    /// The Lsn the next transaction gets; given under the lock of the stripe that it goes to.
    next: CachePadded<AtomicU64>,
    /// Set to turn appends away.
    closed: AtomicBool,
}

/// Transactions that wait.
#[derive(Default)]
struct Stripe {
    /// Those that were copied.
    bytes: Vec<u8>,
    /// Those that share values with the table.
    shared: Vec<Part>,
    shared_bytes: usize,
}

impl Stripe {
    fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        std::iter::once(&self.bytes[..]).chain(self.shared.iter().map(Part::bytes))
    }

    /// Takes all that waits in another.
    fn append(&mut self, other: &mut Stripe) {
        self.bytes.append(&mut other.bytes);
        self.shared.append(&mut other.shared);
        self.shared_bytes += std::mem::take(&mut other.shared_bytes);
    }
}

/// What was collected from the stripes: the body of a frame, stripe after stripe.
#[derive(Default)]
pub(crate) struct Body([Stripe; STRIPES]);

impl Body {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.0.iter().flat_map(Stripe::parts)
    }

    /// Empties it. Its buffers go back to the stripes with the next collection.
    pub(crate) fn clear(&mut self) {
        for Stripe { bytes, shared, shared_bytes } in &mut self.0 {
            if bytes.capacity() > KEPT_BYTES && bytes.len() < bytes.capacity() / USED_PART {
                *bytes = Vec::new();
            }
            bytes.clear();
            shared.clear();
            *shared_bytes = 0;
        }
    }
}

/// What an append found.
pub(crate) enum Appended {
    /// The transaction waits. Its stripe may have grown such that somebody must be told.
    At(Lsn, Fullness),
    /// The stripes are closed.
    Refused,
}

/// How full a stripe has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fullness {
    Little,
    /// This transaction made it worth writing.
    Enough,
    TooMuch,
}

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// This thread's stripe.
fn stripe() -> usize {
    // No lock and no sign: who gets which stripe decides nothing.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let stripe = STRIPE.with(Cell::get);
    if stripe != usize::MAX {
        return stripe;
    }
    let stripe = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    STRIPE.with(|of_thread| of_thread.set(stripe));
    stripe
}

impl Stripes {
    /// Empty stripes, to go on after `last`.
    pub(crate) fn new(last: Lsn) -> Self {
        Stripes {
            stripes: array::from_fn(|_| CachePadded::default()),
            next: CachePadded(AtomicU64::new(last.next().get())),
            closed: AtomicBool::new(false),
        }
    }

    /// The newest Lsn that was given.
    pub(crate) fn last(&self) -> Lsn {
        Lsn::new(self.next.load(Ordering::SeqCst) - 1)
    }

    /// Gives a transaction its Lsn and keeps its records for the next frame.
    pub(crate) fn append(&self, records: &[u8]) -> Appended {
        self.append_by(|stripe, lsn| frame::push_transaction(&mut stripe.bytes, lsn, records))
    }

    /// Appends as [`append`](Self::append) does, and keeps values that the table shares as they are.
    pub(crate) fn append_shared(&self, records: &Records) -> Appended {
        self.append_by(|stripe, lsn| {
            records.push_parts(&frame::transaction_header(lsn, records.len()), &mut stripe.shared);
            stripe.shared_bytes += TRANSACTION_HEADER_BYTES + records.len();
        })
    }

    #[inline]
    fn append_by(&self, push: impl FnOnce(&mut Stripe, Lsn)) -> Appended {
        let mut stripe = self.stripes[stripe()].lock();
        // Under the stripe's lock: whoever closes the stripes and then collects them misses nothing.
        if self.closed.load(Ordering::SeqCst) {
            return Appended::Refused;
        }
        let lsn = Lsn::new(self.next.fetch_add(1, Ordering::SeqCst));
        let before = stripe.len();
        push(&mut stripe, lsn);
        let fullness = match stripe.len() {
            len if len > STRIPE_BYTES_MAX => Fullness::TooMuch,
            len if before < FLUSH_BYTES && len >= FLUSH_BYTES => Fullness::Enough,
            _ => Fullness::Little,
        };
        Appended::At(lsn, fullness)
    }

    /// From now on appends are refused, or taken again.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    /// Adds everything that waits to the end of `body`, and leaves it where it is; returns the newest Lsn given.
    pub(crate) fn copy_to(&self, body: &mut Vec<u8>) -> Lsn {
        let stripes: [_; STRIPES] = array::from_fn(|i| self.stripes[i].lock());
        stripes.iter().flat_map(|stripe| stripe.parts()).for_each(|part| body.extend_from_slice(part));
        self.last()
    }

    /// Gives back the large buffers of stripes in which nothing waits.
    pub(crate) fn shrink(&self) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            if stripe.len() == 0 && stripe.bytes.capacity() > KEPT_BYTES {
                stripe.bytes = Vec::new();
            }
        }
    }

    /// Moves everything that waits to `body`, behind what that holds; returns the newest Lsn given, all of which are then
    /// in this body or in earlier ones.
    pub(crate) fn collect(&self, body: &mut Body) -> Lsn {
        let mut stripes: [_; STRIPES] = array::from_fn(|i| self.stripes[i].lock());
        for (stripe, collected) in stripes.iter_mut().zip(&mut body.0) {
            if collected.len() == 0 {
                std::mem::swap(&mut **stripe, collected);
            } else {
                // What found no space on the disk is still there.
                collected.append(stripe);
            }
        }
        self.last()
    }
}
