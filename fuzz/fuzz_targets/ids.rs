//! Agents' ids and other text on its way to a terminal.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::ids(data));
