//! libFuzzer's door to the target `restore`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("restore", input));
