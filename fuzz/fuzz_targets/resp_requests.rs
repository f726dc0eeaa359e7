//! libFuzzer's door to the target `resp_requests`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("resp_requests", input));
