//! The command line, nothing else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::rule::Policy;

/// Runs one command, restarts it when it dies, and tells anyone who asks how it is
#[derive(Debug, Parser)]
#[command(
    name = "agor-supervise",
    version = agor_common::VERSION,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    override_usage = "agor-supervise [OPTIONS] -- COMMAND [ARG]...\n       agor-supervise status|list|history|restart|stop|kill|reset|explain [OPTIONS] [NAME]",
    long_about = "Runs COMMAND in the foreground with the caller's own stdin, stdout and stderr, byte for byte. \
When it ends unexpectedly it is started again after 1, 2, 4, 8 and 16 s, and then given up. Nothing that \
comes of COMMAND outlives it. Its health can be asked for by name, any time.\n\nDurations are numbers of \
seconds (0.5) or have units (500ms, 10s, 15m, 2h)."
)]
pub(crate) struct Cli {
    /// A question or an order for a running supervisor.
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// Running a command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What is not running a command.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Show how a supervised command is
    ///
    /// Exits with 0 when it is healthy and 1 when it is not; a supervisor that is gone is never healthy.
    Status(StatusArgs),
    /// List all supervised commands, running or not
    List(ListArgs),
    /// Show the incarnations of a command, newest first
    History(HistoryArgs),
    /// Start it anew now, also out of backoff, and out of failed with --hold
    ///
    /// Waits until the new incarnation is up (and READY, where it says so).
    Restart(OrderArgs),
    /// Stop it and its supervisor
    ///
    /// Waits until the supervisor has ended.
    Stop(OrderArgs),
    /// Send it a signal
    Kill(KillArgs),
    /// Set its count of failed attempts back to zero
    Reset(OrderArgs),
    /// Show the delays before each attempt and the total time until it is given up
    Explain(ExplainArgs),
}

/// The restart rule.
#[derive(Debug, Default, Args)]
pub(crate) struct RuleArgs {
    /// Restarts in a row before it is given up; 0 means never [default: 5]
    #[arg(long, value_name = "N", env = "AGOR_SUPERVISE_MAX_ATTEMPTS", hide_env_values = true)]
    pub(crate) max_attempts: Option<u32>,
    /// Delay before the first restart, doubled for each further one [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AGOR_SUPERVISE_BACKOFF_BASE", hide_env_values = true)]
    pub(crate) backoff_base: Option<Duration>,
    /// No delay is longer than this [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AGOR_SUPERVISE_BACKOFF_CAP", hide_env_values = true)]
    pub(crate) backoff_cap: Option<Duration>,
    /// Spread each delay evenly over delay x (1 - FRACTION) to delay x (1 + FRACTION), 0 to 1 [default: 0]
    #[arg(long, value_name = "FRACTION", value_parser = fraction, env = "AGOR_SUPERVISE_JITTER", hide_env_values = true)]
    pub(crate) jitter: Option<f64>,
    /// Seed of the jitter, to repeat a schedule, which explain then shows [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) jitter_seed: Option<u64>,
    /// A run this long sets the count of attempts back, when it is reached [default: 300s]
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AGOR_SUPERVISE_STABLE_AFTER", hide_env_values = true)]
    pub(crate) stable_after: Option<Duration>,
    /// Which exits are answered with a restart [default: on-failure]
    #[arg(long, value_name = "POLICY", value_enum, env = "AGOR_SUPERVISE_RESTART", hide_env_values = true)]
    pub(crate) restart: Option<Policy>,
    /// Exit statuses that are a success; 128 + n stands for signal n [default: 0]
    #[arg(
        long,
        value_name = "CODES",
        value_delimiter = ',',
        env = "AGOR_SUPERVISE_SUCCESS_CODES",
        hide_env_values = true
    )]
    pub(crate) success_codes: Option<Vec<u8>>,
    /// Exit statuses after which another try is pointless [default: 78]
    #[arg(
        long,
        value_name = "CODES",
        value_delimiter = ',',
        env = "AGOR_SUPERVISE_NO_RETRY_CODES",
        hide_env_values = true
    )]
    pub(crate) no_retry_codes: Option<Vec<u8>>,
    /// From SIGTERM to SIGKILL [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AGOR_SUPERVISE_STOP_GRACE", hide_env_values = true)]
    pub(crate) stop_grace: Option<Duration>,
}

