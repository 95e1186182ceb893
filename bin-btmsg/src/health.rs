//! Who needs attention: heartbeats, the supervisor's word, unread mail and dead letters put together.

use std::collections::HashMap;

use agor_common::db::rusqlite::Connection;
use agor_common::mail::presence::{self, Clock, Holder, Offline, Presence};
use agor_common::sessions::{self, Health, Supervised, SupervisorState};
use agor_common::{paths, time};
use serde_json::{Value, json};

use crate::app::{App, Done};
use crate::show;

/// How an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never seen, or stopped.
    Inactive,
    /// Alive and working.
    Running,
    /// Alive and waiting.
    Idle,
    /// Heartbeats were coming and stopped.
    Stalled,
    /// It, or its supervisor, died.
    Crashed,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Inactive => "inactive",
            State::Running => "running",
            State::Idle => "idle",
            State::Stalled => "stalled",
            State::Crashed => "crashed",
        }
    }
}

/// What decides the score.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Signs {
    /// Heartbeats stopped.
    pub stalled: bool,
    /// It crashed, is being restarted, or was given up.
    pub error: bool,
    /// How full its context is, 0 to 1.
    pub context: f64,
    /// It conflicts with another agent on a file.
    pub conflict: bool,
    /// Reviews that wait for it.
    pub reviews: i64,
}

/// The attention score, 0 to 100, and what it is for: the most pressing sign alone.
pub fn score(signs: &Signs) -> (i64, Option<&'static str>) {
    if signs.stalled {
        (100, Some("stalled"))
    } else if signs.error {
        (90, Some("error"))
    } else if signs.context > 0.9 {
        (80, Some("context over 90 %"))
    } else if signs.conflict {
        (70, Some("file conflict"))
    } else {
        let reviews = (signs.reviews.clamp(0, 5) * 10, "reviews wait");
        let context = if signs.context > 0.75 { (40, "context over 75 %") } else { (0, "") };
        let (score, why) = if reviews.0 >= context.0 { reviews } else { context };
        (score, (score > 0).then_some(why))
    }
}

/// A line of `health`.
#[derive(Debug, Clone)]
pub struct Row {
    /// The agent and its life.
    pub presence: Presence,
    /// How it is.
    pub state: State,
    /// How much it needs somebody.
    pub score: i64,
    /// What for.
    pub reason: Option<String>,
    /// Unread messages.
    pub unread: i64,
    /// Dead letters that wait for it.
    pub dead: i64,
    /// The supervised run that is tied to it.
    pub run: Option<Supervised>,
}

/// Every agent, the highest score first, then by id.
pub fn rows(app: &App, conn: &Connection) -> Done<Vec<Row>> {
    let unread = counts(conn, "SELECT to_agent, count(*) FROM messages WHERE read = 0 GROUP BY to_agent")?;
    let dead = counts(
        conn,
        "SELECT to_agent, count(*) FROM dead_letter_queue
         WHERE redriven_ms IS NULL AND purged_ms IS NULL GROUP BY to_agent",
    )?;
    let runs = runs();
    let mut rows: Vec<Row> = presence::all(conn, &Clock::now(), app.stall_s())?
        .into_iter()
        .map(|presence| {
            let id = &presence.agent.id;
            let (unread, dead) = (unread.get(id).copied().unwrap_or(0), dead.get(id).copied().unwrap_or(0));
            let run = runs.get(id).cloned();
            judge(presence, run, unread, dead)
        })
        .collect();
    rows.sort_by(|a, b| b.score.cmp(&a.score).then_with(|| a.presence.agent.id.cmp(&b.presence.agent.id)));
    Ok(rows)
}

fn counts(conn: &Connection, sql: &str) -> Done<HashMap<String, i64>> {
    let mut rows = conn.prepare(sql)?;
    let pairs = rows.query_map([], |row| Ok((agor_common::mail::text(row.get_ref(0)?).0, row.get(1)?)))?;
    Ok(pairs.collect::<Result<_, _>>()?)
}

