//! Lanes: where transactions wait for the next frame. Invariant: when every lane is locked, the lanes hold exactly the
//! transactions whose Lsns were given since the last collection.
//!
//! A thread always appends to the same lane, so its lock and the end of its buffer stay in that processor's cache; all
//! that appending threads share is the counter of Lsns. (One common buffer cost a third of a SET on two threads.)
//! Collecting locks all lanes for an instant, which makes a cut through the order of Lsns without gaps.

use std::array;
use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use crate::log::frame::{self, TRANSACTION_HEADER_BYTES};
use crate::log::records::{Part, Records};
use crate::lsn::Lsn;
use crate::sync::CachePadded;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, thread_local};

const LANES: usize = 8;
/// A lane this full is worth writing at once.
const FLUSH_BYTES: usize = 256 * 1024;
/// From here on, writers wait before they take any lock.
const LANE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A buffer of up to this many bytes is kept however little it is used.
const KEPT_BYTES: usize = 1024 * 1024;
/// A larger one is given back when it has held less than this part of what it can hold. One that was filled is likely to
/// be filled again: the pages of buffers that were given back and grown anew cost a tenth of a SET.
const USED_PART: usize = 16;

pub(crate) struct Lanes {
    lanes: [CachePadded<Mutex<Lane>>; LANES],
    /// The Lsn the next transaction gets; given under the lock of the lane that it goes to.
    next: CachePadded<AtomicU64>,
    /// Set to turn appends away.
    closed: AtomicBool,
}

/// Transactions that wait.
#[derive(Default)]
struct Lane {
    /// Those that were copied.
    bytes: Vec<u8>,
    /// Those that share values with the table.
    shared: Vec<Part>,
    shared_bytes: usize,
}

impl Lane {
    fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        std::iter::once(&self.bytes[..]).chain(self.shared.iter().map(Part::bytes))
    }

    /// Takes all that waits in another.
    fn append(&mut self, other: &mut Lane) {
        self.bytes.append(&mut other.bytes);
        self.shared.append(&mut other.shared);
        self.shared_bytes += std::mem::take(&mut other.shared_bytes);
    }
}

/// What was collected from the lanes: the body of a frame, lane after lane.
#[derive(Default)]
pub(crate) struct Body([Lane; LANES]);

impl Body {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.0.iter().flat_map(Lane::parts)
    }

    /// Empties it. Its buffers go back to the lanes with the next collection.
    pub(crate) fn clear(&mut self) {
        for Lane { bytes, shared, shared_bytes } in &mut self.0 {
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
    /// The transaction waits. Its lane may have grown such that somebody must be told.
    At(Lsn, Fullness),
    /// The lanes are closed.
    Refused,
}

/// How full a lane has become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fullness {
    Little,
    /// This transaction made it worth writing.
    Enough,
    TooMuch,
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// This thread's lane.
fn lane() -> usize {
    // No lock and no sign: who gets which lane decides nothing.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let lane = LANE.with(Cell::get);
    if lane != usize::MAX {
        return lane;
    }
    let lane = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
    LANE.with(|of_thread| of_thread.set(lane));
    lane
}

impl Lanes {
    /// Empty lanes, to go on after `last`.
    pub(crate) fn new(last: Lsn) -> Self {
        Lanes {
            lanes: array::from_fn(|_| CachePadded::default()),
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
        self.append_by(|lane, lsn| frame::push_transaction(&mut lane.bytes, lsn, records))
    }

    /// Appends as [`append`](Self::append) does, and keeps values that the table shares as they are.
    pub(crate) fn append_shared(&self, records: &Records) -> Appended {
        self.append_by(|lane, lsn| {
            records.push_parts(&frame::transaction_header(lsn, records.len()), &mut lane.shared);
            lane.shared_bytes += TRANSACTION_HEADER_BYTES + records.len();
        })
    }

    #[inline]
    fn append_by(&self, push: impl FnOnce(&mut Lane, Lsn)) -> Appended {
        let mut lane = self.lanes[lane()].lock();
        // Under the lane's lock: whoever closes the lanes and then collects them misses nothing.
        if self.closed.load(Ordering::SeqCst) {
            return Appended::Refused;
        }
        let lsn = Lsn::new(self.next.fetch_add(1, Ordering::SeqCst));
        let before = lane.len();
        push(&mut lane, lsn);
        let fullness = match lane.len() {
            len if len > LANE_BYTES_MAX => Fullness::TooMuch,
            len if before < FLUSH_BYTES && len >= FLUSH_BYTES => Fullness::Enough,
            _ => Fullness::Little,
        };
        Appended::At(lsn, fullness)
    }

    /// From now on appends are refused, or taken again.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    /// Adds everything that waits to the end of `body`, and leaves it where it is; answers the newest Lsn given.
    pub(crate) fn copy_to(&self, body: &mut Vec<u8>) -> Lsn {
        let lanes: [_; LANES] = array::from_fn(|i| self.lanes[i].lock());
        lanes.iter().flat_map(|lane| lane.parts()).for_each(|part| body.extend_from_slice(part));
        self.last()
    }

    /// Gives back the large buffers of lanes in which nothing waits.
    pub(crate) fn shrink(&self) {
        for lane in &self.lanes {
            let mut lane = lane.lock();
            if lane.len() == 0 && lane.bytes.capacity() > KEPT_BYTES {
                lane.bytes = Vec::new();
            }
        }
    }

    /// Moves everything that waits to `body`, behind what that holds; answers the newest Lsn given, all of which are then
    /// in this body or in earlier ones.
    pub(crate) fn collect(&self, body: &mut Body) -> Lsn {
        let mut lanes: [_; LANES] = array::from_fn(|i| self.lanes[i].lock());
        for (lane, collected) in lanes.iter_mut().zip(&mut body.0) {
            if collected.len() == 0 {
                std::mem::swap(&mut **lane, collected);
            } else {
                // What found no space on the disk is still there.
                collected.append(lane);
            }
        }
        self.last()
    }
}
