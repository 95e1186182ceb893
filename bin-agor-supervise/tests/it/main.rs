//! `agor-supervise` alone, as a black box.

mod basics;
mod control;
mod databases;
mod liveness;
mod processes;
mod signals;
mod streams;
mod support;
mod terminal;
