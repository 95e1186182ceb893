//! What two or more agor tools need, and nothing else.
//!
//! Everything here is plain synchronous code. A tool picks what it links by feature: `cli` (argument
//! errors), `sqlite` ([`db::open`] and the two shared schemas) and `telemetry` (OTLP/HTTP export). The
//! base (paths, configuration, exit codes, output) is always there and pulls in no C code.
//!
//! This crate must never start a thread, open a socket or write a file unless its caller asked for it.

#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
#[cfg(feature = "sqlite")]
pub mod db;
pub mod error;
pub mod exit;
#[cfg(feature = "sqlite")]
pub mod mail;
pub mod output;
pub mod paths;
pub mod process;
#[cfg(feature = "sqlite")]
pub mod sessions;
mod sys;
#[cfg(feature = "telemetry")]
pub mod telemetry;
pub mod text;
pub mod time;
pub mod trace_context;

pub use error::Failure;
pub use exit::Exit;

/// The version that every tool prints for `--version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
