//! What to do: the command line, the environment and the configuration file, checked, in one value.

use std::path::PathBuf;
use std::time::Duration;

use agor_common::db;
use agor_common::{config, paths};

use crate::cli::{self, Cli, Mode, Verb};
use crate::failure::Error;

/// A database to look after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) path: PathBuf,
    /// By the user; a default one may be missing.
    pub(crate) named: bool,
}

/// How a pass goes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) mode: Mode,
    pub(crate) stall_budget: Duration,
    pub(crate) deadline: Duration,
    pub(crate) any_filesystem: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) targets: Vec<Target>,
    pub(crate) manners: Manners,
    pub(crate) interval: Option<Duration>,
    pub(crate) wal_max: Option<u64>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// `[checkpoint]` in agor.toml.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    databases: Vec<PathBuf>,
    mode: Option<Mode>,
    stall_budget: Option<String>,
    deadline: Option<String>,
    wal_max: Option<String>,
}

impl Config {
    pub(crate) fn resolve(args: Cli) -> Result<Config, Error> {
        db::check_sqlite()?;
        let mut named = args.databases;
        let status = args.command.is_some();
        if let Some(Verb::Status { databases }) = args.command {
            let other = [
                ("--interval", args.interval.is_some()),
                ("--mode", args.mode.is_some()),
                ("--stall-budget", args.stall_budget.is_some()),
                ("--deadline", args.deadline.is_some()),
                ("--any-filesystem", args.any_filesystem),
                ("--quiet", args.quiet),
            ];
            if let Some((flag, _)) = other.iter().find(|(_, given)| *given) {
                return Err(Error::Usage(format!("{flag} does not go with status")));
            }
            named.extend(databases);
        }
        let file: File = config::load("checkpoint", None)?.value;
        let manners = Manners {
            mode: first(args.mode, "AGOR_CHECKPOINT_MODE", mode, None)?.or(file.mode).unwrap_or(Mode::Auto),
            stall_budget: first(
                args.stall_budget,
                "AGOR_CHECKPOINT_STALL_BUDGET",
                cli::budget,
                file.stall_budget.map(|text| ("configuration: checkpoint.stall_budget", text)),
            )?
            .unwrap_or(Duration::from_millis(250)),
            deadline: first(
                args.deadline,
                "AGOR_CHECKPOINT_DEADLINE",
                cli::deadline,
                file.deadline.map(|text| ("configuration: checkpoint.deadline", text)),
            )?
            .unwrap_or(Duration::from_secs(5)),
            any_filesystem: args.any_filesystem
                || std::env::var_os("AGOR_ANY_FILESYSTEM").is_some_and(|value| !value.is_empty()),
        };
        let wal_max = first(
            args.wal_max,
            "AGOR_CHECKPOINT_WAL_MAX",
            cli::wal_max,
            file.wal_max.map(|text| ("configuration: checkpoint.wal_max", text)),
        )?;
        if named.is_empty() {
            named = file.databases;
        }
        let targets = if named.is_empty() {
            let default = |path| Target { path, named: false };
            vec![default(paths::sessions_db()?), default(paths::mail_db()?)]
        } else {
            named.into_iter().map(|path| Target { path, named: true }).collect()
        };
        let quiet = args.quiet && !status;
        Ok(Config { targets, manners, interval: args.interval, wal_max, json: args.json, quiet })
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    clap::ValueEnum::from_str(text, false).map_err(|_| "expected auto, truncate or passive".to_owned())
}

/// The flag, else the variable, else the file's word.
fn first<T>(
    flag: Option<T>,
    variable: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
    file: Option<(&'static str, String)>,
) -> Result<Option<T>, Error> {
    if flag.is_some() {
        return Ok(flag);
    }
    let said = match std::env::var(variable) {
        Ok(text) if !text.is_empty() => Some((variable, text)),
        Err(std::env::VarError::NotUnicode(_)) => {
            return Err(Error::Variable { name: variable, why: "it is not text".into() });
        }
        _ => file,
    };
    let Some((name, text)) = said else { return Ok(None) };
    parse(&text).map(Some).map_err(|why| Error::Variable { name, why })
}
