//! Segment: the log's files, and the writer of the newest one. Invariant: a new segment is begun only when the one before
//! it is durable to its end, so damage in any but the newest is always proven damage.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, is_out_of_files, is_out_of_space};
use crate::hash::KeyHash;
use crate::io::directory::LocationCheck;
use crate::io::disk::{Directory, DiskFile};
use crate::log::frame::{
    FRAME_HEADER_BYTES, FrameHeader, FrameKeys, SEGMENT_HEADER_BYTES, frame_header, padding, segment_header,
};
use crate::log::manifest::ManifestFile;
use crate::log::stripes::Body;
use crate::lsn::{Lsn, NUMBER_MAX};

/// The manifest is brought up to date after a sync if it was not for so long: a little less than the window of
/// `EverySecond`, so that each sync of that is noted.
const NOTE_EVERY_MS: u64 = 900;

/// Room is reserved in steps of this many bytes.
const RESERVE_BYTES: u64 = 1024 * 1024;

/// What a segment is called until its header is durable.
pub(crate) const UNNAMED_SEGMENT: &str = "wal.tmp";

/// The name of a segment's file.
pub(crate) fn segment_name(id: u64) -> String {
    format!("wal-{id:016x}.log")
}

/// The id in a segment's file name.
pub(crate) fn segment_id(name: &str) -> Option<u64> {
    let hex = name.strip_prefix("wal-")?.strip_suffix(".log")?;
    let id = (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok())??;
    // Only what we would have written: another spelling of the number, or one that no store comes to, is not ours.
    (id <= NUMBER_MAX && segment_name(id) == name).then_some(id)
}

/// Why the log takes no writes.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// A write or a sync failed: only a reopen heals it.
    Poisoned(Arc<str>),
    /// There is no room to reserve: heals by itself.
    NoSpace(Arc<str>),
    /// Too many files are open to begin a segment: heals by itself.
    NoFiles(Arc<str>),
    /// It was closed.
    Closed,
}

impl Failure {
    pub(crate) fn error(&self) -> Error {
        match self {
            Failure::Poisoned(why) => Error::LogFailed { why: Arc::clone(why) },
            Failure::NoSpace(why) => Error::NoSpace { why: Arc::clone(why) },
            Failure::NoFiles(why) => Error::TooManyOpenFiles { why: Arc::clone(why) },
            Failure::Closed => Error::Closed,
        }
    }

    /// Whether it heals by itself.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Failure::NoSpace(_) | Failure::NoFiles(_))
    }
}

/// A segment that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) id: u64,
    /// The Lsn of its first transaction.
    pub(crate) first: Lsn,
    /// Bytes written to it.
    pub(crate) bytes: u64,
}

/// Writes frames to the newest segment.
pub(crate) struct Writer {
    dir: Arc<dyn Directory>,
    segment_bytes: u64,
    /// Whether each `fdatasync` counts: then room is filled with zeros when it is reserved, because syncing over
    /// written blocks need not wait for the file system's journal (measured: 105 instead of 150 us).
    pub(crate) fill: bool,
    /// All segments, oldest first; the last is being written.
    segments: VecDeque<Segment>,
    file: Box<dyn DiskFile>,
    keys: FrameKeys,
    reserved: u64,
    manifest: ManifestFile,
    /// When the manifest was last brought up to date under load, in milliseconds of the monotonic clock.
    pub(crate) noted_ms: u64,
    /// What is to be written next: the transactions after `written`, up to `collected`. After that they stay until the
    /// caller has no more use for them.
    pub(crate) body: Body,
    pub(crate) collected: Lsn,
    /// The last transaction written, and the last one synced.
    pub(crate) written: Lsn,
    pub(crate) synced: Lsn,
    /// Whether the last thing written is a seal.
    sealed: bool,
    /// Bytes of frames ever written, for deciding when a snapshot is due.
    pub(crate) bytes_written: u64,
    location: LocationCheck,
}

/// A failed step, before it is decided what it means.
enum Step {
    Reserve(io::Error),
    Write(io::Error),
}

