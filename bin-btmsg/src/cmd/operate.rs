//! `health`, `stats`, `export`, `prune`, `status`.

use agor_common::db::Db;
use agor_common::db::rusqlite::{Connection, ToSql, params};
use agor_common::mail::messages::Message;
use agor_common::mail::{audit, dead};
use agor_common::{Exit, telemetry, text, time};
use serde_json::{Map, Value, json};

use super::audit::json_of;
use crate::app::{self, App, Done};
use crate::error::Error;
use crate::{cli, health, policy, show};

/// Rows that one transaction of `prune` deletes: writers wait meanwhile.
const CHUNK: i64 = 1000;

/// What `export` holds in memory at once: so many rows, and not many more bytes of text.
const PAGE_ROWS: usize = 500;
const PAGE_BYTES: usize = 4 << 20;

/// Shows every agent's state.
pub fn health(app: &mut App, args: &cli::Health) -> Done<Exit> {
    loop {
        let db = app.read()?;
        let mut rows = health::rows(app, db.conn())?;
        drop(db);
        let worst = rows.first().map_or(0, |row| row.score);
        if telemetry::is_on() {
            for row in &rows {
                if let Some(age) = row.presence.age_ms {
                    #[expect(clippy::cast_precision_loss, reason = "an age")]
                    let age = age as f64 / 1000.0;
                    telemetry::gauge(
                        "agor.btmsg.heartbeat.age",
                        "s",
                        age,
                        &[("agent", &row.presence.agent.id)],
                    );
                }
            }
        }
        let total = rows.len();
        rows.truncate(args.top.unwrap_or(usize::MAX));
        if app.json {
            let agents: Vec<Value> = rows.iter().map(health::json).collect();
            app.object(&json!({
                "at": time::now_rfc3339(), "agents": agents, "total": total, "worst_score": worst,
            }))?;
        } else {
            let table = health::table(&rows, show::width(&app.out));
            if args.watch.is_some() && app.out.is_terminal() {
                // Home, and below it everything cleared: no flicker as a full clear would be.
                app.out.bytes(b"\x1b[H\x1b[J")?;
            }
            let colour = app.out.colour();
            // The header, then a line for each row.
            for (line, row) in table.lines().zip(std::iter::once(None).chain(rows.iter().map(Some))) {
                app.line(if colour { health::coloured(line, row) } else { line.to_owned() })?;
            }
        }
        app.out.flush()?;
        if args.fail_at.is_some_and(|limit| worst >= limit) {
            return Ok(Exit::NEGATIVE);
        }
        let Some(every) = args.watch else { return Ok(Exit::OK) };
        std::thread::sleep(every.max(std::time::Duration::from_millis(100)));
    }
}

fn count(conn: &Connection, sql: &str) -> Done<i64> {
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

/// Counts.
pub fn stats(app: &mut App) -> Done<Exit> {
    let db = app.read()?;
    let body = figures(db.conn(), &db)?;
    drop(db);
    if app.json {
        app.object(&body)?;
        return Ok(Exit::OK);
    }
    let mut rows = Vec::new();
    flatten("", &body, &mut rows);
    app.line(show::table(&["WHAT", "NUMBER"], &rows, None))?;
    Ok(Exit::OK)
}

fn flatten(prefix: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix} {key}") };
                flatten(&name, value, rows);
            }
        }
        other => rows.push(vec![prefix.replace('_', " "), other.to_string()]),
    }
}

