//! Arguments of the commands about agents and mail.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{duration, since, size};

/// `register`
#[derive(Debug, Args)]
pub struct Register {
    /// The agent's id: 1 to 255 bytes of visible text
    pub id: String,
    /// A name for people (default: the id)
    pub name: Option<String>,
    /// Its role: admin, manager, architect, tester, reviewer, project, or a word of your own
    pub role_word: Option<String>,
    /// Its group
    pub group_word: Option<String>,
    /// Its role (the same as the third argument)
    #[arg(long, conflicts_with = "role_word")]
    pub role: Option<String>,
    /// Its group (the same as the fourth argument)
    #[arg(long, conflicts_with = "group_word")]
    pub group: Option<String>,
    /// 0 reaches everyone, 1 other tier 1 agents and its own group, 2 whom it was allowed (default: by role)
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..=2))]
    pub tier: Option<i64>,
    /// The model behind it
    #[arg(long)]
    pub model: Option<String>,
    /// Where it works
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Without a heartbeat for this long it counts as stalled: 5m to 60m (default 15m)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub stall_after: Option<Duration>,
}

/// `unregister`
#[derive(Debug, Args)]
pub struct Unregister {
    /// The agent
    pub id: String,
    /// Why
    #[arg(long, default_value = "unregistered")]
    pub reason: String,
}

/// `agents`
#[derive(Debug, Args)]
pub struct Agents {
    /// Only this group
    #[arg(long)]
    pub group: Option<String>,
}

/// `contacts`
#[derive(Debug, Args)]
pub struct Contacts {
    /// The agent (default: you)
    pub agent: Option<String>,
}

/// `allow`, `deny`
#[derive(Debug, Args)]
pub struct Allow {
    /// Who writes
    pub from: String,
    /// To whom
    pub to: String,
    /// Both ways
    #[arg(short, long)]
    pub both: bool,
}

/// Urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// After everything else
    Low,
    /// As usual
    Normal,
    /// Before normal ones
    High,
    /// Before everything else
    Urgent,
}

impl Priority {
    /// As it is stored.
    pub fn number(self) -> i64 {
        match self {
            Priority::Low => -1,
            Priority::Normal => 0,
            Priority::High => 1,
            Priority::Urgent => 2,
        }
    }
}

/// What `send`, `reply` and `channel post` have in common.
#[derive(Debug, Args)]
pub struct Envelope {
    /// One line about it
    #[arg(long)]
    pub subject: Option<String>,
    /// Urgency: decides the place in the inbox
    #[arg(long, value_enum, default_value = "normal")]
    pub priority: Priority,
    /// Worthless after this long: unread by then, it becomes a dead letter
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub ttl: Option<Duration>,
    /// Deliver after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub delay: Option<Duration>,
    /// Send once: a repetition with the same key prints the first id, other content is refused
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub dedup_key: Option<String>,
    /// Dead-letter it after this many leases without an acknowledgement (default 5)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1000))]
    pub max_deliveries: Option<i64>,
    /// Store nothing unless every recipient can be reached now
    #[arg(long)]
    pub require_online: bool,
    /// The largest body: bytes, or with K, M, G (default 1MiB)
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// The body on stdin is binary: store it base64 encoded
    #[arg(long)]
    pub base64: bool,
}

/// `send`
#[derive(Debug, Args)]
pub struct Send {
    /// Recipients and then the text, or - for stdin. Words after one recipient are joined with blanks
    #[arg(value_name = "TO… TEXT")]
    pub words: Vec<String>,
    /// A recipient, again for several; every other argument is text then
    #[arg(long, value_name = "AGENT")]
    pub to: Vec<String>,
    /// Put it into the thread of this message
    #[arg(long, value_name = "MESSAGE")]
    pub thread: Option<String>,
    /// It replaces this message of yours to the same recipient
    #[arg(long, value_name = "MESSAGE")]
    pub supersedes: Option<String>,
    /// Park it for an id that nobody registered yet
    #[arg(long)]
    pub allow_unknown: bool,
    /// Read messages from stdin, a JSON object a line: to, text, subject, priority, ttl_s, delay_s, thread,
    /// reply_to, supersedes, dedup_key, max_deliveries
    #[arg(long, conflicts_with_all = ["words", "to", "base64"])]
    pub ndjson: bool,
    /// See there
    #[command(flatten)]
    pub envelope: Envelope,
}

