//! `explain`

use std::time::Duration;

use agor_common::output::Out;
use agor_common::{Exit, time};
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::config;
use crate::error::SuperviseError;
use crate::rule::Policy;

/// How many delays are shown of a schedule without an end.
const SHOWN: u32 = 10;
/// How many are shown at all: those after it are the same.
const MOST: u32 = 100_000;

#[derive(Serialize)]
struct Step {
    attempt: u32,
    delay_s: f64,
    at_s: f64,
}

#[derive(Serialize)]
struct Schedule<'a> {
    schema: u32,
    restart: Policy,
    max_attempts: u32,
    jitter: f64,
    success_codes: &'a [u8],
    no_retry_codes: &'a [u8],
    stable_after_s: f64,
    stop_grace_s: f64,
    attempts: Vec<Step>,
    failed_after_s: Option<f64>,
}

/// The schedule of delays, and how long it takes until a command that always fails at once is given up. With
/// a seed the jitter of each delay is known too.
pub(super) fn run(args: &ExplainArgs) -> Result<Exit, SuperviseError> {
    let rule = config::rule_of(&args.rule, args.config.as_deref())?;
    let never = rule.policy == Policy::Never;
    let endless = rule.max_attempts == 0 && !never;
    let attempts = if never { 0 } else { rule.max_attempts };
    let shown = if endless { SHOWN } else { attempts.min(MOST) };
    let mut rng = args.rule.jitter_seed.map(fastrand::Rng::with_seed);
    let mut total = Duration::ZERO;
    let mut delays = Vec::new();
    for attempt in 1..=shown {
        let delay = match &mut rng {
            Some(rng) => rule.backoff.delay(attempt, rng),
            None => rule.backoff.nominal(attempt),
        };
        total = total.saturating_add(delay);
        delays.push((attempt, delay, total));
    }
    let last = rule.backoff.nominal(u32::MAX);
    let more = attempts.saturating_sub(shown);
    total = total.saturating_add(last.saturating_mul(more));
    let mut out = Out::stdout();
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
            restart: rule.policy,
            max_attempts: rule.max_attempts,
            jitter: rule.backoff.jitter,
            success_codes: &rule.success,
            no_retry_codes: &rule.no_retry,
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
    if never {
        out.line("never started again: failed at the first crash")?;
    } else if endless {
        out.line(format!("and so on, every {}; never given up", seconds(last)))?;
    } else {
        if more > 0 {
            out.line(format!("and {more} more, every {}", seconds(last)))?;
        }
        out.line(format!(
            "failed {} after the first crash, when every attempt crashes at once",
            seconds(total)
        ))?;
    }
    if rule.backoff.jitter > 0.0 && rng.is_none() {
        let percent = rule.backoff.jitter * 100.0;
        out.line(format!("each delay is spread by {percent:.0} % to either side, and never above the cap"))?;
    }
    out.line(match rule.policy {
        Policy::Always => "every exit counts as a crash".to_owned(),
        _ => format!("exit statuses that are no crash: {}", list(&rule.success)),
    })?;
    out.line(format!("exit statuses after which it is given up at once: {}", list(&rule.no_retry)))?;
    out.line(format!("a run of {} sets the count back", time::human(rule.stable_after)))?;
    out.line(format!("a stop waits {} before it uses SIGKILL", time::human(rule.stop_grace)))?;
    out.flush()?;
    Ok(Exit::OK)
}

fn list(codes: &[u8]) -> String {
    let codes: Vec<String> = codes.iter().map(u8::to_string).collect();
    if codes.is_empty() { "none".into() } else { codes.join(", ") }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 1000.0).round() / 1000.0)
}
