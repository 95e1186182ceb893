//! `agor-supervise [OPTIONS] -- COMMAND [ARG]…`

use agor_common::{Exit, telemetry};

use crate::cli::RunArgs;
use crate::error::SuperviseError;
use crate::sys::{inherited as caller, signals};
use crate::{config, engine};

/// Supervises a command until it is over.
pub(crate) fn run(args: RunArgs) -> Result<Exit, SuperviseError> {
    // Before anything else: from here on no signal ends us without the command.
    let inherited =
        signals::block_all().map_err(|source| SuperviseError::System { what: "block signals", source })?;
    caller::hear_of_children();
    let config = config::of(args, rustix::process::getpid().as_raw_nonzero().get())?;
    let telemetry = telemetry::init(crate::TOOL, telemetry::Kind::LongRunning);
    let done = engine::run(config, inherited);
    telemetry.finish(done.as_ref().map_or_else(agor_common::Failure::exit, |exit| *exit));
    done
}
