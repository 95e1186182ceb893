//! The sweep: mail that cannot be delivered becomes a dead letter, mail whose recipient is back returns.

use std::collections::BTreeMap;

use agor_common::db::rusqlite::{OptionalExtension as _, Transaction, params};
use agor_common::mail::agents;
use agor_common::mail::dead::{self, Reason};
use agor_common::mail::messages::{self, Message, New};
use agor_common::mail::presence::{self, Clock, Holder, Offline};
use agor_common::{telemetry, text, time};
use serde_json::json;

use crate::app::{self, App, Done};
use crate::{clock, policy, redrive};

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Dead letters by reason.
    pub dead: BTreeMap<&'static str, usize>,
    /// Agents whose supervisor was found gone.
    pub crashed: Vec<String>,
    /// Letters that went back.
    pub redriven: usize,
    /// Senders that were told.
    pub bounced: usize,
    /// Agents that have mail to look at.
    pub wake: Vec<String>,
    /// Whether `limit` cut it short.
    pub more: bool,
}

impl Swept {
    /// Tells telemetry, once the transaction is through; a sweep that found nothing is not worth a span.
    pub fn trace(&self) {
        let dead: usize = self.dead.values().sum();
        if !telemetry::is_on() || (dead == 0 && self.redriven == 0) {
            return;
        }
        let span = tracing::info_span!(
            "btmsg.sweep",
            messaging.system = "btmsg",
            agor.dead_letters = dead as u64,
            agor.redriven = self.redriven as u64,
        );
        telemetry::parent_from_env(&span);
        drop(span.entered());
        for (reason, count) in &self.dead {
            telemetry::count("agor.btmsg.messages.dead_lettered", *count as u64, &[("reason", reason)]);
        }
    }
}

const META: &str = "last_sweep_ms";

/// Whether the last sweep is longer ago than configured; if so, this process is the one that does the next.
pub fn claim(tx: &Transaction<'_>, app: &App) -> Done<bool> {
    let now = time::now_ms();
    let last: Option<i64> = tx
        .prepare_cached("SELECT value FROM mail_meta WHERE key = ?1")?
        .query_row([META], |row| row.get(0))
        .optional()?;
    // A clock that was set back must not stop the sweeps.
    if last.is_some_and(|last| (0..app::millis(app.config.sweep_every)).contains(&(now - last))) {
        return Ok(false);
    }
    tx.prepare_cached("INSERT OR REPLACE INTO mail_meta (key, value) VALUES (?1, ?2)")?
        .execute(params![META, now])?;
    Ok(true)
}

