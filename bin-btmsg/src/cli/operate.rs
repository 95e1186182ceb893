//! Arguments of the commands about liveness, dead letters and operation.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{duration, since};

/// What an agent is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Activity {
    /// Working
    Busy,
    /// Waiting for work
    Idle,
}

impl Activity {
    /// As it is stored.
    pub fn word(self) -> &'static str {
        match self {
            Activity::Busy => "busy",
            Activity::Idle => "idle",
        }
    }
}

/// `heartbeat`
#[derive(Debug, Args)]
pub struct Heartbeat {
    /// What it is doing
    #[arg(long, value_enum)]
    pub status: Option<Activity>,
    /// What it is doing, in words
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// How full its context is: 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    pub context: Option<f64>,
    /// A file on which it conflicts with another agent
    #[arg(long, value_name = "PATH")]
    pub conflict: Option<String>,
    /// How many reviews wait for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    pub review: Option<i64>,
    /// Again and again: as long as COMMAND runs, or until it is stopped. At least 1s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub every: Option<Duration>,
    /// Only while this process runs: PID:START
    #[arg(long, hide = true, value_name = "PID:START")]
    pub while_pid: Option<String>,
    /// Start that helper and leave it alone
    #[arg(long, hide = true, requires = "while_pid")]
    pub detach: bool,
    /// The command that it is the heartbeat of; it takes this process's place
    #[arg(last = true, value_name = "COMMAND", requires = "every")]
    pub command: Vec<OsString>,
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("not a number from 0 to 1".into()),
    }
}

/// `health`
#[derive(Debug, Args)]
pub struct Health {
    /// Only the first N
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Show it again and again, every 2s or as often as said
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1, require_equals = true,
        default_missing_value = "2s")]
    pub watch: Option<Duration>,
    /// Exit 1 when an agent's attention score is at least this
    #[arg(long, value_name = "SCORE", value_parser = clap::value_parser!(i64).range(1..=100))]
    pub fail_at: Option<i64>,
}

/// `sweep`
#[derive(Debug, Args)]
pub struct Sweep {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Which dead letters.
#[derive(Debug, Args, Default)]
pub struct Letters {
    /// Only for this agent
    #[arg(long, value_name = "AGENT")]
    pub to: Option<String>,
    /// Only from this agent
    #[arg(long, value_name = "AGENT")]
    pub from: Option<String>,
    /// Only with this reason: unknown_agent, offline, crashed, stalled, expired, max_deliveries, too_large, denied
    #[arg(long, value_parser = reason)]
    pub reason: Option<String>,
    /// Only what died since: 2h, or a time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
}

fn reason(text: &str) -> Result<String, String> {
    match agor_common::mail::dead::Reason::parse(text) {
        Some(reason) => Ok(reason.word().to_owned()),
        None => {
            let known: Vec<&str> =
                agor_common::mail::dead::REASONS.iter().map(|reason| reason.word()).collect();
            Err(format!("not one of {}", known.join(", ")))
        }
    }
}

/// `dlq`
#[derive(Debug, Subcommand)]
pub enum Dlq {
    /// List dead letters, the newest first
    List {
        /// Which
        #[command(flatten)]
        letters: Letters,
        /// Only those that still wait
        #[arg(long)]
        waiting: bool,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Show one whole, with its history
    Show {
        /// Its number in the queue, or the message's id
        #[arg(value_name = "LETTER")]
        id: String,
    },
    /// Put dead letters back into the inbox, in their old order
    Redrive {
        /// Numbers in the queue, or message ids
        #[arg(value_name = "LETTER")]
        ids: Vec<String>,
        /// All that wait
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Which
        #[command(flatten)]
        letters: Letters,
        /// Into the inbox of this agent instead
        #[arg(long, value_name = "AGENT")]
        deliver_to: Option<String>,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete the text of dead letters; their rows stay
    Purge {
        /// Numbers in the queue, or message ids
        #[arg(value_name = "LETTER")]
        ids: Vec<String>,
        /// All that wait
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Which
        #[command(flatten)]
        letters: Letters,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// `watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// Mark each message read once it was printed
    #[arg(long)]
    pub ack: bool,
    /// End after this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max: Option<u64>,
    /// End after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// `log`
#[derive(Debug, Args)]
pub struct Log {
    /// trace, debug, info, warn or error; - reads NDJSON from stdin: level, event, source, traceparent, and attributes
    pub level: String,
    /// What happened
    #[arg(required_unless_present = "level")]
    pub event: Option<String>,
    /// Attributes, key=value
    #[arg(value_name = "KEY=VALUE")]
    pub attributes: Vec<String>,
    /// Who says so (default: the agent, else shell)
    #[arg(long)]
    pub source: Option<String>,
}

/// `audit`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Audit {
    /// What else
    #[command(subcommand)]
    pub action: Option<AuditAction>,
    /// Only what happened since: 2h, or a time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
    /// Only by this agent
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Only this event: send, ack, register, …
    #[arg(long = "type", value_name = "EVENT")]
    pub event: Option<String>,
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Go on with rows as they are written
    #[arg(long, short)]
    pub follow: bool,
}

/// `audit verify`
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Recompute the hash chain; exit 1 and the first altered row when it does not hold
    Verify,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// Only what was sent, died or happened since: 7d, or a time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
    /// Only this kind
    #[arg(long, value_enum)]
    pub only: Option<Kind>,
}

/// What `export` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// agents
    Agents,
    /// messages
    Messages,
    /// dead letters
    DeadLetters,
    /// the audit trail
    Audit,
    /// channels, their members and messages
    Channels,
}

/// `prune`
#[derive(Debug, Args)]
pub struct Prune {
    /// Keep what is younger (default 30d)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// Check every page of the database; exit 65 and the broken ones when it is damaged
    #[arg(long)]
    pub check: bool,
}
