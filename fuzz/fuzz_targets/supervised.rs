//! What a supervised command says.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::supervised(data));
