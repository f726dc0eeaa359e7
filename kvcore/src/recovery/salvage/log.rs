//! What of a log is used. Invariant: a piece is a row of whole frames whose transactions follow one another, and each
//! piece holds later transactions than the one before it.

use std::collections::BTreeMap;

use super::{Way, each_frame, segment};
use crate::error::Result;
use crate::log::manifest::Known;
use crate::log::segment_reader::Rest;
use crate::lsn::{Lsn, NUMBER_MAX};
use crate::recovery::load::{self, Listing, Recovered};
use crate::recovery::state::{LoadMode, RecoveredState};

/// Frames that stand in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// From this byte of the segment to this one.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// From this transaction up to, and without, this one.
    pub(crate) first: Lsn,
    pub(crate) next: Lsn,
}

/// What is used of a segment.
#[derive(Debug)]
pub(crate) struct Used {
    /// Where its frames begin, and with which transaction.
    pub(crate) begins: u64,
    pub(crate) first: Lsn,
    /// At least one.
    pub(crate) pieces: Vec<Piece>,
    /// Whether there is more behind the last piece.
    pub(crate) has_rest: bool,
}

impl Used {
    /// Returns where the last piece ends.
    pub(crate) fn end(&self) -> u64 {
        self.pieces.last().map_or(self.begins, |piece| piece.to)
    }
}

pub(crate) struct Log {
    pub(crate) used: BTreeMap<u64, Used>,
    /// The last transaction that is used, or that which the base stands for.
    pub(crate) reached: Lsn,
    /// Up to here no transaction is missing.
    pub(crate) whole_to: Lsn,
    /// The newest transaction that any segment speaks of, and the newest segment.
    pub(crate) newest: Lsn,
    pub(crate) newest_segment: u64,
    /// The latest time in any segment, used or not.
    pub(crate) latest_ms: u64,
}

impl Log {
    /// Looks what can be used over a base that stands for everything up to `start`.
    pub(crate) fn trace(listing: &Listing<'_>, start: Lsn, way: Way) -> Log {
        // One file is open at a time: there may be more of them than a process may open.
        let open = |id: u64| segment(listing, id, way).ok();
        let segments: Vec<(u64, Lsn)> =
            listing.ids.iter().filter_map(|&id| Some((id, open(id)?.header.first))).collect();
        let from = segments.iter().rposition(|(_, first)| *first <= start.next());
        let mut log = Log {
            used: BTreeMap::new(),
            reached: start,
            whole_to: start,
            newest: start,
            newest_segment: 0,
            latest_ms: 0,
        };
        // Where the next segment must begin; `None` after a gap, on which nothing follows.
        let mut expected = from.map(|from| segments[from].1);
        for (i, &(id, _)) in segments.iter().enumerate() {
            let Some(mut segment) = open(id) else { continue };
            log.newest_segment = log.newest_segment.max(id);
            let (begins, first) = (segment.at, segment.header.first);
            // What a later segment begins with is no longer in this one.
            let later = segments[i + 1..].iter().map(|(_, first)| *first).min();
            let end = match way {
                Way::Prefix => Lsn::new(u64::MAX),
                Way::Salvage => later.unwrap_or(Lsn::new(NUMBER_MAX)),
            };
            let (mut pieces, mut at, mut named) = (Vec::new(), begins, None);
            loop {
                let (from, first) = (segment.at, segment.expected);
                // Whatever is wrong with a frame, the piece ends here.
                let read = each_frame(&mut segment, &mut |header, _| {
                    if header.first.get().saturating_add(header.count.into()) > end.get() {
                        return Err("a later segment begins before it".to_owned());
                    }
                    log.latest_ms = log.latest_ms.max(header.time_ms);
                    Ok(())
                });
                if segment.at > from || pieces.is_empty() {
                    pieces.push(Piece { from, to: segment.at, first, next: segment.expected });
                }
                named.get_or_insert_with(|| segment.newest_named().unwrap_or_default());
                at = at.max(segment.at) + if read.is_err() { 8 } else { 0 };
                if way == Way::Prefix || !segment.skip_damage(at, end).unwrap_or(false) {
                    break;
                }
                at = segment.at;
            }
            let (newest, latest_ms) = named.unwrap_or_default();
            if newest.get() <= NUMBER_MAX {
                log.newest = log.newest.max(newest);
            }
            log.latest_ms = log.latest_ms.max(latest_ms);
            let is_used = match way {
                Way::Prefix if from.is_none_or(|from| i < from) => false,
                Way::Prefix => {
                    expected = expected.filter(|expected| *expected == first).map(|_| segment.expected);
                    expected.is_some_and(|expected| expected.get() <= NUMBER_MAX)
                }
                Way::Salvage => i >= from.unwrap_or(0),
            };
            if is_used {
                log.take(id, Used { begins, first, pieces, has_rest: !matches!(segment.rest(), Ok(Rest::Empty)) });
            }
        }
        log
    }

    fn take(&mut self, id: u64, used: Used) {
        for piece in &used.pieces {
            // A segment's beginning, or a seal, says what there was before it, and is nothing of that.
            if piece.first == piece.next || piece.next <= self.reached.next() {
                continue;
            }
            let is_next = piece.first <= self.reached.next() && self.whole_to == self.reached;
            self.reached = Lsn::new(piece.next.get() - 1);
            if is_next {
                self.whole_to = self.reached;
            }
        }
        self.newest = self.newest.max(self.reached);
        self.used.insert(id, used);
    }

    /// Whether no transaction is missing, and recovery would find nothing wrong with its end.
    pub(crate) fn is_whole(&self, listing: &Listing<'_>, known: Option<Known>) -> Result<bool> {
        let Some((&id, used)) = self.used.last_key_value() else { return Ok(false) };
        let is_newest = listing.ids.last() == Some(&id) && known.is_none_or(|known| known.newest <= id);
        if !is_newest || self.whole_to < self.reached || used.pieces.len() != 1 {
            return Ok(false);
        }
        let mut segment = segment(listing, id, Way::Salvage)?;
        while segment.at < used.end() && segment.next_frame()?.is_some() {}
        Ok(load::end(segment, known, &mut Recovered::of(RecoveredState::empty(1, LoadMode::Nothing))).is_ok())
    }
}
