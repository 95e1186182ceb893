//! Runs one command that can touch only the files and the network that it was given.
//!
//! The command line becomes a checked [`policy::Policy`]; that and the host become a [`plan::Plan`], which
//! `explain` prints and `run` executes, layer by layer, on this very process; then COMMAND replaces it.
//!
//! What this program must never do: run COMMAND with less than it reports, leave a process or a file behind,
//! or change anything about COMMAND's world that was not asked for.

pub mod args;
mod audit;
mod base;
mod check;
mod cleaner;
pub mod cli;
mod cmd;
pub mod environment;
pub mod error;
pub mod git;
pub mod host;
pub mod landlock;
mod model;
pub mod mounts;
mod namespace;
mod nested;
mod observe;
mod placeholder;
pub mod plan;
pub mod policy;
mod privileges;
pub mod profile;
mod report;
pub mod rights;
pub mod rlimit;
mod root_only;
pub mod seccomp;
mod sockets;
pub mod status;
mod supervise;
mod sys;
mod terminals;

use std::ffi::OsString;
use std::io::Write as _;

use agor_common::{Exit, error::report};
use args::{Args, Opt, Verb};
use clap::CommandFactory as _;

/// The name in front of every message.
pub const TOOL: &str = "agor-sandbox";

/// The command as clap sees it: the man page and the completions are made from it.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

/// Runs the tool. `words` are the arguments with the program's name first; the result is the exit status.
pub fn main(words: Vec<OsString>) -> u8 {
    if let Err(error) = sys::inherit::record() {
        let why = format!("open /dev/null for a standard descriptor that is closed: {error}");
        agor_common::output::error(TOOL, &why, None);
        return Exit::WRAPPER.code();
    }
    let exit = run(words);
    // Nobody else does: there is no start-up code of Rust's around this.
    let _ = std::io::stdout().flush();
    exit.code()
}

fn run(words: Vec<OsString>) -> Exit {
    let args = match Args::parse(words.iter().skip(1).cloned()) {
        Ok(args) => args,
        Err(args::NeedsClap) => return refused(words),
    };
    let json = args.has(Opt::Json);
    // Not asked for in the way of a start: the first look at the clock costs several.
    let started = (args.verb != Verb::Run).then(std::time::SystemTime::now);
    let result = match args.verb {
        Verb::Run => cmd::run::run(&args),
        Verb::Explain => cmd::explain::run(&args),
        Verb::Doctor => cmd::doctor::run(&args),
        Verb::Learn => cmd::learn::run(&args),
    };
    let exit = match result {
        // A command that ran has its span already.
        Ok(exit) if args.verb == Verb::Run => return exit,
        Ok(exit) => exit,
        Err(error) => report(TOOL, &error, json),
    };
    let name = match args.verb {
        Verb::Run => TOOL,
        Verb::Explain => "agor-sandbox explain",
        Verb::Doctor => "agor-sandbox doctor",
        Verb::Learn => "agor-sandbox learn",
    };
    let started = started.unwrap_or_else(std::time::SystemTime::now);
    agor_common::telemetry::report_run(TOOL, name, started, exit);
    exit
}

/// Help, version, or a usage error, in clap's words.
#[cold]
fn refused(words: Vec<OsString>) -> Exit {
    match agor_common::cli::parse::<cli::Cli>(TOOL, Exit::WRAPPER, words) {
        Err(exit) => exit,
        // clap is content where the other parser was not: say at least that much.
        Ok(_) => {
            agor_common::output::error(
                TOOL,
                "the arguments make no sense",
                Some("agor-sandbox --help lists the options"),
            );
            Exit::WRAPPER
        }
    }
}
