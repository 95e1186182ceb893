//! `watch`: messages as they arrive, without a lease.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use agor_common::Exit;
use agor_common::db::Db;
use agor_common::db::rusqlite::params;
use agor_common::mail::messages::{self, Message};
use agor_common::mail::value;
use agor_common::{text, time};
use serde_json::json;

use super::inbox::arrive;
use crate::app::{self, App, Done};
use crate::error::Error;
use crate::receive::{self, AVAILABLE};
use crate::{cli, show, wake};

/// Which file is open: on a database that was replaced by another nobody must wait.
pub struct Opened(Option<(u64, u64)>);

impl Opened {
    /// Of the file that is there now; asked for before it is opened.
    pub fn now(app: &App) -> Opened {
        Opened(std::fs::metadata(app.path()).ok().map(|meta| (meta.dev(), meta.ino())))
    }

    /// Whether there is another file now, which is to be opened. `what` for an error: there is none any more.
    pub fn is_another(&mut self, app: &App, what: &str) -> Done<bool> {
        let now = Opened::now(app).0;
        if now.is_none() {
            return Err(Error::Unavailable(format!("{what} {}: the database is gone", app.path().display())));
        }
        Ok(std::mem::replace(&mut self.0, now) != now)
    }
}

/// Prints what is unread, then what arrives. At least once: with `--ack` a message is marked read only when
/// it is out, so that one that was printed just before a kill is printed again.
pub fn watch(app: &mut App, args: &cli::Watch) -> Done<Exit> {
    let until = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut file = Opened::now(app);
    let mut db = app.write_or_read()?;
    let me = arrive(app, &mut db)?;
    let mut waiter = wake::Waiter::new(&me);
    // Shown in this run already. What is acknowledged elsewhere leaves the inbox and with it this set.
    let mut shown = HashSet::new();
    let mut printed = 0;
    loop {
        let unread = unread(&db, &me)?;
        let present: HashSet<&str> = unread.iter().map(String::as_str).collect();
        shown.retain(|id: &String| present.contains(id.as_str()));
        for id in &unread {
            if shown.contains(id) {
                continue;
            }
            // Read one by one: there may be many, and large ones. What was deleted meanwhile is not shown.
            let Some(message) = messages::get(db.conn(), id)? else { continue };
            print(app, &message)?;
            printed += 1;
            if args.ack {
                acknowledge(&mut db, &me, &message)?;
            }
            shown.insert(message.id);
            if args.max.is_some_and(|max| printed >= max) {
                return Ok(Exit::OK);
            }
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Exit::OK);
        }
        waiter.wait(until, receive::due(db.conn(), &me, time::now_ms())?);
        if file.is_another(app, "watch")? {
            db = app.write_or_read()?;
        }
        db.check_log()?;
    }
}

/// The ids of all that is unread, in order.
fn unread(db: &Db, me: &str) -> Done<Vec<String>> {
    let sql = format!("SELECT id FROM messages WHERE {AVAILABLE} ORDER BY priority DESC, seq");
    let mut rows = db.conn().prepare_cached(&sql)?;
    Ok(rows
        .query_map(params![me, time::now_ms()], |row| value::string(row, "id"))?
        .collect::<Result<_, _>>()?)
}

fn print(app: &mut App, message: &Message) -> Done {
    let now = time::now_ms();
    if app.json {
        let body = show::message(message, now);
        return app.object(&body);
    }
    let from = text::single_line(&message.from);
    app.line(format!("{} {from}: {}", time::rfc3339_ms(message.sent_ms), show::preview(message, 2000)))?;
    Ok(app.out.flush()?)
}

fn acknowledge(db: &mut Db, me: &str, message: &Message) -> Done {
    db.write(|tx| -> Done {
        let done = tx.execute(
            "UPDATE messages SET read = 1, acked_ms = ?2 WHERE id = ?1 AND read = 0 AND coalesce(lease_until_ms, 0) <= ?2",
            params![message.id, time::now_ms()],
        )?;
        if done > 0 {
            app::audit(tx, me, "read", &json!({ "ids": [message.id] }))?;
        }
        Ok(())
    })
}
