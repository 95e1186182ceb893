//! One file per subcommand.

mod cert;
mod pin;
mod token;

use agor_common::telemetry::{self, Kind};
use agor_common::{Exit, Failure as _};

use crate::cli::{CertSub, Cli, Sub};
use crate::error::Error;
use crate::{TOOL, connect, server};

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Exit, Error> {
    let kind = match &cli.command {
        None | Some(Sub::Connect(_)) => Kind::LongRunning,
        Some(_) => Kind::OneShot,
    };
    let guard = telemetry::init(TOOL, kind);
    let span = match &cli.command {
        None | Some(Sub::Connect(_)) => tracing::info_span!("relay"),
        Some(Sub::Token(_)) => tracing::info_span!("agor-relay token"),
        Some(Sub::Pin(_)) => tracing::info_span!("agor-relay pin"),
        Some(Sub::Cert(_)) => tracing::info_span!("agor-relay cert"),
    };
    telemetry::parent_from_env(&span);
    let entered = span.enter();
    let done = match cli.command {
        None => server::run(&cli.serve),
        Some(Sub::Connect(args)) => connect::run(&args),
        Some(Sub::Token(args)) => token::run(args.command),
        Some(Sub::Pin(args)) => pin::run(&args),
        Some(Sub::Cert(args)) => {
            let CertSub::New(new) = args.command;
            cert::run(&new)
        }
    };
    if let Err(error) = &done {
        telemetry::set_error(&span, "relay", &error.to_string());
    }
    drop(entered);
    drop(span);
    match &done {
        Ok(exit) => guard.finish(*exit),
        Err(error) => guard.finish(error.exit()),
    }
    done
}