/// `reply`
#[derive(Debug, Args)]
pub struct Reply {
    /// The message that is answered: its id or a unique beginning
    #[arg(value_name = "MESSAGE", required_unless_present = "ndjson")]
    pub id: Option<String>,
    /// The text, or - for stdin
    #[arg(value_name = "TEXT", required_unless_present = "ndjson")]
    pub words: Vec<String>,
    /// Read answers from stdin, a JSON object a line: reply_to, text and what `send --ndjson` knows
    #[arg(long, conflicts_with_all = ["id", "words", "base64"])]
    pub ndjson: bool,
    /// See there
    #[command(flatten)]
    pub envelope: Envelope,
}

/// `inbox`
#[derive(Debug, Args)]
pub struct Inbox {
    /// Read messages too
    #[arg(long)]
    pub all: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
    /// Go on after this message of the page before
    #[arg(long, value_name = "MESSAGE")]
    pub after: Option<String>,
    /// Only from this agent
    #[arg(long, value_name = "AGENT")]
    pub from: Option<String>,
}

/// `read`
#[derive(Debug, Args)]
pub struct Read {
    /// Its id or a unique beginning (default: the next unread message)
    #[arg(value_name = "MESSAGE")]
    pub id: Option<String>,
    /// Leave it unread
    #[arg(long)]
    pub peek: bool,
    /// Show its whole thread
    #[arg(long)]
    pub thread: bool,
}

/// `history`
#[derive(Debug, Args)]
pub struct History {
    /// The other agent
    pub agent: String,
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Only what came before this message
    #[arg(long, value_name = "MESSAGE")]
    pub before: Option<String>,
}

/// `feed`
#[derive(Debug, Args)]
pub struct Feed {
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
}

/// `search`
#[derive(Debug, Args)]
pub struct Search {
    /// Words that must all occur; "a phrase" in quotes; word* for a beginning
    #[arg(required = true)]
    pub query: Vec<String>,
    /// At most this many, the best first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Only from this agent
    #[arg(long, value_name = "AGENT")]
    pub from: Option<String>,
    /// Only what was sent since: 2h, or a time
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
}

/// `recv`
#[derive(Debug, Args)]
pub struct Recv {
    /// Wait this long for a message
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// The lease: without an acknowledgement by then the message is available again (default 5m)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lease: Option<Duration>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub max: u32,
    /// Acknowledge what was printed: at most one more delivery, no lease to look after
    #[arg(long)]
    pub ack: bool,
}

/// `ack`
#[derive(Debug, Args)]
pub struct Ack {
    /// Message ids
    #[arg(value_name = "MESSAGE", required = true)]
    pub ids: Vec<String>,
    /// The token that `recv` gave: a holder whose lease passed on to another is refused
    #[arg(long)]
    pub token: Option<String>,
}

/// `nack`
#[derive(Debug, Args)]
pub struct Nack {
    /// Message ids
    #[arg(value_name = "MESSAGE", required = true)]
    pub ids: Vec<String>,
    /// The token that `recv` gave
    #[arg(long)]
    pub token: Option<String>,
    /// Not available before this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub delay: Option<Duration>,
}

/// `extend`
#[derive(Debug, Args)]
pub struct Extend {
    /// Message ids
    #[arg(value_name = "MESSAGE", required = true)]
    pub ids: Vec<String>,
    /// The token that `recv` gave
    #[arg(long)]
    pub token: Option<String>,
    /// From now (default 5m)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub lease: Option<Duration>,
}

/// `channel`
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// Create a channel; you are its first member
    Create {
        /// Its name
        name: String,
        /// Its group (default: yours)
        #[arg(long)]
        group: Option<String>,
    },
    /// List the channels
    List,
    /// Send a message to all members
    #[command(visible_alias = "send")]
    Post {
        /// Its id, name, or a unique beginning of the id
        channel: String,
        /// The text, or - for stdin
        #[arg(value_name = "TEXT", required_unless_present = "ndjson")]
        words: Vec<String>,
        /// Read messages from stdin, a JSON object a line: text and what `send --ndjson` knows
        #[arg(long, conflicts_with_all = ["words", "base64"])]
        ndjson: bool,
        /// See there
        #[command(flatten)]
        envelope: Envelope,
    },
    /// Show the newest messages
    History {
        /// The channel
        channel: String,
        /// The newest N
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Make an agent a member
    Add {
        /// The channel
        channel: String,
        /// The agent
        agent: String,
    },
    /// End an agent's membership
    Remove {
        /// The channel
        channel: String,
        /// The agent
        agent: String,
    },
    /// Become a member
    Join {
        /// The channel
        channel: String,
    },
    /// Be a member no longer
    Leave {
        /// The channel
        channel: String,
    },
}