/// Running a command.
#[derive(Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// Name under which it can be asked for; at most one supervisor has it [default: the agent's id, or
    /// the command's name and the supervisor's pid]
    #[arg(long, value_name = "NAME", env = "AGOR_SUPERVISE_NAME", hide_env_values = true)]
    pub(crate) name: Option<String>,
    /// The btmsg agent that it is: BTMSG_AGENT_ID is set for it, and the agent is marked crashed or
    /// stopped in btmsg.db when it is
    #[arg(long, value_name = "ID", env = "AGOR_SUPERVISE_AGENT", hide_env_values = true)]
    pub(crate) agent: Option<String>,
    /// The restart rule.
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// When it is given up stay, failed, and wait for `restart` or `stop`
    #[arg(long)]
    pub(crate) hold: bool,
    /// Exit with this status when it is given up, instead of the command's own
    #[arg(long, value_name = "CODE")]
    pub(crate) failed_exit: Option<u8>,
    /// How to make sure that nothing of it survives [default: auto]
    #[arg(long, value_name = "HOW", value_enum, env = "AGOR_SUPERVISE_ISOLATE", hide_env_values = true)]
    pub(crate) isolate: Option<Isolate>,
    /// When the command is up: at once, or when it sends READY=1 to NOTIFY_SOCKET [default: exec]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) ready: Option<Ready>,
    /// With --ready notify: READY=1 must come within this time [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ready_timeout: Option<Duration>,
    /// The command sends WATCHDOG=1 to NOTIFY_SOCKET at least this often, or is started anew
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) watchdog: Option<Duration>,
    /// Neither output nor heartbeat for this long is a stall; its stdout goes through a pipe then
    #[arg(long, value_name = "TIME", value_parser = duration, env = "AGOR_SUPERVISE_STALL_AFTER", hide_env_values = true)]
    pub(crate) stall_after: Option<Duration>,
    /// What to do on a stall [default: restart]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) on_stall: Option<OnStall>,
    /// Send the agent's heartbeat this often while the command makes progress (output, READY=1,
    /// WATCHDOG=1 or STATUS=); its stdout goes through a pipe then
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "agent")]
    pub(crate) heartbeat: Option<Duration>,
    /// Run this shell command for every event, with the event as JSON on its stdin
    #[arg(long, value_name = "CMD", env = "AGOR_SUPERVISE_ON_EVENT", hide_env_values = true)]
    pub(crate) on_event: Option<String>,
    /// Also write stdout and stderr to NAME.out.log and NAME.err.log in this directory
    #[arg(long, value_name = "DIR", env = "AGOR_SUPERVISE_LOG_DIR", hide_env_values = true)]
    pub(crate) log_dir: Option<PathBuf>,
    /// Rotate a log file when it has this many bytes (K, M and G are understood); 0 means never
    /// [default: 10M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) log_max_size: Option<u64>,
    /// Rotated log files to keep [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) log_keep: Option<u32>,
    /// Pass stdout through a pipe and observe it: a partial last line is ended before the next incarnation
    /// writes
    #[arg(long)]
    pub(crate) observe: bool,
    /// Whether stderr goes through a pipe, so that its last lines are kept as last_error; auto means
    /// unless it is a terminal [default: auto]
    #[arg(long, value_name = "WHEN", value_enum)]
    pub(crate) stderr: Option<Stderr>,
    /// Configuration file, instead of the usual ones
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// `--isolate`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Isolate {
    /// A cgroup where one is delegated, else a keeper
    Auto,
    /// A subreaper process between supervisor and command
    Keeper,
    /// And a cgroup
    Cgroup,
    /// And a PID namespace with its own /proc: process ids differ inside
    Pid,
}

/// `--ready`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ready {
    /// When it runs its program
    Exec,
    /// When it says so
    Notify,
}

/// `--on-stall`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnStall {
    /// End it, which counts as a failure
    Restart,
    /// Say so
    Report,
}

/// `--stderr`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stderr {
    /// Unless it is a terminal
    Auto,
    /// Always
    Capture,
    /// Never
    Inherit,
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The supervised name; all of them when there is none
    pub(crate) name: Option<String>,
    /// One JSON object; NDJSON for several
    #[arg(long)]
    pub(crate) json: bool,
    /// Wait until it is like this
    #[arg(long, value_name = "HEALTH", value_enum, requires = "name")]
    pub(crate) wait: Option<Wanted>,
    /// With --wait: for this long; then exit with 124 [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "wait")]
    pub(crate) timeout: Option<Duration>,
}

/// `--wait`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// Up, and READY where that was asked for
    Healthy,
    /// Waiting for, or in, another attempt
    Restarting,
    /// Given up
    Failed,
    /// Ended as asked or with success
    Stopped,
}

/// `list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// NDJSON, an object for each
    #[arg(long)]
    pub(crate) json: bool,
}

/// `history`
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The supervised name
    pub(crate) name: String,
    /// The newest N
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: u32,
    /// NDJSON, an object for each
    #[arg(long)]
    pub(crate) json: bool,
}

/// `restart`, `stop`, `reset`
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    /// The supervised name
    pub(crate) name: String,
    /// Give up waiting after this long, with exit 124
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub(crate) timeout: Duration,
    /// Do not wait for the effect, only until the supervisor has taken the order
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `kill`
#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// The supervised name
    pub(crate) name: String,
    /// The signal, by name or number
    #[arg(value_parser = signal, default_value = "TERM")]
    pub(crate) signal: i32,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The restart rule.
    #[command(flatten)]
    pub(crate) rule: RuleArgs,
    /// Configuration file, instead of the usual ones
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// A duration: seconds as a number, or with units.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    // humantime knows whole numbers only; 1.5s is natural enough.
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    let seconds: f64 = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    Duration::try_from_secs_f64(seconds * scale).map_err(|error| error.to_string())
}

/// A number from 0 to 1.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("it must be a number from 0 to 1".into()),
    }
}

/// A number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1u64 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is not a size"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is too large"))
}

fn signal(text: &str) -> Result<i32, String> {
    crate::names::parse_signal(text).ok_or_else(|| format!("no signal is named '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_sizes() {
        for (text, ms) in
            [("0", 0), ("0.2", 200), ("0.2s", 200), ("500ms", 500), ("15m", 900_000), ("1m 30s", 90_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "-1", "soon", "1x", "nan", "inf"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(size("10M"), Ok(10 << 20));
        assert!(size("x").is_err() && size("99999999999G").is_err());
    }
}