/// Sweeps everything, moving at most `limit` messages in this transaction.
pub fn sweep(tx: &Transaction<'_>, app: &App, by: &str, limit: usize) -> Done<Swept> {
    clock::follow(tx, by)?;
    let now = Clock::now();
    let mut swept = Swept::default();
    let mut deaths: Vec<(Message, Reason, String)> = Vec::new();
    for presence in presence::all(tx, &now, app.stall_s())? {
        let id = presence.agent.id.clone();
        let Some(offline) = presence.offline else {
            if redrive::is_awaited(tx, &presence)? {
                let back = redrive::parked(tx, app, &id)?;
                if back > 0 {
                    swept.redriven += back;
                    swept.wake.push(id);
                }
            }
            continue;
        };
        let why = presence.why().unwrap_or_default();
        if offline == Offline::Crashed && presence.holder == Some(Holder::Gone) {
            presence::mark_crashed(tx, by, &id, "its supervisor is gone")?;
            swept.crashed.push(id.clone());
        }
        let unread = "SELECT * FROM messages WHERE to_agent = ?1 AND read = 0
            AND coalesce(lease_until_ms, 0) <= ?2 AND coalesce(not_before_ms, 0) <= ?2 ORDER BY seq LIMIT ?3";
        take(tx, unread, params![id, now.wall_ms, room(limit, &deaths)], |message| {
            deaths.push((message, Reason::from(offline), format!("{id} is {why}")));
        })?;
    }
    // Past btmsg's own limit only an older client comes, whose rows the search has not indexed yet. What somebody
    // sent back by hand is wanted as it is.
    let large = "SELECT * FROM messages WHERE indexed = 0 AND read = 0 AND octet_length(content) > ?1
        AND coalesce(lease_until_ms, 0) <= ?2 AND NOT EXISTS (SELECT 1 FROM dead_letter_queue
            WHERE message_id = messages.id AND redriven_ms IS NOT NULL) ORDER BY seq LIMIT ?3";
    let most = i64::try_from(app.config.max_size).unwrap_or(i64::MAX);
    take(tx, large, params![most, now.wall_ms, room(limit, &deaths)], |message| {
        let bytes = message.body.len();
        deaths.push((message, Reason::TooLarge, format!("its body has {bytes} bytes, more than {most}")));
    })?;
    let expired = "SELECT * FROM messages WHERE read = 0 AND expires_ms IS NOT NULL AND expires_ms <= ?1
        AND coalesce(lease_until_ms, 0) <= ?1 ORDER BY seq LIMIT ?2";
    take(tx, expired, params![now.wall_ms, room(limit, &deaths)], |message| {
        deaths.push((message, Reason::Expired, "its time to live ran out".into()));
    })?;
    // The index on unread mail makes this a walk over what is unread, not over the table.
    let worn = "SELECT * FROM messages INDEXED BY idx_messages_queue WHERE read = 0 AND deliveries > 0
        AND lease_until_ms <= ?1 AND deliveries >= coalesce(max_deliveries, ?2) LIMIT ?3";
    take(tx, worn, params![now.wall_ms, app.config.max_deliveries, room(limit, &deaths)], |message| {
        let why = format!("leased {} times without an acknowledgement", message.deliveries);
        deaths.push((message, Reason::MaxDeliveries, why));
    })?;

    // Of what was found, not of what was moved: a message may have been found twice, as offline and as expired.
    swept.more = deaths.len() >= limit;
    let mut told: BTreeMap<(String, String, Cause), Vec<Message>> = BTreeMap::new();
    let mut ids = Vec::new();
    for (message, reason, why) in deaths {
        if dead::park(tx, &message.id, reason, &why)?.is_none() {
            continue;
        }
        *swept.dead.entry(reason.word()).or_default() += 1;
        ids.push(message.id.clone());
        told.entry((message.from.clone(), message.to.clone(), Cause(reason.word(), why)))
            .or_default()
            .push(message);
    }
    if !ids.is_empty() {
        ids.truncate(100);
        app::audit(tx, by, "sweep", &json!({ "dead": swept.dead, "ids": ids }))?;
    }
    if app.config.bounce {
        for ((from, to, why), messages) in &told {
            if bounce(tx, from, to, why, messages, &now)? {
                swept.bounced += 1;
                swept.wake.push(from.clone());
            }
        }
    }
    Ok(swept)
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cause(&'static str, String);

fn room(limit: usize, taken: &[(Message, Reason, String)]) -> i64 {
    i64::try_from(limit.saturating_sub(taken.len())).unwrap_or(i64::MAX)
}

fn take(
    tx: &Transaction<'_>,
    sql: &str,
    parameters: &[&dyn agor_common::db::rusqlite::ToSql],
    mut each: impl FnMut(Message),
) -> Done {
    for message in tx.prepare_cached(sql)?.query_map(parameters, Message::read)? {
        each(message?);
    }
    Ok(())
}

/// Tells a sender what died, in one message for each recipient and reason. Bounces do not bounce.
fn bounce(
    tx: &Transaction<'_>,
    from: &str,
    to: &str,
    why: &Cause,
    dead: &[Message],
    now: &Clock,
) -> Done<bool> {
    let dead: Vec<&Message> =
        dead.iter().filter(|message| message.kind.as_deref() != Some("bounce")).collect();
    let (Some(first), Some(sender)) = (dead.first(), agents::get(tx, from)?) else { return Ok(false) };
    if from == to {
        return Ok(false);
    }
    let mut body = format!("Not delivered to {to} ({}): {}\n", why.0, why.1);
    for message in dead.iter().take(20) {
        body.push_str(&format!("  {}  {}\n", message.id, text::preview(&message.body, 60)));
    }
    if dead.len() > 20 {
        body.push_str(&format!("  and {} more\n", dead.len() - 20));
    }
    body.push_str("They are in the dead letter queue: btmsg dlq list\n");
    let id = uuid::Uuid::now_v7().to_string();
    let seq =
        app::audit(tx, policy::SYSTEM, "bounce", &json!({ "id": id, "to": from, "about": dead.len() }))?;
    let subject = format!("undeliverable: {} to {to}", dead.len());
    messages::insert(
        tx,
        &New {
            id: &id,
            from: policy::SYSTEM,
            to: from,
            body: &body,
            reply_to: Some(&first.id),
            group: &sender.group,
            seq,
            sent_ms: now.wall_ms,
            subject: Some(&subject),
            kind: Some("bounce"),
            thread: first.thread.as_deref(),
            ..New::default()
        },
    )?;
    messages::index(tx, seq, Some(&subject), &body)?;
    Ok(true)
}

impl Swept {
    /// Adds what a further round did.
    pub fn add(&mut self, more: Swept) {
        for (reason, count) in more.dead {
            *self.dead.entry(reason).or_default() += count;
        }
        self.crashed.extend(more.crashed);
        self.redriven += more.redriven;
        self.bounced += more.bounced;
        self.wake.extend(more.wake);
        self.more = more.more;
    }
}
