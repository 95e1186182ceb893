//! Keeps the write-ahead logs of the shared databases small, and says the truth about it.
//!
//! A WAL grows until a checkpoint has moved its frames into the database *and* nobody reads or writes
//! through it at that moment. This tool does one such pass (`pass`), or one every so often
//! (`cmd::watch`), and reports what the pragma's row says, never more.
//!
//! It must never create a database, change its journal mode, or hold up a writer for longer than the
//! stall budget.

use std::process::ExitCode;

use agor_common::telemetry::{self, Kind};
use agor_common::{Exit, error};
use clap::CommandFactory as _;

mod cli;
mod cmd;
mod config;
mod control;
mod failure;
mod growth;
mod litestream;
mod output;
mod pass;
mod report;
mod schedule;
mod seen;
mod size;
mod stall;
mod sys;
mod trace;

/// The tool's name.
pub(crate) const TOOL: &str = "agor-checkpoint";

/// Runs the tool with the process's own arguments.
pub fn main() -> ExitCode {
    run(std::env::args_os().collect()).into()
}

/// The command line, for the manual and for completions.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

fn run(args: Vec<std::ffi::OsString>) -> Exit {
    let args: cli::Cli = match agor_common::cli::parse(TOOL, Exit::USAGE, args) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let json = args.json;
    let kind = if args.interval.is_some() { Kind::LongRunning } else { Kind::OneShot };
    let guard = telemetry::init(TOOL, kind);
    let status = args.command.is_some();
    if status {
        telemetry::name_run(|| format!("{TOOL} status"));
    }
    let done = config::Config::resolve(args).and_then(|config| match config.interval {
        _ if status => cmd::status::run(&config),
        Some(interval) => cmd::watch::run(&config, interval),
        None => cmd::once::run(&config),
    });
    let exit = done.unwrap_or_else(|failure| error::report(TOOL, &failure, json));
    guard.finish(exit);
    exit
}
