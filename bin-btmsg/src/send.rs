//! Sending: one transaction that stores the message, its audit row and its search row, or nothing.

use agor_common::db::rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use agor_common::mail::agents::{self, Agent};
use agor_common::mail::dead::{self, Reason};
use agor_common::mail::messages::{self, Message, New};
use agor_common::mail::presence::{self, Clock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::{self, Done};
use crate::error::Error;
use crate::{clock, policy};

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Recipients as typed; of a channel post none: its members get it.
    pub to: Vec<String>,
    /// Its channel.
    pub channel: Option<String>,
    /// The body, base64 where `encoding` says so.
    pub body: String,
    /// `base64` or nothing.
    pub encoding: Option<&'static str>,
    /// One line.
    pub subject: Option<String>,
    /// -1 to 2.
    pub priority: i64,
    /// Time to live, ms.
    pub ttl_ms: Option<i64>,
    /// Deliver after this many ms.
    pub delay_ms: Option<i64>,
    /// A message of the thread that it belongs to.
    pub thread: Option<String>,
    /// The message that it answers.
    pub reply_to: Option<String>,
    /// The message that it replaces.
    pub supersedes: Option<String>,
    /// Sent once under this key.
    pub dedup_key: Option<String>,
    /// Its own limit of leases.
    pub max_deliveries: Option<i64>,
    /// Nothing is stored unless every recipient can be reached.
    pub require_online: bool,
    /// An id that nobody registered is parked for.
    pub allow_unknown: bool,
    /// The sender's trace context.
    pub traceparent: Option<String>,
}

/// What became of a message for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The message's id.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// The dead letter's number and why, when it could not be delivered.
    pub dead: Option<(i64, String, String)>,
    /// Whether it waits for its time.
    pub delayed: bool,
}

impl Delivery {
    /// As JSON.
    pub fn json(&self) -> Value {
        let state = match (&self.dead, self.delayed) {
            (Some(_), _) => "dead",
            (None, true) => "delayed",
            (None, false) => "queued",
        };
        let dead = self.dead.as_ref();
        json!({
            "id": self.id, "to": self.to, "state": state,
            "dead_letter": dead.map(|(id, ..)| id), "reason": dead.map(|(_, reason, _)| reason),
            "error": dead.map(|(.., error)| error),
        })
    }
}

/// What became of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The id of the channel's own row of a post.
    pub post: Option<String>,
    /// One per recipient.
    pub deliveries: Vec<Delivery>,
    /// Whether it was sent before, under its key.
    pub replayed: bool,
}

impl Sent {
    /// The post's id, or the first message's.
    pub fn id(&self) -> Option<&str> {
        self.post.as_deref().or_else(|| self.deliveries.first().map(|one| one.id.as_str()))
    }

    /// Whether somebody did not get it.
    pub fn is_parked(&self) -> bool {
        self.deliveries.iter().any(|delivery| delivery.dead.is_some())
    }
}

/// Who gets it: an agent's row, or the bare id of nobody yet.
enum Recipient {
    Known(Box<Agent>),
    Unknown(String),
}

impl Recipient {
    fn id(&self) -> &str {
        match self {
            Recipient::Known(agent) => &agent.id,
            Recipient::Unknown(id) => id,
        }
    }
}

/// Sends `draft` from `from`. `stall_s` is the default stall threshold.
pub fn send(tx: &Transaction<'_>, from: &Agent, draft: &Draft, stall_s: i64) -> Done<Sent> {
    let (sent, unindexed) = store(tx, from, draft, stall_s)?;
    if let Some(seq) = unindexed {
        index(tx, seq, draft)?;
    }
    Ok(sent)
}

/// Adds what was stored to the search index.
pub fn index(tx: &Transaction<'_>, seq: i64, draft: &Draft) -> Done {
    Ok(messages::index(tx, seq, draft.subject.as_deref(), &draft.body)?)
}

