//! `contacts`, `allow`, `deny`, `graph`.

use agor_common::mail::agents::Agent;
use agor_common::{Exit, text};
use serde_json::{Value, json};

use crate::app::{self, App, Done};
use crate::cli;
use crate::policy::{self, Verdict};
use crate::show;

/// Everyone, in order of ids.
fn everyone(conn: &agor_common::db::rusqlite::Connection) -> Done<Vec<Agent>> {
    let mut rows = conn.prepare("SELECT * FROM agents ORDER BY id")?;
    Ok(rows.query_map([], Agent::read)?.collect::<Result<_, _>>()?)
}

/// Whom an agent may write to.
pub fn list(app: &mut App, args: &cli::Contacts) -> Done<Exit> {
    let db = app.read()?;
    let agent = match &args.agent {
        Some(typed) => app::find(db.conn(), typed)?,
        None => app.my_row(db.conn())?,
    };
    let mut reached = Vec::new();
    for other in everyone(db.conn())? {
        if other.id != agent.id && policy::refusal(db.conn(), &agent, &other)?.is_none() {
            reached.push(other);
        }
    }
    drop(db);
    if app.json {
        let contacts: Vec<Value> = reached
            .iter()
            .map(|other| json!({ "id": other.id, "name": other.name, "role": other.role, "group": other.group }))
            .collect();
        app.object(&json!({ "agent": agent.id, "contacts": contacts }))?;
    } else {
        let rows: Vec<Vec<String>> =
            reached.into_iter().map(|other| vec![other.id, other.name, other.role, other.group]).collect();
        let width = show::width(&app.out);
        app.line(show::table(&["ID", "NAME", "ROLE", "GROUP"], &rows, width))?;
    }
    Ok(Exit::OK)
}

/// Lets one agent write to another.
pub fn allow(app: &mut App, args: &cli::Allow) -> Done<Exit> {
    change(
        app,
        args,
        "allow",
        &[
            "DELETE FROM denials WHERE agent_id = ?1 AND contact_id = ?2",
            "INSERT OR IGNORE INTO contacts (agent_id, contact_id) VALUES (?1, ?2)",
        ],
    )
}

/// Forbids it, also where the tiers would let it.
pub fn deny(app: &mut App, args: &cli::Allow) -> Done<Exit> {
    change(
        app,
        args,
        "deny",
        &[
            "DELETE FROM contacts WHERE agent_id = ?1 AND contact_id = ?2",
            "INSERT OR IGNORE INTO denials (agent_id, contact_id) VALUES (?1, ?2)",
        ],
    )
}

fn change(app: &mut App, args: &cli::Allow, event: &str, statements: &[&str]) -> Done<Exit> {
    let speaker = app.speaker().to_owned();
    let mut db = app.write()?;
    let (from, to) = db.write(|tx| -> Done<_> {
        let (from, to) = (app::find(tx, &args.from)?.id, app::find(tx, &args.to)?.id);
        policy::require_manager(tx, &speaker, &format!("{event} {from} {to}"))?;
        for sql in statements {
            tx.execute(sql, [&from, &to])?;
            if args.both {
                tx.execute(sql, [&to, &from])?;
            }
        }
        app::audit(tx, &speaker, event, &json!({ "from": from, "to": to, "both": args.both }))?;
        Ok((from, to))
    })?;
    if app.json {
        app.object(&json!({ "from": from, "to": to, "both": args.both, "allowed": event == "allow" }))?;
    } else {
        let arrow = if args.both { "<->" } else { "->" };
        let word = if event == "allow" { "allowed" } else { "denied" };
        app.line(format!("{word}: {from} {arrow} {to}"))?;
    }
    Ok(Exit::OK)
}

/// Who may write to whom.
pub fn graph(app: &mut App) -> Done<Exit> {
    let db = app.read()?;
    let agents = everyone(db.conn())?;
    let ties = policy::ties(db.conn(), &agents)?;
    drop(db);
    let may = |one: usize, other: usize| -> Done<bool> {
        let verdict =
            policy::verdict(&agents[one], &agents[other], |tie| Ok(ties.contains(&(tie, one, other))))?;
        Ok(verdict == Verdict::May)
    };
    let mut edges: Vec<(usize, usize, bool)> = Vec::new();
    for a in 0..agents.len() {
        for b in a + 1..agents.len() {
            match (may(a, b)?, may(b, a)?) {
                (true, back) => edges.push((a, b, back)),
                (false, true) => edges.push((b, a, false)),
                (false, false) => {}
            }
        }
    }
    if app.json {
        let nodes: Vec<Value> = agents
            .iter()
            .map(|agent| json!({ "id": agent.id, "role": agent.role, "group": agent.group, "tier": agent.tier }))
            .collect();
        let edges: Vec<Value> = edges
            .iter()
            .map(|(from, to, both)| json!({ "from": agents[*from].id, "to": agents[*to].id, "both": both }))
            .collect();
        app.object(&json!({ "agents": nodes, "edges": edges }))?;
        return Ok(Exit::OK);
    }
    let mut alone = vec![true; agents.len()];
    for (from, to, both) in edges {
        alone[from] = false;
        alone[to] = false;
        let arrow = if both { "<->" } else { "->" };
        app.line(text::single_line(&format!("{} {arrow} {}", agents[from].id, agents[to].id)))?;
    }
    for (agent, _) in agents.iter().zip(alone).filter(|(_, alone)| *alone) {
        app.line(text::single_line(&format!("{} (nobody)", agent.id)))?;
    }
    Ok(Exit::OK)
}
