//! Who is alive: heartbeats, statuses and the supervisor's lease.
//!
//! An agent is offline when it was marked stopped or crashed, when the supervisor that answered for it is
//! gone, or when heartbeats were coming and the last is older than its threshold. One whose supervisor is
//! alive is not stalled: idle is not dead. One that never sent a heartbeat is not known to be offline.
//!
//! Ages within one boot are taken from `CLOCK_MONOTONIC`, so that neither a clock step nor a suspend makes
//! every agent look dead at once.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::agents::{self, Agent, Registration};
use super::{audit, value};
use crate::db::rusqlite;
use crate::process::{self, Identity};
use crate::time;

/// Without a heartbeat for longer than this an agent counts as stalled, in seconds.
pub const STALL_AFTER_S: i64 = 15 * 60;

/// The clocks of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Wall clock, ms since the epoch.
    pub wall_ms: i64,
    /// `CLOCK_MONOTONIC`, ms since boot without suspends.
    pub mono_ms: i64,
    /// Which boot; empty where `/proc` does not say.
    pub boot_id: String,
}

impl Clock {
    /// Now.
    pub fn now() -> Clock {
        let mono = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Clock {
            wall_ms: time::now_ms(),
            mono_ms: mono.tv_sec * 1000 + mono.tv_nsec / 1_000_000,
            boot_id: process::boot_id(),
        }
    }
}

/// A row of `heartbeats`.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// `CLOCK_MONOTONIC` then, unless an older client wrote it.
    pub mono_ms: Option<i64>,
    /// Of which boot.
    pub boot_id: Option<String>,
    /// busy or idle, as the agent said.
    pub status: Option<String>,
    /// What it is doing, as it said.
    pub note: Option<String>,
    /// How full its context is, 0 to 1.
    pub context: Option<f64>,
    /// A path on which it conflicts with another agent.
    pub conflict: Option<String>,
    /// How many reviews wait for it.
    pub review: Option<i64>,
}

impl Heartbeat {
    /// From a row of `SELECT * FROM heartbeats`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Heartbeat> {
        let seconds = value::integer(row, "timestamp")?.unwrap_or(0);
        let at_ms = value::integer(row, "at_ms")?;
        // An older client updates the timestamp alone: then ours is out of date.
        let ours = at_ms.filter(|ms| ms.div_euclid(1000) == seconds);
        Ok(Heartbeat {
            at_ms: ours.unwrap_or(seconds.saturating_mul(1000)),
            mono_ms: value::integer(row, "mono_ms")?.filter(|_| ours.is_some()),
            boot_id: value::optional(row, "boot_id")?,
            status: value::optional(row, "status")?,
            note: value::optional(row, "note")?,
            context: row.get::<_, Option<f64>>("context").unwrap_or(None),
            conflict: value::optional(row, "conflict")?,
            review: value::integer(row, "review")?,
        })
    }

    /// Its age in ms, never negative.
    pub fn age_ms(&self, now: &Clock) -> i64 {
        match (&self.mono_ms, &self.boot_id) {
            (Some(then), Some(boot)) if !boot.is_empty() && *boot == now.boot_id => now.mono_ms - then,
            _ => now.wall_ms - self.at_ms,
        }
        .max(0)
    }
}

/// Who answers for an agent: its supervisor's process, and the pid namespace in which the pid is its.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
    /// Which boot.
    pub boot_id: String,
    /// The pid namespace, as `/proc/self/ns/pid` names it.
    pub pid_namespace: String,
}

/// What a lease says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The very process is running.
    Alive,
    /// It is gone.
    Gone,
    /// It cannot be seen from here (another pid namespace, no `/proc`).
    Unknown,
}

impl Lease {
    /// A lease held by `holder`.
    pub fn of(holder: &Identity) -> Lease {
        Lease {
            pid: holder.pid,
            start: holder.start,
            boot_id: holder.boot_id.clone(),
            pid_namespace: pid_namespace(),
        }
    }

    /// From the column.
    pub fn parse(text: &str) -> Option<Lease> {
        serde_json::from_str(text).ok()
    }

