//! `send`, `reply`, and what `channel post` shares with them: bodies, batches, and saying what became of it.

use std::collections::HashSet;
use std::io::{BufRead as _, Read as _};

use agor_common::db::rusqlite::{Connection, Transaction};
use agor_common::mail::agents;
use agor_common::telemetry;
use agor_common::trace_context::Meta;
use agor_common::{Exit, Failure as _, output};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::TOOL;
use crate::app::{self, App, Done};
use crate::cli;
use crate::error::Error;
use crate::send::{self, Draft, Sent};
use crate::{clock, sweep, wake};

/// A line of a batch is sent with as many others as are there already, up to this many.
const CHUNK: usize = 256;
/// At most this many messages are moved by a sweep on the side.
const ASIDE: usize = 200;

/// Sends.
pub fn send(app: &mut App, args: cli::Send) -> Done<Exit> {
    app.me()?;
    let base = Draft {
        thread: args.thread,
        supersedes: args.supersedes,
        allow_unknown: args.allow_unknown,
        ..draft(&args.envelope)
    };
    if args.ndjson {
        return batch(app, &base, &args.envelope, &|line, draft| {
            draft.to = line.to.as_ref().map(Names::list).unwrap_or_default();
            if draft.to.is_empty() { Err("\"to\" is missing".into()) } else { Ok(()) }
        });
    }
    let db = if args.to.is_empty() && args.words.len() > 2 { Some(app.read()?) } else { None };
    let (to, words) = if args.to.is_empty() {
        addresses(args.words, |typed| db.as_ref().is_some_and(|db| app::find(db.conn(), typed).is_ok()))?
    } else {
        (args.to, args.words)
    };
    drop(db);
    let draft = Draft { to, ..body(app, &words, &args.envelope, base)? };
    one(app, &args.envelope, draft)
}

/// Splits `TO… TEXT`. The earlier client's `send TO WORD WORD…` means one recipient and a text of several
/// words, so several recipients are only seen where all words but the last are agents, or the text was
/// quoted as one argument with blanks (or is `-`).
fn addresses(mut words: Vec<String>, is_agent: impl Fn(&str) -> bool) -> Done<(Vec<String>, Vec<String>)> {
    if words.len() < 2 {
        return Err(Error::Usage(match words.first() {
            Some(to) => format!("send to {to}: the text is missing; - reads it from stdin"),
            None => "send: recipient and text are missing".into(),
        }));
    }
    let last = &words[words.len() - 1];
    let quoted = last == "-" || last.contains(char::is_whitespace);
    if words.len() == 2 || quoted || words[..words.len() - 1].iter().all(|word| is_agent(word)) {
        let text = words.split_off(words.len() - 1);
        return Ok((words, text));
    }
    let text = words.split_off(1);
    Ok((words, text))
}

/// Answers.
pub fn reply(app: &mut App, args: cli::Reply) -> Done<Exit> {
    let me = app.me()?.to_owned();
    let base = draft(&args.envelope);
    let answer = |conn: &Connection, draft: &mut Draft| -> Done {
        let agent = app::speaker(conn, &me)?;
        let typed = draft.reply_to.clone().unwrap_or_default();
        let message = send::own_message(conn, &agent, &typed)?;
        // An answer to one's own message goes where that went.
        let to = if message.from == agent.id { message.to } else { message.from };
        // A stored id is nobody's beginning: who is not registered (btmsg itself, for one) reads no answer.
        if agents::get(conn, &to)?.is_none() {
            return Err(Error::NoAgent { typed: to, near: Vec::new() });
        }
        draft.to = vec![to];
        draft.reply_to = Some(message.id);
        Ok(())
    };
    if args.ndjson {
        let db = app.read()?;
        return batch(app, &base, &args.envelope, &|line, draft| {
            draft.reply_to.clone_from(&line.reply_to);
            if draft.reply_to.is_none() {
                return Err("\"reply_to\" is missing".into());
            }
            answer(db.conn(), draft).map_err(|error| error.to_string())
        });
    }
    let mut draft = Draft { reply_to: args.id, ..body(app, &args.words, &args.envelope, base)? };
    answer(app.read()?.conn(), &mut draft)?;
    one(app, &args.envelope, draft)
}