fn figures(conn: &Connection, db: &Db) -> Done<Value> {
    let now = time::now_ms();
    let grouped = |sql: &str| -> Done<Value> {
        let mut rows = conn.prepare(sql)?;
        let pairs = rows
            .query_map([], |row| Ok((agor_common::mail::text(row.get_ref(0)?).0, row.get::<_, i64>(1)?)))?
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Object(pairs.into_iter().map(|(key, count)| (key, json!(count))).collect::<Map<_, _>>()))
    };
    let leased: i64 = conn.query_row(
        "SELECT count(*) FROM messages WHERE read = 0 AND lease_until_ms > ?1",
        [now],
        |row| row.get(0),
    )?;
    let unread = count(conn, "SELECT count(*) FROM messages WHERE read = 0")?;
    let size = |suffix: &str| {
        let mut name = db.path().as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |meta| meta.len())
    };
    Ok(json!({
        "agents": grouped("SELECT coalesce(status, 'stopped'), count(*) FROM agents GROUP BY 1")?,
        "messages": {
            "total": count(conn, "SELECT count(*) FROM messages")?, "unread": unread, "leased": leased,
        },
        "dead_letters": {
            "waiting": count(conn, "SELECT count(*) FROM dead_letter_queue WHERE redriven_ms IS NULL AND purged_ms IS NULL")?,
            "total": count(conn, "SELECT count(*) FROM dead_letter_queue")?,
            "by_reason": grouped("SELECT coalesce(reason, 'none'), count(*) FROM dead_letter_queue
                WHERE redriven_ms IS NULL AND purged_ms IS NULL GROUP BY 1")?,
        },
        "channels": count(conn, "SELECT count(*) FROM channels")?,
        "audit_rows": count(conn, "SELECT count(*) FROM audit_log")?,
        "database_bytes": size(""), "wal_bytes": size("-wal"),
    }))
}

/// Writes everything as NDJSON: one object a line, its kind in `type`.
pub fn export(app: &mut App, args: &cli::Export) -> Done<Exit> {
    let db = app.read()?;
    let wanted = |kind: cli::Kind| args.only.is_none_or(|only| only == kind);
    let since = args.since.unwrap_or(i64::MIN);
    if wanted(cli::Kind::Agents) {
        pages(
            app,
            &db,
            "agent",
            "SELECT rowid AS page, * FROM agents WHERE rowid > ?1 AND ?2 = ?2",
            since,
            plain,
        )?;
        pages(
            app,
            &db,
            "contact",
            "SELECT rowid AS page, * FROM contacts WHERE rowid > ?1 AND ?2 = ?2",
            since,
            plain,
        )?;
        pages(
            app,
            &db,
            "heartbeat",
            "SELECT rowid AS page, * FROM heartbeats WHERE rowid > ?1 AND ?2 = ?2",
            since,
            plain,
        )?;
    }
    if wanted(cli::Kind::Channels) {
        pages(
            app,
            &db,
            "channel",
            "SELECT rowid AS page, * FROM channels WHERE rowid > ?1 AND ?2 = ?2",
            since,
            plain,
        )?;
        pages(
            app,
            &db,
            "channel_member",
            "SELECT rowid AS page, * FROM channel_members WHERE rowid > ?1 AND ?2 = ?2",
            since,
            plain,
        )?;
        pages(
            app,
            &db,
            "channel_message",
            "SELECT rowid AS page, * FROM channel_messages WHERE rowid > ?1
                 AND coalesce(sent_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) >= ?2",
            since,
            plain,
        )?;
    }
    if wanted(cli::Kind::Messages) {
        pages(
            app,
            &db,
            "message",
            "SELECT rowid AS page, * FROM messages WHERE rowid > ?1
                 AND coalesce(sent_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) >= ?2",
            since,
            |row| Ok(show::message(&Message::read(row)?, time::now_ms())),
        )?;
    }
    if wanted(cli::Kind::DeadLetters) {
        pages(
            app,
            &db,
            "dead_letter",
            "SELECT rowid AS page, * FROM dead_letter_queue WHERE rowid > ?1
                 AND coalesce(dead_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) >= ?2",
            since,
            |row| Ok(show::letter(&dead::Letter::read(row)?)),
        )?;
    }
    if wanted(cli::Kind::Audit) {
        pages(
            app,
            &db,
            "audit",
            "SELECT rowid AS page, * FROM audit_log WHERE rowid > ?1
                 AND coalesce(at_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) >= ?2",
            since,
            |row| Ok(json_of(&audit::entry(row)?)),
        )?;
    }
    Ok(Exit::OK)
}

type Row<'a> = agor_common::db::rusqlite::Row<'a>;

/// A row as it is; text that is no UTF-8 with replacement characters.
fn plain(row: &Row<'_>) -> agor_common::db::rusqlite::Result<Value> {
    use agor_common::db::rusqlite::types::ValueRef;
    let mut object = Map::new();
    for (at, name) in row.as_ref().column_names().enumerate() {
        let value = match row.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(n) => json!(n),
            ValueRef::Real(n) => json!(n),
            other => json!(agor_common::mail::text(other).0),
        };
        if name != "page" {
            object.insert(name.to_owned(), value);
        }
    }
    Ok(Value::Object(object))
}

