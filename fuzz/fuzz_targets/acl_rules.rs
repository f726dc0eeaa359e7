//! libFuzzer's door to the target `acl_rules`.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| kvfuzz::run("acl_rules", input));
