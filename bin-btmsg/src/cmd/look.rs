//! `history`, `feed`, `search`.

use agor_common::db::Db;
use agor_common::db::rusqlite::{Connection, ToSql, params};
use agor_common::mail::messages::{self, Message};
use agor_common::{Exit, time};
use serde_json::{Value, json};

use super::inbox::{Whose, listing};
use crate::app::{self, App, Done};
use crate::error::Error;
use crate::{cli, send, show};

/// Messages that the search index catches up with in one transaction: the write lock is held meanwhile.
const CATCH_UP: usize = 500;

fn print(app: &mut App, key: &str, found: &[Message]) -> Done<Exit> {
    let now = time::now_ms();
    if app.json {
        let all: Vec<Value> = found.iter().map(|message| show::message(message, now)).collect();
        app.object(&json!({ key: all }))?;
    } else if !found.is_empty() {
        app.line(listing(app, found, now, Whose::Anybodys))?;
    }
    Ok(Exit::OK)
}

/// The newest messages between the speaker and an agent, or of that agent for an operator; oldest of them first.
pub fn history(app: &mut App, args: &cli::History) -> Done<Exit> {
    let db = app.read()?;
    let other = app::find(db.conn(), &args.agent)?.id;
    let me = match app.me() {
        Ok(_) => Some(app.my_row(db.conn())?.id),
        Err(_) => None,
    };
    let before = match &args.before {
        Some(typed) => send::find_message(db.conn(), typed)?.seq,
        None => i64::MAX,
    };
    let mut found = match me {
        Some(me) => between(db.conn(), &me, &other, before, args.limit)?,
        None => of_one(db.conn(), &other, before, args.limit)?,
    };
    drop(db);
    found.reverse();
    print(app, "messages", &found)
}

/// The newest of two, newest first: each direction is one stretch of the index on senders, read from its end.
pub const BETWEEN: &str = "
    SELECT * FROM (SELECT *, rowid AS place FROM messages WHERE from_agent = ?1 AND to_agent = ?2 AND seq < ?3
                   ORDER BY seq DESC, rowid DESC LIMIT ?4)
    UNION ALL
    SELECT * FROM (SELECT *, rowid AS place FROM messages WHERE from_agent = ?2 AND to_agent = ?1 AND ?1 <> ?2
                   AND seq < ?3 ORDER BY seq DESC, rowid DESC LIMIT ?4)
    ORDER BY seq DESC, place DESC LIMIT ?4";

fn between(conn: &Connection, me: &str, other: &str, before: i64, limit: u32) -> Done<Vec<Message>> {
    let mut rows = conn.prepare(BETWEEN)?;
    Ok(rows.query_map(params![me, other, before, limit], Message::read)?.collect::<Result<_, _>>()?)
}

/// The newest that one agent sent or got, newest first.
fn of_one(conn: &Connection, agent: &str, before: i64, limit: u32) -> Done<Vec<Message>> {
    let among = |table: &str| -> Done<Vec<Message>> {
        let sql = format!(
            "SELECT * FROM {table} WHERE seq < ?2 AND (from_agent = ?1 OR to_agent = ?1)
             ORDER BY seq DESC, place DESC LIMIT ?3"
        );
        let mut rows = conn.prepare(&sql)?;
        Ok(rows.query_map(params![agent, before, limit], Message::read)?.collect::<Result<_, _>>()?)
    };
    // A busy one is found among the newest messages, without sorting all of its own.
    let found = among(
        "(SELECT *, rowid AS place FROM messages WHERE seq < ?2 ORDER BY seq DESC, rowid DESC LIMIT 5000)",
    )?;
    if found.len() == limit as usize {
        return Ok(found);
    }
    among("(SELECT *, rowid AS place FROM messages)")
}

/// The newest messages of the speaker's group, or of all for an operator; oldest of them first.
pub fn feed(app: &mut App, args: &cli::Feed) -> Done<Exit> {
    let db = app.read()?;
    let group = match app.me() {
        Ok(_) => Some(app.my_row(db.conn())?.group),
        Err(_) => None,
    };
    let mut found = db
        .conn()
        .prepare(
            "SELECT * FROM messages WHERE ?1 IS NULL OR group_id = ?1 OR sender_group_id = ?1
             ORDER BY seq DESC, rowid DESC LIMIT ?2",
        )?
        .query_map(params![group, args.limit], Message::read)?
        .collect::<Result<Vec<_>, _>>()?;
    drop(db);
    found.reverse();
    print(app, "messages", &found)
}