/// Prints the rows in pages, each read whole before it is written: a slow reader of ours keeps no snapshot
/// open, which would keep checkpoints from finishing.
fn pages(
    app: &mut App,
    db: &Db,
    kind: &str,
    sql: &str,
    since: i64,
    value: impl Fn(&Row<'_>) -> agor_common::db::rusqlite::Result<Value>,
) -> Done {
    let sql = format!("{sql} ORDER BY rowid");
    let mut last = i64::MIN;
    loop {
        let mut page = Vec::new();
        let mut bytes = 0;
        {
            let mut statement = db.conn().prepare_cached(&sql)?;
            let mut rows = statement.query(params![last, since])?;
            while page.len() < PAGE_ROWS && bytes < PAGE_BYTES {
                let Some(row) = rows.next()? else { break };
                last = row.get("page")?;
                bytes += row
                    .get_ref("content")
                    .ok()
                    .and_then(|text| text.as_bytes_or_null().ok()?)
                    .map_or(0, <[u8]>::len);
                page.push(value(row)?);
            }
        }
        if page.is_empty() {
            return Ok(());
        }
        for mut object in page {
            object["type"] = json!(kind);
            app.object(&object)?;
        }
    }
}

/// Deletes what is old and done with.
pub fn prune(app: &mut App, args: &cli::Prune) -> Done<Exit> {
    let keep = args.older_than.unwrap_or(app.config.keep);
    let before = time::now_ms().saturating_sub(app::millis(keep));
    let speaker = app.speaker().to_owned();
    let mut db = if args.dry_run { app.read()? } else { app.write()? };
    policy::require_manager(db.conn(), &speaker, "prune")?;
    // Unread mail, whatever its age, stays; so does every dead letter that waits.
    let age = "coalesce(sent_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) < ?1";
    let kinds: [(&str, &str, String); 4] = [
        ("messages", "messages", format!("read <> 0 AND coalesce(acked_ms, 0) < ?1 AND {age}")),
        ("channel_messages", "channel_messages", age.to_owned()),
        ("dead_letters", "dead_letter_queue", format!("(redriven_ms < ?1 OR purged_ms < ?1) AND {age}")),
        ("dedup_keys", "dedup", "at_ms < ?1".to_owned()),
    ];
    let mut removed = Map::new();
    for (name, table, condition) in &kinds {
        removed.insert((*name).to_owned(), json!(remove(&mut db, table, condition, before, args.dry_run)?));
    }
    let audit_rows = if args.dry_run {
        db.conn().query_row(
            "SELECT count(*) FROM audit_log
             WHERE coalesce(at_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000, 0) < ?1",
            [before],
            |row| row.get::<_, i64>(0),
        )?
    } else {
        db.write(|tx| -> Done<i64> {
            let rows = audit::prune(tx, before)?;
            let detail =
                json!({ "removed": removed, "audit_rows": rows, "before": time::rfc3339_ms(before) });
            app::audit(tx, &speaker, "prune", &detail)?;
            Ok(i64::try_from(rows).unwrap_or(i64::MAX))
        })?
    };
    removed.insert("audit_rows".into(), json!(audit_rows));
    let pages = count(db.conn(), "PRAGMA freelist_count")?;
    let page_size = count(db.conn(), "PRAGMA page_size")?;
    drop(db);
    if app.json {
        app.object(&json!({
            "removed": removed, "dry_run": args.dry_run, "before": time::rfc3339_ms(before),
            "free_bytes": pages * page_size,
        }))?;
        return Ok(Exit::OK);
    }
    let word = if args.dry_run { "would be removed" } else { "removed" };
    for (name, count) in &removed {
        app.line(format!("{count} {} {word}", name.replace('_', " ")))?;
    }
    app.line(format!("{} bytes of the file are free for new rows", pages * page_size))?;
    Ok(Exit::OK)
}

fn remove(db: &mut Db, table: &str, condition: &str, before: i64, dry_run: bool) -> Done<i64> {
    if dry_run {
        let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
        return Ok(db.conn().query_row(&sql, [before], |row| row.get(0))?);
    }
    // `dedup` has no rowid; its key serves.
    let key = if table == "dedup" { "(from_agent, key)" } else { "rowid" };
    let columns = key.trim_matches(|c| c == '(' || c == ')');
    let mut total = 0;
    loop {
        let done = db.write(|tx| -> Done<i64> {
            if table == "messages" {
                // The text leaves the search index with the last message that has it.
                tx.execute(
                    &format!(
                        "DELETE FROM messages_fts WHERE rowid IN (
                             SELECT seq FROM messages AS gone WHERE indexed = 1 AND rowid IN
                                 (SELECT rowid FROM messages WHERE {condition} LIMIT ?2)
                             AND NOT EXISTS (SELECT 1 FROM messages AS other WHERE other.seq = gone.seq
                                 AND other.rowid <> gone.rowid)
                             AND NOT EXISTS (SELECT 1 FROM dead_letter_queue AS other WHERE other.seq = gone.seq
                                 AND other.redriven_ms IS NULL AND other.purged_ms IS NULL))"
                    ),
                    [&before as &dyn ToSql, &CHUNK],
                )?;
            }
            if table == "dead_letter_queue" {
                tx.execute(
                    &format!(
                        "DELETE FROM messages_fts WHERE rowid IN (
                             SELECT seq FROM dead_letter_queue AS gone WHERE indexed = 1 AND id IN
                                 (SELECT id FROM dead_letter_queue WHERE {condition} LIMIT ?2)
                             AND NOT EXISTS (SELECT 1 FROM messages AS other WHERE other.seq = gone.seq)
                             AND NOT EXISTS (SELECT 1 FROM dead_letter_queue AS other WHERE other.seq = gone.seq
                                 AND other.redriven_ms IS NULL AND other.purged_ms IS NULL))"
                    ),
                    [&before as &dyn ToSql, &CHUNK],
                )?;
            }
            let sql = format!(
                "DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE {condition} LIMIT ?2)"
            );
            Ok(i64::try_from(tx.execute(&sql, [before, CHUNK])?).unwrap_or(i64::MAX))
        })?;
        total += done;
        if done < CHUNK {
            return Ok(total);
        }
    }
}

