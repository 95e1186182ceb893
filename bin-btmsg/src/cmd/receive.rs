//! `recv`, `ack`, `nack`, `extend`.

use std::time::Instant;

use agor_common::mail::messages::Message;
use agor_common::{Exit, output, telemetry, time};
use serde_json::json;

use super::inbox::arrive;
use super::watch::Opened;
use crate::app::{self, App, Done};
use crate::error::Error;
use crate::receive::{self, Action, Leased};
use crate::{TOOL, cli, clock, show, wake};

/// Takes messages under a lease; with `--wait` sleeps until there are some.
pub fn recv(app: &mut App, args: &cli::Recv) -> Done<Exit> {
    let until = args.wait.map(|wait| Instant::now() + wait);
    let lease_ms = app::millis(args.lease.unwrap_or(app.config.lease));
    if lease_ms == 0 {
        return Err(Error::Usage("--lease: it must be longer than nothing".into()));
    }
    let mut db = app.write()?;
    let mut file = Opened::now(app);
    let me = arrive(app, &mut db)?;
    let max_deliveries = app.config.max_deliveries;
    let mut waiter = until.map(|_| wake::Waiter::new(&me));
    let taken = loop {
        if clock::is_other(db.conn())? {
            db.write(|tx| clock::keep(tx, &me))?;
        }
        let now = time::now_ms();
        // Looking costs no lock; only what can be had is taken in a transaction.
        if waiter.is_none() || any(&db, &me, now)? {
            let (taken, dead) = db.write(|tx| -> Done<_> {
                clock::keep(tx, &me)?;
                receive::lease(tx, &me, args.max, now, now.saturating_add(lease_ms), max_deliveries)
            })?;
            for message in &dead {
                output::notice(
                    TOOL,
                    &format!("dead letter: {} was leased {} times", message.id, message.deliveries),
                );
            }
            if !taken.is_empty() {
                break taken;
            }
        }
        let Some(waiter) = &mut waiter else {
            return Err(Error::Negative("recv: no messages".into()));
        };
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Error::Deadline("recv: no messages came in time".into()));
        }
        waiter.wait(until, receive::due(db.conn(), &me, now)?);
        if file.is_another(app, "recv")? {
            db = app.write()?;
        }
        db.check_log()?;
    };
    // Two writes and no lock between them: printing may block for as long as its reader likes.
    for (at, leased) in taken.iter().enumerate() {
        let span = receive_span(&leased.message);
        let _entered = span.enter();
        print(app, leased, at > 0)?;
    }
    app.out.flush()?;
    if args.ack {
        db.write(|tx| -> Done {
            let now = time::now_ms();
            for leased in &taken {
                receive::settle(tx, &me, &leased.message.id, Some(&leased.token), Action::Ack, now)?;
            }
            let ids: Vec<&str> = taken.iter().map(|leased| leased.message.id.as_str()).collect();
            app::audit(tx, &me, "ack", &json!({ "ids": ids }))?;
            Ok(())
        })?;
    }
    Ok(Exit::OK)
}

fn any(db: &agor_common::db::Db, me: &str, now: i64) -> Done<bool> {
    let sql = format!("SELECT EXISTS (SELECT 1 FROM messages WHERE {})", receive::AVAILABLE);
    Ok(db
        .conn()
        .prepare_cached(&sql)?
        .query_row(agor_common::db::rusqlite::params![me, now], |row| row.get(0))?)
}

/// The receiver's span, linked to the sender's, and its child where the receiver has no trace of its own.
pub fn receive_span(message: &Message) -> tracing::Span {
    let span = tracing::info_span!(
        "btmsg.receive",
        otel.kind = "consumer",
        messaging.system = "btmsg",
        messaging.operation.name = "receive",
        messaging.operation.r#type = "receive",
        messaging.destination.name = message.to.as_str(),
        messaging.message.id = message.id.as_str(),
        messaging.message.body.size = message.body.len(),
    );
    telemetry::received_from(&span, message.traceparent.as_deref());
    span
}

fn print(app: &mut App, leased: &Leased, follows: bool) -> Done {
    let now = time::now_ms();
    if app.json {
        let mut body = show::message(&leased.message, now);
        body["token"] = json!(leased.token);
        return app.object(&body);
    }
    if follows {
        app.line("")?;
    }
    let whole = show::whole(&leased.message, now);
    app.line(whole.replacen("\n\n", &format!("\ntoken:    {}\n\n", leased.token), 1))
}

/// Acknowledges.
pub fn ack(app: &mut App, args: &cli::Ack) -> Done<Exit> {
    settle(app, &args.ids, args.token.as_deref(), Action::Ack)
}

/// Gives back.
pub fn nack(app: &mut App, args: &cli::Nack) -> Done<Exit> {
    let at = args.delay.map_or(0, |delay| time::now_ms().saturating_add(app::millis(delay)));
    settle(app, &args.ids, args.token.as_deref(), Action::Nack(at))
}

/// Holds on.
pub fn extend(app: &mut App, args: &cli::Extend) -> Done<Exit> {
    let lease = args.lease.unwrap_or(app.config.lease);
    let until = time::now_ms().saturating_add(app::millis(lease));
    settle(app, &args.ids, args.token.as_deref(), Action::Extend(until))
}

/// All of the ids in one transaction, or none of them.
fn settle(app: &mut App, ids: &[String], token: Option<&str>, action: Action) -> Done<Exit> {
    if ids.len() > 1 && token.is_some() {
        return Err(Error::Usage("--token belongs to one message".into()));
    }
    let mut db = app.write()?;
    let me = app.my_row(db.conn())?.id;
    let (event, until) = match action {
        Action::Ack => ("ack", None),
        Action::Nack(at) => ("nack", (at > 0).then_some(at)),
        Action::Extend(until) => ("extend", Some(until)),
    };
    let done = db.write(|tx| -> Done<Vec<String>> {
        clock::keep(tx, &me)?;
        let now = time::now_ms();
        let mut done = Vec::with_capacity(ids.len());
        for typed in ids {
            done.push(receive::settle(tx, &me, typed, token, action, now)?.id);
        }
        app::audit(tx, &me, event, &json!({ "ids": done, "until": show::moment(until) }))?;
        Ok(done)
    })?;
    drop(db);
    if matches!(action, Action::Nack(0)) {
        wake::touch(&me);
    }
    if app.json {
        app.object(&json!({ "ids": done, "action": event, "until": show::moment(until) }))?;
    }
    Ok(Exit::OK)
}
