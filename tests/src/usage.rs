//! What the system says a process uses.
//!
//! Invariant: figures are the system's own, read afresh each time. Linux only, as the rest of the harness.

use std::fs;

/// Bytes in the line of `/proc/<id>/status` that begins with `field`.
///
/// # Panics
///
/// When the process has ended.
#[track_caller]
fn status_bytes(id: u32, field: &str) -> u64 {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let of = |line: &str| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok();
    let kibibytes = status.lines().find_map(of);
    kibibytes.unwrap_or_else(|| panic!("no {field} in {path}:\n{status}")) * 1024
}

/// The memory a process holds now, in bytes.
///
/// # Panics
///
/// When the process has ended.
#[track_caller]
pub fn resident_bytes(id: u32) -> u64 {
    status_bytes(id, "VmRSS:")
}

/// The most it has held since it started or since [`forget_peak`], in bytes.
///
/// # Panics
///
/// When the process has ended.
#[track_caller]
pub fn peak_bytes(id: u32) -> u64 {
    status_bytes(id, "VmHWM:")
}

/// Lets [`peak_bytes`] begin anew at what the process holds now.
///
/// # Panics
///
/// When the process has ended, or belongs to someone else.
#[track_caller]
pub fn forget_peak(id: u32) {
    let path = format!("/proc/{id}/clear_refs");
    fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// The processor time it has used, in milliseconds (in steps of ten).
///
/// # Panics
///
/// When the process has ended.
#[track_caller]
pub fn processor_ms(id: u32) -> u64 {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // The second field is the program's name in parentheses, which may hold blanks; the 14th and 15th are its time as a
    // user and in the system, in hundredths of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    10 * fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
}

/// How many files and sockets it has open.
///
/// # Panics
///
/// When the process has ended, or belongs to someone else.
#[track_caller]
pub fn open_files(id: u32) -> usize {
    let path = format!("/proc/{id}/fd");
    fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count()
}
