//! Segment reader: the frames of one segment, as far as they are whole and in order, and what lies behind them.
//! Invariant: it changes nothing, and its memory is bounded by the longest frame that is really there.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::disk::{Directory, DiskFile};
use crate::log::frame::{self, ALIGNMENT, FRAME_HEADER_BYTES, FrameHeader, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::segment::segment_name;
use crate::lsn::{Lsn, NUMBER_MAX};

/// So much is read at a time, unless a frame is longer.
const WINDOW_BYTES: usize = 1024 * 1024;
/// The rest of a segment is looked through in steps of this many bytes.
const STEP_BYTES: usize = 64 * 1024;

pub(crate) struct SegmentReader {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Box<dyn DiskFile>,
    /// The file's length.
    pub(crate) len: u64,
    /// Behind the last frame that was read.
    pub(crate) at: u64,
    /// The Lsn of the first transaction that was not read yet.
    pub(crate) expected: Lsn,
    /// Up to here the frames that were read prove that it was durable.
    pub(crate) proven: u64,
    window: Window,
}

/// A frame that is whole and the next in order.
pub(crate) struct Frame<'a> {
    pub(crate) at: u64,
    pub(crate) header: FrameHeader,
    pub(crate) body: &'a [u8],
}

/// What lies behind the last good frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Nothing was written there.
    Empty,
    /// Something up to this byte, of which nothing proves that it was ever durable. Zeros behind it are room that was
    /// reserved.
    Unproven(u64),
    /// Something, and what stands at this byte proves that it was durable.
    Proven(u64),
}

