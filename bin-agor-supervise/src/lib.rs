//! Runs one command, restarts it when it dies, and tells anyone who asks how it is.
//!
//! Three processes: the supervisor (the event loop in `engine`, which follows the pure rule in `rule`), a
//! keeper that guarantees that nothing of the command survives, and the command itself, with the caller's own
//! streams. It never becomes a daemon, never writes to stdout while it supervises, and never waits for a
//! database.

mod cli;
mod clock;
mod cmd;
mod command;
mod config;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod hooks;
mod keeper;
mod liveness;
mod logs;
mod mask;
mod names;
mod notify;
mod place;
mod protocol;
mod pump;
mod recorder;
mod rule;
mod sys;
mod terminal;
mod watch;

use std::process::ExitCode;

use agor_common::{Exit, error as report};
use clap::CommandFactory as _;

/// The tool's name, as it begins every line on stderr.
pub(crate) const TOOL: &str = "agor-supervise";

/// The command line, for manual pages and completions.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

/// Runs the tool with the process's own arguments.
pub fn main() -> ExitCode {
    let cli: cli::Cli = match agor_common::cli::parse(TOOL, Exit::WRAPPER, std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let json = cli.action.as_ref().is_some_and(cmd::is_json);
    let result = match cli.action {
        Some(action) => cmd::action(action),
        None => cmd::run::run(cli.run),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => report::report(TOOL, &error, json).into(),
    }
}
