//! `agor-sandbox [OPTIONS] -- COMMAND`: puts up the layers and becomes COMMAND.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use agor_common::{Exit, output, telemetry};

use crate::TOOL;
use crate::args::{Args, Opt};
use crate::error::Error;
use crate::host::Host;
use crate::landlock::{self, Support};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::profile::Base;
use crate::report::{Sink, warn};
use crate::rights::Rights;
use crate::status::{State, Status};
use crate::sys::exec::Image;
use crate::sys::{exec, inherit, kernel, notify, path};
use crate::{check, namespace, nested, observe, privileges, seccomp};

/// Runs COMMAND. Comes back only with an error, or with COMMAND's status where a parent stayed.
pub(crate) fn run(args: &Args) -> Result<Exit, Error> {
    let host = Host::current();
    let policy = Policy::build(args, &host)?;
    if policy.base == Base::Default && host.variables.get("AGOR_DATA_DIR").is_some() {
        // A chosen data directory must be there to be granted.
        let _ = agor_common::paths::data_dir();
    }
    let plan = Plan::new(policy, &host)?;
    let sink = Sink::open(args)?;
    if args.has(Opt::ExplainDenials) {
        return super::denials::run(args, &host, &plan, sink);
    }
    let Err(error) = become_command(args, &host, &plan, sink, Mode::InPlace);
    Err(error)
}

