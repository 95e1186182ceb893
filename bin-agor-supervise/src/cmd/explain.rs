//! `explain`

use std::time::Duration;

use agor_common::output::Out;
use agor_common::{Exit, time};
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::config;
use crate::error::SuperviseError;

/// How many delays are shown of a schedule without an end.
const SHOWN: u32 = 10;

#[derive(Serialize)]
struct Step {
    attempt: u32,
    delay_s: f64,
    at_s: f64,
}

#[derive(Serialize)]
struct Schedule {
    schema: u32,
    max_attempts: u32,
    jitter: f64,
    stable_after_s: f64,
    stop_grace_s: f64,
    attempts: Vec<Step>,
    failed_after_s: Option<f64>,
}

/// The schedule of delays, and how long it takes until a command that always fails at once is given up.
pub(super) fn run(args: &ExplainArgs) -> Result<Exit, SuperviseError> {
    let rule = config::rule_of(&args.rule, args.config.as_deref())?;
    let endless = rule.max_attempts == 0;
    let last = if endless { SHOWN } else { rule.max_attempts.min(100_000) };
    let mut out = Out::stdout();
    let mut total = Duration::ZERO;
    let mut delays = Vec::new();
    for attempt in 1..=last {
        let delay = rule.backoff.nominal(attempt);
        total = total.saturating_add(delay);
        delays.push((attempt, delay, total));
    }
    if args.json {
        let attempts = delays
            .iter()
            .map(|(attempt, delay, at)| Step {
                attempt: *attempt,
                delay_s: delay.as_secs_f64(),
                at_s: at.as_secs_f64(),
            })
            .collect();
        out.json(&Schedule {
            schema: 1,
            max_attempts: rule.max_attempts,
            jitter: rule.backoff.jitter,
            stable_after_s: rule.stable_after.as_secs_f64(),
            stop_grace_s: rule.stop_grace.as_secs_f64(),
            attempts,
            failed_after_s: (!endless).then_some(total.as_secs_f64()),
        })?;
        return Ok(Exit::OK);
    }
    for (attempt, delay, at) in &delays {
        out.line(format!("attempt {attempt}: after {}, at {}", seconds(*delay), seconds(*at)))?;
    }
    if endless {
        let cap = seconds(rule.backoff.nominal(u32::MAX));
        out.line(format!("and so on, every {cap}; never given up"))?;
    } else {
        out.line(format!(
            "failed {} after the first crash, when every attempt crashes at once",
            seconds(total)
        ))?;
    }
    if rule.backoff.jitter > 0.0 {
        let percent = rule.backoff.jitter * 100.0;
        out.line(format!("each delay is spread by {percent:.0} % to either side, and never above the cap"))?;
    }
    out.line(format!("a run of {} sets the count back", time::human(rule.stable_after)))?;
    out.flush()?;
    Ok(Exit::OK)
}

fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1000.0).round() / 1000.0)
}
