//! What the operating system knows about this process. Zeros where it does not tell.
//!
//! Invariant: nothing here fails or ends the program, whatever the system answers.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Clock ticks a second in /proc, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Memory that is in RAM.
    pub resident_bytes: u64,
    /// The most that it was.
    pub resident_peak_bytes: u64,
    /// The memory of the machine.
    pub system_bytes: u64,
    /// The processor's time in the program.
    pub user_seconds: f64,
    /// The processor's time in the kernel.
    pub system_seconds: f64,
}

impl Usage {
    /// Returns what is so now.
    pub fn now() -> Usage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (user_seconds, system_seconds) = processor_seconds().unwrap_or_default();
        Usage {
            resident_bytes: kilobytes(&status, "VmRSS:"),
            resident_peak_bytes: kilobytes(&status, "VmHWM:"),
            system_bytes: kilobytes(&memory, "MemTotal:"),
            user_seconds,
            system_seconds,
        }
    }
}

/// The bytes behind `name` in a text of lines such as `VmRSS:  1234 kB`.
fn kilobytes(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

/// The number of the thread that calls this, if the system tells.
pub fn this_thread() -> Option<u32> {
    fs::read_link("/proc/thread-self").ok()?.file_name()?.to_str()?.parse().ok()
}

/// Seconds that a thread of the process has run: for itself, and in the system.
pub fn thread_seconds(thread: u32) -> Option<(f64, f64)> {
    seconds_of(&format!("/proc/self/task/{thread}/stat"))
}

/// Milliseconds that the threads of this name have run together.
pub fn milliseconds_of_threads(name: &str) -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|own| own.trim_end_matches('\n') == name)
    });
    let nanoseconds = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    named.filter_map(nanoseconds).sum::<u64>() / 1_000_000
}

fn processor_seconds() -> Option<(f64, f64)> {
    seconds_of("/proc/self/stat")
}

/// What a process or a thread has run, from its `stat` file.
fn seconds_of(path: &str) -> Option<(f64, f64)> {
    let stat = fs::read_to_string(path).ok()?;
    // The second field is the program's name in parentheses, which may hold blanks; user and system time are the 14th
    // and 15th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((seconds()?, seconds()?))
}

/// Files the process needs beside its connections: its data, what it listens on, its log; and some for each event loop.
const OWN_FILES: u64 = 32;
const LOOP_FILES: u64 = 4;

/// Lets the process open as many files as it may.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // What cannot be had is not asked for twice: `clients_possible` goes by what there is.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// How many clients there are files for, so that they leave what the log and its snapshots need; at least 1.
pub fn clients_possible(loops: usize) -> usize {
    let own = OWN_FILES + LOOP_FILES.saturating_mul(loops as u64);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(own)).unwrap_or(usize::MAX).max(1)
}
