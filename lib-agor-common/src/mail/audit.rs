//! The audit trail: one row per change, in the change's own transaction, each row's hash over the one before.
//!
//! A row that an older client (or the trigger for it) added has no hash yet; the next append seals it. Who
//! may write the file can rebuild the chain: it shows accidents and careless hands, not a determined owner.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::value;
use crate::db::rusqlite;
use crate::time;

const ANCHOR: &str = "audit_anchor";

/// A row of the trail.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number, never used again.
    pub id: i64,
    /// Who; empty for an operator without an identity.
    pub agent: String,
    /// What: `send`, `ack`, `register`, …
    pub event: String,
    /// JSON.
    pub detail: String,
    /// When, ms since the epoch.
    pub at_ms: i64,
}

/// Appends a row and returns its id.
pub fn append(tx: &Transaction<'_>, agent: &str, event: &str, detail: &str) -> rusqlite::Result<i64> {
    let now = time::now_ms();
    let created = time::legacy(now);
    let (last, previous) = head(tx)?;
    let id = last + 1;
    let hash = row_hash(&previous, id, agent, event, detail, &created, Some(now));
    tx.prepare_cached(
        "INSERT INTO audit_log (id, agent_id, event_type, detail, created_at, at_ms, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![id, agent, event, detail, created, now, hash])?;
    Ok(id)
}

/// The last id ever given and the hash of the last row, sealing rows of older clients first.
fn head(tx: &Transaction<'_>) -> rusqlite::Result<(i64, Vec<u8>)> {
    let last = tx
        .prepare_cached("SELECT id, hash FROM audit_log ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))
        .optional()?;
    let given = tx
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'audit_log'")?
        .query_row([], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(0);
    match last {
        Some((id, Some(hash))) => Ok((id.max(given), hash)),
        Some((id, None)) => Ok((id.max(given), seal(tx)?)),
        None => Ok((given, anchor(tx)?.1)),
    }
}

/// Gives every row without a hash after the last sealed one its hash; returns the last.
fn seal(tx: &Transaction<'_>) -> rusqlite::Result<Vec<u8>> {
    let sealed = tx
        .query_row(
            "SELECT id, hash FROM audit_log WHERE hash IS NOT NULL ORDER BY id DESC LIMIT 1",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)),
        )
        .optional()?;
    let (from, mut previous) = match sealed {
        Some(found) => found,
        None => anchor(tx)?,
    };
    let mut rows = tx.prepare("SELECT * FROM audit_log WHERE id > ?1 ORDER BY id")?;
    let mut rows = rows.query([from])?;
    let mut update = tx.prepare("UPDATE audit_log SET hash = ?2 WHERE id = ?1")?;
    while let Some(row) = rows.next()? {
        let raw = Raw::read(row)?;
        previous = raw.hash_after(&previous);
        update.execute(params![raw.id, previous])?;
    }
    Ok(previous)
}

/// The row before the first that is kept: `(id, hash)`; zeros for a trail that was never pruned.
fn anchor(conn: &Connection) -> rusqlite::Result<(i64, Vec<u8>)> {
    let stored: Option<String> = conn
        .prepare_cached("SELECT value FROM mail_meta WHERE key = ?1")?
        .query_row([ANCHOR], |row| row.get(0))
        .optional()?;
    let parsed = stored.as_deref().and_then(|text| {
        let (id, hash) = text.split_once(' ')?;
        Some((id.parse().ok()?, unhex(hash)?))
    });
    Ok(parsed.unwrap_or((0, vec![0; 32])))
}

/// Deletes rows older than `before_ms`, keeping the chain verifiable; returns how many.
pub fn prune(tx: &Transaction<'_>, before_ms: i64) -> rusqlite::Result<usize> {
    // Whatever is not sealed yet is sealed first, so that the anchor is a real hash.
    head(tx)?;
    let last: Option<(i64, Vec<u8>)> = tx
        .query_row(
            "SELECT id, hash FROM audit_log
             WHERE id < (SELECT coalesce(min(id), 9223372036854775807) FROM audit_log
                         WHERE coalesce(at_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) >= ?1)
             ORDER BY id DESC LIMIT 1",
            [before_ms],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((id, hash)) = last else { return Ok(0) };
    let value = format!("{id} {}", hex(&hash));
    tx.execute("INSERT OR REPLACE INTO mail_meta (key, value) VALUES (?1, ?2)", params![ANCHOR, value])?;
    tx.execute("DELETE FROM audit_log WHERE id <= ?1", [id])
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Rows whose hash is right.
    pub verified: u64,
    /// Rows at the end that no append has sealed yet (an older client's).
    pub unsealed: u64,
    /// The first row that is not what was written, and why.
    pub broken: Option<(i64, String)>,
}

/// Recomputes the chain.
pub fn verify(conn: &Connection) -> rusqlite::Result<Verdict> {
    let (mut last, mut previous) = anchor(conn)?;
    let mut verdict = Verdict { verified: 0, unsealed: 0, broken: None };
    let mut first_unsealed = None;
    let mut rows = conn.prepare("SELECT * FROM audit_log ORDER BY id")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let raw = Raw::read(row)?;
        last = raw.id;
        match row.get_ref("hash")? {
            rusqlite::types::ValueRef::Null => {
                verdict.unsealed += 1;
                first_unsealed.get_or_insert(raw.id);
            }
            rusqlite::types::ValueRef::Blob(hash) => {
                if let Some(id) = first_unsealed {
                    verdict.broken = Some((id, "its hash was removed".into()));
                    return Ok(verdict);
                }
                if raw.hash_after(&previous) != hash {
                    let why = "it was altered, or a row before it was removed or inserted";
                    verdict.broken = Some((raw.id, why.into()));
                    return Ok(verdict);
                }
                previous = hash.to_vec();
                verdict.verified += 1;
            }
            _ => {
                verdict.broken = Some((raw.id, "its hash is not a hash".into()));
                return Ok(verdict);
            }
        }
    }
    let given: i64 = conn
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'audit_log'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    if given > last {
        verdict.broken = Some((last + 1, format!("rows {} to {given} were removed", last + 1)));
    }
    Ok(verdict)
}

/// A row as it is hashed: raw bytes, so that no reading can make two rows alike.
struct Raw {
    id: i64,
    agent: Vec<u8>,
    event: Vec<u8>,
    detail: Vec<u8>,
    created: Vec<u8>,
    at_ms: Option<i64>,
}

impl Raw {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
        let bytes = |column: &str| -> rusqlite::Result<Vec<u8>> {
            use rusqlite::types::ValueRef;
            Ok(match row.get_ref(column)? {
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                other => value::text(other).0.into_bytes(),
            })
        };
        Ok(Raw {
            id: row.get("id")?,
            agent: bytes("agent_id")?,
            event: bytes("event_type")?,
            detail: bytes("detail")?,
            created: bytes("created_at")?,
            at_ms: value::integer(row, "at_ms")?,
        })
    }

    fn hash_after(&self, previous: &[u8]) -> Vec<u8> {
        digest(previous, self.id, &[&self.agent, &self.event, &self.detail, &self.created], self.at_ms)
    }
}

