//! Messages, heartbeats and dead letters between the agents of one machine.
//!
//! Many short-lived processes (agents in their shells, cron, hooks) on one SQLite file, without a server. Every
//! command that changes something is one transaction with its audit row; a message that cannot be delivered
//! becomes a dead letter, and never just disappears.

pub mod app;
pub mod cli;
pub mod clock;
pub mod cmd;
pub mod config;
pub mod error;
#[doc(hidden)]
pub mod fuzz;
pub mod health;
pub mod policy;
pub mod quick;
pub mod receive;
pub mod redrive;
pub mod send;
pub mod show;
pub mod sweep;
pub mod wake;

use std::process::ExitCode;

use agor_common::telemetry::{self, Kind};
use agor_common::{Exit, error::report};
use clap::CommandFactory as _;

/// The tool's name, as it leads every line on stderr.
pub const TOOL: &str = "btmsg";

/// The command line, for the manual page and completions.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

/// Runs the tool with the process's own arguments.
pub fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let cli = match quick::parse(&args) {
        Some(cli) => cli,
        None => match agor_common::cli::parse::<cli::Cli>(TOOL, Exit::USAGE, args) {
            Ok(cli) => cli,
            Err(exit) => return exit.into(),
        },
    };
    let telemetry = telemetry::init(TOOL, cmd::kind(&cli.command));
    let command = cmd::name(&cli.command);
    telemetry::name_run(|| format!("{TOOL} {command}"));
    let exit = run(cli);
    telemetry.finish(exit);
    exit.into()
}

fn run(cli: cli::Cli) -> Exit {
    let json = cli.globals.json;
    let mut app = match app::App::new(cli.globals.identity, json) {
        Ok(app) => app,
        Err(error) => return report(TOOL, &error, json),
    };
    if !matches!(cli.command, cli::Command::Register(_) | cli::Command::Log(_)) {
        app.await_registration();
    }
    let done = cmd::run(&mut app, cli.command);
    let done = done.and_then(|exit| {
        app.out.flush()?;
        Ok(exit)
    });
    match done {
        Ok(exit) => exit,
        Err(error) => {
            // What a reader has not seen yet comes before the error.
            let _ = app.out.flush();
            let error = app.name_file(error);
            if let error::Error::Denied { what, why, agent, .. } = &error {
                cmd::record_denial(&app, agent, what, why);
            }
            report(TOOL, &error, json)
        }
    }
}

/// How long the tool lives, for telemetry.
pub(crate) const ONE_SHOT: Kind = Kind::OneShot;
