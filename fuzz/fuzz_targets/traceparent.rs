//! `TRACEPARENT`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::traceparent(data));
