//! Who may write to whom, and who may change that.
//!
//! Tier 0 reaches everyone, tier 1 the others of tier 1, and within a group tier 1 and tier 2 reach each other.
//! Everybody else needs `allow`; an answer to somebody who wrote first does not. `deny` is stronger than all of it.

use agor_common::db::rusqlite::Connection;
use agor_common::mail::agents::{self, Agent, TIER_ADMIN, TIER_MANAGER, TIER_PROJECT};

use crate::app::Done;
use crate::error::Error;

/// The sender of what btmsg itself writes.
pub const SYSTEM: &str = "btmsg";

/// Whether `from` may write to `to`; why not, if not.
pub fn refusal(conn: &Connection, from: &Agent, to: &Agent) -> Done<Option<String>> {
    if from.id == to.id {
        return Ok(None);
    }
    if exists(conn, "SELECT 1 FROM denials WHERE agent_id = ?1 AND contact_id = ?2", from, to)? {
        return Ok(Some(format!("{} may not write to {}: it was denied", from.id, to.id)));
    }
    let (low, high) = (from.tier.min(to.tier), from.tier.max(to.tier));
    let by_tier = from.tier <= TIER_ADMIN
        || (low == TIER_MANAGER && high == TIER_MANAGER)
        || (low == TIER_MANAGER && high == TIER_PROJECT && from.group == to.group);
    if by_tier
        || exists(conn, "SELECT 1 FROM contacts WHERE agent_id = ?1 AND contact_id = ?2", from, to)?
        || exists(conn, "SELECT 1 FROM messages WHERE to_agent = ?1 AND from_agent = ?2", from, to)?
    {
        return Ok(None);
    }
    Ok(Some(format!("{} (tier {}) is no contact of {} (tier {})", to.id, to.tier, from.id, from.tier)))
}

fn exists(conn: &Connection, sql: &str, from: &Agent, to: &Agent) -> Done<bool> {
    Ok(conn
        .prepare_cached(&format!("SELECT EXISTS ({sql})"))?
        .query_row([&from.id, &to.id], |row| row.get(0))?)
}

/// Refuses unless the speaker is an operator (nobody said who is speaking) or a manager: tier 0, or tier 1
/// with that power. While there is no manager at all, everybody may.
pub fn require_manager(conn: &Connection, speaker: &str, what: &str) -> Done {
    if speaker.is_empty() {
        return Ok(());
    }
    let caller = agents::get(conn, speaker)?;
    if caller.as_ref().is_some_and(is_manager) || !manager_exists(conn)? {
        return Ok(());
    }
    Err(Error::Denied {
        what: what.into(),
        why: format!("{speaker} is no manager"),
        agent: speaker.into(),
        hint: Some("ask a manager, or let an operator do it (without --as and BTMSG_AGENT_ID)".into()),
    })
}

fn is_manager(agent: &Agent) -> bool {
    agent.tier <= TIER_ADMIN || (agent.tier == TIER_MANAGER && agent.role != "peer")
}

fn manager_exists(conn: &Connection) -> Done<bool> {
    Ok(conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM agents WHERE tier <= 0 OR (tier = 1 AND role <> 'peer'))",
        [],
        |row| row.get(0),
    )?)
}
