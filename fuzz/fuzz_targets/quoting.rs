//! libFuzzer's door to the target `quoting`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("quoting", input));