/// The run of each agent; where there are several, one with a living supervisor, else the latest. A
/// `sessions.db` that cannot be read is said on stderr and takes nothing else away.
fn runs() -> HashMap<String, Supervised> {
    let read = || -> Result<Vec<Supervised>, crate::error::Error> {
        match sessions::open_existing(&paths::sessions_db()?)? {
            Some(db) => Ok(sessions::list(&db)?),
            None => Ok(Vec::new()),
        }
    };
    let mut found: HashMap<String, Supervised> = HashMap::new();
    match read() {
        Ok(list) => {
            for run in list {
                let Some(agent) = run.agent_id.clone() else { continue };
                let rank = |run: &Supervised| (run.supervisor_alive(), run.started_ms);
                if found.get(&agent).is_none_or(|other| rank(other) < rank(&run)) {
                    found.insert(agent, run);
                }
            }
        }
        Err(error) => {
            let why = agor_common::error::one_line(&error);
            agor_common::output::warning(crate::TOOL, &format!("supervisors are not shown: {why}"));
        }
    }
    found
}

fn judge(presence: Presence, run: Option<Supervised>, unread: i64, dead: i64) -> Row {
    // A run counts as the agent's word only while it is the one that answers for it, or nothing else does.
    let alive = run.as_ref().is_some_and(Supervised::is_healthy) || presence.holder == Some(Holder::Alive);
    let trouble = run.as_ref().and_then(|run| trouble(run, &presence));
    let beat = presence.heartbeat.as_ref();
    let says_idle = beat.is_some_and(|beat| beat.status.as_deref() == Some("idle"));
    let fresh = presence.age_ms.is_some_and(|age| age <= presence.stall_after_s.saturating_mul(1000));
    let state = match presence.offline {
        Some(Offline::Crashed) => State::Crashed,
        Some(Offline::Stopped) => State::Inactive,
        _ if trouble.is_some() => State::Crashed,
        Some(Offline::Stalled) if !alive => State::Stalled,
        _ if !alive && !fresh => State::Inactive,
        // Alive, but nothing was heard for longer than the threshold: idle is not dead.
        _ if says_idle || !fresh => State::Idle,
        _ => State::Running,
    };
    let signs = Signs {
        stalled: state == State::Stalled,
        error: state == State::Crashed,
        context: beat.and_then(|beat| beat.context).unwrap_or(0.0),
        conflict: beat.is_some_and(|beat| beat.conflict.is_some()),
        reviews: beat.and_then(|beat| beat.review).unwrap_or(0),
    };
    // What a stopped agent said last is no reason to look at it.
    let (score, word) = if state == State::Inactive { (0, None) } else { score(&signs) };
    let reason = match (state, trouble) {
        (State::Crashed, Some(trouble)) => Some(trouble),
        (State::Crashed | State::Stalled, None) => presence.why(),
        _ => word.map(|word| match (word, beat.and_then(|beat| beat.conflict.as_deref())) {
            ("file conflict", Some(path)) => format!("file conflict: {path}"),
            _ => word.to_owned(),
        }),
    };
    Row { presence, state, score, reason, unread, dead, run }
}

/// What the supervisor knows against the agent.
fn trouble(run: &Supervised, presence: &Presence) -> Option<String> {
    match (run.supervisor_state(), &run.health) {
        (_, Health::Failed { attempts, last_error }) => {
            // An agent that came back by other means is no longer failed.
            let newer = presence.heartbeat.as_ref().is_some_and(|beat| beat.at_ms > run.updated_ms);
            let s = if *attempts == 1 { "" } else { "s" };
            (!newer).then(|| format!("failed after {attempts} attempt{s}: {last_error}"))
        }
        (SupervisorState::Alive, Health::Restarting { attempt, max_attempts, .. }) => {
            Some(match max_attempts {
                0 => format!("restarting, attempt {attempt}"),
                max => format!("restarting, attempt {attempt} of {max}"),
            })
        }
        // The lease in btmsg.db says it first; this is for a supervisor that could not write one.
        (SupervisorState::Lost, Health::Healthy | Health::Restarting { .. }) => {
            let heard = presence.age_ms.is_some_and(|age| age <= presence.stall_after_s.saturating_mul(1000));
            (!heard).then(|| "its supervisor is gone".to_owned())
        }
        _ => None,
    }
}

