//! `list`

use agor_common::output::Out;
use agor_common::{Exit, text};

use super::{find, view};
use crate::cli::ListArgs;
use crate::error::SuperviseError;

/// Every supervised name.
pub(super) fn run(args: &ListArgs) -> Result<Exit, SuperviseError> {
    let runs = find::all()?;
    let mut out = Out::stdout();
    if args.json {
        for run in &runs {
            out.json(&view::json(run, find::heartbeat_age_s(run)))?;
        }
        return Ok(Exit::OK);
    }
    let width = runs.iter().map(|run| run.name.chars().count()).max().unwrap_or(0).min(40);
    for run in &runs {
        let words = text::preview(&super::words(run), 100);
        out.line(format!("{:<width$}  {words}", text::preview(&run.name, 40)))?;
    }
    out.flush()?;
    Ok(Exit::OK)
}
