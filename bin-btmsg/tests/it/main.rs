//! `btmsg` as a black box, in a data directory of each test's own.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the helpers of tests, too, end a test by panicking"
)]
mod adoption;
mod channels;
mod contention;
mod dead_letters;
mod faults;
mod hostile;
mod interface;
mod leases;
mod liveness;
mod looking;
mod sending;
mod waiting;
mod world;
