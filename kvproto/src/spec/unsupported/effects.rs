//! What happens to a key, in the combinations that occur.
//!
//! Invariant: each says whether the key is read or written, and no more than is true of Redis 7.2.

use crate::spec::flags::KeyFlag::{self, Access, Delete, Incomplete, Insert, Overwrite, ReadOnly, ReadWrite, Update};

pub(super) const LOOK: &[KeyFlag] = &[ReadOnly];
pub(super) const READ: &[KeyFlag] = &[ReadOnly, Access];
pub(super) const STORE: &[KeyFlag] = &[Overwrite, Update];
pub(super) const INSERT: &[KeyFlag] = &[ReadWrite, Insert];
pub(super) const UPDATE: &[KeyFlag] = &[ReadWrite, Update];
pub(super) const REMOVE: &[KeyFlag] = &[ReadWrite, Delete];
pub(super) const CHANGE: &[KeyFlag] = &[ReadWrite, Access, Update];
pub(super) const TAKE: &[KeyFlag] = &[ReadWrite, Access, Delete];
pub(super) const TAKE_SOME: &[KeyFlag] = &[ReadWrite, Access, Delete, Incomplete];
