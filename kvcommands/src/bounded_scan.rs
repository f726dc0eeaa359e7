//! Scans of a keyspace that take a bounded number of steps: KEYS, PRINT and SCAN where nobody may wait long.
//!
//! Invariant: a scan that would take more steps fails; it has changed nothing, and can be carried out again without a bound.

use std::cell::Cell;

use kvcore::ValueRef;
use kvcore::hooks::{Cursor, Scan};
use kvproto::{Request, Spec};

use crate::glob;

/// Returns whether a scanning command looks at many keys: KEYS and PRINT look at all there are, SCAN at as many as its COUNT says.
#[must_use]
pub fn scans_many(spec: &Spec, request: Request<'_>) -> bool {
    match spec.name {
        "keys" | "print" => true,
        "scan" => request.iter().skip(2).filter_map(kvproto::parse_integer).any(|number| number > 1_000),
        _ => false,
    }
}

/// A keyspace whose scans fail with [`TooMuchWork`](kvcore::Error::TooMuchWork) after a number of steps of about a nanosecond: few
/// keys are many steps where they, and the pattern, are long.
pub struct BoundedScan<'k> {
    keyspace: &'k kvcore::Keyspace,
    pattern_bytes: usize,
    steps_left: Cell<usize>,
}

impl<'k> BoundedScan<'k> {
    /// Returns the keyspace as `request` may scan it.
    #[must_use]
    pub fn new(spec: &Spec, request: Request<'_>, keyspace: &'k kvcore::Keyspace, steps_max: usize) -> BoundedScan<'k> {
        let pattern = match spec.name {
            "keys" => request.get(1),
            "scan" => request.iter().skip_while(|word| !word.eq_ignore_ascii_case(b"MATCH")).nth(1),
            _ => None,
        };
        let pattern_bytes = pattern.map_or(0, <[u8]>::len);
        BoundedScan { keyspace, pattern_bytes, steps_left: Cell::new(steps_max) }
    }

    /// Shows the keys of a walk while there are steps left.
    fn shown<T>(
        &self,
        each: &mut dyn FnMut(&[u8], ValueRef<'_>),
        scan: impl FnOnce(&mut dyn FnMut(&[u8], ValueRef<'_>)) -> kvcore::Result<T>,
    ) -> kvcore::Result<T> {
        let mut is_too_much = false;
        let outcome = scan(&mut |key, value| {
            let steps = glob::steps_max(self.pattern_bytes, key.len());
            match self.steps_left.get().checked_sub(steps) {
                Some(left) if !is_too_much => {
                    self.steps_left.set(left);
                    each(key, value);
                }
                _ => is_too_much = true,
            }
        })?;
        if is_too_much { Err(kvcore::Error::TooMuchWork) } else { Ok(outcome) }
    }
}

impl Scan for BoundedScan<'_> {
    fn len(&self) -> u64 {
        Scan::len(self.keyspace)
    }

    fn scan_step(
        &self,
        cursor: Cursor,
        at_least: usize,
        each: &mut dyn FnMut(&[u8], ValueRef<'_>),
    ) -> kvcore::Result<Cursor> {
        self.shown(each, |each| self.keyspace.scan_step(cursor, at_least, each))
    }

    fn for_each(&self, each: &mut dyn FnMut(&[u8], ValueRef<'_>)) -> kvcore::Result<()> {
        self.shown(each, |each| self.keyspace.for_each(each))
    }

    fn random_key(&self) -> kvcore::Result<Option<Vec<u8>>> {
        self.keyspace.random_key()
    }
}
