//! What the tool does: one pass, a loop of passes, or a look.

use std::time::Duration;

use agor_common::Exit;
use agor_common::output::{Out, OutError};

use crate::config::Config;
use crate::control::Control;
use crate::report::{self, Outcome, Report};
use crate::seen::Seen;
use crate::{output, pass, trace};

pub(crate) mod once;
pub(crate) mod status;
pub(crate) mod watch;

/// How long after TERM the loop may still work: it must be gone within a second.
const GRACE: Duration = Duration::from_millis(700);

/// What a pass over all databases came to.
struct Summary {
    exit: Exit,
    reports: Vec<Report>,
    /// What became of the first line that could not be printed.
    printed: Result<(), OutError>,
}

/// One pass over every database, each printed as soon as it is known. Where that fails the others have their
/// pass all the same.
fn pass_all(
    config: &Config,
    control: &Control,
    seen: &mut Seen,
    out: &mut Out,
    trigger: &'static str,
) -> Summary {
    let span = trace::pass(trigger, config.targets.len());
    let _in = span.enter();
    let mut reports = Vec::with_capacity(config.targets.len());
    let mut printed = Ok(());
    for target in &config.targets {
        let one = trace::database(&target.path);
        let report = if control.is_over() {
            let mut report = Report::new(target.path.clone(), target.named, config.manners.mode);
            report.outcome = Outcome::Interrupted;
            report
        } else {
            one.in_scope(|| pass::run(target, &config.manners, control, seen))
        };
        control.print(|| {
            trace::record(&one, &report, trigger);
            let one = output::print(out, config, &report, trigger);
            if printed.is_ok() {
                printed = one;
            }
        });
        reports.push(report);
    }
    let exit = report::combine(reports.iter().map(Report::exit));
    span.record("exit", exit.code());
    Summary { exit, reports, printed }
}