/// [`send`] without the search index: beside what was sent, the `seq` under which [`index`] must add it before the
/// transaction ends.
pub fn store(tx: &Transaction<'_>, from: &Agent, draft: &Draft, stall_s: i64) -> Done<(Sent, Option<i64>)> {
    let recipients = recipients(tx, from, draft)?;
    let fingerprint = draft.dedup_key.as_ref().map(|_| fingerprint(&recipients, draft));
    if let (Some(key), Some(fingerprint)) = (&draft.dedup_key, &fingerprint)
        && let Some(sent) = replay(tx, from, key, fingerprint)?
    {
        return Ok((sent, None));
    }
    if draft.ttl_ms.or(draft.delay_ms).is_some() {
        clock::keep(tx, &from.id)?;
    }
    let clock = Clock::now();
    let plans = plan(tx, &recipients, draft, stall_s, &clock)?;

    let reply_to = draft.reply_to.as_deref().map(|typed| own_message(tx, from, typed)).transpose()?;
    let thread = match (&draft.thread, &reply_to) {
        (Some(typed), _) => {
            let message = own_message(tx, from, typed)?;
            Some(message.thread.unwrap_or(message.id))
        }
        (None, Some(message)) => Some(message.thread.clone().unwrap_or_else(|| message.id.clone())),
        (None, None) => None,
    };
    let replaced =
        draft.supersedes.as_deref().map(|typed| replaceable(tx, from, &recipients, typed)).transpose()?;

    let ids: Vec<String> = plans.iter().map(|_| uuid::Uuid::now_v7().to_string()).collect();
    let event = if draft.channel.is_some() { "channel_post" } else { "send" };
    let detail = json!({
        "ids": ids, "to": plans.iter().map(|plan| plan.recipient.id()).collect::<Vec<_>>(),
        "bytes": draft.body.len(), "channel": draft.channel,
        "dead": plans.iter().filter(|plan| plan.dead.is_some()).count(),
    });
    let seq = app::audit(tx, &from.id, event, &detail)?;

    let mut post = None;
    let mut deliveries = Vec::with_capacity(plans.len());
    for (id, plan) in ids.into_iter().zip(&plans) {
        let new = New {
            id: &id,
            from: &from.id,
            to: plan.recipient.id(),
            body: &draft.body,
            reply_to: reply_to.as_ref().map(|message| message.id.as_str()),
            group: match plan.recipient {
                Recipient::Known(agent) => &agent.group,
                Recipient::Unknown(_) => "",
            },
            sender_group: &from.group,
            seq,
            sent_ms: clock.wall_ms,
            subject: draft.subject.as_deref(),
            priority: draft.priority,
            thread: thread.as_deref(),
            supersedes: replaced.as_ref().map(|message| message.id.as_str()),
            channel: draft.channel.as_deref(),
            encoding: draft.encoding,
            kind: None,
            not_before_ms: draft.delay_ms.map(|delay| clock.wall_ms.saturating_add(delay)),
            expires_ms: draft.ttl_ms.map(|ttl| clock.wall_ms.saturating_add(ttl)),
            max_deliveries: draft.max_deliveries,
            traceparent: draft.traceparent.as_deref(),
        };
        let dead = match &plan.dead {
            Some((reason, error)) => {
                let letter = messages::insert_dead(tx, &new, *reason, error)?;
                Some((letter, reason.word().to_owned(), error.clone()))
            }
            None => {
                messages::insert(tx, &new)?;
                None
            }
        };
        let to = plan.recipient.id().to_owned();
        let delayed = new.not_before_ms.is_some_and(|due| due > clock.wall_ms);
        deliveries.push(Delivery { id, to, dead, delayed });
    }
    if let Some(channel) = &draft.channel {
        let id = uuid::Uuid::now_v7().to_string();
        tx.execute(
            "INSERT INTO channel_messages (id, channel_id, from_agent, content, created_at, seq, sent_ms, subject,
                 traceparent, encoding) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                id,
                channel,
                from.id,
                draft.body,
                agor_common::time::legacy(clock.wall_ms),
                seq,
                clock.wall_ms,
                draft.subject,
                draft.traceparent,
                draft.encoding
            ],
        )?;
        post = Some(id);
    }
    if let (Some(old), Some(new)) =
        (&replaced, deliveries.iter().find(|new| Some(&new.to) == replaced.as_ref().map(|m| &m.to)))
    {
        supersede(tx, old, &new.id, clock.wall_ms)?;
    }
    if let (Some(key), Some(fingerprint)) = (&draft.dedup_key, fingerprint) {
        remember(tx, from, key, &fingerprint, post.as_deref(), &deliveries, clock.wall_ms)?;
    }
    Ok((Sent { post, deliveries, replayed: false }, draft.encoding.is_none().then_some(seq)))
}

