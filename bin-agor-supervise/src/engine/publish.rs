//! Telling everybody how it is: the state file, the databases, our manager, hooks, traces, and stderr.

use std::time::Duration;

use agor_common::sessions::Health;
use agor_common::{output, telemetry, time};
use serde::Serialize;
use serde_json::{Value, json};

use super::Engine;
use crate::clock;
use crate::command;
use crate::place;
use crate::recorder::Note;
use crate::rule::{Cause, Exit, Moment, Outcome, Phase};

/// When our manager is told again what it could not take.
const MANAGER: Duration = Duration::from_millis(100);

/// An event, as a hook gets it.
#[derive(Serialize)]
struct Happened<'a> {
    schema: u32,
    event: &'a str,
    time: String,
    name: &'a str,
    agent: Option<&'a str>,
    health: &'static str,
    incarnation: u64,
    attempt: u32,
    max_attempts: u32,
    #[serde(flatten)]
    more: serde_json::Map<String, Value>,
}

impl Engine {
    /// Health, as of now.
    pub(super) fn health(&self) -> Health {
        let rule = &self.config.rule;
        let attempt = self.state.attempts(rule);
        let restarting = |next_retry_ms: i64| Health::Restarting {
            attempt,
            next_retry_ms,
            max_attempts: rule.max_attempts,
        };
        let failed =
            || Health::Failed { attempts: attempt, last_error: self.run.error.clone().unwrap_or_default() };
        match self.state.phase {
            // Healthy is what is up, and not what is about to be.
            Phase::Idle | Phase::Starting { .. } => restarting(time::now_ms()),
            Phase::Up { .. } | Phase::Ending { cause: Cause::Stop, up: true, .. } => Health::Healthy,
            Phase::Ending { .. } => restarting(time::now_ms()),
            Phase::Backoff { until } => {
                let left = until.saturating_sub(clock::now());
                restarting(time::now_ms() + i64::try_from(left.as_millis()).unwrap_or(i64::MAX / 2))
            }
            Phase::Held | Phase::Over(Outcome::Failed(_)) => failed(),
            Phase::Over(_) => Health::Stopped,
        }
    }

    /// Brings the row up to date and hands it out.
    pub(super) fn publish(&mut self) {
        self.dirty = false;
        self.run.health = self.health();
        self.run.attempt = self.state.attempts(&self.config.rule);
        self.run.updated_ms = time::now_ms();
        if let Phase::Ending { cause, .. } = self.state.phase {
            self.run.reason = Some(if cause == Cause::Stop { "stopping" } else { cause.word() }.into());
        } else if matches!(self.state.phase, Phase::Up { .. })
            && !matches!(self.run.reason.as_deref(), Some("suspended" | "stalled"))
        {
            self.run.reason = None;
        }
        self.write_state();
        self.note(Note::Run(Box::new(self.run.clone())));
        self.tell_manager();
        if telemetry::is_on() {
            let value = f64::from(u8::from(self.run.health == Health::Healthy));
            // One series, 1 or 0: a state among the attributes would leave the last state's value standing.
            let attributes = [("agor.name", self.config.name.as_str())];
            telemetry::gauge("agor.supervise.health", "1", value, &attributes);
        }
    }

    fn write_state(&mut self) {
        // The first state is written before there is anything but a lock.
        if self.recorder.is_some() {
            self.keep_place();
        }
        let answers = self.fresh_answers();
        let Some(place) = &self.place else { return };
        let state = place::State {
            schema: 1,
            run: self.run.clone(),
            failures: self.state.failures,
            answers,
            due: match self.state.phase {
                Phase::Backoff { until } => Some(place::Due::at(until)),
                _ => None,
            },
        };
        match place.publish(&state) {
            Ok(()) => self.state_complained = false,
            Err(error) => {
                // An old state is worse than none: without one the database is asked.
                place.forget();
                if !std::mem::replace(&mut self.state_complained, true) {
                    let name = &self.config.name;
                    output::warning(crate::TOOL, &format!("{name}: cannot write its state: {error}"));
                }
            }
        }
    }

    /// What it should know by now, in one message. Where that cannot be sent it is sent a little later.
    pub(super) fn tell_manager(&mut self) {
        let mut message = format!("STATUS={}: {}", self.config.name, crate::cmd::words(&self.run));
        let ready = !self.told_ready && self.run.health == Health::Healthy;
        let ending = matches!(self.state.phase, Phase::Ending { cause: Cause::Stop, .. } | Phase::Over(_));
        let stopping = !self.stopping_told && ending;
        for (word, wanted) in [("READY=1", ready), ("STOPPING=1", stopping)] {
            if wanted {
                message = format!("{word}\n{message}");
            }
        }
        if self.manager.tell(&message) {
            self.told_ready |= ready;
            self.stopping_told |= stopping;
            self.manager_again = None;
        } else {
            self.manager_again = Some(clock::now() + MANAGER);
        }
    }

