//! `agor-sandbox explain`: the plan and what this host enforces of it. Runs nothing, makes nothing.

use std::path::Path;

use agor_common::output::Out;
use agor_common::{Exit, text};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{Args, Opt};
use crate::error::Error;
use crate::host::Host;
use crate::mounts::Change;
use crate::plan::{Kind, Plan, open};
use crate::policy::{Origin, Policy};
use crate::status::{State, Status};
use crate::{check, namespace};

/// What nothing here can prevent; said by `explain` and by the manual.
pub(crate) const NOT_COVERED: [&str; 6] = [
    "a file that may be read can be run by a program that may be executed: sh FILE, ld.so FILE, a copy in memory",
    "metadata outside of the grants: names below a known path can be probed with stat, and an owner can chmod, utime, setxattr",
    "a file with a second name (hard link) in a read-write grant is writable there; --check finds them",
    "what programs outside run or obey in what COMMAND may write: build files, scripts, repositories that it made",
    "what a granted socket, descriptor or server does for COMMAND",
    "bugs of the kernel, covert channels by timing",
];

/// Prints the plan.
#[inline(never)]
pub(crate) fn run(args: &Args) -> Result<Exit, Error> {
    let host = Host::current();
    let mut plan = Plan::new(Policy::build(args, &host)?, &host)?;
    if plan.policy.check {
        let found = check::hard_links(&plan);
        plan.findings.extend(found);
    }
    let mut status = Status::new(&plan.policy.profile);
    status.findings.clone_from(&plan.findings);
    let hidden = namespace::predict(&plan, &mut status);
    let env = plan.policy.env.filter(host.variables.entries());
    let env = env.map_err(|error| Error::apply("prepare the environment", error))?;
    let removed: Vec<std::ffi::OsString> = env.removed.iter().map(|name| (*name).to_owned()).collect();
    super::run::predict(&plan, &env.removed, hidden, &mut status);
    super::run::predict_rest(&mut status);
    let mut out = Out::stdout();
    if args.has(Opt::Json) {
        out.json(&object(args, &plan, &removed, &status))?;
    } else {
        print(&mut out, &plan, &removed, &status)?;
        out.flush()?;
    }
    Ok(Exit::OK)
}

fn shown(path: &Path) -> String {
    text::single_line(&path.to_string_lossy())
}

fn kind(path: &Path) -> &'static str {
    match open(path) {
        Ok((_, Kind::Directory)) => "directory",
        Ok((_, Kind::Device)) => "device",
        Ok((_, Kind::File)) => "file",
        Err(_) => "missing",
    }
}

fn change(change: &Change) -> &'static str {
    match change {
        Change::Pin => "cannot be renamed",
        Change::ReadOnly => "read-only",
        Change::Writable => "stays writable",
        Change::Absent { .. } => "cannot be created",
        Change::Hidden { .. } => "hidden",
        Change::Emptied { .. } => "emptied",
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Enforced => "enforced",
        State::Degraded => "degraded",
        State::Absent => "absent",
        State::Off => "off",
    }
}

fn names(list: &[std::ffi::OsString]) -> Vec<String> {
    list.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The JSON object; its first key is `schema`.
#[derive(Serialize)]
struct Explained<'a> {
    schema: u32,
    profile: &'a str,
    config: Option<String>,
    command: Vec<String>,
    grants: Vec<Value>,
    mounts: Vec<Value>,
    net: Value,
    unix: Value,
    env: Value,
    rlimits: Vec<String>,
    keep_fds: &'a [i32],
    require: bool,
    status: &'a Status,
    not_covered: [&'static str; 6],
}

fn object<'a>(
    args: &Args,
    plan: &'a Plan,
    removed: &[std::ffi::OsString],
    status: &'a Status,
) -> Explained<'a> {
    let policy = &plan.policy;
    let grants: Vec<Value> = plan
        .grants
        .iter()
        .map(|grant| {
            json!({
                "path": grant.path.to_string_lossy(),
                "read": true,
                "write": grant.rights.write,
                "execute": grant.rights.execute,
                "from": grant.origin.to_string(),
                "kind": kind(&grant.path),
            })
        })
        .collect();
    let mounts: Vec<Value> = plan
        .mounts
        .iter()
        .map(|mount| json!({ "path": mount.path.to_string_lossy(), "change": change(&mount.change), "why": mount.why }))
        .collect();
    let set: Vec<_> = policy.env.set.iter().map(|(name, _)| name.clone()).collect();
    Explained {
        schema: 1,
        profile: &policy.profile,
        config: policy.config.as_ref().map(|path| path.to_string_lossy().into_owned()),
        command: names(&args.command),
        grants,
        mounts,
        net: json!({ "mode": policy.net.mode, "connect_tcp": policy.net.connect, "bind_tcp": policy.net.bind }),
        unix: json!({
            "mode": policy.unix.mode,
            "paths": policy.unix.paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        }),
        env: json!({
            "clean": policy.env.clean,
            "removed": names(removed),
            "kept": names(&policy.env.keep),
            "set": names(&set),
        }),
        rlimits: policy.limits.iter().map(ToString::to_string).collect(),
        keep_fds: &policy.keep_fds,
        require: policy.require,
        status,
        not_covered: NOT_COVERED,
    }
}