struct Plan<'a> {
    recipient: &'a Recipient,
    dead: Option<(Reason, String)>,
}

/// Who can be reached, and why not the others.
fn plan<'a>(
    tx: &Transaction<'_>,
    recipients: &'a [Recipient],
    draft: &Draft,
    stall_s: i64,
    clock: &Clock,
) -> Done<Vec<Plan<'a>>> {
    let mut plans = Vec::with_capacity(recipients.len());
    for recipient in recipients {
        let dead = match recipient {
            Recipient::Unknown(id) => Some((Reason::UnknownAgent, format!("nobody is registered as {id}"))),
            Recipient::Known(agent) => presence::of(tx, &agent.id, clock, stall_s)?.and_then(|presence| {
                Some((Reason::from(presence.offline?), format!("{} is {}", agent.id, presence.why()?)))
            }),
        };
        if draft.require_online
            && let Some((_, why)) = &dead
        {
            return Err(Error::Unavailable(format!("send to {}: {why}; nothing was sent", recipient.id())));
        }
        plans.push(Plan { recipient, dead });
    }
    Ok(plans)
}

/// Every recipient once, in the order given, each permitted.
fn recipients(tx: &Transaction<'_>, from: &Agent, draft: &Draft) -> Done<Vec<Recipient>> {
    if let Some(channel) = &draft.channel {
        return members(tx, channel, from);
    }
    let mut found: Vec<Recipient> = Vec::new();
    for typed in &draft.to {
        let recipient = match app::find(tx, typed) {
            Ok(agent) => Recipient::Known(Box::new(agent)),
            Err(Error::NoAgent { typed, .. })
                if draft.allow_unknown && agents::id_problem(&typed).is_none() =>
            {
                Recipient::Unknown(typed)
            }
            Err(error) => return Err(error),
        };
        if found.iter().any(|other| other.id() == recipient.id()) {
            continue;
        }
        if let Recipient::Known(to) = &recipient
            && let Some(why) = policy::refusal(tx, from, to)?
        {
            return Err(Error::Denied {
                what: format!("send to {}", to.id),
                why,
                agent: from.id.clone(),
                hint: Some(format!("btmsg allow {} {}, by a manager or an operator", from.id, to.id)),
            });
        }
        found.push(recipient);
    }
    Ok(found)
}

/// The members of this very moment: who joins during a post sees all of it or nothing. Membership is the permission,
/// and a member is an id that was stored, not one that somebody typed: never the beginning of another's.
fn members(tx: &Transaction<'_>, channel: &str, from: &Agent) -> Done<Vec<Recipient>> {
    let ids = crate::cmd::members_for(tx, channel, from)?;
    ids.into_iter()
        .map(|id| {
            Ok(match agents::get(tx, &id)? {
                Some(agent) => Recipient::Known(Box::new(agent)),
                None => Recipient::Unknown(id),
            })
        })
        .collect()
}

/// A message that `agent` sent or got.
pub fn own_message(conn: &Connection, agent: &Agent, typed: &str) -> Done<Message> {
    let message = find_message(conn, typed)?;
    if message.to == agent.id || message.from == agent.id {
        return Ok(message);
    }
    Err(Error::Denied {
        what: format!("use message {}", message.id),
        why: format!("it is neither from nor to {}", agent.id),
        agent: agent.id.clone(),
        hint: None,
    })
}

/// Finds a message by id, then by unique beginning.
pub fn find_message(conn: &Connection, typed: &str) -> Done<Message> {
    if let Some(message) = messages::get(conn, typed)? {
        return Ok(message);
    }
    let mut found = Vec::new();
    if !typed.is_empty() {
        let mut rows = conn.prepare(
            "SELECT * FROM messages WHERE id >= ?1 AND id < ?1 || char(1114111) ORDER BY id LIMIT 5",
        )?;
        found = rows.query_map([typed], Message::read)?.collect::<Result<Vec<_>, _>>()?;
    }
    if found.len() > 1 {
        let ids = found.into_iter().map(|message| message.id).collect();
        return Err(Error::Ambiguous { what: "message", typed: typed.into(), ids });
    }
    found.pop().ok_or_else(|| Error::NotFound { what: "message", typed: typed.into() })
}

