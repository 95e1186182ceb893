//! `dlq` and `sweep`.

use agor_common::db::rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use agor_common::mail::dead::{self, Letter};
use agor_common::{Exit, output, text, time};
use serde_json::{Value, json};

use crate::app::{self, App, Done};
use crate::cli::{self, Letters};
use crate::error::Error;
use crate::redrive::{self, Outcome};
use crate::{TOOL, policy, show, sweep, wake};

/// Letters that one redrive or purge transaction deals with: writers wait meanwhile.
const CHUNK: usize = 500;

/// Runs a `dlq` command.
pub fn run(app: &mut App, command: cli::Dlq) -> Done<Exit> {
    match command {
        cli::Dlq::List { letters, waiting, limit } => list(app, &letters, waiting, limit),
        cli::Dlq::Show { id } => show_one(app, &id),
        cli::Dlq::Redrive { ids, all, letters, deliver_to, dry_run } => {
            redrive(app, &ids, all, &letters, deliver_to.as_deref(), dry_run)
        }
        cli::Dlq::Purge { ids, all, letters, dry_run } => purge(app, &ids, all, &letters, dry_run),
    }
}

/// Letters that `filter` lets through, in the order that `tail` says.
fn select(conn: &Connection, filter: &Letters, waiting: bool, tail: &str, limit: i64) -> Done<Vec<Letter>> {
    // Mail may be parked for somebody who is not there yet.
    let known = |column: &str| format!("SELECT 1 FROM dead_letter_queue WHERE {column} = ?1");
    let to = app::filter(conn, filter.to.as_deref(), &known("to_agent"))?;
    let from = app::filter(conn, filter.from.as_deref(), &known("from_agent"))?;
    let parameters: [&dyn ToSql; 5] = [&to, &from, &filter.reason, &filter.since, &limit];
    let open = if waiting { "AND redriven_ms IS NULL AND purged_ms IS NULL" } else { "" };
    let sql = format!(
        "SELECT * FROM dead_letter_queue WHERE (?1 IS NULL OR to_agent = ?1) AND (?2 IS NULL OR from_agent = ?2)
             AND (?3 IS NULL OR reason = ?3)
             AND (?4 IS NULL OR coalesce(dead_ms, CAST(strftime('%s', created_at) AS INTEGER) * 1000) >= ?4)
             {open} ORDER BY {tail} LIMIT ?5"
    );
    Ok(conn.prepare(&sql)?.query_map(parameters, Letter::read)?.collect::<Result<_, _>>()?)
}

fn list(app: &mut App, filter: &Letters, waiting: bool, limit: u32) -> Done<Exit> {
    let db = app.read()?;
    let found = select(db.conn(), filter, waiting, "id DESC", i64::from(limit))?;
    drop(db);
    if app.json {
        let letters: Vec<Value> = found.iter().map(show::letter).collect();
        app.object(&json!({ "dead_letters": letters }))?;
        return Ok(Exit::OK);
    }
    if found.is_empty() {
        output::notice(TOOL, "no dead letters");
        return Ok(Exit::OK);
    }
    let now = time::now_ms();
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|letter| {
            vec![
                letter.id.to_string(),
                state(letter).to_owned(),
                letter.from.clone(),
                letter.to.clone(),
                letter.reason.clone().unwrap_or_else(|| "-".into()),
                show::ago(letter.dead_ms, now),
                show::letter_preview(letter, 80),
            ]
        })
        .collect();
    let width = show::width(&app.out);
    app.line(show::table(&["LETTER", "STATE", "FROM", "TO", "REASON", "SINCE", "MESSAGE"], &rows, width))?;
    Ok(Exit::OK)
}

fn state(letter: &Letter) -> &'static str {
    match (letter.redriven_ms, letter.purged_ms) {
        (Some(_), _) => "redriven",
        (None, Some(_)) => "purged",
        (None, None) => "waiting",
    }
}

/// By number, then by message id.
fn find(conn: &Connection, typed: &str) -> Done<Letter> {
    if let Some(letter) = typed.parse().ok().map(|id| dead::get(conn, id)).transpose()?.flatten() {
        return Ok(letter);
    }
    conn.query_row(
        "SELECT * FROM dead_letter_queue WHERE message_id = ?1 ORDER BY id DESC LIMIT 1",
        [typed],
        Letter::read,
    )
    .optional()?
    .ok_or_else(|| Error::NotFound { what: "dead letter", typed: typed.into() })
}

