//! Holes that Redis, Valkey and their clients had, by their numbers: each test does what the hole was about and fails if it
//! were here.
//!
//! Invariant: of the numbers of 2021 to 2026 each is either a test here or elsewhere, or stands below with the reason.
//! Of the older ones, only those that a server of this kind could still have are here: CVE-2016-10517.
//!
//! Elsewhere, by the same name: CVE-2021-32762 (a client that believes announced lengths) in `hostile_server.rs`,
//! CVE-2024-31227, CVE-2024-51741 and CVE-2023-36824 (rules, and the keys that are checked) in `acl.rs`.
//!
//! Not here, because what they are about is not here:
//! - scripts: CVE-2021-32626, -32672, CVE-2022-0543, -24735, -24736, -24834, CVE-2024-31449, -46981, CVE-2025-46817, -46818,
//!   -46819, -49844, CVE-2026-23631. (CVE-2025-67733 is about a script's error reply; what it did is tested all the same.)
//! - lists, hashes, sets, sorted sets, streams: CVE-2021-29478, -32627, -32628, -32687, CVE-2022-31144, -33105, -35951,
//!   CVE-2023-22458, -25155, CVE-2025-62507, CVE-2026-63639, -66373.
//! - modules: CVE-2026-21864, -25588, -25589, -62356. Replication and cluster: CVE-2021-31294, CVE-2026-21863.
//! - TLS: CVE-2026-56684, -81934, and names in certificates with a NUL in them (fixed in Redis 8.8.2).
//! - Redis' allocator, signal handler and Windows port: CVE-2021-3470, CVE-2022-3647, -3734. CVE-2023-31655 names no cause.
//! - `redis-check-aof`: CVE-2025-27151; the tools that read this store's files are tested with them.

#![forbid(unsafe_code)]

use kvtests::process::{Launch, ServerProcess};
use kvtests::{server_program, usage};

mod clients;
mod http;
mod payloads;
mod protocol;
mod values;

const MEBIBYTE: u64 = 1 << 20;

fn launch() -> Launch {
    Launch::bare(server_program!()).arguments(["--memory-only", "--loops", "2"]).resp()
}

fn server() -> ServerProcess {
    launch().start()
}

fn guarded() -> ServerProcess {
    launch().arguments(["--requirepass", "foobared"]).start()
}

/// The server's memory did not grow by more than `bytes` while `act` went on.
#[track_caller]
fn assert_frugal(server: &ServerProcess, bytes: u64, act: impl FnOnce()) {
    usage::forget_peak(server.id());
    let before = usage::resident_bytes(server.id());
    act();
    let grown = usage::peak_bytes(server.id()).saturating_sub(before);
    println!("grew by {} KiB", grown / 1024);
    assert!(grown <= bytes, "grew by {} KiB", grown / 1024);
}
