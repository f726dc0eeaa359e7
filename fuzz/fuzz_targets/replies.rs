//! libFuzzer's door to the target `replies`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("replies", input));
