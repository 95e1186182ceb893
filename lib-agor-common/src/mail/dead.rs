//! Dead letters: a message leaves the inbox with a reason, and can come back. Rows are never deleted here.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{schema::CARRIED, value};
use crate::db::rusqlite;
use crate::time;

/// Why a message is in the dead letter queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody is registered under that id.
    UnknownAgent,
    /// The recipient was stopped.
    Offline,
    /// The recipient crashed.
    Crashed,
    /// The recipient's heartbeats ended.
    Stalled,
    /// Its time to live ran out.
    Expired,
    /// It was leased too often without an acknowledgement.
    MaxDeliveries,
    /// The body is larger than allowed.
    TooLarge,
    /// The sender may no longer write to the recipient.
    Denied,
}

/// Every reason.
pub const REASONS: [Reason; 8] = [
    Reason::UnknownAgent,
    Reason::Offline,
    Reason::Crashed,
    Reason::Stalled,
    Reason::Expired,
    Reason::MaxDeliveries,
    Reason::TooLarge,
    Reason::Denied,
];

impl Reason {
    /// As it is stored and printed.
    pub fn word(self) -> &'static str {
        match self {
            Reason::UnknownAgent => "unknown_agent",
            Reason::Offline => "offline",
            Reason::Crashed => "crashed",
            Reason::Stalled => "stalled",
            Reason::Expired => "expired",
            Reason::MaxDeliveries => "max_deliveries",
            Reason::TooLarge => "too_large",
            Reason::Denied => "denied",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Reason> {
        REASONS.into_iter().find(|reason| reason.word() == word)
    }
}

impl From<super::presence::Offline> for Reason {
    fn from(offline: super::presence::Offline) -> Reason {
        use super::presence::Offline;
        match offline {
            Offline::Stopped => Reason::Offline,
            Offline::Crashed => Reason::Crashed,
            Offline::Stalled => Reason::Stalled,
        }
    }
}

/// A row of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its number in the queue.
    pub id: i64,
    /// The message's own id; `None` for a row of an older client.
    pub message_id: Option<String>,
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// The text.
    pub body: String,
    /// Whether it was valid UTF-8.
    pub valid: bool,
    /// `base64` or nothing.
    pub encoding: Option<String>,
    /// One line.
    pub subject: Option<String>,
    /// Why it is here, as a word; `None` for a row of an older client.
    pub reason: Option<String>,
    /// Why, in words.
    pub error: String,
    /// Since when, ms.
    pub dead_ms: i64,
    /// When it was sent, ms.
    pub sent_ms: i64,
    /// Send order.
    pub seq: Option<i64>,
    /// How often it was tried again.
    pub attempts: i64,
    /// When it went back, ms.
    pub redriven_ms: Option<i64>,
    /// Who sent it back.
    pub redriven_by: Option<String>,
    /// To whom.
    pub redriven_to: Option<String>,
    /// When it was purged, ms: its text is gone then, the row is not.
    pub purged_ms: Option<i64>,
    /// Worthless after, ms.
    pub expires_ms: Option<i64>,
}

impl Letter {
    /// From a row of `SELECT * FROM dead_letter_queue`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Letter> {
        let (body, valid) = value::text(row.get_ref("content")?);
        let created = time::parse_ms(&value::string(row, "created_at")?).unwrap_or(0);
        Ok(Letter {
            id: row.get("id")?,
            message_id: value::optional(row, "message_id")?,
            from: value::string(row, "from_agent")?,
            to: value::string(row, "to_agent")?,
            body,
            valid,
            encoding: value::optional(row, "encoding")?,
            subject: value::optional(row, "subject")?,
            reason: value::optional(row, "reason")?,
            error: value::string(row, "error")?,
            dead_ms: value::integer(row, "dead_ms")?.unwrap_or(created),
            sent_ms: value::integer(row, "sent_ms")?.unwrap_or(created),
            seq: value::integer(row, "seq")?,
            attempts: value::integer(row, "attempts")?.unwrap_or(0),
            redriven_ms: value::integer(row, "redriven_ms")?,
            redriven_by: value::optional(row, "redriven_by")?,
            redriven_to: value::optional(row, "redriven_to")?,
            purged_ms: value::integer(row, "purged_ms")?,
            expires_ms: value::integer(row, "expires_ms")?,
        })
    }

    /// Whether it still waits.
    pub fn is_open(&self) -> bool {
        self.redriven_ms.is_none() && self.purged_ms.is_none()
    }
}

