//! Messages: the row, how one is stored, and what state it is in.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::value;
use crate::db::rusqlite;
use crate::time;

/// How often a message is leased before it is dead-lettered, unless it says otherwise.
pub const MAX_DELIVERIES: i64 = 5;

/// The most of a body that full-text search sees, in bytes: the write lock is held meanwhile.
pub const INDEXED_BYTES: usize = 64 * 1024;

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// UUID v7; an older client's is v4.
    pub id: String,
    /// Who sent it.
    pub from: String,
    /// Whose inbox it is in.
    pub to: String,
    /// The text; base64 where [`Message::encoding`] says so.
    pub body: String,
    /// Whether the stored text was valid UTF-8; where not, `body` holds replacement characters.
    pub valid: bool,
    /// 0 while unread; 1 once acknowledged.
    pub read: bool,
    /// The message that this one answers.
    pub reply_to: Option<String>,
    /// Send order, see the module.
    pub seq: i64,
    /// When it was sent, ms.
    pub sent_ms: i64,
    /// One line.
    pub subject: Option<String>,
    /// -1 low, 0 normal, 1 high, 2 urgent.
    pub priority: i64,
    /// The message that its thread began with.
    pub thread: Option<String>,
    /// The earlier message that it replaces.
    pub supersedes: Option<String>,
    /// The later message that replaces it.
    pub superseded_by: Option<String>,
    /// The channel that it was posted to.
    pub channel: Option<String>,
    /// `base64` or nothing.
    pub encoding: Option<String>,
    /// `bounce` or nothing.
    pub kind: Option<String>,
    /// Not to be delivered before, ms.
    pub not_before_ms: Option<i64>,
    /// Worthless after, ms.
    pub expires_ms: Option<i64>,
    /// Its own limit of leases.
    pub max_deliveries: Option<i64>,
    /// The sender's trace context.
    pub traceparent: Option<String>,
    /// How often it was leased.
    pub deliveries: i64,
    /// Until when it is leased, ms.
    pub lease_until_ms: Option<i64>,
    /// The fencing token of the last lease.
    pub lease_token: Option<String>,
    /// Who leased it: a pid and its command.
    pub lease_holder: Option<String>,
    /// When it was acknowledged, ms; unknown for an older client's acknowledgement.
    pub acked_ms: Option<i64>,
}

/// A message's state for its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waiting.
    Queued,
    /// Waiting for its time.
    Delayed,
    /// Somebody works on it.
    Leased,
    /// Read or acknowledged.
    Acked,
    /// Too late; `sweep` dead-letters it.
    Expired,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Delayed => "delayed",
            State::Leased => "leased",
            State::Acked => "acked",
            State::Expired => "expired",
        }
    }
}

impl Message {
    /// From a row of `SELECT messages.* …`.
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
        let (body, valid) = value::text(row.get_ref("content")?);
        let sent_ms = match value::integer(row, "sent_ms")? {
            Some(ms) => ms,
            None => time::parse_ms(&value::string(row, "created_at")?).unwrap_or(0),
        };
        Ok(Message {
            id: value::string(row, "id")?,
            from: value::string(row, "from_agent")?,
            to: value::string(row, "to_agent")?,
            body,
            valid,
            read: value::integer(row, "read")?.unwrap_or(0) != 0,
            reply_to: value::optional(row, "reply_to")?,
            seq: value::integer(row, "seq")?.unwrap_or(0),
            sent_ms,
            subject: value::optional(row, "subject")?,
            priority: value::integer(row, "priority")?.unwrap_or(0),
            thread: value::optional(row, "thread_id")?,
            supersedes: value::optional(row, "supersedes")?,
            superseded_by: value::optional(row, "superseded_by")?,
            channel: value::optional(row, "channel_id")?,
            encoding: value::optional(row, "encoding")?,
            kind: value::optional(row, "kind")?,
            not_before_ms: value::integer(row, "not_before_ms")?,
            expires_ms: value::integer(row, "expires_ms")?,
            max_deliveries: value::integer(row, "max_deliveries")?,
            traceparent: value::optional(row, "traceparent")?,
            deliveries: value::integer(row, "deliveries")?.unwrap_or(0),
            lease_until_ms: value::integer(row, "lease_until_ms")?,
            lease_token: value::optional(row, "lease_token")?,
            lease_holder: value::optional(row, "lease_holder")?,
            acked_ms: value::integer(row, "acked_ms")?,
        })
    }

    /// Its state at `now_ms`.
    pub fn state(&self, now_ms: i64) -> State {
        if self.read {
            State::Acked
        } else if self.lease_until_ms.is_some_and(|until| until > now_ms) {
            State::Leased
        } else if self.expires_ms.is_some_and(|at| at <= now_ms) {
            State::Expired
        } else if self.not_before_ms.is_some_and(|at| at > now_ms) {
            State::Delayed
        } else {
            State::Queued
        }
    }
}

