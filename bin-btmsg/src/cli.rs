//! Command line: clap derive and the values that its words stand for, nothing else.

mod mail;
mod operate;

use clap::{Parser, Subcommand};

pub use mail::*;
pub use operate::*;

/// Messages, heartbeats and dead letters between the agents of one machine.
#[derive(Debug, Parser)]
#[command(
    name = "btmsg",
    version = agor_common::VERSION,
    about = "Messages, heartbeats and dead letters between the agents of one machine",
    long_about = "Lets agents on one machine message each other, say that they are alive, and lose nothing when \
        one is not. There is no server: many short-lived processes share one SQLite file, btmsg.db in the data \
        directory.\n\nWho speaks is said by --as or BTMSG_AGENT_ID. That is an assertion, not a proof: whoever may \
        write the file may write any row. Agents are found by id, then by unique prefix.",
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What all commands take
    #[command(flatten)]
    pub globals: Globals,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands take.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// Speak as this agent
    #[arg(long = "as", value_name = "ID", env = "BTMSG_AGENT_ID", hide_env_values = true, global = true)]
    pub identity: Option<String>,
    /// Print JSON: one object, or one object a line for a stream
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register an agent, or change what is given of one; it is active afterwards
    Register(Register),
    /// Mark an agent stopped; its row and its mail stay
    Unregister(Unregister),
    /// List the agents and whether they can be reached
    Agents(Agents),
    /// Say who is speaking
    Whoami,
    /// List whom an agent may write to
    Contacts(Contacts),
    /// Let agent A write to agent B
    Allow(Allow),
    /// Forbid agent A to write to agent B
    Deny(Allow),
    /// Show who may write to whom
    Graph,
    /// Send a message
    Send(Send),
    /// Answer a message, in its thread
    Reply(Reply),
    /// List unread messages, the most urgent and then the oldest first
    Inbox(Inbox),
    /// Show a message whole and mark it read
    Read(Read),
    /// Show the newest messages between you and an agent
    History(History),
    /// Count unread messages
    Unread,
    /// Say in one line that there is mail; nothing when there is none
    Notify,
    /// Show the newest messages of your group
    Feed(Feed),
    /// Find messages by their words
    Search(Search),
    /// Take messages under a lease, to be acknowledged
    Recv(Recv),
    /// Acknowledge messages: they are done
    Ack(Ack),
    /// Give messages back, for another try
    Nack(Nack),
    /// Extend the lease of messages
    Extend(Extend),
    /// Channels: messages to all of their members
    #[command(subcommand)]
    Channel(Channel),
    /// Say that an agent is alive
    Heartbeat(Heartbeat),
    /// Show every agent's state, the one that needs attention most first
    Health(Health),
    /// Move mail that cannot be delivered to the dead letter queue, and back
    Sweep(Sweep),
    /// The dead letter queue
    #[command(subcommand)]
    Dlq(Dlq),
    /// Show messages as they arrive
    Watch(Watch),
    /// Hand an event to telemetry
    Log(Log),
    /// Show or verify the audit trail
    Audit(Audit),
    /// Count messages, agents and dead letters
    Stats,
    /// Write everything as NDJSON
    Export(Export),
    /// Delete read messages and audit rows that are old
    Prune(Prune),
    /// Show the database, the agents and their mail at a glance
    Status(Status),
    /// Check every page of the database; exit 65 and the broken ones when it is damaged
    Doctor,
}

/// Durations beyond this are refused: no clock of ours would hold the moment at which they end.
pub const LONGEST: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);

/// `90s`, `15m`, `2h 30m`; a plain number is seconds. At most [`LONGEST`].
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    match text.parse::<f64>() {
        Ok(number) => seconds(number),
        Err(_) => bounded(humantime::parse_duration(text).map_err(|error| error.to_string())?),
    }
}

/// So many seconds, 0 or more and at most [`LONGEST`].
pub fn seconds(number: f64) -> Result<std::time::Duration, String> {
    bounded(
        std::time::Duration::try_from_secs_f64(number)
            .map_err(|_| "it must be 0 or more, and not endless")?,
    )
}

fn bounded(duration: std::time::Duration) -> Result<std::time::Duration, String> {
    if duration > LONGEST { Err("longer than a hundred years".to_owned()) } else { Ok(duration) }
}

/// `1048576`, `64K`, `1MiB`: powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "not a size such as 65536, 64K or 1MiB".to_owned())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(format!("unknown unit '{unit}': use K, M or G")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

/// A moment: `15m` ago, or a time (RFC 3339, `YYYY-MM-DD HH:MM:SS`, Unix seconds); ms since the epoch.
pub fn since(text: &str) -> Result<i64, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(agor_common::time::now_ms().saturating_sub(ago));
    }
    agor_common::time::parse_ms(text)
        .ok_or_else(|| "neither a duration such as 15m nor a time such as 2026-01-31T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn values_are_read_with_their_units() {
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert!(duration("-1").is_err());
        for long in ["9300000000000000000", "1000years"] {
            assert!(duration(long).is_err(), "{long}");
        }
        assert_eq!(size("64K"), Ok(65_536));
        assert_eq!(size("1 MiB"), Ok(1 << 20));
        assert!(size("1T").is_err());
        assert!(size("99999999999G").is_err());
        assert_eq!(since("1970-01-01T00:00:01Z"), Ok(1000));
        assert!(since("soon").is_err());
    }
}
