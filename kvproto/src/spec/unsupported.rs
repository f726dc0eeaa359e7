//! Commands of Redis that this server knows and does not execute: clients ask about them, and an error says so.
//!
//! Invariant: no row here has a function in the server, but for those that it refuses in Redis' own words; what a row says of arity, flags, categories and keys is true of
//! Redis 7.2, or of the later version that introduced the command.

use super::Spec;

mod array;
mod cluster;
mod effects;
mod generic;
mod geo;
mod hash;
mod list;
mod scripting;
mod server;
mod set;
mod sorted_set;
mod stream;
mod vector_set;

pub(super) const FAMILIES: &[&[Spec]] = &[
    array::ROWS,
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
    vector_set::ROWS,
];