/// What the options say.
pub fn draft(envelope: &cli::Envelope) -> Draft {
    Draft {
        subject: envelope.subject.clone(),
        priority: envelope.priority.number(),
        ttl_ms: envelope.ttl.map(app::millis),
        delay_ms: envelope.delay.map(app::millis),
        dedup_key: envelope.dedup_key.clone(),
        max_deliveries: envelope.max_deliveries,
        require_online: envelope.require_online,
        ..Draft::default()
    }
}

/// Puts the body into `draft`: the words joined with blanks, or stdin for `-`.
pub fn body(app: &App, words: &[String], envelope: &cli::Envelope, draft: Draft) -> Done<Draft> {
    let limit = envelope.max_size.unwrap_or(app.config.max_size);
    let bytes = match words {
        [dash] if dash == "-" => stdin(limit)?,
        words => words.join(" ").into_bytes(),
    };
    fill(draft, bytes, limit, envelope.base64)
}

fn stdin(limit: u64) -> Done<Vec<u8>> {
    let mut bytes = Vec::new();
    let source = std::io::stdin().lock();
    source
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Io { what: "read stdin".into(), source })?;
    Ok(bytes)
}

/// Checks a body: not empty, not too large, and text, unless it is to be base64 encoded.
fn fill(mut draft: Draft, bytes: Vec<u8>, limit: u64, base64: bool) -> Done<Draft> {
    if bytes.is_empty() {
        return Err(Error::Data("send: the body is empty".into()));
    }
    if bytes.len() as u64 > limit {
        return Err(Error::Data(format!("send: the body is larger than {limit} bytes; nothing was sent")));
    }
    let subject = draft.subject.as_deref().unwrap_or_default();
    if subject.len() as u64 > limit {
        return Err(Error::Data(format!("send: the subject is larger than {limit} bytes; nothing was sent")));
    }
    if subject.contains('\0') {
        return Err(Error::Data("send: the subject holds a NUL".into()));
    }
    if base64 {
        draft.body = base64::engine::general_purpose::STANDARD.encode(bytes);
        draft.encoding = Some("base64");
        return Ok(draft);
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Error::Data(format!(
            "send: the body holds a NUL at byte {at}; --base64 sends it as it is"
        )));
    }
    draft.body = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::Data(format!("send: the body is not valid UTF-8 at byte {at}; --base64 sends it as it is"))
    })?;
    Ok(draft)
}

/// Sends one message and says what became of it.
pub fn one(app: &mut App, envelope: &cli::Envelope, draft: Draft) -> Done<Exit> {
    let span = tracing::info_span!(
        "btmsg.send",
        otel.kind = "producer",
        messaging.system = "btmsg",
        messaging.operation.name = "send",
        messaging.operation.r#type = "send",
        messaging.destination.name = tracing::field::Empty,
        messaging.message.id = tracing::field::Empty,
        messaging.message.body.size = draft.body.len(),
    );
    telemetry::parent_from_env(&span);
    let draft = Draft { traceparent: telemetry::traceparent_of(&span), ..draft };
    let entered = span.enter();
    let mut db = app.write()?;
    let (me, stall_s) = (app.me()?.to_owned(), app.stall_s());
    let mut due = false;
    let sent = db.write(|tx| -> Done<Sent> {
        let from = app::speaker(tx, &me)?;
        // A clock that was set makes a sweep due; what is sent now is by the new clock already.
        due = sweep::claim(tx, app)?;
        if due {
            clock::follow(tx, &me)?;
        }
        send::send(tx, &from, &draft, stall_s)
    });
    let sent = match sent {
        Ok(sent) => sent,
        Err(error) => {
            telemetry::set_error(&span, "send", &error.to_string());
            return Err(error);
        }
    };
    if let Some(first) = sent.deliveries.first() {
        span.record("messaging.destination.name", first.to.as_str());
        span.record("messaging.message.id", first.id.as_str());
    }
    let dead = sent.deliveries.iter().filter(|delivery| delivery.dead.is_some()).count();
    if dead > 0 {
        telemetry::set_attribute(&span, "agor.dead_letters", i64::try_from(dead).unwrap_or(i64::MAX));
    }
    drop(entered);
    // Before anything is printed: whoever reads that may take its time.
    wake_all(std::iter::once(&sent));
    say(app, &sent, envelope.dedup_key.as_deref())?;
    if due {
        aside(app, &mut db);
    }
    if app.out.flush().is_ok() {
        db.leave();
    }
    Ok(if sent.is_parked() { Exit::UNAVAILABLE } else { Exit::OK })
}