    /// Whether its holder is running. Another boot's is gone; one that cannot be seen is not called dead.
    pub fn holder(&self) -> Holder {
        let boot = process::boot_id();
        if !boot.is_empty() && !self.boot_id.is_empty() && boot != self.boot_id {
            return Holder::Gone;
        }
        if self.pid_namespace.is_empty() || self.pid_namespace != pid_namespace() {
            return Holder::Unknown;
        }
        match std::fs::metadata(format!("/proc/{}/stat", self.pid)) {
            Ok(_) if process::start_time(self.pid) == Some(self.start) => Holder::Alive,
            Ok(_) if std::fs::read(format!("/proc/{}/stat", self.pid)).is_ok() => Holder::Gone,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && proc_shows_others() => Holder::Gone,
            _ => Holder::Unknown,
        }
    }
}

/// The variable in which a supervisor tells the agent that it answers for who it is: its [`Lease`] as JSON.
pub const SUPERVISOR: &str = "AGOR_SUPERVISOR";

/// How much younger than its supervisor an early process is at most, in clock ticks (2 s).
const EARLY: u64 = 200;

/// The supervisor that this process runs under, if it says so.
fn own_supervisor() -> Option<Lease> {
    std::env::var(SUPERVISOR).ok().as_deref().and_then(Lease::parse)
}

/// Whether `id` is the agent that this process's supervisor answers for, which is meant whole.
pub fn is_own(id: &str) -> bool {
    std::env::var("BTMSG_AGENT_ID").is_ok_and(|own| own == id) && own_supervisor().is_some()
}

/// Whether this process began with its supervisor, which may not have registered the agent yet.
pub fn is_early() -> bool {
    let own = process::start_time(std::process::id().cast_signed());
    let apart = |lease: Lease| own.map(|own| own.saturating_sub(lease.start));
    own_supervisor().and_then(apart).is_some_and(|ticks| ticks < EARLY)
}

/// Whether this process belongs to an agent whose supervisor is dead, and so is about to be ended: what it
/// still says is no sign of life.
pub fn is_last_word() -> bool {
    own_supervisor().is_some_and(|lease| lease.holder() == Holder::Gone)
}

fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether `/proc` shows processes of others at all (a sandbox or `hidepid` may hide them).
fn proc_shows_others() -> bool {
    std::fs::metadata("/proc/1/stat").is_ok()
}

/// Why mail for an agent cannot be delivered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// It was stopped.
    Stopped,
    /// It crashed, or its supervisor did.
    Crashed,
    /// Heartbeats were coming and stopped.
    Stalled,
}

/// What is known of an agent's life.
#[derive(Debug, Clone, PartialEq)]
pub struct Presence {
    /// Its row.
    pub agent: Agent,
    /// Its last heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// The heartbeat's age in ms.
    pub age_ms: Option<i64>,
    /// Its threshold in seconds.
    pub stall_after_s: i64,
    /// The supervisor that answers for it, if any.
    pub holder: Option<Holder>,
    /// Why mail cannot be delivered to it; `None` when it can.
    pub offline: Option<Offline>,
}

impl Presence {
    /// In words: `stopped: asked to`, `stalled: no heartbeat for 16 min`.
    pub fn why(&self) -> Option<String> {
        let reason = |word: &str| match &self.agent.state_reason {
            Some(reason) if reason != word => format!("{word}: {reason}"),
            _ => word.to_owned(),
        };
        Some(match self.offline? {
            Offline::Stopped => reason("stopped"),
            Offline::Crashed if self.agent.status == "crashed" => reason("crashed"),
            Offline::Crashed => "crashed: its supervisor is gone".to_owned(),
            Offline::Stalled => {
                let age = u64::try_from(self.age_ms.unwrap_or(0)).unwrap_or(0);
                format!("stalled: no heartbeat for {}", time::human(std::time::Duration::from_millis(age)))
            }
        })
    }
}

