//! libFuzzer's door to the target `lines`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("lines", input));
