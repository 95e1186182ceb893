//! The `agor-sandbox` program; everything is in the library.
#![cfg_attr(not(test), no_main)]

#[cfg(not(test))]
#[path = "sys/start.rs"]
mod start;
