//! One pass, for cron, timers and people.

use std::time::Duration;

use agor_common::Exit;
use agor_common::output::{Out, OutError};

use crate::config::Config;
use crate::control::Control;
use crate::failure::Error;
use crate::report::Outcome;
use crate::seen::Seen;

pub(crate) fn run(config: &Config) -> Result<Exit, Error> {
    let control = Control::start(Duration::ZERO)?;
    let summary = super::pass_all(config, &control, &mut Seen::default(), &mut Out::stdout(), "once");
    match summary.printed {
        // Its reader went away; what was asked for is done, or the status says that it is not.
        Ok(()) | Err(OutError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    let interrupted = summary.reports.iter().any(|report| report.outcome == Outcome::Interrupted);
    match control.signal().and_then(|signal| u8::try_from(signal).ok()) {
        Some(signal) if interrupted => Ok(Exit::signal(signal)),
        _ => Ok(summary.exit),
    }
}
