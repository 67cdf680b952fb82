#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| graphite_tests::fuzz::messages(bytes));
