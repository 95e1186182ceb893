//! Messages between relay and client.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::relay_message(data));
