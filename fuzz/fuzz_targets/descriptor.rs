//! The wire form of a descriptor, then its bounds against a schema and a small memory.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| transom_fuzz::around::bytes(bytes, transom_fuzz::trial::descriptor));
