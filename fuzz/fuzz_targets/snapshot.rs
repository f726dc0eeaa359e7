//! libFuzzer's door to the target `snapshot`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("snapshot", input));
