//! A message of either direction.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| transom_fuzz::around::bytes(bytes, transom_fuzz::trial::message));
