//! `inbox`, `read`, `unread`, `notify`.

use agor_common::db::rusqlite::{Connection, params};
use agor_common::db::{Db, DbError};
use agor_common::mail::messages::{Message, State};
use agor_common::mail::presence::{self, Clock, Offline, Presence};
use agor_common::{Exit, output, text, time};
use serde_json::{Value, json};

use crate::app::{self, App, Done};
use crate::error::Error;
use crate::receive::AVAILABLE;
use crate::{TOOL, cli, redrive, send, show};

/// The agent takes mail, which is a sign of life: if it counted as gone it is back, and its parked mail with it.
/// Where the file may only be read, nothing of it happens. Returns its id.
pub fn arrive(app: &App, db: &mut Db) -> Done<String> {
    come(app, db, |_| true)
}

/// [`arrive`] for who only looks. A crashed agent is not back because its operator reads its mail with `--as`; the
/// agent itself, and whatever starts it again, has `BTMSG_AGENT_ID`.
fn look(app: &App, db: &mut Db) -> Done<String> {
    come(app, db, |presence| {
        presence.offline != Some(Offline::Crashed)
            || std::env::var("BTMSG_AGENT_ID").is_ok_and(|own| own == presence.agent.id)
    })
}

fn come(app: &App, db: &mut Db, counts: impl FnOnce(&Presence) -> bool) -> Done<String> {
    let me = app.my_row(db.conn())?.id;
    let presence = presence::of(db.conn(), &me, &Clock::now(), app.stall_s())?;
    let Some(presence) = presence else { return Ok(me) };
    if !presence::is_last_word() && redrive::is_awaited(db.conn(), &presence)? && counts(&presence) {
        match db.write(|tx| redrive::back(tx, app, &presence)).map_err(|error| app.name_file(error)) {
            Ok(_) | Err(Error::Db(DbError::ReadOnly { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(me)
}

/// Lists messages.
pub fn inbox(app: &mut App, args: &cli::Inbox) -> Done<Exit> {
    let mut db = app.write_or_read()?;
    let me = look(app, &mut db)?;
    let now = time::now_ms();
    let after = args.after.as_deref().map(|typed| place(db.conn(), typed)).transpose()?;
    let from = args.from.as_deref().map(|typed| app::find(db.conn(), typed)).transpose()?.map(|from| from.id);
    let (priority, seq, rowid) =
        after.map_or((None, 0, 0), |(priority, seq, rowid)| (Some(priority), seq, rowid));
    let sql = if args.all {
        // The newest first, so that the page that matters is the first one.
        "SELECT * FROM messages WHERE to_agent = ?1 AND (?3 IS NULL OR from_agent = ?3) AND ?2 = ?2
             AND (?4 IS NULL OR (seq, rowid) < (?5, ?6)) ORDER BY seq DESC, rowid DESC LIMIT ?7"
    } else {
        "SELECT * FROM messages WHERE to_agent = ?1 AND read = 0 AND (?3 IS NULL OR from_agent = ?3)
             AND coalesce(not_before_ms, 0) <= ?2 AND coalesce(expires_ms, 9223372036854775807) > ?2
             AND (?4 IS NULL OR priority < ?4 OR (priority = ?4 AND (seq, rowid) > (?5, ?6)))
             ORDER BY priority DESC, seq, rowid LIMIT ?7"
    };
    let limit = i64::from(args.limit);
    let mut found = db
        .conn()
        .prepare(sql)?
        .query_map(params![me, now, from, priority, seq, rowid, limit + 1], Message::read)?
        .collect::<Result<Vec<_>, _>>()?;
    // Nothing is held open while output is written: a reader of it may take its time.
    drop(db);
    let more = found.len() > args.limit as usize;
    found.truncate(args.limit as usize);
    if app.json {
        let messages: Vec<Value> = found.iter().map(|message| show::message(message, now)).collect();
        app.object(&json!({ "agent": me, "messages": messages, "more": more }))?;
        return Ok(Exit::OK);
    }
    if found.is_empty() {
        if !more {
            output::notice(TOOL, "no unread messages");
        }
        return Ok(Exit::OK);
    }
    app.line(listing(app, &found, now, Whose::Mine))?;
    if let (true, Some(last)) = (more, found.last()) {
        output::notice(TOOL, &format!("there are more: --after {}", last.id));
    }
    Ok(Exit::OK)
}

/// Whose messages a table shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All are to the reader, whom no column names.
    Mine,
    /// Anybody's.
    Anybodys,
}

/// Messages as a table.
pub fn listing(app: &App, messages: &[Message], now: i64, whose: Whose) -> String {
    let rows: Vec<Vec<String>> = messages
        .iter()
        .map(|message| {
            let mut flags = Vec::new();
            if message.priority != 0 {
                flags.push(show::priority(message.priority));
            }
            if message.state(now) != State::Queued {
                flags.push(message.state(now).word().to_owned());
            }
            let mut row = vec![message.id.clone(), message.from.clone()];
            row.extend((whose == Whose::Anybodys).then(|| message.to.clone()));
            row.extend([show::ago(message.sent_ms, now), flags.join(","), show::preview(message, 100)]);
            row
        })
        .collect();
    let header: &[&str] = match whose {
        Whose::Mine => &["ID", "FROM", "SENT", "", "MESSAGE"],
        Whose::Anybodys => &["ID", "FROM", "TO", "SENT", "", "MESSAGE"],
    };
    show::table(header, &rows, show::width(&app.out))
}

/// A message's place in the order: priority, seq, rowid.
fn place(conn: &Connection, typed: &str) -> Done<(i64, i64, i64)> {
    let message = send::find_message(conn, typed)?;
    let rowid =
        conn.query_row("SELECT rowid FROM messages WHERE id = ?1", [&message.id], |row| row.get(0))?;
    Ok((message.priority, message.seq, rowid))
}

/// Shows a message whole and marks it read once it is out.
pub fn read(app: &mut App, args: &cli::Read) -> Done<Exit> {
    let mut db = app.write_or_read()?;
    let me = look(app, &mut db)?;
    let now = time::now_ms();
    let agent = app::find(db.conn(), &me)?;
    let message = match &args.id {
        Some(typed) => send::own_message(db.conn(), &agent, typed)?,
        None => {
            let sql = format!("SELECT * FROM messages WHERE {AVAILABLE} ORDER BY priority DESC, seq LIMIT 1");
            let next = db.conn().prepare(&sql)?.query_map(params![me, now], Message::read)?.next();
            next.transpose()?.ok_or_else(|| Error::Negative("read: no unread messages".into()))?
        }
    };
    let shown = if args.thread { thread(db.conn(), &agent.id, &message)? } else { vec![message] };
    for (at, message) in shown.iter().enumerate() {
        if app.json {
            let body = show::message(message, now);
            app.object(&body)?;
        } else {
            if at > 0 {
                app.line("")?;
            }
            app.line(show::whole(message, now))?;
        }
    }
    app.out.flush()?;
    if args.peek {
        return Ok(Exit::OK);
    }
    // Only now: a message that did not get out whole is still unread.
    let ids: Vec<&str> =
        shown.iter().filter(|one| !one.read && one.to == me).map(|one| one.id.as_str()).collect();
    if ids.is_empty() {
        return Ok(Exit::OK);
    }
    let held = db.write(|tx| -> Done<usize> {
        let mut marked = Vec::new();
        for id in &ids {
            // Another worker's lease is that worker's to acknowledge.
            let done = tx.execute(
                "UPDATE messages SET read = 1, acked_ms = ?2 WHERE id = ?1 AND read = 0
                     AND coalesce(lease_until_ms, 0) <= ?2",
                params![id, now],
            )?;
            if done > 0 {
                marked.push(*id);
            }
        }
        if !marked.is_empty() {
            app::audit(tx, &me, "read", &json!({ "ids": marked }))?;
        }
        Ok(ids.len() - marked.len())
    })?;
    if held > 0 {
        output::notice(TOOL, "still unread: a worker holds a lease on it");
    }
    Ok(Exit::OK)
}

/// The messages of one thread that `agent` may see, in order.
fn thread(conn: &Connection, agent: &str, message: &Message) -> Done<Vec<Message>> {
    let root = message.thread.clone().unwrap_or_else(|| message.id.clone());
    let mut rows = conn.prepare(
        "SELECT * FROM messages WHERE (thread_id = ?1 OR id = ?1) AND (to_agent = ?2 OR from_agent = ?2)
         ORDER BY seq, rowid",
    )?;
    Ok(rows.query_map([&root, agent], Message::read)?.collect::<Result<_, _>>()?)
}

/// The agent, its unread messages, and how many are of whom.
type Counted = (String, i64, Vec<(String, i64)>);

fn counted(app: &App) -> Done<Counted> {
    let mut db = app.write_or_read()?;
    let me = look(app, &mut db)?;
    let sql =
        format!("SELECT from_agent, count(*) FROM messages WHERE {AVAILABLE} GROUP BY 1 ORDER BY 2 DESC, 1");
    let mut rows = db.conn().prepare(&sql)?;
    let by_sender = rows
        .query_map(params![me, time::now_ms()], |row| {
            Ok((agor_common::mail::text(row.get_ref(0)?).0, row.get::<_, i64>(1)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    Ok((me, by_sender.iter().map(|(_, count)| count).sum(), by_sender))
}

fn senders(by_sender: &[(String, i64)]) -> Vec<Value> {
    by_sender.iter().map(|(from, count)| json!({ "from": from, "unread": count })).collect()
}

/// Counts unread messages.
pub fn unread(app: &mut App) -> Done<Exit> {
    let (me, total, by_sender) = counted(app)?;
    if app.json {
        app.object(&json!({ "agent": me, "unread": total, "senders": senders(&by_sender) }))?;
    } else {
        app.line(total.to_string())?;
    }
    Ok(Exit::OK)
}

/// One line for a prompt or a hook, nothing where there is nothing.
pub fn notify(app: &mut App) -> Done<Exit> {
    let (me, total, by_sender) = counted(app)?;
    if total == 0 {
        return Ok(Exit::OK);
    }
    if app.json {
        app.object(&json!({ "agent": me, "unread": total, "senders": senders(&by_sender) }))?;
        return Ok(Exit::OK);
    }
    let mut names: Vec<String> = by_sender
        .iter()
        .take(3)
        .map(|(from, count)| {
            let from = text::single_line(from);
            if *count > 1 { format!("{from} ({count})") } else { from }
        })
        .collect();
    if by_sender.len() > 3 {
        names.push(format!("{} others", by_sender.len() - 3));
    }
    let word = if total == 1 { "message" } else { "messages" };
    app.line(format!("{total} unread {word} from {}: btmsg inbox", names.join(", ")))?;
    Ok(Exit::OK)
}
