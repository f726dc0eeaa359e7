//! The middle of an iteration: connections that have something to do are read from, and what they sent is executed.
//!
//! Invariant: a connection gets at most one time slice an iteration, in the order in which they came to have something to do; those whose
//! time slice has ended before they were finished come after the others, and only for so long.

use std::ops::Range;

use kvproto::resp::second_word;
use smallvec::SmallVec;

use super::EventLoop;
use crate::event_loop::connection::{Connection, Decoder, Input, Phase};
use crate::net::listener::Protocol;
use crate::state::server_config::READ_BYTES;

/// Connections that are read from before any of them is executed.
const GROUP_SLICES: usize = 16;
/// What a connection has sent, if it is more than this, does not count as its memory while it is executed.
const LARGE_REQUEST_BYTES: usize = 16 * 1024;
/// The last of them may bring [`READ_BYTES`].
pub(super) const READ_BUFFER_BYTES: usize = READ_BYTES + 32 * 1024;

/// A connection in its time slice, out of its place meanwhile.
struct Slice {
    slot: usize,
    connection: Box<Connection>,
    /// What was read now, in the loop's buffer.
    read: Range<usize>,
}

/// Connections that are read from before any of them is executed.
#[derive(Default)]
struct Group {
    slices: SmallVec<[Slice; GROUP_SLICES]>,
    /// Bytes of the loop's buffer that hold what was read.
    filled: usize,
}

impl EventLoop {
    /// Reads from some connections, fetches what the first request of each will need, executes; then the next some.
    pub(super) fn serve_ready(&mut self) {
        // What the reply batch holds so far was written outside of time slices. It leaves now: of a batch that is written while a
        // connection is out of its place, that connection's part is lost. Time slices add no such part: each writes only to
        // its own connection, which has one time slice an iteration and is back in its place before anything is written.
        self.write_replies();
        // Those that get into the queues from here on have their time slices in the next iteration.
        let mut fresh = std::mem::take(&mut self.queues.ready);
        let mut unfinished = std::mem::take(&mut self.queues.unfinished);
        let end = self.executor.clock.raw().saturating_add(self.iteration_ticks);
        let mut buffer = std::mem::take(&mut self.read_buffer);
        while !fresh.is_empty() {
            let mut group = Group::default();
            while group.slices.len() < GROUP_SLICES && group.filled + READ_BYTES <= buffer.len() {
                let Some(slot) = fresh.pop_front() else { break };
                self.begin_slice(slot, &mut group, &mut buffer);
            }
            self.execute_group(group, &buffer);
        }
        while let Some(slot) = unfinished.pop_front() {
            let mut group = Group::default();
            self.begin_slice(slot, &mut group, &mut buffer);
            self.execute_group(group, &buffer);
            if self.executor.last_tick >= end {
                break;
            }
        }
        // They were first, and are so the next time; but not those that are gone, whose places others get.
        unfinished.retain(|slot| self.connections[*slot].is_some());
        unfinished.append(&mut self.queues.unfinished);
        self.queues.unfinished = unfinished;
        self.read_buffer = buffer;
    }

    /// Takes a connection out of its place and reads from it, if it still has something to do.
    fn begin_slice(&mut self, slot: usize, group: &mut Group, buffer: &mut [u8]) {
        let Some(mut connection) = self.connections[slot].take() else { return };
        connection.scheduled = false;
        if connection.session.client.is_killed() {
            connection.phase = Phase::Broken;
            self.end_slice(slot, connection);
        } else if connection.is_ready_to_run() {
            let read = self.read(&mut connection, &mut buffer[group.filled..][..READ_BYTES]);
            group.slices.push(Slice { slot, connection, read: group.filled..group.filled + read });
            group.filled += read;
        } else {
            self.end_slice(slot, connection);
        }
    }

    fn execute_group(&mut self, mut group: Group, buffer: &[u8]) {
        prefetch(&group.slices, buffer);
        for Slice { slot, mut connection, read } in group.slices.drain(..) {
            self.execute(slot, &mut connection, &buffer[read]);
            self.end_slice(slot, connection);
            self.bound_replies();
        }
        self.bound_clients();
    }

    /// Reads once, unless there is something to execute already. Answers how many bytes.
    fn read(&self, connection: &mut Connection, buffer: &mut [u8]) -> usize {
        if connection.has_runnable_input() {
            return 0;
        }
        let count = connection.read(buffer);
        self.counters().reads.add(1);
        self.counters().input_bytes.add(count as u64);
        count
    }

    /// Executes what a connection left last time and what was `read` now.
    fn execute(&mut self, slot: usize, connection: &mut Connection, read: &[u8]) {
        if connection.held_bytes() >= LARGE_REQUEST_BYTES {
            self.count_requests_as_executed(connection);
        }
        if let Some(mut input) = connection.input.take() {
            input.bytes.extend_from_slice(read);
            let Input { bytes, at, decoder, .. } = &mut *input;
            let progress = self.executor.execute(slot, connection, decoder, &bytes[*at..]);
            connection.input = input.advanced(&progress);
        } else if !read.is_empty() {
            let protocol = connection.protocol;
            let mut decoder = self.spare_decoder(protocol).take().unwrap_or_else(|| Box::new(Decoder::new(protocol)));
            let progress = self.executor.execute(slot, connection, &mut decoder, read);
            if progress.used == read.len() && progress.decoder_is_clean {
                *self.spare_decoder(protocol) = Some(decoder);
            } else {
                connection.input = Some(Box::new(Input::rest(read, &progress, decoder)));
            }
        }
    }

    fn end_slice(&mut self, slot: usize, mut connection: Box<Connection>) {
        self.close_if_stopping(&mut connection);
        self.show(&mut connection);
        match connection.phase {
            Phase::Open => {}
            Phase::Paused => self.queues.paused.push(slot),
            Phase::AwaitsRoom => self.queues.awaiting_room.push(slot),
            Phase::Parked => self.queues.closing.push(slot),
            Phase::Closing | Phase::Broken => {
                connection.session.depart(self.server());
                self.queues.closing.push(slot);
            }
        }
        if connection.is_ready_to_run() && !connection.scheduled {
            connection.scheduled = true;
            self.queues.unfinished.push_back(slot);
        }
        self.connections[slot] = Some(connection);
    }

    fn spare_decoder(&mut self, protocol: Protocol) -> &mut Option<Box<Decoder>> {
        match protocol {
            Protocol::Resp => &mut self.decoders.resp,
            Protocol::Line(_) => &mut self.decoders.line,
        }
    }
}

/// Fetches the keys of the first request of each, so that executing waits for the memory of all of them at once.
fn prefetch(group: &[Slice], buffer: &[u8]) {
    if let [first, _, ..] = group {
        let same = group.iter().filter(|slice| slice.connection.session.database == first.connection.session.database);
        let keys = same.filter_map(|slice| second_word(&buffer[slice.read.clone()]));
        first.connection.session.keyspace.hooks().prefetch(keys);
    }
}
