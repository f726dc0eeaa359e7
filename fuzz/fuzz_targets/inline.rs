//! libFuzzer's door to the target `inline`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("inline", input));
