//! Agents: who there is, and how one is found by what somebody typed.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{audit, value};
use crate::db::rusqlite;
use crate::{text, time};

/// The tier of an administrator: reaches everyone.
pub const TIER_ADMIN: i64 = 0;
/// The tier of managers and of peers that were registered without a role.
pub const TIER_MANAGER: i64 = 1;
/// The tier of project agents: need `allow`.
pub const TIER_PROJECT: i64 = 2;

/// The longest id, in bytes.
pub const MAX_ID: usize = 255;

/// A row of `agents`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id: compared byte by byte, so look-alikes are different agents.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// admin, manager, architect, tester, reviewer, project, peer, or anything else.
    pub role: String,
    /// Its group; empty for none.
    pub group: String,
    /// 0 reaches everyone, 1 its tier and its group, 2 whom it was allowed.
    pub tier: i64,
    /// The model behind it, if it was said.
    pub model: Option<String>,
    /// Where it works, if it was said.
    pub cwd: Option<String>,
    /// active, sleeping, stopped or crashed.
    pub status: String,
    /// Why.
    pub state_reason: Option<String>,
    /// Since when, ms.
    pub state_ms: Option<i64>,
    /// Seconds without a heartbeat after which it counts as stalled; `None` for the configured default.
    pub stall_after_s: Option<i64>,
    /// Last sign of life in the earlier system's form.
    pub last_active_at: Option<String>,
    /// The supervisor that answers for it, see [`super::presence::Lease`].
    pub lease: Option<String>,
}

impl Agent {
    /// From a row of `SELECT * FROM agents`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Agent> {
        Ok(Agent {
            id: value::string(row, "id")?,
            name: value::string(row, "name")?,
            role: value::string(row, "role")?,
            group: value::string(row, "group_id")?,
            tier: value::integer(row, "tier")?.unwrap_or(TIER_PROJECT),
            model: value::optional(row, "model")?,
            cwd: value::optional(row, "cwd")?,
            status: value::optional(row, "status")?.unwrap_or_else(|| "stopped".into()),
            state_reason: value::optional(row, "state_reason")?,
            state_ms: value::integer(row, "state_ms")?,
            stall_after_s: value::integer(row, "stall_after_s")?,
            last_active_at: value::optional(row, "last_active_at")?,
            lease: value::optional(row, "lease")?,
        })
    }
}

/// What is wrong with an id, if anything: it must be 1 to 255 bytes, without control or invisible
/// characters, and must not look like an option.
pub fn id_problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        Some("it is empty")
    } else if id.len() > MAX_ID {
        Some("it is longer than 255 bytes")
    } else if id.starts_with('-') {
        Some("it begins with a dash")
    } else if id.trim() != id {
        Some("it begins or ends with a blank")
    } else if text::single_line(id) != id {
        Some("it holds control or invisible characters")
    } else {
        None
    }
}

/// The role's tier in the earlier system; `None` for a role it did not know.
pub fn tier_of_role(role: &str) -> Option<i64> {
    match role {
        "admin" => Some(TIER_ADMIN),
        "manager" | "architect" | "tester" | "reviewer" => Some(TIER_MANAGER),
        "project" => Some(TIER_PROJECT),
        _ => None,
    }
}

/// The agent with exactly this id.
pub fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Agent>> {
    conn.prepare_cached("SELECT * FROM agents WHERE id = ?1")?.query_row([id], Agent::read).optional()
}

/// What a typed name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One agent: the id itself, or the only one that begins so.
    One(Box<Agent>),
    /// Several begin so; their ids.
    Ambiguous(Vec<String>),
    /// None; the nearest ids.
    None(Vec<String>),
}

/// Finds an agent by id, then by unique prefix. `%` and `_` are just characters.
pub fn find(conn: &Connection, typed: &str) -> rusqlite::Result<Found> {
    if let Some(agent) = get(conn, typed)? {
        return Ok(Found::One(Box::new(agent)));
    }
    if !typed.is_empty() {
        let mut rows = conn.prepare(
            "SELECT * FROM agents WHERE id >= ?1 AND id < ?1 || char(1114111) ORDER BY id LIMIT 9",
        )?;
        let mut found: Vec<Agent> = rows.query_map([typed], Agent::read)?.collect::<rusqlite::Result<_>>()?;
        if found.len() > 1 {
            return Ok(Found::Ambiguous(found.into_iter().map(|agent| agent.id).collect()));
        }
        if let Some(agent) = found.pop() {
            return Ok(Found::One(Box::new(agent)));
        }
    }
    Ok(Found::None(nearest(conn, typed)?))
}

