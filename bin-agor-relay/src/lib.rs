//! Lets an authenticated controller reach the agents of this machine over TLS WebSocket.
//!
//! A server bridges sessions (local processes whose stdin and stdout are lines, or a terminal) to WebSocket
//! clients; `connect` is the client that makes such a session look like a local pipe. Every output event has
//! a number, so a reconnect loses nothing and repeats nothing; every command has an id, so it is executed
//! once. The token is checked before the upgrade and never reaches a session, a log or an argument list.

mod cli;
mod cmd;
mod config;
mod connect;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod history;
mod lines;
mod protocol;
mod server;
mod session;
mod sys;
mod throttle;
mod tls;
mod token;

use std::process::ExitCode;

use agor_common::{Exit, error as report};
use clap::CommandFactory as _;

pub(crate) const TOOL: &str = "agor-relay";

/// The command line, for manual pages and completions.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

/// Runs the tool with the process's own arguments.
pub fn main() -> ExitCode {
    let cli: cli::Cli = match agor_common::cli::parse(TOOL, Exit::USAGE, std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let json = cli.json();
    match cmd::run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => report::report(TOOL, &error, json).into(),
    }
}