/// The database, the agents and their mail at a glance.
pub fn status(app: &mut App, args: &cli::Status) -> Done<Exit> {
    let db = app.read()?;
    let problems = if args.check { check(db.conn())? } else { Vec::new() };
    let mut body = figures(db.conn(), &db)?;
    let rows = health::rows(app, db.conn())?;
    let path = db.path().display().to_string();
    drop(db);
    if app.json {
        body["path"] = json!(path);
        body["agent_list"] = rows
            .iter()
            .map(|row| {
                json!({ "id": row.presence.agent.id, "state": row.state.word(), "unread": row.unread,
                    "dead_letters": row.dead })
            })
            .collect();
        if args.check {
            body["problems"] = json!(problems);
        }
        app.object(&body)?;
    } else {
        app.line(format!("database:  {}", text::single_line(&path)))?;
        app.line(format!(
            "messages:  {} ({} unread), dead letters: {} waiting",
            body["messages"]["total"], body["messages"]["unread"], body["dead_letters"]["waiting"]
        ))?;
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                vec![
                    row.presence.agent.id.clone(),
                    row.presence.agent.role.clone(),
                    row.state.word().to_owned(),
                    row.unread.to_string(),
                    row.dead.to_string(),
                ]
            })
            .collect();
        let width = show::width(&app.out);
        app.line(show::table(&["AGENT", "ROLE", "STATE", "UNREAD", "DEAD"], &cells, width))?;
    }
    if problems.is_empty() {
        return Ok(Exit::OK);
    }
    Err(Error::Data(format!("{path}: damaged: {}", problems.join("; "))))
}

/// What `PRAGMA integrity_check` finds, at most 20 lines.
pub fn check(conn: &Connection) -> Done<Vec<String>> {
    let mut rows = conn.prepare("PRAGMA integrity_check(20)")?;
    let mut lines = Vec::new();
    for line in rows.query_map([], |row| row.get::<_, String>(0))? {
        match line {
            // One text holds what was found in all of the trees, a line each.
            Ok(found) => lines.extend(found.lines().filter(|line| *line != "ok").map(str::to_owned)),
            // It gives up at what it cannot even walk; what it found until then stands.
            Err(error) => {
                lines.push(error.to_string());
                break;
            }
        }
    }
    Ok(lines)
}
