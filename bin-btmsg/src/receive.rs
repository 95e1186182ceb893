//! Receiving: leases with fencing tokens.
//!
//! A lease makes a message invisible to other readers until it is acknowledged, given back or runs out. Every
//! lease has a token of its own; a holder whose message was leased to another since is refused.

use std::time::Duration;

use agor_common::db::rusqlite::{Connection, Transaction, params};
use agor_common::mail::dead::{self, Reason};
use agor_common::mail::messages::Message;
use serde_json::json;

use crate::app::{self, Done};
use crate::error::Error;
use crate::send::find_message;

/// What a reader may take now, in order: `?1` the agent, `?2` now in ms.
pub const AVAILABLE: &str = "to_agent = ?1 AND read = 0 AND coalesce(lease_until_ms, 0) <= ?2
    AND coalesce(not_before_ms, 0) <= ?2 AND coalesce(expires_ms, 9223372036854775807) > ?2";

/// How long until a message of `?1` that waits for its time, or for the end of a lease, can be had.
pub fn due(conn: &Connection, agent: &str, now_ms: i64) -> Done<Option<Duration>> {
    let at: Option<i64> = conn
        .prepare_cached(
            "SELECT min(max(coalesce(not_before_ms, 0), coalesce(lease_until_ms, 0))) FROM messages
                 WHERE to_agent = ?1 AND read = 0
                 AND max(coalesce(not_before_ms, 0), coalesce(lease_until_ms, 0)) > ?2",
        )?
        .query_row(params![agent, now_ms], |row| row.get(0))?;
    Ok(at.map(|at| Duration::from_millis(at.saturating_sub(now_ms).unsigned_abs())))
}

/// A message that was leased.
pub struct Leased {
    /// As it is now.
    pub message: Message,
    /// The fencing token.
    pub token: String,
}

/// Leases up to `max` messages of `agent` until `until_ms`; those that were leased too often already become
/// dead letters and are returned beside.
pub fn lease(
    tx: &Transaction<'_>,
    agent: &str,
    max: u32,
    now_ms: i64,
    until_ms: i64,
    max_deliveries: i64,
) -> Done<(Vec<Leased>, Vec<Message>)> {
    let mut taken = Vec::new();
    let mut dead = Vec::new();
    let sql = format!("SELECT * FROM messages WHERE {AVAILABLE} ORDER BY priority DESC, seq LIMIT ?3");
    while taken.len() < max as usize {
        let want = max as usize - taken.len();
        let found = tx
            .prepare_cached(&sql)?
            .query_map(params![agent, now_ms, i64::try_from(want).unwrap_or(i64::MAX)], Message::read)?
            .collect::<Result<Vec<_>, _>>()?;
        if found.is_empty() {
            break;
        }
        for message in found {
            if message.deliveries >= message.max_deliveries.unwrap_or(max_deliveries) {
                let error = format!("leased {} times without an acknowledgement", message.deliveries);
                dead::park(tx, &message.id, Reason::MaxDeliveries, &error)?;
                dead.push(message);
                continue;
            }
            let token = format!("{}-{:012x}", message.deliveries + 1, fastrand::u64(..) >> 16);
            tx.prepare_cached(
                "UPDATE messages SET lease_token = ?2, lease_until_ms = ?3, lease_holder = ?4,
                     deliveries = coalesce(deliveries, 0) + 1 WHERE id = ?1",
            )?
            .execute(params![message.id, token, until_ms, holder()])?;
            let message = Message {
                deliveries: message.deliveries + 1,
                lease_until_ms: Some(until_ms),
                lease_token: Some(token.clone()),
                lease_holder: Some(holder()),
                ..message
            };
            taken.push(Leased { message, token });
        }
    }
    if !taken.is_empty() {
        let ids: Vec<&str> = taken.iter().map(|leased| leased.message.id.as_str()).collect();
        app::audit(
            tx,
            agent,
            "lease",
            &json!({ "ids": ids, "until": agor_common::time::rfc3339_ms(until_ms) }),
        )?;
    }
    if !dead.is_empty() {
        let ids: Vec<&str> = dead.iter().map(|message| message.id.as_str()).collect();
        app::audit(tx, agent, "dead", &json!({ "ids": ids, "reason": Reason::MaxDeliveries.word() }))?;
    }
    Ok((taken, dead))
}

/// Who holds a lease: the process that asked for it, since `recv` itself is gone by then.
fn holder() -> String {
    let parent = rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid);
    match agor_common::process::command_line(parent) {
        Some(command) => format!("pid {parent} ({})", agor_common::text::preview(&command, 60)),
        None => format!("pid {parent}"),
    }
}

/// What a holder wants to do with its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Done.
    Ack,
    /// Give it back, available again at that time (ms).
    Nack(i64),
    /// Hold it until then (ms).
    Extend(i64),
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Ack => "ack",
            Action::Nack(_) => "nack",
            Action::Extend(_) => "extend",
        }
    }
}

/// Does `action` to the message that `typed` names. With a token only its latest holder may; without one
/// nobody may to whom the message could have been taken away meanwhile.
pub fn settle(
    tx: &Transaction<'_>,
    agent: &str,
    typed: &str,
    token: Option<&str>,
    action: Action,
    now_ms: i64,
) -> Done<Message> {
    let message = find_message(tx, typed)?;
    let what = format!("{} {}", action.word(), message.id);
    if message.to != agent {
        return Err(Error::Denied {
            what,
            why: format!("it is for {}, not for {agent}", message.to),
            agent: agent.into(),
            hint: None,
        });
    }
    let leased = message.lease_until_ms.is_some_and(|until| until > now_ms);
    match token {
        Some(token) if message.lease_token.as_deref() != Some(token) => {
            return Err(Error::Negative(format!(
                "{what}: the token is stale: the lease passed on or was given back"
            )));
        }
        None if leased && message.deliveries > 1 => {
            return Err(Error::Negative(format!(
                "{what}: it was leased {} times: give --token to show that the lease is yours",
                message.deliveries
            )));
        }
        _ => {}
    }
    if message.read {
        if action == Action::Ack {
            return Ok(message);
        }
        return Err(Error::Negative(format!("{what}: it was acknowledged already")));
    }
    match action {
        Action::Ack => tx.execute(
            "UPDATE messages SET read = 1, acked_ms = ?2, lease_until_ms = NULL WHERE id = ?1",
            params![message.id, now_ms],
        )?,
        Action::Nack(at) => tx.execute(
            "UPDATE messages SET lease_until_ms = NULL, lease_token = NULL, lease_holder = NULL,
                 not_before_ms = CASE WHEN ?2 > ?3 THEN ?2 ELSE not_before_ms END WHERE id = ?1",
            params![message.id, at, now_ms],
        )?,
        Action::Extend(until) => {
            if !leased {
                return Err(Error::Negative(format!("{what}: its lease ran out")));
            }
            tx.execute("UPDATE messages SET lease_until_ms = ?2 WHERE id = ?1", params![message.id, until])?
        }
    };
    Ok(message)
}