impl Step {
    fn failure(self, doing: &str) -> Failure {
        match self {
            Step::Reserve(error) if is_out_of_files(&error) => Failure::NoFiles(format!("{doing}: {error}").into()),
            Step::Reserve(error) if is_out_of_space(&error) => Failure::NoSpace(format!("{doing}: {error}").into()),
            Step::Reserve(error) | Step::Write(error) => Failure::Poisoned(format!("{doing}: {error}").into()),
        }
    }
}

/// Returns how many bytes of disk a log takes that is begun.
pub(crate) fn room_to_begin(segment_bytes: u64) -> u64 {
    RESERVE_BYTES.min(segment_bytes)
}

impl Writer {
    /// Goes on after `last` in a new segment, after those in `segments`.
    pub(crate) fn begin(
        dir: Arc<dyn Directory>,
        segment_bytes: u64,
        fill: bool,
        mut segments: VecDeque<Segment>,
        last: Lsn,
        mut manifest: ManifestFile,
    ) -> io::Result<Self> {
        // No segment has had this id.
        let id = manifest.newest() + 1;
        let new = NewSegment { id, first: last.next(), store: manifest.store(), segment_bytes, fill };
        let (file, keys, reserved) = match new.create(&*dir) {
            Ok(begun) => begun,
            Err(Step::Reserve(error) | Step::Write(error)) => return Err(error),
        };
        manifest.note_segment(id, reserved, last)?;
        segments.push_back(Segment { id, first: last.next(), bytes: SEGMENT_HEADER_BYTES as u64 });
        Ok(Writer {
            location: LocationCheck::new(Arc::clone(&dir)),
            dir,
            segment_bytes,
            fill,
            segments,
            file,
            keys,
            reserved,
            manifest,
            noted_ms: 0,
            body: Body::default(),
            collected: last,
            written: last,
            synced: last,
            sealed: false,
            bytes_written: 0,
        })
    }

