//! Commands of Redis that this server knows and does not execute: clients ask about them, and a user of one is told so.
//!
//! Invariant: no row here has a function in the server; what a row says of arity, flags, categories and keys is true of
//! Redis 7.2.

use super::KeyFlag::{self, Access, Delete, Incomplete, Insert, Overwrite, ReadOnly, ReadWrite, Update};
use super::Spec;

mod cluster;
mod generic;
mod geo;
mod hash;
mod list;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;

pub(super) const FAMILIES: &[&[Spec]] = &[
    cluster::ROWS,
    generic::ROWS,
    geo::ROWS,
    hash::ROWS,
    list::ROWS,
    scripting::ROWS,
    server::ROWS,
    set::ROWS,
    sorted_set::ROWS,
    stream::ROWS,
];

// What happens to a key, in the combinations that occur.
const LOOK: &[KeyFlag] = &[ReadOnly];
const READ: &[KeyFlag] = &[ReadOnly, Access];
const STORE: &[KeyFlag] = &[Overwrite, Update];
const INSERT: &[KeyFlag] = &[ReadWrite, Insert];
const UPDATE: &[KeyFlag] = &[ReadWrite, Update];
const REMOVE: &[KeyFlag] = &[ReadWrite, Delete];
const CHANGE: &[KeyFlag] = &[ReadWrite, Access, Update];
const TAKE: &[KeyFlag] = &[ReadWrite, Access, Delete];
const TAKE_SOME: &[KeyFlag] = &[ReadWrite, Access, Delete, Incomplete];
