//! One file per verb.

mod explain;
mod find;
mod history;
mod list;
mod order;
pub(crate) mod run;
mod status;
mod view;

use agor_common::{Exit, telemetry};

use crate::cli::Action;
use crate::error::SuperviseError;

pub(crate) use view::words;

/// Whether the caller wants JSON, also of errors.
pub(crate) fn is_json(action: &Action) -> bool {
    match action {
        Action::Status(args) => args.json,
        Action::List(args) => args.json,
        Action::History(args) => args.json,
        Action::Restart(args) | Action::Stop(args) | Action::Reset(args) => args.json,
        Action::Kill(args) => args.json,
        Action::Explain(args) => args.json,
    }
}

/// Does what is asked for.
pub(crate) fn action(action: Action) -> Result<Exit, SuperviseError> {
    let guard = telemetry::init(crate::TOOL, telemetry::Kind::OneShot);
    let verb = match &action {
        Action::Status(_) => "status",
        Action::List(_) => "list",
        Action::History(_) => "history",
        Action::Restart(_) => "restart",
        Action::Stop(_) => "stop",
        Action::Reset(_) => "reset",
        Action::Kill(_) => "kill",
        Action::Explain(_) => "explain",
    };
    telemetry::name_run(|| format!("{} {verb}", crate::TOOL));
    let done = match action {
        Action::Status(args) => status::run(&args),
        Action::List(args) => list::run(&args),
        Action::History(args) => history::run(&args),
        Action::Restart(args) => order::restart(&args),
        Action::Stop(args) => order::stop(&args),
        Action::Reset(args) => order::reset(&args),
        Action::Kill(args) => order::kill(&args),
        Action::Explain(args) => explain::run(&args),
    };
    guard.finish(done.as_ref().map_or_else(agor_common::Failure::exit, |exit| *exit));
    done
}