fn show_one(app: &mut App, typed: &str) -> Done<Exit> {
    let db = app.read()?;
    let letter = find(db.conn(), typed)?;
    // A message may have died more than once.
    let earlier = db
        .conn()
        .prepare("SELECT * FROM dead_letter_queue WHERE message_id = ?1 AND id <> ?2 ORDER BY id")?
        .query_map(params![letter.message_id, letter.id], Letter::read)?
        .collect::<Result<Vec<_>, _>>()?;
    drop(db);
    if app.json {
        let mut body = show::letter(&letter);
        body["history"] = earlier
            .iter()
            .map(|one| {
                json!({
                    "id": one.id, "reason": one.reason, "error": one.error, "dead_at": time::rfc3339_ms(one.dead_ms),
                    "redriven_at": show::moment(one.redriven_ms), "redriven_by": one.redriven_by,
                })
            })
            .collect();
        app.object(&body)?;
        return Ok(Exit::OK);
    }
    let now = time::now_ms();
    let mut lines = vec![
        format!("letter:   {}", letter.id),
        format!("message:  {}", text::single_line(letter.message_id.as_deref().unwrap_or("-"))),
        format!("from:     {}", text::single_line(&letter.from)),
        format!("to:       {}", text::single_line(&letter.to)),
        format!("sent:     {}", time::rfc3339_ms(letter.sent_ms)),
        format!("dead:     {} ({})", time::rfc3339_ms(letter.dead_ms), show::ago(letter.dead_ms, now)),
        format!("reason:   {}", letter.reason.as_deref().unwrap_or("-")),
        format!("error:    {}", text::single_line(&letter.error)),
        format!("state:    {}", state(&letter)),
        format!("attempts: {}", letter.attempts),
    ];
    if let Some(at) = letter.redriven_ms {
        let by = letter.redriven_by.as_deref().filter(|by| !by.is_empty()).unwrap_or("an operator");
        lines.push(format!("redriven: {} by {}", time::rfc3339_ms(at), text::single_line(by)));
    }
    for one in &earlier {
        let reason = one.reason.as_deref().unwrap_or("-");
        lines.push(format!("also:     letter {} {} ({})", one.id, time::rfc3339_ms(one.dead_ms), reason));
    }
    lines.push(String::new());
    lines.push(if letter.purged_ms.is_some() {
        "[purged]".into()
    } else {
        text::terminal(&letter.body).into_owned()
    });
    app.line(lines.join("\n"))?;
    Ok(Exit::OK)
}

fn named_nothing(ids: &[String], all: bool, filter: &Letters) -> bool {
    ids.is_empty()
        && !all
        && filter.to.is_none()
        && filter.from.is_none()
        && filter.reason.is_none()
        && filter.since.is_none()
}

fn chosen(conn: &Connection, ids: &[String], filter: &Letters) -> Done<Vec<Letter>> {
    if ids.is_empty() {
        return select(conn, filter, true, "coalesce(seq, 0), id", i64::MAX);
    }
    ids.iter().map(|typed| find(conn, typed)).collect()
}

fn redrive(
    app: &mut App,
    ids: &[String],
    all: bool,
    filter: &Letters,
    deliver_to: Option<&str>,
    dry_run: bool,
) -> Done<Exit> {
    if named_nothing(ids, all, filter) {
        return Err(Error::Usage(
            "dlq redrive: say which: letters, --all, --to, --from, --reason or --since".into(),
        ));
    }
    let speaker = app.speaker().to_owned();
    let mut db = if dry_run { app.read()? } else { app.write()? };
    let letters = chosen(db.conn(), ids, filter)?;
    let target = deliver_to.map(|typed| app::find(db.conn(), typed)).transpose()?.map(|agent| agent.id);
    // One's own mail may be had back; anybody else's is a manager's business.
    if letters.iter().any(|letter| letter.to != speaker && letter.from != speaker) || target.is_some() {
        policy::require_manager(db.conn(), &speaker, "dlq redrive")?;
    }
    let mut results: Vec<(Letter, String, Option<Outcome>)> = Vec::new();
    if dry_run {
        drop(db);
        for letter in letters.into_iter().filter(Letter::is_open) {
            let to = target.clone().unwrap_or_else(|| letter.to.clone());
            results.push((letter, to, None));
        }
    } else {
        for chunk in letters.chunks(CHUNK) {
            let done = db.write(|tx| -> Done<Vec<_>> {
                let mut done = Vec::with_capacity(chunk.len());
                let mut restored = Vec::new();
                for letter in chunk {
                    let to = target.clone().unwrap_or_else(|| letter.to.clone());
                    let outcome = redrive::one(tx, letter, &to, &speaker, true)?;
                    if outcome == Outcome::Restored {
                        restored.push(letter.id);
                    }
                    done.push((letter.clone(), to, Some(outcome)));
                }
                let detail = json!({ "letters": restored, "refused": chunk.len() - restored.len() });
                app::audit(tx, &speaker, "redrive", &detail)?;
                Ok(done)
            })?;
            results.extend(done);
        }
        drop(db);
    }
    say_redriven(app, &results, dry_run, ids.is_empty())
}