/// What is known of `id`'s life; `None` when there is no such agent. `default_stall_s` is the threshold of
/// agents that have none of their own ([`STALL_AFTER_S`] unless configured).
pub fn of(
    conn: &Connection,
    id: &str,
    now: &Clock,
    default_stall_s: i64,
) -> rusqlite::Result<Option<Presence>> {
    let Some(agent) = agents::get(conn, id)? else { return Ok(None) };
    let heartbeat = heartbeat(conn, id)?;
    Ok(Some(judge(agent, heartbeat, now, default_stall_s)))
}

/// The last heartbeat of `id`.
pub fn heartbeat(conn: &Connection, id: &str) -> rusqlite::Result<Option<Heartbeat>> {
    conn.prepare_cached("SELECT * FROM heartbeats WHERE agent_id = ?1")?
        .query_row([id], Heartbeat::read)
        .optional()
}

/// Every agent, by id.
pub fn all(conn: &Connection, now: &Clock, default_stall_s: i64) -> rusqlite::Result<Vec<Presence>> {
    let mut beats = conn.prepare("SELECT * FROM heartbeats")?;
    let mut beats = beats
        .query_map([], |row| Ok((value::string(row, "agent_id")?, Heartbeat::read(row)?)))?
        .collect::<rusqlite::Result<std::collections::HashMap<_, _>>>()?;
    let mut rows = conn.prepare("SELECT * FROM agents ORDER BY id")?;
    rows.query_map([], Agent::read)?
        .map(|agent| {
            let agent = agent?;
            let heartbeat = beats.remove(&agent.id);
            Ok(judge(agent, heartbeat, now, default_stall_s))
        })
        .collect()
}

fn judge(agent: Agent, heartbeat: Option<Heartbeat>, now: &Clock, default_stall_s: i64) -> Presence {
    let stall_after_s = agent.stall_after_s.unwrap_or(default_stall_s);
    let age_ms = heartbeat.as_ref().map(|beat| beat.age_ms(now));
    let holder = agent.lease.as_deref().and_then(Lease::parse).map(|lease| lease.holder());
    // `stopped` is also the earlier system's default for an agent that never ran: that one is not known to
    // be offline.
    let ever_ran = agent.last_active_at.is_some() || agent.state_ms.is_some() || heartbeat.is_some();
    let offline = match (agent.status.as_str(), holder) {
        ("stopped", _) if ever_ran => Some(Offline::Stopped),
        ("crashed", _) | (_, Some(Holder::Gone)) => Some(Offline::Crashed),
        (_, Some(Holder::Alive)) => None,
        _ if age_ms.is_some_and(|age| age > stall_after_s.saturating_mul(1000)) => Some(Offline::Stalled),
        _ => None,
    };
    Presence { agent, heartbeat, age_ms, stall_after_s, holder, offline }
}

/// What a heartbeat says; what is `None` is forgotten, but for the status.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beat<'a> {
    /// busy or idle.
    pub status: Option<&'a str>,
    /// What the agent is doing.
    pub note: Option<&'a str>,
    /// How full its context is, 0 to 1.
    pub context: Option<f64>,
    /// A path on which it conflicts with another agent.
    pub conflict: Option<&'a str>,
    /// How many reviews wait for it.
    pub review: Option<i64>,
}

