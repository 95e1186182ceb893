//! Who may write to whom, and who may change that.
//!
//! Tier 0 reaches everyone, tier 1 the others of tier 1, and within a group tier 1 and tier 2 reach each other.
//! Everybody else needs `allow`; an answer to somebody who wrote first does not. `deny` is stronger than all of it.

use std::collections::{HashMap, HashSet};

use agor_common::db::rusqlite::Connection;
use agor_common::mail::agents::{self, Agent, TIER_ADMIN, TIER_MANAGER, TIER_PROJECT};
use agor_common::mail::value;

use crate::app::Done;
use crate::error::Error;

/// The sender of what btmsg itself writes.
pub const SYSTEM: &str = "btmsg";

/// What may be known of one agent and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tie {
    /// The one was forbidden to write to the other.
    Denied,
    /// It was allowed.
    Allowed,
    /// The other wrote to it.
    Answers,
}

impl Tie {
    /// Every tie, by the ids of the one and the other.
    fn all(self) -> &'static str {
        match self {
            Tie::Denied => "SELECT agent_id AS one, contact_id AS other FROM denials",
            Tie::Allowed => "SELECT agent_id AS one, contact_id AS other FROM contacts",
            Tie::Answers => "SELECT to_agent AS one, from_agent AS other FROM messages",
        }
    }

    /// Whether there is one between `?1` and `?2`.
    pub fn between(self) -> String {
        format!("SELECT EXISTS (SELECT 1 FROM ({}) WHERE one = ?1 AND other = ?2)", self.all())
    }
}

/// Whether one agent may write to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    May,
    /// It was forbidden.
    Denied,
    /// Nothing allows it.
    Stranger,
}

/// The rule; `tied` looks up what is known of the two.
pub fn verdict(from: &Agent, to: &Agent, mut tied: impl FnMut(Tie) -> Done<bool>) -> Done<Verdict> {
    if from.id == to.id {
        return Ok(Verdict::May);
    }
    if tied(Tie::Denied)? {
        return Ok(Verdict::Denied);
    }
    let (low, high) = (from.tier.min(to.tier), from.tier.max(to.tier));
    let by_tier = from.tier <= TIER_ADMIN
        || (low == TIER_MANAGER && high == TIER_MANAGER)
        || (low == TIER_MANAGER && high == TIER_PROJECT && from.group == to.group);
    let may = by_tier || tied(Tie::Allowed)? || tied(Tie::Answers)?;
    Ok(if may { Verdict::May } else { Verdict::Stranger })
}

/// Whether `from` may write to `to`; why not, if not.
pub fn refusal(conn: &Connection, from: &Agent, to: &Agent) -> Done<Option<String>> {
    let tied = |tie: Tie| -> Done<bool> {
        Ok(conn.prepare_cached(&tie.between())?.query_row([&from.id, &to.id], |row| row.get(0))?)
    };
    Ok(match verdict(from, to, tied)? {
        Verdict::May => None,
        Verdict::Denied => Some(format!("{} may not write to {}: it was denied", from.id, to.id)),
        Verdict::Stranger => {
            Some(format!("{} (tier {}) is no contact of {} (tier {})", to.id, to.tier, from.id, from.tier))
        }
    })
}

/// Every tie among `agents`, by their places there: for who asks of all of them.
pub fn ties(conn: &Connection, agents: &[Agent]) -> Done<HashSet<(Tie, usize, usize)>> {
    let places: HashMap<&str, usize> =
        agents.iter().enumerate().map(|(at, agent)| (agent.id.as_str(), at)).collect();
    let mut found = HashSet::new();
    for tie in [Tie::Denied, Tie::Allowed, Tie::Answers] {
        let mut rows = conn.prepare(&format!("SELECT DISTINCT one, other FROM ({})", tie.all()))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (one, other) = (value::string(row, "one")?, value::string(row, "other")?);
            if let (Some(one), Some(other)) = (places.get(one.as_str()), places.get(other.as_str())) {
                found.insert((tie, *one, *other));
            }
        }
    }
    Ok(found)
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
