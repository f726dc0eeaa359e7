//! The fuzz targets of `fuzz/` as ordinary tests: over their saved corpus, and over random changes of it.
//!
//! Invariant: the same inputs on every machine, in the same order; a failure prints the input that shows it again.
//!
//! `KV_FUZZ_ROUNDS` is how many changed inputs to try for each target (default 2,000), `KV_FUZZ_SEED` the first seed
//! (default 1). With libFuzzer: see `fuzz/README.md`.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

/// Long inputs cost time and find little.
const INPUT_BYTES_MAX: usize = 4096;

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's directory").join("fuzz")
}

/// The files of a directory, in the order of their names; none if there is no directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Runs the target; if it fails, says with what.
fn try_input(target: &str, input: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| fuzz::run(target, input))) {
        eprintln!("{target} fails with {what}: b\"{}\"", input.escape_ascii());
        resume_unwind(panic);
    }
}

/// Bytes that mean something to one parser or another.
const MEANINGFUL: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"\"",
    b"'",
    b"\\x",
    b"*",
    b"$",
    b"*-1\r\n",
    b"$-1\r\n",
    b"_\r\n",
    b"%1\r\n",
    b"~1\r\n",
    b">1\r\n",
    b"|1\r\n",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"4294967295",
    b"536870912",
    b"2147483648",
    b"-1",
    b"0",
    b"1e400",
    b"nan",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x7f",
    b"\x80",
    b"\xfb\xff\xff",
    b"\xfc\xff\xff\xff\xff",
    b"\xfd\xff\xff\xff\xff\xff\xff\xff\x7f",
    b" / HTTP/1.1\r\n",
    b"\x16\x03",
    b"[^",
    b"]",
    b"-",
    b"(",
    b")",
    b"~",
    b"%R~",
    b"&",
    b"+@all",
    b"-@all",
    b"|",
    b"#",
    b"\xc3",
    b"\xe0\x00",
];

/// A changed copy of one of `corpus`.
fn changed(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = corpus[rng.usize(..corpus.len())].clone();
    for _ in 0..1 + rng.usize(..4) {
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..8)).min(input.len());
        match rng.u8(..8) {
            0 if !input.is_empty() => {
                let at = at % input.len();
                input[at] ^= 1 << rng.u8(..8);
            }
            1 if !input.is_empty() => {
                let at = at % input.len();
                input[at] = rng.u8(..);
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = rng.usize(..=input.len());
                drop(input.splice(to..to, copy));
            }
            4 | 5 => drop(input.splice(at..at, MEANINGFUL[rng.usize(..MEANINGFUL.len())].iter().copied())),
            6 => drop(input.splice(at..end, MEANINGFUL[rng.usize(..MEANINGFUL.len())].iter().copied())),
            // The beginning of this one and the end of another.
            _ => {
                let other = &corpus[rng.usize(..corpus.len())];
                input.truncate(at);
                input.extend_from_slice(&other[rng.usize(..=other.len())..]);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn run(target: &str) {
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for path in files(&fuzz_dir().join("corpus").join(target)) {
        let input = fs::read(&path).expect("a file of the corpus");
        try_input(target, &input, &path.display().to_string());
        corpus.push(input);
    }
    assert!(!corpus.is_empty(), "{target} has a corpus");
    try_input(target, b"", "nothing");
    let first = number("KV_FUZZ_SEED", 1);
    for seed in first..first + number("KV_FUZZ_ROUNDS", 2_000) {
        let input = changed(&corpus, &mut Rng::with_seed(seed));
        try_input(target, &input, &format!("KV_FUZZ_SEED={seed} KV_FUZZ_ROUNDS=1"));
    }
}

macro_rules! targets {
    ($($target:ident)*) => {
        const TESTED: &[&str] = &[$(stringify!($target)),*];
        $(
            #[test]
            fn $target() {
                run(stringify!($target));
            }
        )*
    };
}

targets! { resp_requests inline lines quoting replies log snapshot damage restore globs acl_rules commands }

#[test]
fn every_target_is_run_here_and_by_libfuzzer() {
    let names: BTreeSet<_> = fuzz::TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names, TESTED.iter().map(|name| (*name).to_owned()).collect());
    let stems = |dir: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
        files(&fuzz_dir().join(dir)).into_iter().filter_map(stem).collect()
    };
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("corpus"), names);
}
