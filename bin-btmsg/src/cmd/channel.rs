//! `channel`: a message to all members, all or nothing.

use agor_common::db::rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use agor_common::mail::agents::Agent;
use agor_common::mail::value;
use agor_common::{Exit, text, time};
use serde_json::{Value, json};

use super::send;
use crate::app::{self, App, Done};
use crate::cli;
use crate::error::Error;
use crate::send::Draft;
use crate::{policy, show};

struct Channel {
    id: String,
    name: String,
    group: String,
    created_by: String,
}

fn read(row: &Row<'_>) -> agor_common::db::rusqlite::Result<Channel> {
    Ok(Channel {
        id: value::string(row, "id")?,
        name: value::string(row, "name")?,
        group: value::string(row, "group_id")?,
        created_by: value::string(row, "created_by")?,
    })
}

/// By id, then by name, then by the unique beginning of an id.
fn find(conn: &Connection, typed: &str) -> Done<Channel> {
    for sql in [
        "SELECT * FROM channels WHERE id = ?1",
        "SELECT * FROM channels WHERE name = ?1 LIMIT 9",
        "SELECT * FROM channels WHERE id >= ?1 AND id < ?1 || char(1114111) LIMIT 9",
    ] {
        let mut found = conn.prepare(sql)?.query_map([typed], read)?.collect::<Result<Vec<_>, _>>()?;
        if found.len() > 1 {
            let ids = found.into_iter().map(|channel| channel.id).collect();
            return Err(Error::Ambiguous { what: "channel", typed: typed.into(), ids });
        }
        if let Some(channel) = found.pop()
            && !typed.is_empty()
        {
            return Ok(channel);
        }
    }
    Err(Error::NotFound { what: "channel", typed: typed.into() })
}

fn is_member(conn: &Connection, channel: &str, agent: &str) -> Done<bool> {
    Ok(conn
        .query_row(
            "SELECT 1 FROM channel_members WHERE channel_id = ?1 AND agent_id = ?2",
            [channel, agent],
            |_| Ok(()),
        )
        .optional()?
        .is_some())
}

