//! The sandbox's own argument parser beside clap.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| agor_fuzz::sandbox_args(data));