/// The part of a file that was read last.
#[derive(Default)]
struct Window {
    begins: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len` bytes at `at`, or fewer at the end of the file.
    fn read(&mut self, file: &dyn DiskFile, file_len: u64, at: u64, len: usize) -> std::io::Result<&[u8]> {
        let end = file_len.min(at.saturating_add(len as u64)).max(at);
        if at < self.begins || end > self.begins + self.bytes.len() as u64 {
            let wanted = file_len.saturating_sub(at).min(len.max(WINDOW_BYTES) as u64);
            self.bytes.resize(wanted as usize, 0);
            self.begins = at;
            let read = file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(read);
        }
        let from = self.bytes.get((at - self.begins) as usize..).unwrap_or_default();
        Ok(&from[..from.len().min((end - at) as usize)])
    }
}

impl SegmentReader {
    /// Opens a segment's file, whose header must be good.
    pub(crate) fn open(dir: &dyn Directory, name: &str) -> Result<Self> {
        let path = dir.path().join(name);
        let reading = |error| Error::io(format!("read {}", path.display()), error);
        let file = dir.open(name).map_err(reading)?;
        let len = file.len().map_err(reading)?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut head, 0).map_err(reading)?;
        let header = SegmentHeader::decode(&head[..read]).map_err(|why| corrupt(&path, 0, why))?;
        let window = Window::default();
        let at = SEGMENT_HEADER_BYTES as u64;
        Ok(SegmentReader { header, file, len, at, expected: header.first, proven: at, window, path })
    }

    /// Opens a segment's file whose header is damaged. The file's name tells its id, and a whole frame proves the salt.
    pub(crate) fn open_damaged(dir: &dyn Directory, id: u64, store: Option<u64>) -> Option<Self> {
        let name = segment_name(id);
        let (path, file) = (dir.path().join(&name), dir.open(&name).ok()?);
        let len = file.len().ok()?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        let read = file.read_at(&mut head, 0).ok()?;
        let keys = SegmentHeader::keys_of_damaged(&head[..read])?;
        let at = SEGMENT_HEADER_BYTES as u64;
        let header = SegmentHeader { id, first: Lsn::ZERO, store: store.unwrap_or_default(), keys };
        let window = Window::default();
        let mut segment = SegmentReader { header, file, len, at, expected: Lsn::ZERO, proven: at, window, path };
        if !segment.skip_damage(at, Lsn::new(NUMBER_MAX)).ok()? {
            return None;
        }
        segment.header = SegmentHeader::of_damaged(&head, id, segment.expected, store)?;
        segment.seek(at, segment.header.first);
        Some(segment)
    }

    /// The next frame, if it is whole and in order.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let SegmentReader { path, header: SegmentHeader { keys, .. }, file, len, at, expected, proven, window } = self;
        let (file, len) = (&**file, *len);
        let reading = |error| Error::io(format!("read {}", path.display()), error);
        let head = window.read(file, len, *at, FRAME_HEADER_BYTES).map_err(reading)?;
        let Some((header, body_len)) = frame::decode_header(*keys, head) else { return Ok(None) };
        let frame_len = body_len.saturating_add(FRAME_HEADER_BYTES as u64);
        // Believed only as far as there are bytes.
        if header.first != *expected || frame_len > len - *at {
            return Ok(None);
        }
        let whole = window.read(file, len, *at, frame_len as usize).map_err(reading)?;
        if (whole.len() as u64) < frame_len || !frame::is_whole(*keys, whole) {
            return Ok(None);
        }
        let frame = Frame { at: *at, header, body: &whole[FRAME_HEADER_BYTES..] };
        // All before it was durable when it was written.
        if header.durable.get().saturating_add(1) >= header.first.get() {
            *proven = *at;
        }
        *at = (*at + frame_len).next_multiple_of(ALIGNMENT as u64).min(len);
        *expected = Lsn::new(expected.get().saturating_add(header.count.into()));
        Ok(Some(frame))
    }

    /// Looks at what lies behind the last good frame.
    pub(crate) fn rest(&mut self) -> Result<Rest> {
        let (lost, mut proof) = (self.expected, None);
        let written = self.later_headers(self.at, false, &|frame| frame.durable >= lost, &mut |at, _| {
            proof = Some(at);
            false
        })?;
        Ok(match proof {
            Some(at) => Rest::Proven(at),
            None if written == self.at => Rest::Empty,
            None => Rest::Unproven(written),
        })
    }

    /// The newest Lsn that anything behind the last good frame speaks of, and the latest time there.
    pub(crate) fn newest_named(&mut self) -> Result<(Lsn, u64)> {
        let (mut newest, mut time_ms) = (self.expected.get().saturating_sub(1), 0);
        self.later_headers(self.at, false, &|_| true, &mut |_, frame| {
            let last = frame.first.get().saturating_add(frame.count.into()).saturating_sub(1);
            newest = newest.max(last).max(frame.durable.get());
            time_ms = time_ms.max(frame.time_ms);
            true
        })?;
        Ok((Lsn::new(newest), time_ms))
    }

    /// Goes on at the next whole frame at or behind byte `from` with no transaction that was read before, nor one from
    /// `end` on. Returns false, and stays where it is, if there is none.
    pub(crate) fn skip_damage(&mut self, from: u64, end: Lsn) -> Result<bool> {
        let (next, mut found) = (self.expected, None);
        let is_later = |frame: &FrameHeader| {
            let behind = frame.first.get().checked_add(frame.count.into());
            frame.first >= next && behind.is_some_and(|behind| behind <= end.get())
        };
        self.later_headers(from, true, &is_later, &mut |at, frame| {
            found = Some((at, frame.first));
            false
        })?;
        if let Some((at, first)) = found {
            (self.at, self.expected) = (at, first);
        }
        Ok(found.is_some())
    }

    /// Reads again from byte `at` on, where a frame begins with this transaction.
    pub(crate) fn seek(&mut self, at: u64, first: Lsn) {
        (self.at, self.expected) = (at, first);
    }

    /// Shows the headers of frames from byte `from` on that prove what they say and are `wanted`, wherever they stand,
    /// until `each` returns that it has seen enough; only those of `whole` frames if so wished. Returns where
    /// the last byte ends that is not zero, as far as it looked; `from` if there is none.
    fn later_headers(
        &mut self,
        from: u64,
        whole: bool,
        wanted: &dyn Fn(&FrameHeader) -> bool,
        each: &mut dyn FnMut(u64, &FrameHeader) -> bool,
    ) -> Result<u64> {
        let (keys, mut written, mut from) = (self.header.keys, from, from);
        while from < self.len {
            let step = self.read(from, STEP_BYTES + FRAME_HEADER_BYTES)?;
            if step.is_empty() {
                break;
            }
            if let Some(last) = step.iter().rposition(|byte| *byte != 0) {
                written = from + last as u64 + 1;
                let starts = (0..step.len().min(STEP_BYTES)).step_by(ALIGNMENT);
                let found: Vec<_> = starts
                    .filter_map(|at| Some((from + at as u64, frame::decode_header(keys, &step[at..])?.0)))
                    .filter(|(_, frame)| wanted(frame))
                    .collect();
                for (at, frame) in found {
                    if (!whole || self.is_whole_at(at)?) && !each(at, &frame) {
                        return Ok(written);
                    }
                }
            }
            from += STEP_BYTES as u64;
        }
        Ok(written)
    }

    fn read(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let reading = |error| Error::io(format!("read {}", self.path.display()), error);
        self.window.read(&*self.file, self.len, at, len).map_err(reading)
    }

    fn is_whole_at(&mut self, at: u64) -> Result<bool> {
        let (keys, left) = (self.header.keys, self.len - at);
        let head = self.read(at, FRAME_HEADER_BYTES)?;
        let Some((_, body_len)) = frame::decode_header(keys, head) else { return Ok(false) };
        let frame_len = body_len.saturating_add(FRAME_HEADER_BYTES as u64);
        if frame_len > left {
            return Ok(false);
        }
        let whole = self.read(at, frame_len as usize)?;
        Ok(whole.len() as u64 == frame_len && frame::is_whole(keys, whole))
    }

    pub(crate) fn corrupt(&self, at: u64, why: &str) -> Error {
        corrupt(&self.path, at, why)
    }
}

pub(crate) fn corrupt(path: &Path, offset: u64, why: &str) -> Error {
    Error::Corrupt { file: path.to_owned(), offset, why: why.to_owned() }
}
