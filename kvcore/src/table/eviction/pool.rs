//! Pool: the entries that were found to be worth the least. Invariant: they are in order, each bucket is in it once, and none
//! is removed without another look: what was accessed, written or moved since is no longer what was found.

use std::sync::Arc;

use crate::table::keyspace::KeyspaceInner;
use crate::table::shard::Found;

/// Candidates that are kept from one removal to the next.
const CANDIDATES_MAX: usize = 64;

/// An entry that may be removed, as it was when it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) space_id: u32,
    pub(crate) shard: usize,
    pub(crate) found: Found,
}

#[derive(Default)]
pub(crate) struct Pool {
    /// The keyspaces whose entries may be removed.
    pub(crate) spaces: Arc<Vec<Arc<KeyspaceInner>>>,
    /// For each of them, how many buckets it had of late, all before it included. Of fewer if they have not been counted.
    pub(crate) buckets: Vec<u64>,
    /// Removals until they are counted again.
    pub(crate) counted_for: u32,
    /// In descending order of ranks.
    candidates: Vec<Candidate>,
    /// They are the first of all entries there were, in the right order.
    pub(crate) is_exact: bool,
    /// Removals, for what is done once in many.
    pub(crate) removals: u64,
    /// What was found before this changed is not worth anything any more.
    pub(crate) version: u64,
}

impl Pool {
    pub(crate) fn clear(&mut self) {
        self.candidates.clear();
        self.is_exact = false;
    }

    /// Forgets all, and what is being looked for: keyspaces, or the order, are others now.
    pub(crate) fn invalidate(&mut self) {
        self.clear();
        self.version += 1;
        self.counted_for = 0;
        self.buckets.clear();
    }

    /// Takes in what was found since this had a version; returns false if it has another one now.
    pub(crate) fn merge(&mut self, found: Pool, version: u64, is_exact: bool) -> bool {
        if self.version != version {
            return false;
        }
        if self.is_exact != is_exact {
            self.clear();
            self.is_exact = is_exact;
        }
        found.candidates.into_iter().for_each(|candidate| self.offer(candidate));
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Takes the candidate of the lowest rank.
    fn pop(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// As [`pop`](Self::pop), of a keyspace that is there still.
    pub(crate) fn pop_known(&mut self) -> Option<(Arc<KeyspaceInner>, Candidate)> {
        while let Some(candidate) = self.pop() {
            if let Some(space) = self.spaces.iter().find(|space| space.id == candidate.space_id) {
                return Some((Arc::clone(space), candidate));
            }
        }
        None
    }

    /// Forgets all but the `count` of the lowest ranks.
    pub(crate) fn keep(&mut self, count: usize) {
        let surplus = self.candidates.len().saturating_sub(count);
        self.candidates.drain(..surplus);
    }

    /// Returns the highest rank in the pool.
    pub(crate) fn highest_rank(&self) -> Option<u64> {
        self.candidates.first().map(|candidate| candidate.found.rank)
    }

    fn is_full(&self) -> bool {
        self.candidates.len() >= CANDIDATES_MAX
    }

    /// Returns whether a candidate that is [offered](Self::offer) comes into the pool.
    pub(crate) fn takes(&self, candidate: &Candidate) -> bool {
        !self.is_full() || self.highest_rank().is_none_or(|highest| candidate.found.rank < highest)
    }

    pub(crate) fn offer(&mut self, candidate: Candidate) {
        let Candidate { space_id, shard, found } = candidate;
        if !self.takes(&candidate) {
            return;
        }
        let same = |other: &Candidate| {
            other.found.bucket == found.bucket && other.shard == shard && other.space_id == space_id
        };
        if let Some(at) = self.candidates.iter().position(same) {
            self.candidates.remove(at);
        } else if self.is_full() {
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.found.rank > found.rank);
        self.candidates.insert(at, candidate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_ranks_come_out_in_order_and_each_bucket_once() {
        let mut pool = Pool::default();
        let candidate = |bucket: usize, rank| Candidate {
            space_id: 0,
            shard: bucket % 7,
            found: Found { bucket, epoch: 0, rank, stamp: None },
        };
        for bucket in 0..1000 {
            pool.offer(candidate(bucket, (bucket as u64 * 7919) % 1000));
            pool.offer(candidate(bucket, (bucket as u64 * 7919) % 1000 + 1));
        }
        let ranks: Vec<u64> = std::iter::from_fn(|| pool.pop()).map(|candidate| candidate.found.rank).collect();
        assert_eq!(ranks, (1..=CANDIDATES_MAX as u64).collect::<Vec<_>>());
    }
}