/// Writes a heartbeat of `id` and makes it `active` if it was not; false when there is no such agent.
///
/// A heartbeat that changes the agent's state is audited; the plain ones that follow are not, or the trail
/// would hold little else.
pub fn beat(
    tx: &Transaction<'_>,
    by: &str,
    id: &str,
    beat: &Beat<'_>,
    now: &Clock,
) -> rusqlite::Result<bool> {
    let state = tx
        .prepare_cached("SELECT status, lease FROM agents WHERE id = ?1")?
        .query_row([id], |row| Ok((value::optional(row, "status")?, value::optional(row, "lease")?)))
        .optional()?;
    let Some((status, lease)) = state else { return Ok(false) };
    if is_last_word() {
        return Ok(true);
    }
    tx.prepare_cached(
        "INSERT INTO heartbeats (agent_id, timestamp, at_ms, mono_ms, boot_id, status, note, context,
                                 conflict, review)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (agent_id) DO UPDATE SET timestamp = ?2, at_ms = ?3, mono_ms = ?4, boot_id = ?5,
             status = coalesce(?6, status), note = ?7, context = ?8, conflict = ?9, review = ?10",
    )?
    .execute(params![
        id,
        now.wall_ms.div_euclid(1000),
        now.wall_ms,
        now.mono_ms,
        now.boot_id,
        beat.status,
        beat.note,
        beat.context,
        beat.conflict,
        beat.review,
    ])?;
    if status.as_deref() != Some("active") {
        set_state(tx, by, id, "active", None, "active", now)?;
    }
    let holder = lease.as_deref().and_then(Lease::parse).map(|lease| lease.holder());
    if matches!(holder, None | Some(Holder::Gone)) {
        // It lives on without the supervisor that answered for it, or under a new one, which it may know before
        // that one could write it.
        let mine = std::env::var("BTMSG_AGENT_ID").is_ok_and(|me| me == id).then(own_supervisor).flatten();
        if mine.is_some() || holder.is_some() {
            let lease = mine.and_then(|lease| serde_json::to_string(&lease).ok());
            tx.execute("UPDATE agents SET lease = ?2 WHERE id = ?1", params![id, lease])?;
        }
    }
    Ok(true)
}

/// A supervisor says that it has started `id`, which is not ready yet: registers it where it is not, so that it
/// can read and write.
pub fn announce(tx: &Transaction<'_>, by: &str, id: &str) -> rusqlite::Result<()> {
    if agents::get(tx, id)?.is_none() {
        agents::register(tx, by, id, &Registration::default())?;
    }
    Ok(())
}

/// A supervisor says that `id` runs under it (`lease` is its own identity): registers it where it is not,
/// makes it `active`.
pub fn mark_active(
    tx: &Transaction<'_>,
    by: &str,
    id: &str,
    lease: Option<&Identity>,
) -> rusqlite::Result<()> {
    announce(tx, by, id)?;
    set_state(tx, by, id, "active", None, "active", &Clock::now())?;
    let lease = lease.map(|holder| {
        serde_json::to_string(&Lease::of(holder)).expect("a struct of numbers and strings is always JSON")
    });
    tx.execute("UPDATE agents SET lease = ?2 WHERE id = ?1", params![id, lease])?;
    Ok(())
}

/// Marks `id` crashed, with the reason; its mail goes to the dead letter queue until it is back. False when
/// there is no such agent.
pub fn mark_crashed(tx: &Transaction<'_>, by: &str, id: &str, reason: &str) -> rusqlite::Result<bool> {
    mark_gone(tx, by, id, "crashed", reason)
}

/// Marks `id` stopped, with the reason; its mail goes to the dead letter queue until it is back. False when
/// there is no such agent.
pub fn mark_stopped(tx: &Transaction<'_>, by: &str, id: &str, reason: &str) -> rusqlite::Result<bool> {
    mark_gone(tx, by, id, "stopped", reason)
}

fn mark_gone(tx: &Transaction<'_>, by: &str, id: &str, status: &str, reason: &str) -> rusqlite::Result<bool> {
    if agents::get(tx, id)?.is_none() {
        return Ok(false);
    }
    set_state(tx, by, id, status, Some(reason), status, &Clock::now())?;
    tx.execute("UPDATE agents SET lease = NULL WHERE id = ?1", [id])?;
    Ok(true)
}

fn set_state(
    tx: &Transaction<'_>,
    by: &str,
    id: &str,
    status: &str,
    reason: Option<&str>,
    event: &str,
    now: &Clock,
) -> rusqlite::Result<()> {
    let last_active = time::legacy(now.wall_ms);
    tx.execute(
        "UPDATE agents SET status = ?2, state_reason = ?3, state_ms = ?4,
             last_active_at = CASE WHEN ?2 = 'active' THEN ?5 ELSE coalesce(last_active_at, ?5) END
         WHERE id = ?1",
        params![id, status, reason, now.wall_ms, last_active],
    )?;
    let detail = serde_json::json!({ "id": id, "reason": reason });
    audit::append(tx, by, event, &detail.to_string())?;
    Ok(())
}