/// Up to three ids (or ids of names) that look like what was typed.
fn nearest(conn: &Connection, typed: &str) -> rusqlite::Result<Vec<String>> {
    let mut rows = conn.prepare("SELECT id, name FROM agents LIMIT 5000")?;
    let all = rows
        .query_map([], |row| Ok((value::string(row, "id")?, value::string(row, "name")?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let wanted = typed.to_lowercase();
    let limit = (wanted.chars().count() / 3).max(1);
    let mut scored: Vec<(usize, String)> = all
        .into_iter()
        .filter_map(|(id, name)| {
            let (lower, name) = (id.to_lowercase(), name.to_lowercase());
            let distance = if !wanted.is_empty() && (lower.contains(&wanted) || name == wanted) {
                0
            } else {
                distance(&wanted, &lower).min(distance(&wanted, &name))
            };
            (distance <= limit).then_some((distance, id))
        })
        .collect();
    scored.sort();
    Ok(scored.into_iter().take(3).map(|(_, id)| id).collect())
}

/// Edit distance with neighbours swapped as one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// What `register` is told; `None` leaves what an existing agent has.
#[derive(Debug, Clone, Default)]
pub struct Registration<'a> {
    /// A name for people; the id by default.
    pub name: Option<&'a str>,
    /// Its role; decides the tier where that is not given.
    pub role: Option<&'a str>,
    /// Its group.
    pub group: Option<&'a str>,
    /// Its tier, 0 to 2.
    pub tier: Option<i64>,
    /// The model behind it.
    pub model: Option<&'a str>,
    /// Where it works.
    pub cwd: Option<&'a str>,
    /// Seconds without a heartbeat after which it counts as stalled.
    pub stall_after_s: Option<i64>,
}

/// Registers an agent, or changes what is given of an existing one; it is `active` afterwards. Returns
/// whether it is new. Without role and tier an agent is a peer of tier 1, so that two agents that were
/// registered without further words can talk.
pub fn register(tx: &Transaction<'_>, by: &str, id: &str, new: &Registration<'_>) -> rusqlite::Result<bool> {
    let existing = get(tx, id)?;
    let tier = new.tier.or_else(|| new.role.and_then(tier_of_role));
    let role_of_tier = match new.tier {
        Some(TIER_ADMIN) => Some("admin"),
        Some(TIER_MANAGER) => Some("manager"),
        Some(_) => Some("project"),
        None => None,
    };
    let now = time::now_ms();
    let is_new = existing.is_none();
    let old = existing.unwrap_or_else(|| Agent {
        id: id.into(),
        name: id.into(),
        role: "peer".into(),
        group: String::new(),
        // A role of the caller's own making says nothing about power: the least.
        tier: if new.role.is_some() { TIER_PROJECT } else { TIER_MANAGER },
        model: None,
        cwd: None,
        status: "active".into(),
        state_reason: None,
        state_ms: None,
        stall_after_s: None,
        last_active_at: None,
        lease: None,
    });
    let role = new.role.or(role_of_tier).unwrap_or(&old.role);
    tx.execute(
        "INSERT INTO agents (id, name, role, group_id, tier, model, cwd, stall_after_s, status, state_ms,
                             last_active_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'active', ?9, ?10, ?10)
         ON CONFLICT (id) DO UPDATE SET name = ?2, role = ?3, group_id = ?4, tier = ?5, model = ?6, cwd = ?7,
             stall_after_s = ?8, status = 'active', state_reason = NULL,
             state_ms = CASE WHEN status = 'active' THEN state_ms ELSE ?9 END, last_active_at = ?10",
        params![
            id,
            new.name.unwrap_or(&old.name),
            role,
            new.group.unwrap_or(&old.group),
            tier.unwrap_or(old.tier),
            new.model.or(old.model.as_deref()),
            new.cwd.or(old.cwd.as_deref()),
            new.stall_after_s.or(old.stall_after_s),
            now,
            time::legacy(now),
        ],
    )?;
    let detail = serde_json::json!({
        "id": id, "new": is_new, "role": role, "tier": tier.unwrap_or(old.tier),
        "group": new.group.unwrap_or(&old.group),
    });
    audit::append(tx, by, "register", &detail.to_string())?;
    Ok(is_new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_and_swaps_count_once() {
        assert_eq!(distance("coder", "coder"), 0);
        assert_eq!(distance("codre", "coder"), 1);
        assert_eq!(distance("cder", "coder"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn ids_are_any_visible_text() {
        for good in ["a", "a/b", "../../etc/passwd", "o'brien\"", "agent 7", "😀", "50%_x", "."] {
            assert_eq!(id_problem(good), None, "{good}");
        }
        for bad in ["", "-a", " a", "a\n", "a\u{0}b", "a\u{202e}b", &"x".repeat(256)] {
            assert!(id_problem(bad).is_some(), "{bad:?}");
        }
    }
}
