//! `status`

use std::time::Duration;

use agor_common::Exit;
use agor_common::output::Out;
use agor_common::sessions::{Health, Supervised, SupervisorState};

use super::{find, view};
use crate::cli::{StatusArgs, Wanted};
use crate::clock;
use crate::error::SuperviseError;
use crate::place::Place;
use crate::watch::Watch;

/// How long a run whose supervisor is gone is waited for to be started again.
const SUCCESSOR: Duration = Duration::from_secs(1);

/// Shows how it is: 0 for healthy, 1 for anything else.
pub(super) fn run(args: &StatusArgs) -> Result<Exit, SuperviseError> {
    let Some(name) = &args.name else {
        return super::list::run(&crate::cli::ListArgs { json: args.json });
    };
    let run = match args.wait {
        Some(wanted) => wait(name, wanted, args.timeout)?,
        None => find::run(name)?,
    };
    let age = find::heartbeat_age_s(&run);
    let mut out = Out::stdout();
    if args.json {
        out.json(&view::json(&run, age))?;
    } else {
        for line in view::lines(&run, age) {
            out.line(line)?;
        }
        out.flush()?;
    }
    let reached = args.wait.is_some() || run.is_healthy();
    Ok(if reached { Exit::OK } else { Exit::NEGATIVE })
}

fn word(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Healthy => "healthy",
        Wanted::Restarting => "restarting",
        Wanted::Failed => "failed",
        Wanted::Stopped => "stopped",
    }
}

fn is(run: &Supervised, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Healthy => run.is_healthy(),
        _ => view::shown(run).word() == word(wanted),
    }
}

/// Sleeps until the state changes, and looks again.
fn wait(name: &str, wanted: Wanted, timeout: Option<Duration>) -> Result<Supervised, SuperviseError> {
    let place = Place::of(name, true)?;
    let mut watch = Watch::new(&place.dir)?;
    let begin = clock::now();
    let until = timeout.map(|timeout| begin + timeout);
    let mut gone_since = None;
    loop {
        let run = find::run(name).ok();
        let now = clock::now();
        let mut wake = until;
        let mut supervisor = None;
        if let Some(run) = run {
            if is(&run, wanted) {
                return Ok(run);
            }
            let alive = run.supervisor_state() == SupervisorState::Alive;
            let final_state = matches!(run.health, Health::Failed { .. } | Health::Stopped) && !alive
                || run.supervisor_state() == SupervisorState::Lost;
            let held = alive && matches!(run.health, Health::Failed { .. }) && wanted == Wanted::Healthy;
            if final_state || held {
                let since = *gone_since.get_or_insert(now);
                if held || now >= since + SUCCESSOR {
                    return Err(SuperviseError::Never {
                        name: name.into(),
                        wanted: word(wanted).into(),
                        found: super::words(&run),
                    });
                }
                wake = Some(wake.map_or(since + SUCCESSOR, |until| until.min(since + SUCCESSOR)));
            } else {
                gone_since = None;
                supervisor = Some(run.supervisor.pid);
            }
        }
        if until.is_some_and(|until| now >= until) {
            return Err(SuperviseError::Deadline {
                name: name.into(),
                wanted: word(wanted).into(),
                limit: agor_common::time::human(timeout.unwrap_or_default()),
            });
        }
        watch.wait(supervisor, wake);
    }
}
