//! libFuzzer's door to the target `log`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("log", input));
