//! libFuzzer's door to the target `damage`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("damage", input));