/// Wakes every recipient once, and counts what was sent.
fn wake_all<'a>(sent: impl Iterator<Item = &'a Sent>) {
    let mut awake = HashSet::new();
    let (mut all, mut dead) = (0, 0);
    for delivery in sent.flat_map(|sent| &sent.deliveries) {
        all += 1;
        if delivery.dead.is_some() {
            dead += 1;
        } else if awake.insert(&delivery.to) {
            wake::touch(&delivery.to);
        }
    }
    if telemetry::is_on() {
        telemetry::count("agor.btmsg.messages.sent", all, &[]);
        if dead > 0 {
            telemetry::count("agor.btmsg.messages.dead_lettered", dead, &[]);
        }
    }
}

/// The sweep that `send` does now and then; its failure is nobody's who sends.
fn aside(app: &App, db: &mut agor_common::db::Db) {
    let swept = db.write(|tx| sweep::sweep(tx, app, app.speaker(), ASIDE));
    match swept {
        Ok(swept) => {
            swept.trace();
            swept.wake.iter().for_each(|agent| wake::touch(agent));
        }
        Err(error) => tracing::info!(error = %error, "sweep on the side failed"),
    }
}

fn say(app: &mut App, sent: &Sent, key: Option<&str>) -> Done {
    if app.json {
        let deliveries: Vec<Value> = sent.deliveries.iter().map(send::Delivery::json).collect();
        let mut body = json!({
            "id": sent.id(), "replayed": sent.replayed, "deliveries": deliveries,
        });
        if sent.post.is_some() {
            return app.object(&body);
        }
        if let (Some(first), true) = (deliveries.first(), deliveries.len() == 1) {
            for field in ["to", "state", "reason", "error", "dead_letter"] {
                body[field] = first[field].clone();
            }
        }
        app.object(&body)?;
    } else {
        print_ids(app, sent)?;
        app.out.flush()?;
    }
    if sent.replayed {
        output::notice(TOOL, &format!("sent before under the key '{}'", key.unwrap_or_default()));
    }
    for delivery in &sent.deliveries {
        if let Some((letter, reason, error)) = &delivery.dead {
            output::error(
                TOOL,
                &format!("not delivered to {}: {error}: dead letter {letter} ({reason})", delivery.to),
                Some(&format!("it is delivered when {} is back; btmsg dlq show {letter}", delivery.to)),
            );
        }
    }
    Ok(())
}

/// A channel's post has one id; of a message, every recipient has one.
fn print_ids(app: &mut App, sent: &Sent) -> Done {
    match &sent.post {
        Some(id) => app.line(id),
        None => sent.deliveries.iter().try_for_each(|delivery| app.line(&delivery.id)),
    }
}

/// `"to": "a"` or `"to": ["a", "b"]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Line {
    /// Whether it names recipients.
    pub fn is_addressed(&self) -> bool {
        self.to.is_some()
    }
}

impl Names {
    fn list(&self) -> Vec<String> {
        match self {
            Names::One(name) => vec![name.clone()],
            Names::Many(names) => names.clone(),
        }
    }
}

/// A line of a batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    to: Option<Names>,
    text: String,
    subject: Option<String>,
    priority: Option<String>,
    ttl_s: Option<f64>,
    delay_s: Option<f64>,
    thread: Option<String>,
    reply_to: Option<String>,
    supersedes: Option<String>,
    dedup_key: Option<String>,
    max_deliveries: Option<i64>,
    encoding: Option<String>,
    /// The trace that the line belongs to, where it brings one along.
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

type Prepare<'a> = dyn Fn(&Line, &mut Draft) -> Result<(), String> + 'a;