    /// Something for the databases. Before they are thought of at all, it waits.
    pub(super) fn note(&mut self, note: Note) {
        match &self.recorder {
            Some(recorder) => recorder.note(note),
            None => self.backlog.push(note),
        }
    }

    /// An event for the hook and the trace.
    pub(super) fn emit(&mut self, event: &str, more: &[(&str, Value)]) {
        tracing::debug!(parent: &self.incarnation_span, agor.event = event, "{event}");
        if !self.hooks.is_wanted() {
            return;
        }
        let object = Happened {
            schema: 1,
            event,
            time: time::now_rfc3339(),
            name: &self.config.name,
            agent: self.config.agent.as_deref(),
            health: self.health().word(),
            incarnation: self.run.incarnation,
            attempt: self.state.attempts(&self.config.rule),
            max_attempts: self.config.rule.max_attempts,
            more: more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        };
        // Only numbers and strings, so it is always JSON.
        if let Ok(line) = serde_json::to_string(&object) {
            self.hooks.push(line);
        }
    }

    pub(super) fn phase_changed(&mut self) {
        match self.state.phase {
            Phase::Up { .. } => {
                self.note(Note::Active);
                self.emit("healthy", &[]);
            }
            Phase::Ending { cause: Cause::Stop, .. } => self.emit("stopping", &[]),
            Phase::Over(outcome) => self.say_over(outcome),
            _ => {}
        }
    }

    /// It ended unexpectedly and will be back.
    pub(super) fn say_crashed(&mut self, exit: Exit, delay: Duration, at: Moment) {
        self.run.error.clone_from(&self.failure);
        let failure = self.failure.clone().unwrap_or_else(|| command::describe(exit));
        let attempt = self.state.attempts(&self.config.rule);
        let of = match self.config.rule.max_attempts {
            0 => String::new(),
            max => format!(" of {max}"),
        };
        let first = failure.lines().next().unwrap_or_default().to_owned();
        let (name, delay_text) = (&self.config.name, time::human(delay));
        let line = format!("{name}: {first}; attempt {attempt}{of} in {delay_text}");
        self.trace_failure(exit);
        output::notice(crate::TOOL, &line);
        // Without the command's own words, which may hold anything.
        let how = command::describe(exit);
        tracing::info!(
            target: telemetry::EXPORT_ONLY,
            parent: &self.incarnation_span,
            { process.exit.code = exit.status(), agor.attempt = attempt, agor.backoff_s = delay.as_secs_f64() },
            "crashed: {how}"
        );
        let next = time::now_ms()
            + i64::try_from((at + delay).saturating_sub(clock::now()).as_millis()).unwrap_or(0);
        self.emit(
            "crashed",
            &[
                ("exit", json!(command::describe(exit))),
                ("last_error", json!(failure)),
                ("delay_s", json!(delay.as_secs_f64())),
                ("next_retry", json!(time::rfc3339_ms(next))),
            ],
        );
    }

    /// The incarnation's span ends as an error.
    fn trace_failure(&self, exit: Exit) {
        telemetry::set_attribute(&self.incarnation_span, "process.exit.code", i64::from(exit.status()));
        if let Exit::Signal(signal) = exit {
            telemetry::set_attribute(&self.incarnation_span, "process.exit.signal", i64::from(signal));
        }
        telemetry::set_error(&self.incarnation_span, "crash", &command::describe(exit));
    }

    /// It is given up.
    pub(super) fn say_gave_up(&mut self, exit: Exit) {
        self.run.error.clone_from(&self.failure);
        let failure = self.failure.clone().unwrap_or_else(|| command::describe(exit));
        let first = failure.lines().next().unwrap_or_default().to_owned();
        let attempts = self.state.attempts(&self.config.rule);
        let name = self.config.name.clone();
        let tries = match exit {
            Exit::NoExec(_) => String::new(),
            _ if attempts == 1 => " after 1 attempt".into(),
            _ => format!(" after {attempts} attempts"),
        };
        output::error(crate::TOOL, &format!("{name}: failed{tries}: {first}"), None);
        self.trace_failure(exit);
        telemetry::set_error(&self.span, "failed", &command::describe(exit));
        self.note(Note::Gone(true, format!("failed{tries}: {first}")));
        self.emit("failed", &[("exit", json!(command::describe(exit))), ("last_error", json!(failure))]);
    }

    fn say_over(&mut self, outcome: Outcome) {
        if matches!(outcome, Outcome::Stopped { .. }) {
            // In backoff too, where the last thing that happened was a crash.
            self.run.reason = Some("stop".into());
        }
        let (event, why) = match outcome {
            Outcome::Completed(0) => ("completed", "completed".to_owned()),
            Outcome::Completed(code) => ("completed", format!("completed with status {code}")),
            Outcome::Stopped { killed: true, .. } => ("stopped", "stopped by SIGKILL".into()),
            Outcome::Stopped { .. } => ("stopped", "stopped".into()),
            Outcome::Interrupted(_) => ("stopped", "interrupted".into()),
            Outcome::Failed(_) => return,
        };
        self.note(Note::Gone(false, why));
        self.emit(event, &[]);
    }
}
