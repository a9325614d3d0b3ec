//! A batch that is changed on its way, imported in every mode and wholly read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| transom_fuzz::around::batch(bytes));
