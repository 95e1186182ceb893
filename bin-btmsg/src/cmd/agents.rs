//! `register`, `unregister`, `agents`, `whoami`.

use agor_common::mail::agents::{self, Registration, id_problem};
use agor_common::mail::presence::{self, Clock, Presence};
use agor_common::{Exit, text};
use serde_json::{Value, json};

use crate::app::{self, App, Done};
use crate::cli;
use crate::error::Error;
use crate::{policy, redrive, show, wake};

/// Registers an agent; mail that was parked for it goes back.
pub fn register(app: &mut App, args: &cli::Register) -> Done<Exit> {
    if let Some(problem) = id_problem(&args.id) {
        let shown = text::preview(&args.id, 40);
        return Err(Error::Usage(format!("register '{shown}': {problem}")));
    }
    if args.id == policy::SYSTEM {
        return Err(Error::Usage(format!(
            "register {}: that is the sender of btmsg's own messages",
            args.id
        )));
    }
    let stall_after_s = match args.stall_after.map(app::seconds) {
        Some(outside) if !(300..=3600).contains(&outside) => {
            return Err(Error::Usage(format!("--stall-after {outside}s: it must be from 5m to 60m")));
        }
        other => other,
    };
    let new = Registration {
        name: args.name.as_deref(),
        role: args.role.as_deref().or(args.role_word.as_deref()),
        group: args.group.as_deref().or(args.group_word.as_deref()),
        tier: args.tier,
        model: args.model.as_deref(),
        cwd: args.cwd.as_deref(),
        stall_after_s,
    };
    let speaker = app.speaker().to_owned();
    let mut db = app.write()?;
    let (is_new, agent, redriven) = db.write(|tx| -> Done<_> {
        let known = agents::get(tx, &args.id)?.is_some();
        let changes_power = new.role.is_some() || new.tier.is_some() || new.group.is_some();
        // An agent that is back may say so itself, as long as it takes no power along.
        if !(known && speaker == args.id && !changes_power) {
            policy::require_manager(tx, &speaker, &format!("register {}", args.id))?;
        }
        let is_new = agents::register(tx, &speaker, &args.id, &new)?;
        let presence = presence::of(tx, &args.id, &Clock::now(), app.stall_s())?;
        let redriven = presence.map_or(Ok(0), |presence| redrive::back(tx, app, &presence))?;
        Ok((is_new, app::find(tx, &args.id)?, redriven))
    })?;
    drop(db);
    if redriven > 0 {
        wake::touch(&args.id);
    }
    if app.json {
        let mut body = agent_json(&agent);
        body["new"] = json!(is_new);
        body["redriven"] = json!(redriven);
        app.object(&body)?;
    } else {
        let word = if is_new { "registered" } else { "updated" };
        app.line(format!(
            "{word} {} ({}, tier {}{})",
            agent.id,
            agent.role,
            agent.tier,
            group(&agent.group)
        ))?;
        if redriven > 0 {
            app.line(format!("{redriven} dead letters went back into its inbox"))?;
        }
    }
    Ok(Exit::OK)
}

fn group(group: &str) -> String {
    if group.is_empty() { String::new() } else { format!(", group {}", text::single_line(group)) }
}

fn agent_json(agent: &agents::Agent) -> Value {
    json!({
        "id": agent.id, "name": agent.name, "role": agent.role, "group": agent.group, "tier": agent.tier,
        "model": agent.model, "cwd": agent.cwd, "status": agent.status,
        "status_reason": agent.state_reason, "stall_after_s": agent.stall_after_s,
    })
}

/// Marks an agent stopped.
pub fn unregister(app: &mut App, args: &cli::Unregister) -> Done<Exit> {
    let speaker = app.speaker().to_owned();
    let mut db = app.write()?;
    let id = db.write(|tx| -> Done<String> {
        let agent = app::find(tx, &args.id)?;
        if speaker != agent.id {
            policy::require_manager(tx, &speaker, &format!("unregister {}", agent.id))?;
        }
        presence::mark_stopped(tx, &speaker, &agent.id, &args.reason)?;
        Ok(agent.id)
    })?;
    if app.json {
        app.object(&json!({ "id": id, "status": "stopped", "status_reason": args.reason }))?;
    } else {
        app.line(format!("{id} is stopped; its mail will wait in the dead letter queue"))?;
    }
    Ok(Exit::OK)
}

/// Lists the agents.
pub fn list(app: &mut App, args: &cli::Agents) -> Done<Exit> {
    let db = app.read()?;
    let now = Clock::now();
    let all: Vec<Presence> = presence::all(db.conn(), &now, app.stall_s())?
        .into_iter()
        .filter(|presence| args.group.as_ref().is_none_or(|group| *group == presence.agent.group))
        .collect();
    drop(db);
    if app.json {
        let agents: Vec<Value> = all
            .iter()
            .map(|presence| {
                let mut body = agent_json(&presence.agent);
                body["online"] = json!(presence.offline.is_none());
                body["offline_reason"] = json!(presence.why());
                body["heartbeat_age_s"] = presence.age_ms.map_or(Value::Null, show::seconds);
                body
            })
            .collect();
        app.object(&json!({ "agents": agents }))?;
        return Ok(Exit::OK);
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|presence| {
            let agent = &presence.agent;
            vec![
                agent.id.clone(),
                agent.name.clone(),
                agent.role.clone(),
                agent.group.clone(),
                agent.tier.to_string(),
                presence.why().unwrap_or_else(|| agent.status.clone()),
            ]
        })
        .collect();
    let width = show::width(&app.out);
    app.line(show::table(&["ID", "NAME", "ROLE", "GROUP", "TIER", "STATUS"], &rows, width))?;
    Ok(Exit::OK)
}

/// Says who is speaking.
pub fn whoami(app: &mut App) -> Done<Exit> {
    let db = app.read()?;
    let agent = app.my_row(db.conn())?;
    drop(db);
    if app.json {
        let body = agent_json(&agent);
        app.object(&body)?;
    } else {
        app.line(format!(
            "{} ({}, {}, tier {}{})",
            agent.id,
            text::single_line(&agent.name),
            text::single_line(&agent.role),
            agent.tier,
            group(&agent.group)
        ))?;
    }
    Ok(Exit::OK)
}
