//! Dead letters go back: by hand, and by themselves when their recipient returns.

use agor_common::db::rusqlite::{Connection, Transaction, params};
use agor_common::mail::agents;
use agor_common::mail::dead::{self, Letter, Reason};
use agor_common::mail::presence::{self, Beat, Clock, Presence};
use agor_common::time;
use serde_json::json;

use crate::app::{self, App, Done};
use crate::config::Redrive;
use crate::policy;

/// What became of a letter that was to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the inbox.
    Restored,
    /// It stays, and why.
    Refused(Reason, String),
    /// Somebody else was faster, or it was purged.
    Gone,
}

/// Puts `letter` back into the inbox of `to`, if its sender may still write to it and, for a redrive that
/// nobody asked for, if it is not too late for it.
pub fn one(tx: &Transaction<'_>, letter: &Letter, to: &str, by: &str, by_hand: bool) -> Done<Outcome> {
    let now_ms = time::now_ms();
    let refused = |reason: Reason, why: String| -> Done<Outcome> {
        dead::refuse(tx, letter.id, reason, &why)?;
        Ok(Outcome::Refused(reason, why))
    };
    let Some(recipient) = agents::get(tx, to)? else {
        return refused(Reason::UnknownAgent, format!("nobody is registered as {to}"));
    };
    if letter.from != policy::SYSTEM
        && let Some(sender) = agents::get(tx, &letter.from)?
        && let Some(why) = policy::refusal(tx, &sender, &recipient)?
    {
        return refused(Reason::Denied, why);
    }
    if !by_hand && letter.expires_ms.is_some_and(|at| at <= now_ms) {
        return refused(Reason::Expired, "its time to live ran out while its recipient was away".into());
    }
    let restored = dead::restore(tx, letter.id, to, by, !by_hand)?;
    Ok(if restored { Outcome::Restored } else { Outcome::Gone })
}

/// Whether `id`'s return would change anything: it is marked gone, or mail waits for it.
pub fn is_awaited(conn: &Connection, presence: &Presence) -> Done<bool> {
    Ok(presence.offline.is_some() || dead::waits_for(conn, &presence.agent.id)?)
}

/// The agent is back: it is marked active, its clock starts again if it had heartbeats, and what was parked
/// because it was away goes back in its original order. Returns how many did.
pub fn back(tx: &Transaction<'_>, app: &App, presence: &Presence) -> Done<usize> {
    let id = &presence.agent.id;
    if presence.offline.is_some() {
        // A sign of life like a heartbeat; an agent that never sent one starts no clock here.
        if presence.heartbeat.is_some() {
            presence::beat(tx, id, id, &Beat::default(), &Clock::now())?;
        } else {
            presence::mark_active(tx, id, id, None)?;
        }
    }
    parked(tx, app, id)
}

/// Puts back what was parked because `id` was away or unknown, unless that is to be done by hand.
pub fn parked(tx: &Transaction<'_>, app: &App, id: &str) -> Done<usize> {
    if app.config.redrive == Redrive::Manual || !dead::waits_for(tx, id)? {
        return Ok(0);
    }
    let letters = tx
        .prepare_cached(
            "SELECT * FROM dead_letter_queue
             WHERE to_agent = ?1 AND redriven_ms IS NULL AND purged_ms IS NULL
                 AND reason IN ('offline', 'crashed', 'stalled', 'unknown_agent')
             ORDER BY seq, id",
        )?
        .query_map(params![id], Letter::read)?
        .collect::<Result<Vec<_>, _>>()?;
    let mut restored = Vec::new();
    for letter in &letters {
        if one(tx, letter, id, id, false)? == Outcome::Restored {
            restored.push(letter.id);
        }
    }
    if !letters.is_empty() {
        let detail = json!({ "to": id, "letters": restored, "refused": letters.len() - restored.len() });
        app::audit(tx, id, "redrive", &detail)?;
    }
    Ok(restored.len())
}
