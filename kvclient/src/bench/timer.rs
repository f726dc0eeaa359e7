//! When an open loop wakes up for the next request.
//!
//! Invariant: the wait that it permits ends before a request is due, never after; only the last [`SPIN`] before that are
//! waited for with a busy processor.

#[cfg(target_os = "linux")]
use mio::unix::SourceFd;
#[cfg(target_os = "linux")]
use mio::{Interest, Registry, Token};
#[cfg(target_os = "linux")]
use rustix::fd::{AsRawFd, OwnedFd};
#[cfg(target_os = "linux")]
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::io;
use std::time::Duration;

/// How late a wait may end. A timer of Linux wakes a thread some 30 us late, and 90 us where the processor had gone to
/// sleep; that is not to be taken for the server's latency.
#[cfg(target_os = "linux")]
const SPIN: Duration = Duration::from_micros(120);
/// Elsewhere the event queue counts whole milliseconds.
#[cfg(not(target_os = "linux"))]
const SPIN: Duration = Duration::from_millis(2);

/// A timer that ends the waits of an event queue: the queue itself counts whole milliseconds.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Timer {
    timer: OwnedFd,
    /// What it was last set for.
    due_ns: u64,
}

#[cfg(target_os = "linux")]
impl Timer {
    /// Returns a timer whose event in the queue is `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { timer, due_ns: 0 })
    }

    /// Returns how long the queue may wait for events, at most `longest`, if something is due at `due_ns`.
    pub fn wait(&mut self, due_ns: u64, now_ns: u64, longest: Duration) -> io::Result<Duration> {
        let left = Duration::from_nanos(due_ns.saturating_sub(now_ns));
        if left <= SPIN {
            return Ok(Duration::ZERO);
        }
        if left < longest && self.due_ns != due_ns {
            self.due_ns = due_ns;
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let it_value = Timespec::try_from(left - SPIN).map_err(io::Error::other)?;
            let once = Itimerspec { it_interval, it_value };
            // Its expiries are not read: each is an event of its own, and setting it forgets them.
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        Ok(longest)
    }
}

/// A timer as fine as the event queue's.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    /// Returns a timer. It has no event.
    pub fn new(_: &mio::Registry, _: mio::Token) -> io::Result<Timer> {
        Ok(Timer)
    }

    /// Returns how long the queue may wait for events, at most `longest`, if something is due at `due_ns`.
    pub fn wait(&mut self, due_ns: u64, now_ns: u64, longest: Duration) -> io::Result<Duration> {
        let left = Duration::from_nanos(due_ns.saturating_sub(now_ns));
        Ok(if left < SPIN { Duration::ZERO } else { (left - SPIN / 2).min(longest) })
    }
}
