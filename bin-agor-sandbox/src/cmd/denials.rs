//! `--explain-denials`: which path was denied, and which option would grant it.
//!
//! What the plan refuses is worked out from each call's arguments before it goes on; the kernel decides for
//! itself. So a program that changes its arguments meanwhile can fool this report, and nothing else. Where the
//! kernel's audit records can be read, what they know beyond that is added.

use std::collections::BTreeMap;

use agor_common::{Exit, output};

use super::run::{Mode, become_command, die_with_parent};
use crate::TOOL;
use crate::args::Args;
use crate::audit::Records;
use crate::error::Error;
use crate::host::Host;
use crate::model::{Model, Refusal};
use crate::observe::Want;
use crate::plan::Plan;
use crate::profile::{NetMode, UnixMode};
use crate::report::Sink;
use crate::supervise;

/// At most so many different ones are kept, and half as many shown.
const MOST: usize = 200;

/// Runs COMMAND under observation and reports at its end.
#[inline(never)]
pub(crate) fn run(args: &Args, host: &Host, plan: &Plan, sink: Sink) -> Result<Exit, Error> {
    die_with_parent(plan)?;
    let model = Model::new(plan);
    let mut seen: BTreeMap<Want, Option<Refusal>> = BTreeMap::new();
    let mut counts: BTreeMap<Want, u64> = BTreeMap::new();
    let mut sink = Some(sink);
    let mut nested = false;
    let mut records = Records::listen();
    let exit = supervise::run(
        |socket| {
            let sink = sink.take().unwrap_or_default();
            let Err(error) = become_command(args, host, plan, sink, Mode::Watched(socket));
            agor_common::error::report(TOOL, &error, false)
        },
        |wants| {
            for want in wants {
                nested |= matches!(&want, Want::Execute(path) if path.ends_with("bwrap"));
                if seen.len() < 100_000 || seen.contains_key(&want) {
                    let refusal = seen.entry(want.clone()).or_insert_with(|| model.refuses(&want));
                    if refusal.is_some() && (counts.len() < MOST || counts.contains_key(&want)) {
                        *counts.entry(want).or_default() += 1;
                    }
                }
            }
            None
        },
        &mut records,
    )?;
    let beyond = match &mut records {
        Some(records) => {
            records.take_last();
            records.beyond(&counts)
        }
        None => Vec::new(),
    };
    for (want, count) in counts.iter().take(MOST / 2) {
        let Some(Some(refusal)) = seen.get(want) else { continue };
        let times = if *count > 1 { format!(" ({count} times)") } else { String::new() };
        output::notice(TOOL, &format!("denied: {}{times}: {}", refusal.what, refusal.option));
    }
    for refusal in beyond.iter().take(MOST / 2) {
        output::notice(TOOL, &format!("denied: {}: {}", refusal.what, refusal.option));
    }
    if counts.is_empty() && beyond.is_empty() {
        output::notice(TOOL, "nothing was denied that file permissions allow");
    } else if counts.len() > MOST / 2 {
        output::notice(TOOL, &format!("denied: {} more", counts.len() - MOST / 2));
    }
    let refused = [
        (plan.policy.net.mode != NetMode::All, "--net"),
        (plan.policy.unix.mode == UnixMode::None, "--no-unix"),
    ];
    for (_, option) in refused.into_iter().filter(|(refuses, _)| *refuses) {
        output::notice(TOOL, &format!("not seen: sockets that {option} refuses to make at all"));
    }
    if nested {
        output::notice(TOOL, crate::nested::BUBBLEWRAP);
    }
    Ok(exit)
}
