//! Rows as values.

use serde::{Deserialize, Serialize};

use crate::process::Identity;

/// How a supervised command is. The first three are for a command that is wanted; it is `stopped` once it
/// ended as asked, or by itself with success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// Up (and READY, where that was asked for).
    Healthy,
    /// It is being started, or ended unexpectedly and will be started again.
    Restarting {
        /// The attempt that comes next, or is under way, from 1; 0 for a first or a wanted start.
        attempt: u32,
        /// When it is due, milliseconds since the Unix epoch.
        next_retry_ms: i64,
        /// How many there are before it is given up; 0 means never.
        max_attempts: u32,
    },
    /// Given up.
    Failed {
        /// Attempts that were made.
        attempts: u32,
        /// The exit code or signal, and the last lines of its stderr.
        last_error: String,
    },
    /// Ended as asked, or by itself with success.
    Stopped,
}

impl Health {
    /// `healthy`, `restarting`, `failed`, `stopped`.
    pub fn word(&self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Restarting { .. } => "restarting",
            Health::Failed { .. } => "failed",
            Health::Stopped => "stopped",
        }
    }
}

/// What is known of the supervisor behind a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SupervisorState {
    /// It runs: pid, start time and boot are those of the row.
    Alive,
    /// It ended in order and wrote so.
    Ended,
    /// It is gone without a word (SIGKILL, power loss): the row's health is what was true last.
    Lost,
}

/// One supervised name: its current run, or its last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervised {
    /// The name; at most one supervisor has it.
    pub name: String,
    /// The btmsg agent that it is tied to.
    pub agent_id: Option<String>,
    /// Identifies the run: one supervisor's life.
    pub run_id: String,
    /// Program and arguments, secrets masked.
    pub command: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// The supervisor's lease.
    pub supervisor: Identity,
    /// Health as last written; see [`Supervised::is_healthy`].
    pub health: Health,
    /// Attempts used since the command was last stable.
    pub attempt: u32,
    /// Attempts before it is given up; 0 means never.
    pub max_attempts: u32,
    /// The last failure of this run, if there was one.
    pub error: Option<String>,
    /// Why the run is in this state: `crash`, `stop`, `completed`, `exec failed`, …
    pub reason: Option<String>,
    /// What the command says of itself (`STATUS=`).
    pub status_text: Option<String>,
    /// What guarantees that nothing survives: `keeper`, `cgroup`, `pid namespace`.
    pub isolation: String,
    /// Number of the current, or last, incarnation, from 1; 0 before the first.
    pub incarnation: u64,
    /// The command's process, while it runs.
    pub child: Option<Identity>,
    /// When the current incarnation started, milliseconds since the epoch.
    pub child_since_ms: Option<i64>,
    /// How the previous incarnation ended: `exit 1`, `signal 9 (SIGKILL)`.
    pub last_exit: Option<String>,
    /// Restarts in this run.
    pub restarts: u64,
    /// When the supervisor started.
    pub started_ms: i64,
    /// When the row was written last.
    pub updated_ms: i64,
    /// When the supervisor ended, where it could say so.
    pub ended_ms: Option<i64>,
}

impl Supervised {
    /// Whether the supervisor runs, checked by pid, start time and boot.
    pub fn supervisor_alive(&self) -> bool {
        self.ended_ms.is_none() && self.supervisor.is_alive()
    }

    /// What became of the supervisor.
    pub fn supervisor_state(&self) -> SupervisorState {
        if self.ended_ms.is_some() {
            SupervisorState::Ended
        } else if self.supervisor.is_alive() {
            SupervisorState::Alive
        } else {
            SupervisorState::Lost
        }
    }

    /// Whether the command is up now, vouched for by a living supervisor.
    pub fn is_healthy(&self) -> bool {
        self.health == Health::Healthy && self.supervisor_alive()
    }
}

/// One life of a supervised command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incarnation {
    /// Row id: later incarnations have higher ones.
    pub id: i64,
    /// The supervised name.
    pub name: String,
    /// The run it belongs to.
    pub run_id: String,
    /// Its number, from 1.
    pub incarnation: u64,
    /// The attempt it was, 0 for a first or a wanted start.
    pub attempt: u32,
    /// Its process id; none where it could not be started.
    pub pid: Option<i32>,
    /// When it started, milliseconds since the epoch.
    pub started_ms: i64,
    /// When it ended; none while it runs, or where nobody saw its end.
    pub ended_ms: Option<i64>,
    /// Exit status.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it left a core file.
    pub core_dumped: bool,
    /// How long it ran.
    pub duration_s: Option<f64>,
    /// Maximum resident set size, from wait4(2).
    pub max_rss_bytes: Option<i64>,
    /// CPU time in user mode.
    pub user_cpu_s: Option<f64>,
    /// CPU time in the kernel.
    pub system_cpu_s: Option<f64>,
    /// Why it ended: `crash`, `stop`, `restart`, `completed`, `stall`, `watchdog`, `exec failed`,
    /// `supervisor lost`, …
    pub reason: Option<String>,
    /// What went wrong, where something did.
    pub last_error: Option<String>,
}
