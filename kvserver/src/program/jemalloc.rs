//! The figures of jemalloc, the allocator of the `kvserver` program.
//!
//! Invariant: what cannot be read is left to the figures of the operating system.

use tikv_jemalloc_ctl::{epoch, stats, version};

use crate::admin::allocator::{Allocator, Figures};

pub(super) const JEMALLOC: Allocator = Allocator { name, read };

fn name() -> String {
    let whole = version::read().unwrap_or_default();
    format!("jemalloc-{}", whole.split('-').next().unwrap_or_default())
}

fn read() -> Option<Figures> {
    epoch::advance().ok()?;
    let bytes = |read: tikv_jemalloc_ctl::Result<usize>| read.ok().map(|bytes| bytes as u64);
    Some(Figures {
        allocated: bytes(stats::allocated::read())?,
        active: bytes(stats::active::read())?,
        resident: bytes(stats::resident::read())?,
    })
}