/// A message to be stored; the strings are the caller's.
#[derive(Debug, Clone, Copy, Default)]
pub struct New<'a> {
    /// UUID v7.
    pub id: &'a str,
    /// Sender.
    pub from: &'a str,
    /// Recipient.
    pub to: &'a str,
    /// Body, base64 where `encoding` says so.
    pub body: &'a str,
    /// See [`Message`].
    pub reply_to: Option<&'a str>,
    /// The recipient's group, as the earlier system stored it.
    pub group: &'a str,
    /// The sender's group.
    pub sender_group: &'a str,
    /// The id of the send's audit row.
    pub seq: i64,
    /// When, ms.
    pub sent_ms: i64,
    /// See [`Message`].
    pub subject: Option<&'a str>,
    /// See [`Message`].
    pub priority: i64,
    /// See [`Message`].
    pub thread: Option<&'a str>,
    /// See [`Message`].
    pub supersedes: Option<&'a str>,
    /// See [`Message`].
    pub channel: Option<&'a str>,
    /// See [`Message`].
    pub encoding: Option<&'a str>,
    /// See [`Message`].
    pub kind: Option<&'a str>,
    /// See [`Message`].
    pub not_before_ms: Option<i64>,
    /// See [`Message`].
    pub expires_ms: Option<i64>,
    /// See [`Message`].
    pub max_deliveries: Option<i64>,
    /// See [`Message`].
    pub traceparent: Option<&'a str>,
}

const NEW_COLUMNS: &str = "from_agent, to_agent, content, reply_to, group_id, sender_group_id, seq, sent_ms, \
    subject, priority, thread_id, supersedes, channel_id, encoding, kind, not_before_ms, expires_ms, \
    max_deliveries, traceparent, indexed";
const NEW_VALUES: &str =
    "?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, 1";

/// Puts a message into its recipient's inbox. The caller adds its text to the search index once per send
/// with [`index`].
pub fn insert(tx: &Transaction<'_>, new: &New<'_>) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO messages (id, created_at, {NEW_COLUMNS}) VALUES (?1, ?21, {NEW_VALUES})");
    run(tx, &sql, new, &[&time::legacy(new.sent_ms)])?;
    Ok(())
}

/// Puts a message that cannot be delivered into the dead letter queue; returns its number there.
pub fn insert_dead(
    tx: &Transaction<'_>,
    new: &New<'_>,
    reason: super::dead::Reason,
    error: &str,
) -> rusqlite::Result<i64> {
    let sql = format!(
        "INSERT INTO dead_letter_queue (message_id, sent_at, created_at, dead_ms, reason, error, {NEW_COLUMNS})
         VALUES (?1, ?21, ?21, ?9, ?22, ?23, {NEW_VALUES})"
    );
    run(tx, &sql, new, &[&time::legacy(new.sent_ms), &reason.word(), &error])?;
    Ok(tx.last_insert_rowid())
}

fn run(
    tx: &Transaction<'_>,
    sql: &str,
    new: &New<'_>,
    more: &[&dyn rusqlite::ToSql],
) -> rusqlite::Result<usize> {
    let fixed = params![
        new.id,
        new.from,
        new.to,
        new.body,
        new.reply_to,
        new.group,
        new.sender_group,
        new.seq,
        new.sent_ms,
        new.subject,
        new.priority,
        new.thread,
        new.supersedes,
        new.channel,
        new.encoding,
        new.kind,
        new.not_before_ms,
        new.expires_ms,
        new.max_deliveries,
        new.traceparent,
    ];
    let all: Vec<&dyn rusqlite::ToSql> = fixed.iter().chain(more).copied().collect();
    tx.prepare_cached(sql)?.execute(all.as_slice())
}

/// Adds a send's text to the search index under its `seq`.
pub fn index(tx: &Transaction<'_>, seq: i64, subject: Option<&str>, body: &str) -> rusqlite::Result<()> {
    let mut end = body.len().min(INDEXED_BYTES);
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    tx.prepare_cached("INSERT INTO messages_fts (rowid, subject, content) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, subject.unwrap_or(""), &body[..end]])?;
    Ok(())
}

/// The message with exactly this id.
pub fn get(conn: &Connection, id: &str) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached("SELECT * FROM messages WHERE id = ?1")?.query_row([id], Message::read).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tables_carry_the_same_columns() {
        let dir = tempfile::tempdir().unwrap();
        let db = super::super::open(&dir.path().join("m.db"), crate::db::Options::create()).unwrap();
        for table in ["messages", "dead_letter_queue"] {
            let sql = format!("SELECT {}, {NEW_COLUMNS} FROM {table}", super::super::CARRIED);
            db.conn().prepare(&sql).unwrap();
        }
    }
}