fn members(conn: &Connection, channel: &str) -> Done<Vec<String>> {
    let mut rows =
        conn.prepare("SELECT agent_id FROM channel_members WHERE channel_id = ?1 ORDER BY agent_id")?;
    let ids = rows.query_map([channel], |row| Ok(agor_common::mail::text(row.get_ref(0)?).0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Runs a `channel` command.
pub fn run(app: &mut App, command: cli::Channel) -> Done<Exit> {
    match command {
        cli::Channel::Create { name, group } => create(app, &name, group.as_deref()),
        cli::Channel::List => list(app),
        cli::Channel::Post { channel, words, ndjson, envelope } => {
            post(app, &channel, &words, ndjson, &envelope)
        }
        cli::Channel::History { channel, limit } => history(app, &channel, limit),
        cli::Channel::Add { channel, agent } => member(app, &channel, Some(&agent), Change::Add),
        cli::Channel::Remove { channel, agent } => member(app, &channel, Some(&agent), Change::Remove),
        cli::Channel::Join { channel } => member(app, &channel, None, Change::Join),
        cli::Channel::Leave { channel } => member(app, &channel, None, Change::Leave),
    }
}

fn create(app: &mut App, name: &str, group: Option<&str>) -> Done<Exit> {
    if let Some(problem) = agor_common::mail::agents::id_problem(name) {
        return Err(Error::Usage(format!("channel create '{}': {problem}", text::preview(name, 40))));
    }
    let mut db = app.write()?;
    let me = app.my_row(db.conn())?;
    let group = group.unwrap_or(&me.group);
    let id = uuid::Uuid::now_v7().to_string();
    db.write(|tx| -> Done {
        tx.execute(
            "INSERT INTO channels (id, name, group_id, created_by) VALUES (?1, ?2, ?3, ?4)",
            params![id, name, group, me.id],
        )?;
        tx.execute("INSERT INTO channel_members (channel_id, agent_id) VALUES (?1, ?2)", params![id, me.id])?;
        app::audit(tx, &me.id, "channel_create", &json!({ "id": id, "name": name, "group": group }))?;
        Ok(())
    })?;
    if app.json {
        app.object(&json!({ "id": id, "name": name, "group": group }))?;
    } else {
        app.line(&id)?;
    }
    Ok(Exit::OK)
}

fn list(app: &mut App) -> Done<Exit> {
    let db = app.read()?;
    let channels = db
        .conn()
        .prepare("SELECT * FROM channels ORDER BY name, id")?
        .query_map([], read)?
        .collect::<Result<Vec<_>, _>>()?;
    let mut rows = Vec::new();
    let mut objects: Vec<Value> = Vec::new();
    for channel in channels {
        let members = members(db.conn(), &channel.id)?;
        objects.push(json!({
            "id": channel.id, "name": channel.name, "group": channel.group, "created_by": channel.created_by,
            "members": members,
        }));
        rows.push(vec![channel.id, channel.name, channel.group, members.join(" ")]);
    }
    drop(db);
    if app.json {
        app.object(&json!({ "channels": objects }))?;
    } else if !rows.is_empty() {
        let width = show::width(&app.out);
        app.line(show::table(&["ID", "NAME", "GROUP", "MEMBERS"], &rows, width))?;
    }
    Ok(Exit::OK)
}

/// The post itself and one message in the inbox of every other member, in one transaction.
fn post(app: &mut App, typed: &str, words: &[String], ndjson: bool, envelope: &cli::Envelope) -> Done<Exit> {
    let channel = {
        let db = app.read()?;
        let me = app.my_row(db.conn())?;
        let channel = find(db.conn(), typed)?;
        require_member(db.conn(), &channel, &me)?;
        channel
    };
    let base = Draft { channel: Some(channel.id), ..send::draft(envelope) };
    if ndjson {
        return send::batch(app, &base, envelope, &|line, _| {
            if line.is_addressed() {
                Err("\"to\" has no place in a channel's message".into())
            } else {
                Ok(())
            }
        });
    }
    let draft = send::body(app, words, envelope, base)?;
    send::one(app, envelope, draft)
}

fn require_member(conn: &Connection, channel: &Channel, agent: &Agent) -> Done {
    if is_member(conn, &channel.id, &agent.id)? {
        return Ok(());
    }
    Err(Error::Denied {
        what: format!("use channel {}", channel.name),
        why: format!("{} is no member", agent.id),
        agent: agent.id.clone(),
        hint: Some(format!("btmsg channel join {}", channel.id)),
    })
}

/// Within the transaction of a post: who gets it, and the channel's own row of it.
pub fn fan_out(tx: &Transaction<'_>, channel: &str, from: &Agent) -> Done<Vec<String>> {
    let channel = find(tx, channel)?;
    require_member(tx, &channel, from)?;
    Ok(members(tx, &channel.id)?.into_iter().filter(|member| *member != from.id).collect())
}

/// A row of a channel's own record.
struct Post {
    id: String,
    from: String,
    subject: Option<String>,
    body: String,
    valid: bool,
    encoding: Option<String>,
    sent_ms: i64,
}

fn history(app: &mut App, typed: &str, limit: u32) -> Done<Exit> {
    let db = app.read()?;
    let channel = find(db.conn(), typed)?;
    if !app.speaker().is_empty() {
        let me = app.my_row(db.conn())?;
        require_member(db.conn(), &channel, &me)?;
    }
    let mut rows = db.conn().prepare(
        "SELECT * FROM channel_messages WHERE channel_id = ?1
         ORDER BY coalesce(seq, 0) DESC, created_at DESC, rowid DESC LIMIT ?2",
    )?;
    let mut found = rows
        .query_map(params![channel.id, limit], |row| {
            let (body, valid) = agor_common::mail::text(row.get_ref("content")?);
            Ok(Post {
                id: value::string(row, "id")?,
                from: value::string(row, "from_agent")?,
                subject: value::optional(row, "subject")?,
                body,
                valid,
                encoding: value::optional(row, "encoding")?,
                sent_ms: match value::integer(row, "sent_ms")? {
                    Some(ms) => ms,
                    None => time::parse_ms(&value::string(row, "created_at")?).unwrap_or(0),
                },
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    drop(rows);
    drop(db);
    found.reverse();
    if app.json {
        let messages: Vec<Value> = found
            .iter()
            .map(|post| {
                json!({
                    "id": post.id, "from": post.from, "subject": post.subject, "text": post.body,
                    "encoding": post.encoding, "valid_utf8": post.valid, "sent_at": time::rfc3339_ms(post.sent_ms),
                })
            })
            .collect();
        app.object(&json!({ "channel": channel.id, "name": channel.name, "messages": messages }))?;
        return Ok(Exit::OK);
    }
    let now = time::now_ms();
    for post in &found {
        app.line(format!(
            "{} ({}): {}",
            text::single_line(&post.from),
            show::ago(post.sent_ms, now),
            show::post(post.subject.as_deref(), &post.body, post.encoding.as_deref(), post.valid)
        ))?;
    }
    Ok(Exit::OK)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
    Join,
    Leave,
}

fn member(app: &mut App, typed: &str, agent: Option<&str>, change: Change) -> Done<Exit> {
    let speaker = app.speaker().to_owned();
    let mut db = app.write()?;
    let event = match change {
        Change::Add => "channel_add",
        Change::Remove => "channel_remove",
        Change::Join => "channel_join",
        Change::Leave => "channel_leave",
    };
    let adds = matches!(change, Change::Add | Change::Join);
    let (channel, agent, changed) = db.write(|tx| -> Done<_> {
        let channel = find(tx, typed)?;
        let agent = match agent {
            Some(typed) => app::find(tx, typed)?,
            None => app.my_row(tx)?,
        };
        match change {
            Change::Add | Change::Remove if speaker != channel.created_by => {
                policy::require_manager(tx, &speaker, &format!("change the members of {}", channel.name))?;
            }
            Change::Join if !channel.group.is_empty() && channel.group != agent.group => {
                return Err(Error::Denied {
                    what: format!("join channel {}", channel.name),
                    why: format!("it is of group {}", channel.group),
                    agent: agent.id,
                    hint: Some("ask a manager to add you".into()),
                });
            }
            _ => {}
        }
        let changed = if adds {
            tx.execute(
                "INSERT OR IGNORE INTO channel_members (channel_id, agent_id) VALUES (?1, ?2)",
                [&channel.id, &agent.id],
            )?
        } else {
            tx.execute(
                "DELETE FROM channel_members WHERE channel_id = ?1 AND agent_id = ?2",
                [&channel.id, &agent.id],
            )?
        };
        if changed > 0 {
            app::audit(tx, &speaker, event, &json!({ "channel": channel.id, "agent": agent.id }))?;
        }
        Ok((channel, agent.id, changed > 0))
    })?;
    if !adds && !changed {
        return Err(Error::Negative(format!("{agent} is no member of {}", channel.name)));
    }
    if app.json {
        app.object(&json!({ "channel": channel.id, "agent": agent, "member": adds, "changed": changed }))?;
    } else {
        app.line(format!(
            "{agent} is {} member of {}",
            if adds { "a" } else { "no longer a" },
            channel.name
        ))?;
    }
    Ok(Exit::OK)
}
