//! `agor-supervise` alone, as a black box.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod basics;
mod clocks;
mod control;
mod databases;
#[path = "../../../tests/src/executable.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with other suites")]
mod executable;
mod hindered;
mod limits;
mod liveness;
mod processes;
mod signals;
mod streams;
mod support;
mod terminal;
