//! `agor-supervise` alone, as a black box.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod basics;
mod clocks;
mod control;
mod databases;
mod hindered;
mod limits;
mod liveness;
mod processes;
mod signals;
mod streams;
mod support;
mod terminal;
