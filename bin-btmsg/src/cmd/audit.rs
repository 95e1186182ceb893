//! `audit`: the trail, and whether it is whole.

use agor_common::db::Db;
use agor_common::db::rusqlite::params;
use agor_common::mail::audit::{self, Entry};
use agor_common::{Exit, text, time};
use serde_json::{Value, json};

use super::watch::Opened;
use crate::app::{self, App, Done};
use crate::cli;
use crate::error::Error;
use crate::show;

/// How often `--follow` looks.
const FOLLOW: std::time::Duration = std::time::Duration::from_millis(500);

/// Shows the trail.
pub fn audit(app: &mut App, args: &cli::Audit) -> Done<Exit> {
    if let Some(cli::AuditAction::Verify) = args.action {
        return verify(app);
    }
    let mut file = Opened::now(app);
    let mut db = app.read()?;
    let known = "SELECT 1 FROM audit_log WHERE agent_id = ?1";
    let agent = app::filter(db.conn(), args.agent.as_deref(), known)?;
    let mut found = db
        .conn()
        .prepare(
            "SELECT * FROM audit_log WHERE (?1 IS NULL OR agent_id = ?1) AND (?2 IS NULL OR event_type = ?2)
                 AND (?3 IS NULL OR coalesce(at_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000) >= ?3)
             ORDER BY id DESC LIMIT ?4",
        )?
        .query_map(params![agent, args.event, args.since, args.limit], audit::entry)?
        .collect::<Result<Vec<_>, _>>()?;
    found.reverse();
    let mut last = newest(&db)?;
    for entry in &found {
        print(app, entry)?;
    }
    app.out.flush()?;
    if !args.follow {
        return Ok(Exit::OK);
    }
    loop {
        std::thread::sleep(FOLLOW);
        if file.is_another(app, "audit")? {
            db = app.read()?;
            last = last.min(newest(&db)?);
        }
        for entry in after(&db, last)? {
            last = entry.id;
            let mine = agent.as_ref().is_none_or(|agent| *agent == entry.agent)
                && args.event.as_ref().is_none_or(|event| *event == entry.event);
            if mine {
                print(app, &entry)?;
            }
        }
        app.out.flush()?;
    }
}

fn newest(db: &Db) -> Done<i64> {
    Ok(db.conn().query_row("SELECT coalesce(max(id), 0) FROM audit_log", [], |row| row.get(0))?)
}

fn after(db: &Db, last: i64) -> Done<Vec<Entry>> {
    let mut rows =
        db.conn().prepare_cached("SELECT * FROM audit_log WHERE id > ?1 ORDER BY id LIMIT 1000")?;
    Ok(rows.query_map([last], audit::entry)?.collect::<Result<_, _>>()?)
}

/// A row as JSON without its schema; a detail that is no JSON (an older client's) is a string.
pub fn json_of(entry: &Entry) -> Value {
    let detail = serde_json::from_str(&entry.detail).unwrap_or_else(|_| Value::String(entry.detail.clone()));
    json!({
        "id": entry.id, "at": time::rfc3339_ms(entry.at_ms), "agent": entry.agent, "event": entry.event,
        "detail": detail,
    })
}

fn print(app: &mut App, entry: &Entry) -> Done {
    if app.json {
        return app.object(&json_of(entry));
    }
    let agent = if entry.agent.is_empty() { "operator" } else { &entry.agent };
    let line = text::single_line(&format!(
        "{:>6}  {}  {agent}  {}  {}",
        entry.id,
        time::rfc3339_ms(entry.at_ms),
        entry.event,
        entry.detail
    ));
    app.line(show::cut(&line, show::width(&app.out)))
}

fn verify(app: &mut App) -> Done<Exit> {
    let db = app.read()?;
    let verdict = audit::verify(db.conn())?;
    drop(db);
    let broken = verdict.broken.as_ref().map(|(id, why)| json!({ "id": id, "why": why }));
    if app.json {
        app.object(&json!({
            "ok": verdict.broken.is_none(), "verified": verdict.verified, "unsealed": verdict.unsealed,
            "broken": broken,
        }))?;
    }
    if let Some((id, why)) = verdict.broken {
        if app.json {
            return Ok(Exit::NEGATIVE);
        }
        return Err(Error::Negative(format!("audit verify: row {id}: {why}")));
    }
    if !app.json {
        let rest = match verdict.unsealed {
            0 => String::new(),
            n => format!(", {n} of older clients not sealed yet"),
        };
        app.line(format!("{} rows verified{rest}", verdict.verified))?;
    }
    Ok(Exit::OK)
}