fn say_redriven(
    app: &mut App,
    results: &[(Letter, String, Option<Outcome>)],
    dry_run: bool,
    by_filter: bool,
) -> Done<Exit> {
    let mut stayed = 0;
    let mut done = 0;
    let mut objects = Vec::new();
    for (letter, to, outcome) in results {
        let (word, why) = match outcome {
            None => ("would be redriven", None),
            Some(Outcome::Restored) => {
                wake::touch(to);
                done += 1;
                ("redriven", None)
            }
            Some(Outcome::Refused(reason, why)) => {
                stayed += 1;
                ("stays", Some(format!("{}: {why}", reason.word())))
            }
            Some(Outcome::Gone) => {
                // With a filter somebody else was faster, and that is as good.
                if !by_filter {
                    stayed += 1;
                }
                ("stays", Some("it does not wait any more".to_owned()))
            }
        };
        if app.json {
            objects.push(json!({
                "id": letter.id, "message_id": letter.message_id, "to": to, "result": word, "why": why,
            }));
        } else {
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            app.line(text::single_line(&format!("letter {} to {to}: {word}{why}", letter.id)))?;
        }
    }
    if app.json {
        app.object(&json!({ "redriven": done, "stayed": stayed, "dry_run": dry_run, "letters": objects }))?;
    } else if results.is_empty() {
        output::notice(TOOL, "no dead letter waits");
    }
    if stayed > 0 {
        let message = format!("dlq redrive: {stayed} of {} letters stay", results.len());
        return Err(Error::Partial { message, exit: Exit::NEGATIVE });
    }
    Ok(Exit::OK)
}

fn purge(app: &mut App, ids: &[String], all: bool, filter: &Letters, dry_run: bool) -> Done<Exit> {
    if named_nothing(ids, all, filter) {
        return Err(Error::Usage(
            "dlq purge: say which: letters, --all, --to, --from, --reason or --since".into(),
        ));
    }
    let speaker = app.speaker().to_owned();
    let mut db = if dry_run { app.read()? } else { app.write()? };
    policy::require_manager(db.conn(), &speaker, "dlq purge")?;
    let letters: Vec<i64> = chosen(db.conn(), ids, filter)?
        .iter()
        .filter(|letter| letter.is_open())
        .map(|letter| letter.id)
        .collect();
    if !dry_run {
        for chunk in letters.chunks(CHUNK) {
            db.write(|tx| -> Done {
                for id in chunk {
                    tx.prepare_cached(
                        "UPDATE dead_letter_queue SET purged_ms = ?2, content = '', subject = NULL
                         WHERE id = ?1 AND redriven_ms IS NULL AND purged_ms IS NULL",
                    )?
                    .execute(params![id, time::now_ms()])?;
                    // Its words leave the search index too, unless a living message has the same text.
                    tx.prepare_cached(
                        "DELETE FROM messages_fts WHERE rowid = (
                             SELECT seq FROM dead_letter_queue AS gone WHERE id = ?1
                             AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.seq = gone.seq)
                             AND NOT EXISTS (SELECT 1 FROM dead_letter_queue AS other
                                 WHERE other.seq = gone.seq AND other.purged_ms IS NULL))",
                    )?
                    .execute([id])?;
                }
                app::audit(tx, &speaker, "purge", &json!({ "letters": chunk }))?;
                Ok(())
            })?;
        }
    }
    drop(db);
    if app.json {
        app.object(&json!({ "purged": letters, "dry_run": dry_run }))?;
    } else {
        let word = if dry_run { "would be purged" } else { "purged; their rows stay" };
        app.line(format!("{} dead letters {word}", letters.len()))?;
    }
    Ok(Exit::OK)
}

/// Sweeps until there is nothing left to do; `--dry-run` does it and takes it back.
pub fn sweep(app: &mut App, args: &cli::Sweep) -> Done<Exit> {
    let speaker = app.speaker().to_owned();
    let mut db = app.write()?;
    let mut total = sweep::Swept::default();
    if args.dry_run {
        let tried = db.write(|tx| Err::<(), _>(Dry(sweep::sweep(tx, app, &speaker, usize::MAX))));
        if let Err(Dry(result)) = tried {
            total = result?;
        }
    } else {
        loop {
            let swept = db.write(|tx| {
                sweep::claim(tx, app)?;
                sweep::sweep(tx, app, &speaker, CHUNK)
            })?;
            swept.trace();
            for agent in &swept.wake {
                wake::touch(agent);
            }
            let more = swept.more;
            total.add(swept);
            if !more {
                break;
            }
        }
    }
    drop(db);
    if app.json {
        app.object(&json!({
            "dead": total.dead, "crashed": total.crashed, "redriven": total.redriven, "bounced": total.bounced,
            "dry_run": args.dry_run,
        }))?;
        return Ok(Exit::OK);
    }
    for agent in &total.crashed {
        app.line(format!("{}: crashed, its supervisor is gone", text::single_line(agent)))?;
    }
    for (reason, count) in &total.dead {
        app.line(format!("{count} messages became dead letters: {reason}"))?;
    }
    if total.redriven > 0 {
        app.line(format!("{} dead letters went back", total.redriven))?;
    }
    if args.dry_run {
        app.line("nothing was changed (--dry-run)")?;
    }
    Ok(Exit::OK)
}

/// The result of a sweep that is rolled back.
struct Dry(Done<sweep::Swept>);

impl From<agor_common::db::DbError> for Dry {
    fn from(error: agor_common::db::DbError) -> Dry {
        Dry(Err(error.into()))
    }
}
