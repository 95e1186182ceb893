//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::size;

/// Keeps the write-ahead logs of SQLite databases small, and says the truth about it
#[derive(Debug, Parser)]
#[command(
    name = "agor-checkpoint",
    version = agor_common::VERSION,
    long_about = "Moves the frames of a WAL into its SQLite database and empties the WAL, in one pass over \
each DB (for cron and timers) or, with --interval, in a loop.\n\nA pass first copies with \
wal_checkpoint(PASSIVE), which holds nobody up, and then empties the small rest with \
wal_checkpoint(TRUNCATE), never keeping writers waiting for longer than the stall budget. What it reports \
is the pragma's row, not its return code: a checkpoint that a reader or writer held up is partial or \
blocked, names the process that is in the way, and ends with 75.\n\nIt never creates a database, never \
changes a journal mode, and leaves the reset of the WAL to Litestream where that looks after the database."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Verb>,

    /// Databases [default: sessions.db and btmsg.db in the data directory]; one that is called status is
    /// ./status here
    #[arg(value_name = "DB")]
    pub(crate) databases: Vec<PathBuf>,

    /// Stay, and do a pass every DURATION (at least 100ms): the first at once, the last on TERM
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// What a pass does: auto empties the WAL but only copies where Litestream is at work, truncate
    /// always empties it, passive only copies [default: auto] [env: AGOR_CHECKPOINT_MODE]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,

    /// How long a writer may be kept waiting at most (10ms to 10s) [default: 250ms]
    /// [env: AGOR_CHECKPOINT_STALL_BUDGET]
    #[arg(long, value_name = "DURATION", value_parser = budget)]
    pub(crate) stall_budget: Option<Duration>,

    /// How long to go on trying when someone is in the way, for each database (up to 1h) [default: 5s]
    /// [env: AGOR_CHECKPOINT_DEADLINE]
    #[arg(long, value_name = "DURATION", value_parser = deadline)]
    pub(crate) deadline: Option<Duration>,

    /// With --interval: start a pass also when a WAL grows past SIZE (at least 64KiB; B, KiB, MiB, GiB)
    /// [env: AGOR_CHECKPOINT_WAL_MAX]
    #[arg(long, value_name = "SIZE", value_parser = wal_max, requires = "interval")]
    pub(crate) wal_max: Option<u64>,

    /// Go ahead on a network file system, or on overlayfs without a warning: only right when every
    /// process that uses the database runs on this machine [env: AGOR_ANY_FILESYSTEM]
    #[arg(long)]
    pub(crate) any_filesystem: bool,

    /// One JSON object per database on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print only what did not end well (for cron)
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the sizes and who is in the way; changes nothing, and opens no database
    Status {
        /// Databases [default: sessions.db and btmsg.db in the data directory]
        #[arg(value_name = "DB")]
        databases: Vec<PathBuf>,
    },
}

/// What a pass does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Truncate, but passive where Litestream replicates the database
    Auto,
    /// Copy, then empty the WAL
    Truncate,
    /// Copy only
    Passive,
}

fn between(text: &str, low: Duration, high: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| "expected a duration such as 250ms, 5s or 10m".to_owned())?;
    if duration < low {
        return Err(format!("must be at least {}", humantime::format_duration(low)));
    }
    if duration > high {
        return Err(format!("must be at most {}", humantime::format_duration(high)));
    }
    Ok(duration)
}

fn interval(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(100), Duration::from_secs(366 * 86_400))
}

pub(crate) fn budget(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(10), Duration::from_secs(10))
}

pub(crate) fn deadline(text: &str) -> Result<Duration, String> {
    between(text, Duration::ZERO, Duration::from_secs(3600))
}

pub(crate) fn wal_max(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text)?;
    if bytes < 64 << 10 { Err("must be at least 64KiB".to_owned()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn databases_and_verbs() {
        let cli = Cli::try_parse_from(["x", "--json", "status", "a.db"]).unwrap();
        assert!(cli.json && matches!(cli.command, Some(Verb::Status { databases }) if databases.len() == 1));
        let cli = Cli::try_parse_from(["x", "status", "--json"]).unwrap();
        assert!(cli.json && cli.command.is_some());
        let cli = Cli::try_parse_from(["x", "./status", "b.db"]).unwrap();
        assert!(cli.command.is_none() && cli.databases.len() == 2);
        assert!(Cli::try_parse_from(["x", "--wal-max", "1MiB"]).is_err());
        assert!(Cli::try_parse_from(["x", "--interval", "0s"]).is_err());
        assert!(Cli::try_parse_from(["x", "--stall-budget", "1h"]).is_err());
    }
}