fn print(out: &mut Out, plan: &Plan, removed: &[std::ffi::OsString], status: &Status) -> Result<(), Error> {
    let policy = &plan.policy;
    out.line(format!("profile {}", policy.profile))?;
    if let Some(config) = &policy.config {
        out.line(format!("configuration {}", shown(config)))?;
    }
    out.line("\nfiles")?;
    for grant in &plan.grants {
        let missing = kind(&grant.path) == "missing";
        if missing && matches!(grant.origin, Origin::BuiltIn(_)) {
            continue;
        }
        let missing = if missing { "  (missing)" } else { "" };
        let rights = grant.rights.to_string();
        out.line(format!("  {rights:<19} {}  [{}]{missing}", shown(&grant.path), grant.origin))?;
    }
    if !plan.mounts.is_empty() {
        out.line("\nkept from the above")?;
        for mount in plan.mounts.iter().filter(|mount| mount.change != Change::Pin) {
            out.line(format!("  {:<19} {}  [{}]", change(&mount.change), shown(&mount.path), mount.why))?;
        }
    }
    out.line("\nnetwork")?;
    let list = |ports: &[u16]| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match policy.net.mode {
        crate::profile::NetMode::All => out.line("  everything")?,
        crate::profile::NetMode::None => out.line("  nothing")?,
        crate::profile::NetMode::Ports => {
            out.line(format!("  connect to TCP ports  {}", list(&policy.net.connect)))?;
            out.line(format!("  bind TCP ports        {}", list(&policy.net.bind)))?;
        }
    }
    match policy.unix.mode {
        crate::profile::UnixMode::All => out.line("  every Unix socket")?,
        crate::profile::UnixMode::None => out.line("  no Unix sockets")?,
        crate::profile::UnixMode::Listed => {
            out.line("  Unix sockets of its own and those in read-write grants")?;
            for path in &policy.unix.paths {
                out.line(format!("  Unix socket {}", shown(path)))?;
            }
        }
    }
    if !removed.is_empty() {
        out.line(format!("\nenvironment removed: {}", text::single_line(&names(removed).join(" "))))?;
    }
    for limit in &policy.limits {
        out.line(format!("limit {limit}"))?;
    }
    out.line(format!("\nlayers (Landlock ABI {})", status.landlock_abi))?;
    for layer in &status.layers {
        let why = layer.why.as_deref().map(|why| format!("  {}", text::single_line(why))).unwrap_or_default();
        out.line(format!("  {:<14} {}{why}", layer.name, word(layer.state)))?;
        for limit in &layer.limits {
            out.line(format!("  {:<14}   but: {limit}", ""))?;
        }
    }
    for dropped in &status.dropped {
        let covered = match (dropped.needed, dropped.covered_by) {
            (false, _) => "not needed here".to_owned(),
            (true, Some(layer)) => format!("covered by {layer}"),
            (true, None) => "not covered".to_owned(),
        };
        out.line(format!("  this kernel lacks {} (ABI {}): {covered}", dropped.feature, dropped.since_abi))?;
    }
    if !plan.findings.is_empty() {
        out.line("\nfindings")?;
        for finding in &plan.findings {
            out.line(format!("  {}", text::single_line(finding)))?;
        }
    }
    out.line("\nnot covered by any layer")?;
    for limit in NOT_COVERED {
        out.line(format!("  {limit}"))?;
    }
    Ok(())
}
