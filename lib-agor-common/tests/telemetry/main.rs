//! Telemetry as a black box: a small tool (examples/telemetry-probe.rs) and a collector that the test owns.
#![allow(clippy::unwrap_used, reason = "tests, and the helpers between them")]

mod arrival;
mod bad_collectors;
mod collector;
mod context;
mod endings;
mod off_and_on;
mod probe;
