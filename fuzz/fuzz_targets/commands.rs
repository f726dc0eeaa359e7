//! libFuzzer's door to the target `commands`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("commands", input));