/// How COMMAND is run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode<'a> {
    /// Everything holds and nobody watches.
    InPlace,
    /// Everything holds, and the parent at the other end of this socket is asked.
    Watched(&'a OwnedFd),
    /// Files and network are open, and the parent is asked.
    Learning(&'a OwnedFd),
}

/// Everything between the plan and the command.
pub(crate) fn become_command(
    args: &Args,
    host: &Host,
    plan: &Plan,
    sink: Sink,
    mode: Mode<'_>,
) -> Result<Infallible, Error> {
    let learning = matches!(mode, Mode::Learning(_));
    let mut status = Status::new(&plan.policy.profile);
    status.findings.clone_from(&plan.findings);
    if !learning {
        for found in &plan.findings {
            output::warning(TOOL, found);
        }
    }
    if plan.policy.check && !learning {
        for found in check::hard_links(plan) {
            output::warning(TOOL, &found);
            status.findings.push(found);
        }
    }
    // Before anything that starts a thread: a user namespace needs a process of one.
    let hidden_sockets = if learning { true } else { namespace::apply(plan, &mut status)? };
    let prepare = |error| Error::apply("prepare the arguments", error);
    let mut env = plan.policy.env.filter(host.variables.entries()).map_err(prepare)?;
    predict(plan, &env.removed, hidden_sockets, &mut status);
    if host.variables.get("AGOR_OTLP_ENDPOINT").is_some_and(|endpoint| !endpoint.is_empty()) {
        for (name, value) in span(args, &status) {
            env.set(name, &value).map_err(prepare)?;
        }
    }
    let image = Image::new(&args.command, &env).map_err(prepare)?;

    let dropped = privileges::drop_all();
    record_privileges(&dropped, &mut status);
    if let Support::Abi(abi) = plan.landlock
        && !learning
    {
        let missing = match landlock::restrict(plan, abi) {
            Err(Error::Refused { source }) => {
                landlock::judge_refused(plan, &source, &mut status);
                Vec::new()
            }
            result => result?,
        };
        for option in missing {
            let what = format!("{option}: no such file or directory");
            if plan.policy.require {
                return Err(Error::Required { layer: "files", why: what });
            }
            output::warning(TOOL, &what);
        }
    }
    filter(plan, &mut status, mode)?;
    if !learning {
        warn(&status, plan.policy.require)?;
        sink.write(&status)?;
    }

    if matches!(mode, Mode::InPlace) {
        for hint in nested::hints(&args.command, host) {
            output::notice(TOOL, hint);
        }
    }
    for limit in &plan.policy.limits {
        limit.apply()?;
    }
    die_with_parent(plan)?;
    let mut keep = plan.policy.keep_fds.clone();
    keep.sort_unstable();
    exec::close_others(&keep).map_err(|error| Error::apply("close descriptors", error))?;
    inherit::restore();
    let (path, error) = image.exec();
    Err(not_run(plan, PathBuf::from(path), error))
}

/// For COMMAND, and for the parent that stays where there is one.
pub(crate) fn die_with_parent(plan: &Plan) -> Result<(), Error> {
    if !plan.policy.die_with_parent {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| Error::apply("die with the parent", error))
}

/// What the layers that are not up yet will be.
pub(crate) fn predict(plan: &Plan, removed: &[&OsStr], hidden_sockets: bool, status: &mut Status) {
    let names: Vec<_> = removed.iter().map(|name| name.to_string_lossy()).collect();
    let why = (!names.is_empty()).then(|| format!("removed: {}", names.join(" ")));
    status.add("environment", State::Enforced, why);
    let kept: Vec<String> = plan.policy.keep_fds.iter().map(ToString::to_string).collect();
    let why = (!kept.is_empty()).then(|| format!("kept: {}", kept.join(" ")));
    status.add("descriptors", State::Enforced, why);
    let limits = if plan.policy.limits.is_empty() { State::Off } else { State::Enforced };
    status.add("limits", limits, None);
    match &plan.landlock {
        Support::Abi(abi) => landlock::judge(plan, *abi, hidden_sockets, status),
        Support::None { why, help } => {
            status.add("files", State::Absent, Some(format!("Landlock is {why}; {help}")));
            landlock::judge_without(plan, status);
        }
    }
}

/// The layers that every host with seccomp has, as far as that can be said before they are up.
pub(crate) fn predict_rest(status: &mut Status) {
    status.add("capabilities", State::Enforced, None);
    status.add("no_new_privs", State::Enforced, None);
    match kernel::seccomp_has(libc::SECCOMP_RET_ERRNO) {
        Ok(()) => status.add("seccomp", State::Enforced, None),
        Err(error) => {
            landlock::judge_unfiltered(status);
            status.add("seccomp", State::Absent, Some(error.to_string()))
        }
    };
}

fn record_privileges(dropped: &privileges::Dropped, status: &mut Status) {
    match &dropped.capabilities {
        None => {
            let layer = status.add("capabilities", State::Enforced, None);
            if !dropped.bounding {
                layer
                    .limits
                    .push("the bounding set is kept; with no_new_privs nothing can be gained from it");
            }
        }
        Some(why) => {
            status.add("capabilities", State::Absent, Some(why.clone()));
        }
    }
    match &dropped.no_new_privs {
        None => status.add("no_new_privs", State::Enforced, None),
        Some(why) => status.add("no_new_privs", State::Absent, Some(why.clone())),
    };
}

fn filter(plan: &Plan, status: &mut Status, mode: Mode<'_>) -> Result<(), Error> {
    let mut rules = match mode {
        // The network restriction would keep the very calls from being seen that are to be learned.
        Mode::Learning(_) => seccomp::rules_without_network(&plan.policy),
        _ => seccomp::rules(&plan.policy),
    };
    let (Mode::Watched(parent) | Mode::Learning(parent)) = mode else {
        match kernel::seccomp_install(&seccomp::program(&rules)) {
            Ok(()) => status.add("seccomp", State::Enforced, None),
            Err(error) => {
                landlock::judge_unfiltered(status);
                status.add("seccomp", State::Absent, Some(format!("the filter cannot be installed: {error}")))
            }
        };
        return Ok(());
    };
    observe::add_rules(&mut rules);
    let listener = notify::install(&seccomp::program(&rules))
        .map_err(|error| Error::apply("observe COMMAND with seccomp user notification", error))?;
    status.add("seccomp", State::Enforced, None);
    notify::send_fd(parent, &listener).map_err(|error| Error::apply("hand over the listener", error))
}

/// The `sandbox.exec` span, sent before COMMAND takes over; the variables that tell COMMAND of it.
#[inline(never)]
fn span(args: &Args, status: &Status) -> Vec<(&'static str, String)> {
    let guard = telemetry::init(TOOL, telemetry::Kind::Exec);
    let command = args.command.first().map(|program| program.to_string_lossy().into_owned());
    let weak: Vec<&str> = status.weak().map(|layer| layer.name).collect();
    let span = tracing::info_span!(
        "sandbox.exec",
        "process.executable.name" = command.unwrap_or_default(),
        "agor.sandbox.profile" = status.profile,
        "agor.sandbox.landlock_abi" = status.landlock_abi,
        "agor.sandbox.enforcement" = if weak.is_empty() { "full" } else { "partial" },
        "agor.sandbox.weak_layers" = weak.join(","),
    );
    telemetry::parent_from_env(&span);
    let env = telemetry::child_env(&span);
    drop(span);
    guard.shutdown();
    env
}

/// Why COMMAND could not be executed, and what would help.
#[cold]
fn not_run(plan: &Plan, command: PathBuf, error: std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOENT) if !exists(&command) => return Error::NotFound { command, source: error },
        Some(libc::ENOTDIR) => return Error::NotFound { command, source: error },
        Some(libc::EACCES | libc::ENOENT) => {}
        _ => return Error::NotExecutable { command, why: error.to_string(), hint: None },
    }
    let real = std::fs::canonicalize(&command).unwrap_or_else(|_| command.clone());
    if error.raw_os_error() == Some(libc::EACCES) {
        if !exec::may_execute(command.as_os_str()) {
            return Error::NotExecutable { command, why: error.to_string(), hint: None };
        }
        if plan.covers_real(&real, Rights::ROX).is_none() {
            let hint = real.parent().map(|dir| format!("--rox {} would allow it", dir.display()));
            return Error::NotExecutable { command, why: "no grant allows to execute it".into(), hint };
        }
    }
    // The file itself is granted, so it is what the file is run by.
    match path::interpreter(&real) {
        Some(interpreter) => {
            let path = Path::new(&interpreter);
            let hint = std::fs::canonicalize(path)
                .ok()
                .and_then(|real| home_of(&real).map(|dir| format!("--rox {} would allow it", dir.display())));
            let why = format!("its interpreter {} cannot be executed: {error}", path.display());
            Error::NotExecutable { command, why, hint }
        }
        None => Error::NotExecutable { command, why: error.to_string(), hint: None },
    }
}

/// The directory of an interpreter and of what belongs to it.
fn home_of(program: &Path) -> Option<PathBuf> {
    let dir = program.parent()?;
    let prefix = dir.parent().filter(|prefix| dir.ends_with("bin") && prefix.components().count() > 2);
    Some(
        prefix
            .filter(|prefix| std::env::var_os("HOME").is_none_or(|home| *prefix != home))
            .unwrap_or(dir)
            .into(),
    )
}

fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