/// The row with this number.
pub fn get(conn: &Connection, id: i64) -> rusqlite::Result<Option<Letter>> {
    conn.prepare_cached("SELECT * FROM dead_letter_queue WHERE id = ?1")?
        .query_row([id], Letter::read)
        .optional()
}

/// Moves an unread message from its inbox to the queue, byte for byte; `None` when it is not there or was
/// read meanwhile. A message that dies again takes the number of its earlier attempts along.
pub fn park(
    tx: &Transaction<'_>,
    message_id: &str,
    reason: Reason,
    error: &str,
) -> rusqlite::Result<Option<i64>> {
    let now = time::now_ms();
    let sql = format!(
        "INSERT INTO dead_letter_queue (message_id, from_agent, to_agent, content, sent_at, created_at,
             dead_ms, reason, error, attempts, {CARRIED})
         SELECT id, from_agent, to_agent, content, created_at, ?2, ?3, ?4, ?5,
             (SELECT coalesce(max(attempts), 0) FROM dead_letter_queue WHERE message_id = ?1), {CARRIED}
         FROM messages WHERE id = ?1 AND read = 0"
    );
    let moved = tx.prepare_cached(&sql)?.execute(params![
        message_id,
        time::legacy(now),
        now,
        reason.word(),
        error
    ])?;
    if moved == 0 {
        return Ok(None);
    }
    let letter = tx.last_insert_rowid();
    tx.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message_id])?;
    Ok(Some(letter))
}

/// Puts a letter that still waits back into the inbox of `to`, in its old place in the order; false when it
/// does not wait any more. `keep_expiry` is for a redrive by itself: one by hand is wanted late.
pub fn restore(
    tx: &Transaction<'_>,
    letter: i64,
    to: &str,
    by: &str,
    keep_expiry: bool,
) -> rusqlite::Result<bool> {
    let now = time::now_ms();
    // An older client's row has no message id: it gets one.
    let fresh = uuid::Uuid::now_v7().to_string();
    let claimed = tx
        .prepare_cached(
            "UPDATE dead_letter_queue SET redriven_ms = ?2, redriven_by = ?3, redriven_to = ?4,
                 attempts = coalesce(attempts, 0) + 1, message_id = coalesce(message_id, ?5),
                 expires_ms = CASE WHEN ?6 THEN expires_ms END
             WHERE id = ?1 AND redriven_ms IS NULL AND purged_ms IS NULL",
        )?
        .execute(params![letter, now, by, to, fresh, keep_expiry])?;
    if claimed == 0 {
        return Ok(false);
    }
    let columns = CARRIED.replace("group_id, sender_group_id", "coalesce(group_id, ''), sender_group_id");
    let sql = format!(
        "INSERT INTO messages (id, from_agent, to_agent, content, read, created_at, {CARRIED})
         SELECT message_id, from_agent, ?2, content, 0, coalesce(sent_at, created_at), {columns}
         FROM dead_letter_queue WHERE id = ?1"
    );
    tx.prepare_cached(&sql)?.execute(params![letter, to])?;
    Ok(true)
}

/// Counts an attempt that failed, with its reason; the letter stays.
pub fn refuse(tx: &Transaction<'_>, letter: i64, reason: Reason, error: &str) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE dead_letter_queue SET attempts = coalesce(attempts, 0) + 1, reason = ?2, error = ?3
         WHERE id = ?1",
        params![letter, reason.word(), error],
    )?;
    Ok(())
}

/// Whether anything waits for `to`.
pub fn waits_for(conn: &Connection, to: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM dead_letter_queue
                        WHERE to_agent = ?1 AND redriven_ms IS NULL AND purged_ms IS NULL)",
    )?
    .query_row([to], |row| row.get(0))
}
