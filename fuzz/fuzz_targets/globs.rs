//! libFuzzer's door to the target `globs`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("globs", input));