    fn newest(&mut self) -> &mut Segment {
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Bytes of all segments together.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Writes what was collected as one frame. If it finds no space, more may be collected behind it.
    pub(crate) fn write(&mut self, time_ms: u64) -> Result<(), Failure> {
        if self.collected == self.written {
            return Ok(());
        }
        let first = self.written.next();
        let count = (self.collected.get() - self.written.get()) as u32;
        let body = std::mem::take(&mut self.body);
        let wrote = self.write_frame(&FrameHeader { first, count, time_ms, durable: self.synced }, &body);
        self.body = body;
        wrote?;
        self.written = self.collected;
        Ok(())
    }

    fn write_frame(&mut self, header: &FrameHeader, body: &Body) -> Result<(), Failure> {
        let unpadded = FRAME_HEADER_BYTES + body.parts().map(<[u8]>::len).sum::<usize>();
        let padding = padding(unpadded);
        let len = (unpadded + padding.len()) as u64;
        let Segment { bytes, .. } = *self.newest();
        if bytes + len > self.segment_bytes && bytes > SEGMENT_HEADER_BYTES as u64 {
            self.rotate(header.first)?;
        }
        let Segment { bytes: at, .. } = *self.newest();
        self.reserve(at + len).map_err(|step| step.failure("reserving room in the log"))?;
        let head = frame_header(self.keys, header, body.parts());
        let parts = std::iter::once(&head[..]).chain(body.parts()).chain([padding]);
        self.file
            .write_parts_at(&mut parts.map(IoSlice::new).collect::<SmallVec<[_; 10]>>(), at)
            .map_err(|error| Step::Write(error).failure("writing the log"))?;
        self.newest().bytes = at + len;
        self.bytes_written += len;
        self.sealed = header.count == 0;
        Ok(())
    }

    fn reserve(&mut self, end: u64) -> Result<(), Step> {
        if end > self.reserved {
            self.reserved = reserve(&*self.file, self.reserved, end, self.segment_bytes, self.fill)?;
        }
        Ok(())
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if self.synced < self.written {
            self.sync_file()?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Syncs the newest segment, and fails if somebody has deleted it: what is in it is gone once it is closed.
    fn sync_file(&mut self) -> Result<(), Failure> {
        self.file.sync().map_err(|error| Step::Write(error).failure("syncing the log"))?;
        if self.file.is_deleted().unwrap_or(false) {
            let name = segment_name(self.newest().id);
            let why = format!("{} was deleted while the store was open", self.dir.path().join(name).display());
            return Err(Failure::Poisoned(why.into()));
        }
        Ok(())
    }

    /// Fails if somebody has deleted the directory.
    pub(crate) fn check_location(&mut self, monotonic_ms: u64) -> Result<(), Failure> {
        self.location.check(monotonic_ms).map_err(|why| Failure::Poisoned(why.into()))
    }

    /// Notes in the manifest what is durable, about once a second: without it, the frames of a log that is never idle
    /// have no witness but each other.
    pub(crate) fn note_durable(&mut self, now_ms: u64) -> Result<(), Failure> {
        if self.manifest.durable() < self.synced && now_ms.saturating_sub(self.noted_ms) >= NOTE_EVERY_MS {
            // Without room the log goes on: it loses a witness, and no promise.
            if !self.manifest.try_note_durable(self.synced).map_err(noting)? {
                tracing::warn!("there is no room to note in the manifest how far the log is durable");
            }
            self.noted_ms = now_ms;
        }
        Ok(())
    }

    /// Writes that everything before is durable, which lets recovery tell damage from a torn end.
    pub(crate) fn seal(&mut self, time_ms: u64) -> Result<(), Failure> {
        self.sync()?;
        if self.sealed {
            return Ok(());
        }
        let header = FrameHeader { first: self.written.next(), count: 0, time_ms, durable: self.synced };
        self.write_frame(&header, &Body::default())?;
        self.sync_file()?;
        self.manifest.note_durable(self.synced).map_err(noting)
    }

    /// Gives back the room that was reserved and not used, when nothing more will be written.
    pub(crate) fn trim(&mut self) -> Result<(), Failure> {
        let Segment { bytes, .. } = *self.newest();
        // Said before it is done: a segment that is shorter than what is known of it counts as damaged.
        self.manifest.note_cut(self.synced).map_err(noting)?;
        self.reserved = bytes;
        self.file
            .truncate(bytes)
            .and_then(|()| self.file.sync())
            .map_err(|error| Step::Write(error).failure("cutting the log to its length"))
    }

    /// Ends this segment and begins the next, whose first transaction is `first`.
    pub(crate) fn rotate(&mut self, first: Lsn) -> Result<(), Failure> {
        self.sync_file()?;
        self.synced = self.written;
        let id = self.newest().id + 1;
        let (store, segment_bytes, fill) = (self.manifest.store(), self.segment_bytes, self.fill);
        let (file, keys, reserved) = NewSegment { id, first, store, segment_bytes, fill }
            .create(&*self.dir)
            .map_err(|step| step.failure("beginning a log segment"))?;
        self.manifest.note_segment(id, reserved, self.synced).map_err(noting)?;
        (self.file, self.keys, self.reserved) = (file, keys, reserved);
        self.segments.push_back(Segment { id, first, bytes: SEGMENT_HEADER_BYTES as u64 });
        Ok(())
    }

    /// Begins a new segment if this one has any frame, so that all before can be dropped one day.
    pub(crate) fn rotate_if_used(&mut self) -> Result<(), Failure> {
        if self.newest().bytes > SEGMENT_HEADER_BYTES as u64 { self.rotate(self.written.next()) } else { Ok(()) }
    }

    /// Returns the segments that are replayed over a snapshot that begins at `start`, oldest first.
    pub(crate) fn replayed_after(&self, start: Lsn) -> Vec<Segment> {
        replayed_after(&self.segments, start)
    }

    pub(crate) fn store(&self) -> u64 {
        self.manifest.store()
    }

    /// The oldest segment, if it holds nothing after `start`, which a durable snapshot covers.
    pub(crate) fn covered_by(&self, start: Lsn) -> Option<u64> {
        let next = self.segments.get(1)?;
        (next.first <= start.next()).then(|| self.segments[0].id)
    }

    /// The oldest segment was removed for good.
    pub(crate) fn forget_oldest(&mut self) {
        self.segments.pop_front();
    }
}

/// Returns those of `segments` that recovery replays over a snapshot that begins at `start`, oldest first: from the last
/// that begins there or before. Of several that begin exactly there, all count: the time in a seal of theirs does.
pub(crate) fn replayed_after(segments: &VecDeque<Segment>, start: Lsn) -> Vec<Segment> {
    let begins_there = |segment: &Segment| segment.first == start.next();
    let mut from = segments.iter().rposition(|segment| segment.first <= start.next()).unwrap_or(0);
    while from > 0 && begins_there(&segments[from]) && begins_there(&segments[from - 1]) {
        from -= 1;
    }
    segments.range(from..).copied().collect()
}

fn noting(error: io::Error) -> Failure {
    Step::Write(error).failure("writing the manifest")
}

/// A segment to be begun.
struct NewSegment {
    id: u64,
    first: Lsn,
    store: u64,
    segment_bytes: u64,
    fill: bool,
}

impl NewSegment {
    /// Returns its file, what its frames are marked with, and how many bytes it has.
    fn create(&self, dir: &dyn Directory) -> Result<(Box<dyn DiskFile>, FrameKeys, u64), Step> {
        let salt = KeyHash::random_seed();
        // A segment's name appears with its header already durable in it: recovery never meets a headless one.
        let file = dir.create(UNNAMED_SEGMENT).map_err(Step::Reserve)?;
        let reserved = reserve(&*file, 0, SEGMENT_HEADER_BYTES as u64, self.segment_bytes, self.fill)?;
        file.write_at(&segment_header(self.id, self.first, self.store, salt), 0).map_err(Step::Write)?;
        file.sync().map_err(Step::Write)?;
        dir.rename(UNNAMED_SEGMENT, &segment_name(self.id)).map_err(Step::Write)?;
        dir.sync().map_err(Step::Write)?;
        Ok((file, FrameKeys::salted(salt), reserved))
    }
}

/// Removes a segment for good.
pub(crate) fn remove(dir: &dyn Directory, id: u64) -> io::Result<()> {
    match dir.remove(&segment_name(id)) {
        // Removed before, by a call whose sync failed.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed?,
    }
    dir.sync()
}

/// Returns the bytes of a segment without transactions, with a seal: everything before `first` is durable.
pub(crate) fn sealed_bytes(id: u64, first: Lsn, store: u64, time_ms: u64) -> Vec<u8> {
    let salt = KeyHash::random_seed();
    let header = FrameHeader { first, count: 0, time_ms, durable: Lsn::new(first.get().saturating_sub(1)) };
    let seal = frame_header(FrameKeys::salted(salt), &header, std::iter::empty());
    [&segment_header(id, first, store, salt)[..], &seal].concat()
}

/// Makes an empty segment, durably, with the next transaction to come as its first; returns how many bytes it has.
pub(crate) fn create_empty(dir: &dyn Directory, id: u64, first: Lsn, store: u64) -> io::Result<u64> {
    let new = NewSegment { id, first, store, segment_bytes: SEGMENT_HEADER_BYTES as u64, fill: false };
    match new.create(dir) {
        Ok((_, _, reserved)) => Ok(reserved),
        Err(Step::Reserve(error) | Step::Write(error)) => Err(error),
    }
}

/// Reserves room up to `end` and some more; returns up to where.
fn reserve(file: &dyn DiskFile, from: u64, end: u64, segment_bytes: u64, fill: bool) -> Result<u64, Step> {
    let to = end.next_multiple_of(RESERVE_BYTES).min(segment_bytes.max(end));
    file.allocate(from, to - from).map_err(Step::Reserve)?;
    if fill {
        let zeros = vec![0; (to - from) as usize];
        file.write_at(&zeros, from).map_err(Step::Reserve)?;
    }
    Ok(to)
}