/// Full-text search in what the speaker sent and got, or in everything for an operator.
pub fn search(app: &mut App, args: &cli::Search) -> Done<Exit> {
    let mut db = app.write_or_read()?;
    catch_up(&mut db)?;
    let me = match app.me() {
        Ok(_) => Some(app.my_row(db.conn())?.id),
        Err(_) => None,
    };
    let from = args.from.as_deref().map(|typed| app::find(db.conn(), typed)).transpose()?.map(|from| from.id);
    let query = query(&args.query.join(" "));
    if query.is_empty() {
        return Err(Error::Usage("search: there is no word in it".into()));
    }
    let parameters: [&dyn ToSql; 5] = [&query, &me, &from, &args.since, &args.limit];
    let found = db
        .conn()
        .prepare(
            "SELECT messages.* FROM messages_fts JOIN messages ON messages.seq = messages_fts.rowid
             WHERE messages_fts MATCH ?1
                 AND (?2 IS NULL OR to_agent = ?2 OR from_agent = ?2)
                 AND (?3 IS NULL OR from_agent = ?3) AND (?4 IS NULL OR coalesce(sent_ms, 0) >= ?4)
             ORDER BY messages_fts.rank, messages.seq DESC LIMIT ?5",
        )?
        .query_map(parameters, Message::read)?
        .collect::<Result<Vec<_>, _>>()?;
    drop(db);
    print(app, "messages", &found)?;
    if found.is_empty() {
        if app.json {
            return Ok(Exit::NEGATIVE);
        }
        return Err(Error::Negative(format!("search: nothing matches {query}")));
    }
    Ok(Exit::OK)
}

/// What was typed as an FTS5 expression: every word a quoted string, so that no character has a meaning of
/// its own; `"…"` stays a phrase, `word*` a beginning.
fn query(typed: &str) -> String {
    let mut terms = Vec::new();
    for (at, part) in typed.split('"').enumerate() {
        if at % 2 == 1 {
            terms.push(format!("\"{part}\""));
            continue;
        }
        for word in part.split_whitespace() {
            match word.strip_suffix('*') {
                Some(start) => terms.push(format!("\"{start}\"*")),
                None => terms.push(format!("\"{word}\"")),
            }
        }
    }
    terms.retain(|term| term.chars().any(char::is_alphanumeric));
    terms.join(" ")
}

/// Indexes messages of older clients, which know no index. Where the file may only be read, they are missed.
fn catch_up(db: &mut Db) -> Done {
    loop {
        let missing: bool =
            db.conn().query_row("SELECT EXISTS (SELECT 1 FROM messages WHERE indexed = 0)", [], |row| {
                row.get(0)
            })?;
        if !missing || db.conn().is_readonly("main")? {
            return Ok(());
        }
        db.write(|tx| -> Done {
            let found = tx
                .prepare("SELECT * FROM messages WHERE indexed = 0 ORDER BY seq LIMIT ?1")?
                .query_map([i64::try_from(CATCH_UP).unwrap_or(i64::MAX)], Message::read)?
                .collect::<Result<Vec<_>, _>>()?;
            for message in found {
                // Two messages with one place in the order share its row in the index: the text of both.
                let known: bool = tx.query_row(
                    "SELECT EXISTS (SELECT 1 FROM messages WHERE seq = ?1 AND indexed = 1)",
                    [message.seq],
                    |row| row.get(0),
                )?;
                if message.encoding.is_none() && !known {
                    messages::index(tx, message.seq, message.subject.as_deref(), &message.body)?;
                }
                tx.execute("UPDATE messages SET indexed = 1 WHERE id = ?1", [&message.id])?;
            }
            Ok(())
        })?;
    }
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn nothing_typed_is_an_operator() {
        assert_eq!(query("build failed"), "\"build\" \"failed\"");
        assert_eq!(query("\"the build\" fai*"), "\"the build\" \"fai\"*");
        assert_eq!(query("a AND b: (x) -y"), "\"a\" \"AND\" \"b:\" \"(x)\" \"-y\"");
        assert_eq!(query("\"open"), "\"open\"");
        assert_eq!(query("*** \" -"), "");
    }
}