/// A row as JSON without its schema.
pub fn json(row: &Row) -> Value {
    let beat = row.presence.heartbeat.as_ref();
    json!({
        "id": row.presence.agent.id, "name": row.presence.agent.name, "role": row.presence.agent.role,
        "group": row.presence.agent.group, "state": row.state.word(), "score": row.score, "reason": row.reason,
        "status": row.presence.agent.status, "online": row.presence.offline.is_none(),
        "heartbeat_at": show::moment(beat.map(|beat| beat.at_ms)),
        "heartbeat_age_s": row.presence.age_ms.map(show::seconds), "stall_after_s": row.presence.stall_after_s,
        "activity": beat.and_then(|beat| beat.status.clone()), "note": beat.and_then(|beat| beat.note.clone()),
        "context": beat.and_then(|beat| beat.context), "conflict": beat.and_then(|beat| beat.conflict.clone()),
        "review": beat.and_then(|beat| beat.review), "unread": row.unread, "dead_letters": row.dead,
        "supervised": row.run.as_ref().map(|run| json!({
            "name": run.name, "health": run.health.word(), "attempt": run.attempt,
            "max_attempts": run.max_attempts, "restarts": run.restarts,
            "supervisor": match run.supervisor_state() {
                SupervisorState::Alive => "alive",
                SupervisorState::Ended => "ended",
                SupervisorState::Lost => "lost",
            },
        })),
    })
}

/// A line of [`table`] in the colour of its row; the header has none.
pub fn coloured(line: &str, row: Option<&Row>) -> String {
    let style = match row {
        None => anstyle::Style::new().bold(),
        Some(row) if row.score >= 90 => anstyle::AnsiColor::Red.on_default(),
        Some(row) if row.score >= 40 => anstyle::AnsiColor::Yellow.on_default(),
        Some(_) => anstyle::Style::new(),
    };
    format!("{style}{line}{style:#}")
}

/// The rows as a table.
pub fn table(rows: &[Row], width: Option<u16>) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let beat = row.presence.age_ms.map_or("-".to_owned(), |age| {
                format!("{} ago", time::human(std::time::Duration::from_millis(age.unsigned_abs())))
            });
            let supervised = row.run.as_ref().map_or("-".to_owned(), |run| match run.supervisor_state() {
                SupervisorState::Lost => format!("{} (supervisor lost)", run.health.word()),
                _ => run.health.word().to_owned(),
            });
            let note = row.presence.heartbeat.as_ref().and_then(|beat| beat.note.clone());
            vec![
                row.presence.agent.id.clone(),
                row.state.word().to_owned(),
                row.score.to_string(),
                beat,
                supervised,
                row.unread.to_string(),
                row.dead.to_string(),
                row.reason.clone().or(note).unwrap_or_default(),
            ]
        })
        .collect();
    show::table(
        &["AGENT", "STATE", "SCORE", "HEARTBEAT", "SUPERVISED", "UNREAD", "DEAD", "WHY"],
        &cells,
        width,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_come_in_the_documented_order() {
        let signs = Signs::default();
        assert_eq!(score(&signs), (0, None));
        assert_eq!(score(&Signs { context: 0.8, ..signs }).0, 40);
        assert_eq!(score(&Signs { context: 0.75, ..signs }).0, 0);
        assert_eq!(score(&Signs { reviews: 3, ..signs }).0, 30);
        assert_eq!(score(&Signs { reviews: 3, context: 0.8, ..signs }).0, 40);
        assert_eq!(score(&Signs { reviews: 99, context: 0.8, ..signs }).0, 50);
        assert_eq!(score(&Signs { reviews: 99, conflict: true, ..signs }).0, 70);
        assert_eq!(score(&Signs { context: 0.91, conflict: true, ..signs }).0, 80);
        assert_eq!(score(&Signs { error: true, context: 1.0, ..signs }).0, 90);
        assert_eq!(score(&Signs { stalled: true, error: true, ..signs }).0, 100);
    }
}
