//! A run in words and as JSON.

use std::time::Duration;

use agor_common::sessions::{Health, Supervised, SupervisorState};
use agor_common::{text, time};
use serde::Serialize;

fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The health that may be shown: a run whose supervisor was lost has failed, whatever it said last.
pub(super) fn shown(run: &Supervised) -> Health {
    match (run.supervisor_state(), &run.health) {
        (SupervisorState::Lost, Health::Healthy | Health::Restarting { .. }) => {
            Health::Failed { attempts: run.attempt, last_error: "supervisor lost".into() }
        }
        (_, health) => health.clone(),
    }
}

/// `restarting (attempt 2 of 5, next in 1.4 s)`
pub(crate) fn words(run: &Supervised) -> String {
    let now = time::now_ms();
    match shown(run) {
        Health::Healthy => match run.reason.as_deref() {
            Some(reason) => format!("healthy ({reason})"),
            None => "healthy".into(),
        },
        Health::Restarting { attempt, next_retry_ms, max_attempts } => {
            let of = if max_attempts == 0 { String::new() } else { format!(" of {max_attempts}") };
            let left = next_retry_ms - now;
            let next = if left > 0 { format!("next in {}", time::human(span(left))) } else { "now".into() };
            if run.reason.as_deref() == Some("stopping") {
                "restarting (stopping)".into()
            } else if attempt == 0 && run.incarnation <= 1 && run.reason.is_none() {
                "restarting (first start)".into()
            } else if attempt == 0 {
                format!("restarting ({next})")
            } else {
                format!("restarting (attempt {attempt}{of}, {next})")
            }
        }
        Health::Failed { attempts, last_error } => {
            let first = last_error.lines().next().unwrap_or_default();
            let plural = if attempts == 1 { "" } else { "s" };
            if run.supervisor_state() == SupervisorState::Lost {
                format!("failed: supervisor lost (pid {} is gone)", run.supervisor.pid)
            } else {
                format!("failed after {attempts} attempt{plural}: {first}")
            }
        }
        Health::Stopped => match run.reason.as_deref() {
            Some(reason) => format!("stopped ({reason})"),
            None => "stopped".into(),
        },
    }
}

/// Several lines for people.
pub(super) fn lines(run: &Supervised, heartbeat_age_s: Option<f64>) -> Vec<String> {
    let now = time::now_ms();
    let mut lines = vec![text::single_line(&format!("{}: {}", run.name, words(run)))];
    let mut add = |name: &str, value: &str| lines.push(format!("  {name:<12}{}", text::single_line(value)));
    add("command", &run.command.join(" "));
    if let Some(agent) = &run.agent_id {
        let age = heartbeat_age_s.map_or("none".into(), |age| {
            format!("{} ago", time::human(Duration::from_secs_f64(age.max(0.0))))
        });
        add("agent", &format!("{agent}, heartbeat {age}"));
    }
    let alive = run.supervisor_state() == SupervisorState::Alive;
    if let (Some(child), true) = (&run.child, alive) {
        let up = run
            .child_since_ms
            .map_or(String::new(), |since| format!(", up {}", time::human(span(now - since))));
        add("process", &format!("pid {}, incarnation {}{up}", child.pid, run.incarnation));
    }
    let supervisor = match run.supervisor_state() {
        SupervisorState::Alive => format!("pid {}", run.supervisor.pid),
        SupervisorState::Ended => {
            let ended = run.ended_ms.unwrap_or(run.updated_ms);
            format!("ended {} ago", time::human(span(now - ended)))
        }
        SupervisorState::Lost => format!("lost: pid {} is gone", run.supervisor.pid),
    };
    add("supervisor", &format!("{supervisor}, {} restarts, isolation {}", run.restarts, run.isolation));
    if let Some(status) = &run.status_text {
        add("says", status);
    }
    if let Some(exit) = &run.last_exit {
        add("last exit", exit);
    }
    if let Some(error) = &run.error {
        for (i, line) in error.lines().enumerate() {
            add(if i == 0 { "last error" } else { "" }, line);
        }
    }
    lines
}

/// A run as one JSON object, led by `schema`.
#[derive(Serialize)]
pub(super) struct View<'a> {
    schema: u32,
    name: &'a str,
    agent: Option<&'a str>,
    health: &'static str,
    attempt: u32,
    attempts: Option<u32>,
    max_attempts: u32,
    next_retry: Option<String>,
    next_retry_s: Option<f64>,
    last_error: Option<String>,
    last_exit: Option<&'a str>,
    reason: Option<&'a str>,
    status_text: Option<&'a str>,
    incarnation: u64,
    restarts: u64,
    pid: Option<i32>,
    uptime_s: Option<f64>,
    heartbeat_age_s: Option<f64>,
    isolation: &'a str,
    supervisor: &'static str,
    supervisor_pid: i32,
    command: &'a [String],
    cwd: &'a str,
    run_id: &'a str,
    started: String,
    updated: String,
    ended: Option<String>,
}

/// One object.
pub(super) fn json(run: &Supervised, heartbeat_age_s: Option<f64>) -> View<'_> {
    let now = time::now_ms();
    let health = shown(run);
    let (next_retry, attempts) = match &health {
        Health::Restarting { next_retry_ms, .. } => (Some(*next_retry_ms), None),
        Health::Failed { attempts, .. } => (None, Some(*attempts)),
        Health::Healthy | Health::Stopped => (None, None),
    };
    let state = run.supervisor_state();
    let child = run.child.as_ref().filter(|_| state == SupervisorState::Alive);
    View {
        schema: 1,
        name: &run.name,
        agent: run.agent_id.as_deref(),
        health: health.word(),
        attempt: run.attempt,
        attempts,
        max_attempts: run.max_attempts,
        next_retry: next_retry.map(time::rfc3339_ms),
        next_retry_s: next_retry.map(|at| (at - now) as f64 / 1000.0),
        last_error: match health {
            Health::Failed { last_error, .. } => Some(last_error),
            _ => run.error.clone(),
        },
        last_exit: run.last_exit.as_deref(),
        reason: run.reason.as_deref(),
        status_text: run.status_text.as_deref(),
        incarnation: run.incarnation,
        restarts: run.restarts,
        pid: child.map(|child| child.pid),
        uptime_s: run.child_since_ms.filter(|_| child.is_some()).map(|since| (now - since) as f64 / 1000.0),
        heartbeat_age_s,
        isolation: &run.isolation,
        supervisor: match state {
            SupervisorState::Alive => "alive",
            SupervisorState::Ended => "ended",
            SupervisorState::Lost => "lost",
        },
        supervisor_pid: run.supervisor.pid,
        command: &run.command,
        cwd: &run.cwd,
        run_id: &run.run_id,
        started: time::rfc3339_ms(run.started_ms),
        updated: time::rfc3339_ms(run.updated_ms),
        ended: run.ended_ms.map(time::rfc3339_ms),
    }
}
