//! Lines of `btmsg send --ndjson`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::ndjson_batch(data));