/// Sends the NDJSON on stdin: a result line for each line, in order. Lines that are there together share a
/// transaction, each in a savepoint: one that is refused takes no other along.
pub fn batch(app: &mut App, base: &Draft, envelope: &cli::Envelope, prepare: &Prepare<'_>) -> Done<Exit> {
    let span = tracing::info_span!(
        "btmsg.send",
        otel.kind = "producer",
        messaging.system = "btmsg",
        messaging.operation.name = "send",
        messaging.operation.r#type = "send",
        messaging.batch.message_count = tracing::field::Empty,
    );
    telemetry::parent_from_env(&span);
    let _in = span.enter();
    let limit = envelope.max_size.unwrap_or(app.config.max_size);
    let stdin = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned();
    let stdin = stdin.map_err(|source| Error::Io { what: "read stdin".into(), source })?;
    let mut source = std::io::BufReader::with_capacity(256 * 1024, std::fs::File::from(stdin));
    let mut number = 0;
    let mut worst: Option<Exit> = None;
    let mut refused = 0;
    loop {
        let mut chunk = Vec::new();
        let mut ended = false;
        while chunk.len() < CHUNK {
            let mut raw = Vec::new();
            // Escapes can make a line six times as long as its text; the rest of the object is small.
            let most = limit.saturating_mul(6).saturating_add(65_536);
            let read = std::io::Read::by_ref(&mut source)
                .take(most)
                .read_until(b'\n', &mut raw)
                .map_err(|source| Error::Io { what: "read stdin".into(), source })?;
            if read == 0 {
                ended = true;
                break;
            }
            number += 1;
            if !raw.ends_with(b"\n") && raw.len() as u64 >= most {
                return Err(Error::Data(format!("stdin line {number}: longer than {most} bytes")));
            }
            if raw.trim_ascii().is_empty() {
                continue;
            }
            let parsed = parse(&raw, base, limit, prepare);
            chunk.push((number, parsed));
            // No whole line more is there yet: what is there goes now.
            if !source.buffer().contains(&b'\n') {
                break;
            }
        }
        if !chunk.is_empty() {
            send_chunk(app, chunk, &mut worst, &mut refused)?;
        }
        if ended {
            break;
        }
    }
    span.record("messaging.batch.message_count", number);
    match worst {
        None => Ok(Exit::OK),
        Some(exit) if refused == 0 => Ok(exit),
        Some(exit) => {
            Err(Error::Partial { message: format!("{refused} of {number} lines were not sent"), exit })
        }
    }
}

/// A line as a message.
pub(crate) fn parse(raw: &[u8], base: &Draft, limit: u64, prepare: &Prepare<'_>) -> Result<Draft, Error> {
    // An array would do for the fields in their order, which nobody promised.
    if raw.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::Data("not a message: it is no JSON object".into()));
    }
    let line: Line =
        serde_json::from_slice(raw).map_err(|error| Error::Data(format!("not a message: {error}")))?;
    let mut draft = base.clone();
    if let Some(priority) = &line.priority {
        use clap::ValueEnum as _;
        let parsed = cli::Priority::from_str(priority, true);
        let known =
            parsed.map_err(|_| Error::Data("priority: it is none of low, normal, high, urgent".into()));
        draft.priority = known?.number();
    }
    let ms = |key: &str, seconds: Option<f64>| {
        let span = seconds.map(|seconds| cli::seconds(seconds).map(app::millis)).transpose();
        span.map_err(|why| Error::Data(format!("{key}: {why}")))
    };
    draft.ttl_ms = ms("ttl_s", line.ttl_s)?.or(draft.ttl_ms);
    draft.delay_ms = ms("delay_s", line.delay_s)?.or(draft.delay_ms);
    draft.subject = line.subject.clone().or(draft.subject);
    draft.thread = line.thread.clone().or(draft.thread);
    draft.reply_to = line.reply_to.clone().or(draft.reply_to);
    draft.supersedes = line.supersedes.clone().or(draft.supersedes);
    draft.dedup_key = line.dedup_key.clone().or(draft.dedup_key);
    draft.max_deliveries = line.max_deliveries.or(draft.max_deliveries);
    draft.traceparent = line.meta.as_ref().and_then(Meta::parent).map(|parent| parent.to_string());
    if draft.max_deliveries.is_some_and(|n| !(1..=1000).contains(&n)) {
        return Err(Error::Data("max_deliveries: it must be 1 to 1000".into()));
    }
    if draft.dedup_key.as_deref() == Some("") {
        return Err(Error::Data("dedup_key: it is empty".into()));
    }
    let bytes = match line.encoding.as_deref() {
        None => line.text.clone().into_bytes(),
        Some("base64") => base64::engine::general_purpose::STANDARD
            .decode(&line.text)
            .map_err(|error| Error::Data(format!("not base64: {error}")))?,
        Some(other) => return Err(Error::Data(format!("unknown encoding '{other}'"))),
    };
    draft = fill(draft, bytes, limit, line.encoding.is_some())?;
    prepare(&line, &mut draft).map_err(Error::Data)?;
    Ok(draft)
}

