//! What the allocator knows of the process' memory.
//!
//! Invariant: figures are jemalloc's own only in a program that has it as its allocator; elsewhere they are those of the
//! operating system, and nobody is told a name.

use tikv_jemalloc_ctl::{epoch, stats, version};

use crate::admin::process::Usage;

/// The allocator of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Allocator {
    /// Some allocator: a program that embeds the server has its own.
    #[default]
    Unknown,
    /// That of the `kvserver` program.
    Jemalloc,
}

/// Bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Asked for and not given back.
    pub(crate) allocated: u64,
    /// In pages that hold any of those.
    pub(crate) active: u64,
    /// Of the process' memory, with the allocator's own and what it keeps for the next to ask.
    pub(crate) resident: u64,
}

impl Allocator {
    pub(crate) fn name(self) -> String {
        match self {
            Allocator::Jemalloc => {
                let whole = version::read().unwrap_or_default();
                format!("jemalloc-{}", whole.split('-').next().unwrap_or_default())
            }
            Allocator::Unknown => "unknown".to_owned(),
        }
    }

    /// `used`: what the server has counted itself.
    pub(crate) fn figures(self, used: u64, usage: &Usage) -> Figures {
        let told = || {
            epoch::advance().ok()?;
            let bytes = |read: tikv_jemalloc_ctl::Result<usize>| read.ok().map(|bytes| bytes as u64);
            Some(Figures {
                allocated: bytes(stats::allocated::read())?,
                active: bytes(stats::active::read())?,
                resident: bytes(stats::resident::read())?,
            })
        };
        let jemalloc = if self == Allocator::Jemalloc { told() } else { None };
        jemalloc.unwrap_or(Figures { allocated: used, active: usage.resident_bytes, resident: usage.resident_bytes })
    }
}
