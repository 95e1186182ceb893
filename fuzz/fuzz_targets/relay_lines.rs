//! A session's output on its way into events.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::relay_lines(data));