fn row_hash(
    previous: &[u8],
    id: i64,
    agent: &str,
    event: &str,
    detail: &str,
    created: &str,
    at_ms: Option<i64>,
) -> Vec<u8> {
    let fields = [agent.as_bytes(), event.as_bytes(), detail.as_bytes(), created.as_bytes()];
    digest(previous, id, &fields, at_ms)
}

/// SHA-256 over the previous hash, the id, each field behind its length, and the time.
fn digest(previous: &[u8], id: i64, fields: &[&[u8]; 4], at_ms: Option<i64>) -> Vec<u8> {
    let mut sha = Sha256::new();
    sha.update(previous);
    sha.update(id.to_be_bytes());
    for field in fields {
        sha.update((field.len() as u64).to_be_bytes());
        sha.update(field);
    }
    sha.update(at_ms.unwrap_or(i64::MIN).to_be_bytes());
    sha.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// A row for showing.
pub fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let at_ms = match value::integer(row, "at_ms")? {
        Some(ms) => ms,
        None => time::parse_ms(&value::string(row, "created_at")?).unwrap_or(0),
    };
    Ok(Entry {
        id: row.get("id")?,
        agent: value::string(row, "agent_id")?,
        event: value::string(row, "event_type")?,
        detail: value::string(row, "detail")?,
        at_ms,
    })
}