fn replaceable(conn: &Connection, from: &Agent, recipients: &[Recipient], typed: &str) -> Done<Message> {
    let old = find_message(conn, typed)?;
    if old.from == from.id && recipients.iter().any(|recipient| recipient.id() == old.to) {
        return Ok(old);
    }
    Err(Error::Denied {
        what: format!("replace message {}", old.id),
        why: format!("it is not from {} to one of these recipients", from.id),
        agent: from.id.clone(),
        hint: None,
    })
}

/// The old message is done with, unless somebody works on it just now; its row stays.
fn supersede(tx: &Transaction<'_>, old: &Message, by: &str, now_ms: i64) -> Done {
    tx.execute(
        "UPDATE messages SET superseded_by = ?2,
             acked_ms = CASE WHEN read = 0 AND coalesce(lease_until_ms, 0) <= ?3 THEN ?3 ELSE acked_ms END,
             read = CASE WHEN coalesce(lease_until_ms, 0) <= ?3 THEN 1 ELSE read END
         WHERE id = ?1",
        params![old.id, by, now_ms],
    )?;
    Ok(())
}

/// What makes two sends the same: recipients, texts and place. Of a post its channel, whoever the members are.
fn fingerprint(recipients: &[Recipient], draft: &Draft) -> Vec<u8> {
    let mut ids: Vec<&str> = match draft.channel {
        Some(_) => Vec::new(),
        None => recipients.iter().map(Recipient::id).collect(),
    };
    ids.sort_unstable();
    let mut sha = Sha256::new();
    let mut field = |text: &str| {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text);
    };
    for id in ids {
        field(id);
    }
    for text in [&draft.channel, &draft.subject, &draft.reply_to] {
        field(text.as_deref().unwrap_or("\0"));
    }
    field(draft.encoding.unwrap_or_default());
    field(&draft.body);
    sha.finalize().to_vec()
}

/// What is kept of a send under a key: the id of a post, and message and recipient of each delivery.
#[derive(Serialize, Deserialize)]
struct Remembered {
    post: Option<String>,
    deliveries: Vec<(String, String)>,
}

fn remember(
    tx: &Transaction<'_>,
    from: &Agent,
    key: &str,
    fingerprint: &[u8],
    post: Option<&str>,
    deliveries: &[Delivery],
    now_ms: i64,
) -> Done {
    let deliveries: Vec<[&str; 2]> =
        deliveries.iter().map(|one| [one.id.as_str(), one.to.as_str()]).collect();
    let result = json!({ "post": post, "deliveries": deliveries });
    tx.execute(
        "INSERT INTO dedup (from_agent, key, fingerprint, result, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![from.id, key, fingerprint, result.to_string(), now_ms],
    )?;
    Ok(())
}

/// The first send under this key, with what has become of it since.
fn replay(tx: &Transaction<'_>, from: &Agent, key: &str, fingerprint: &[u8]) -> Done<Option<Sent>> {
    let stored: Option<(Vec<u8>, String)> = tx
        .query_row(
            "SELECT fingerprint, result FROM dedup WHERE from_agent = ?1 AND key = ?2",
            [&from.id, key],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((known, result)) = stored else { return Ok(None) };
    if known != fingerprint {
        return Err(Error::Data(format!(
            "send with key '{key}': it was used for another message before; nothing was sent"
        )));
    }
    let first: Remembered = serde_json::from_str(&result)
        .map_err(|_| Error::Data(format!("send with key '{key}': its stored result cannot be read")))?;
    let mut deliveries = Vec::with_capacity(first.deliveries.len());
    for (id, to) in first.deliveries {
        let dead = tx
            .query_row(
                "SELECT * FROM dead_letter_queue WHERE message_id = ?1 AND redriven_ms IS NULL ORDER BY id DESC LIMIT 1",
                [&id],
                dead::Letter::read,
            )
            .optional()?
            .map(|letter| (letter.id, letter.reason.unwrap_or_default(), letter.error));
        let delayed = messages::get(tx, &id)?
            .is_some_and(|message| message.not_before_ms.is_some_and(|at| at > agor_common::time::now_ms()));
        deliveries.push(Delivery { id, to, dead, delayed });
    }
    Ok(Some(Sent { post: first.post, deliveries, replayed: true }))
}