fn send_chunk(
    app: &mut App,
    chunk: Vec<(usize, Result<Draft, Error>)>,
    worst: &mut Option<Exit>,
    refused: &mut usize,
) -> Done {
    let (me, stall_s) = (app.me()?.to_owned(), app.stall_s());
    let traceparent = telemetry::traceparent();
    let mut db = app.write()?;
    let results = db.write(|tx| -> Done<Vec<(usize, Result<Sent, Error>)>> {
        let from = app::speaker(tx, &me)?;
        let mut results = Vec::with_capacity(chunk.len());
        // Indexed at the end: with pending words the search index writes a segment for each savepoint.
        let mut unindexed = Vec::with_capacity(chunk.len());
        for (number, draft) in chunk {
            let result = draft.and_then(|draft| {
                let own = draft.traceparent.clone().or_else(|| traceparent.clone());
                let draft = Draft { traceparent: own, ..draft };
                let (sent, seq) = in_savepoint(tx, |tx| send::store(tx, &from, &draft, stall_s))?;
                unindexed.extend(seq.map(|seq| (seq, draft)));
                Ok(sent)
            });
            match result {
                // A sick database is no line's fault.
                Err(error @ (Error::Db(_) | Error::Sql(_))) => return Err(error),
                Err(error @ Error::Denied { .. }) => {
                    app::audit(tx, &me, "denied", &json!({ "what": error.to_string() }))?;
                    results.push((number, Err(error)));
                }
                other => results.push((number, other)),
            }
        }
        for (seq, draft) in &unindexed {
            send::index(tx, *seq, draft)?;
        }
        Ok(results)
    })?;
    drop(db);
    wake_all(results.iter().filter_map(|(_, result)| result.as_ref().ok()));
    for (number, result) in results {
        match result {
            Ok(sent) => {
                if sent.is_parked() {
                    worst.get_or_insert(Exit::UNAVAILABLE);
                }
                let deliveries: Vec<Value> = sent.deliveries.iter().map(send::Delivery::json).collect();
                if app.json {
                    app.object(&json!({
                        "line": number, "id": sent.id(), "replayed": sent.replayed, "deliveries": deliveries,
                    }))?;
                } else {
                    print_ids(app, &sent)?;
                }
            }
            Err(error) => {
                let message = agor_common::error::one_line(&error);
                *worst = Some(error.exit());
                *refused += 1;
                if app.json {
                    let object =
                        json!({ "code": error.exit().code(), "message": message, "hint": error.hint() });
                    app.object(&json!({ "line": number, "error": object }))?;
                }
                output::error(TOOL, &format!("stdin line {number}: {message}"), None);
            }
        }
    }
    Ok(app.out.flush()?)
}

fn in_savepoint<T>(tx: &Transaction<'_>, work: impl FnOnce(&Transaction<'_>) -> Done<T>) -> Done<T> {
    tx.execute_batch("SAVEPOINT line")?;
    let result = work(tx);
    tx.execute_batch(if result.is_ok() { "RELEASE line" } else { "ROLLBACK TO line; RELEASE line" })?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str], agents: &[&str]) -> (Vec<String>, Vec<String>) {
        let words = words.iter().map(ToString::to_string).collect();
        addresses(words, |word| agents.contains(&word)).unwrap()
    }

    #[test]
    fn recipients_and_text_are_told_apart() {
        let agents = ["bob", "alice"];
        let join = |(to, text): (Vec<String>, Vec<String>)| format!("{}|{}", to.join(","), text.join(" "));
        assert_eq!(join(split(&["bob", "hi"], &agents)), "bob|hi");
        assert_eq!(join(split(&["bob", "alice"], &agents)), "bob|alice");
        assert_eq!(join(split(&["bob", "alice", "hi"], &agents)), "bob,alice|hi");
        assert_eq!(join(split(&["bob", "hello", "there"], &agents)), "bob|hello there");
        assert_eq!(join(split(&["bob", "alice", "is", "late"], &agents)), "bob|alice is late");
        assert_eq!(join(split(&["bob", "carol", "in quotes"], &agents)), "bob,carol|in quotes");
        assert_eq!(join(split(&["bob", "alice", "-"], &agents)), "bob,alice|-");
        assert!(addresses(vec!["bob".into()], |_| true).is_err());
    }
}
