//! Everything before the first start, in the order that gets the command going soonest.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use agor_common::process::Identity;
use agor_common::sessions::{self, Health, Supervised, SupervisorState};
use agor_common::{db, error, output, paths, telemetry, time};
use rustix::event::{EventfdFlags, eventfd};

use super::Engine;
use crate::cli::Stderr;
use crate::clock;
use crate::command;
use crate::config::Config;
use crate::error::SuperviseError;
use crate::hooks::Hooks;
use crate::keeper::launch::{self, Plan};
use crate::liveness::{Limits, Liveness};
use crate::logs::Log;
use crate::mask::Mask;
use crate::names::file_name;
use crate::notify::{Listener, Manager};
use crate::place::{self, PATIENCE, Place};
use crate::pump::Pump;
use crate::recorder::{Recorder, Target};
use crate::rule::State;
use crate::sys::{inherited, signals};
use crate::terminal::Terminal;

/// How much of stderr's end is kept for `last_error`.
pub(super) const TAIL: usize = 8 * 1024;

/// How long a start waits for a locked database.
const GLANCE: Duration = Duration::from_millis(50);

/// Signals that the caller had ignored (nohup, a shell's background).
pub(super) struct Ignored {
    pub(super) hup: bool,
    pub(super) int: bool,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> SuperviseError {
    move |source| SuperviseError::System { what, source }
}

fn locked(name: &str, me: &Identity, patience: Duration) -> Result<(Place, OwnedFd), SuperviseError> {
    let place = Place::of(name, true)?;
    let lock = place.lock(name, me, patience)?;
    Ok((place, lock))
}

/// The place of a name and the lock on it. Where the runtime directory cannot be used the command runs all
/// the same, without orders and without a lock; only a name that somebody else has is refused.
fn take_place(name: &str, me: &Identity) -> Result<(Option<Place>, Option<OwnedFd>), SuperviseError> {
    match locked(name, me, PATIENCE) {
        Ok((place, lock)) => Ok((Some(place), Some(lock))),
        Err(taken @ SuperviseError::Taken { .. }) => Err(taken),
        Err(other) => {
            let line = error::one_line(&other);
            output::warning(crate::TOOL, &format!("no lock, no status and no orders: {line}"));
            Ok((None, None))
        }
    }
}

/// Who has a name and runs, although it has no lock any more: its files were removed. The state says so, or, where
/// the whole directory was removed, the database; one that cannot be read is in nobody's way.
fn owner_without_files(name: &str, previous: Option<&place::State>, fresh: bool) -> Option<Identity> {
    let run = previous.map(|state| state.run.clone()).or_else(|| {
        // A look that costs as much as the rest of a start.
        if !fresh {
            return None;
        }
        db::set_deadline(GLANCE);
        let known = paths::sessions_db().ok().and_then(|path| sessions::open_existing(&path).ok().flatten());
        let run = known.and_then(|db| sessions::by_name(&db, name).ok().flatten());
        db::set_deadline(db::DEFAULT_DEADLINE);
        run
    });
    run.filter(|run| run.supervisor_state() == SupervisorState::Alive).map(|run| run.supervisor)
}

/// The supervisor, ready to start the command.
pub(super) fn engine(config: Config, inherited: signals::Mask) -> Result<Engine, SuperviseError> {
    let me = Identity::current();
    let ignored = super::ignored();
    let manager = Manager::from_env(me.pid);
    let (place, lock) = take_place(&config.name, &me)?;
    let previous = place.as_ref().and_then(Place::read);
    let mut previous = previous.filter(|state| state.run.name == config.name);
    let fresh = place.as_ref().is_none_or(|place| place.fresh);
    if !config.auto_name
        && let Some(owner) = owner_without_files(&config.name, previous.as_ref(), fresh)
    {
        // The directory is there from now on, so the next start would not ask: the name's owner takes it again,
        // and what it finds until then says whose it is.
        if let Some(lock) = lock {
            Place::leave_to(&lock, &owner);
        }
        place::remind(owner.pid);
        return Err(SuperviseError::Taken { name: config.name.clone(), pid: owner.pid });
    }
    // Whoever waits for an answer of the last one finds it in the state of this one.
    let answers = previous.as_mut().map(|state| std::mem::take(&mut state.answers)).unwrap_or_default();
    let answers = answers.into_iter().map(|answer| (clock::now(), answer)).collect();
    let lost = previous.filter(|state| state.run.ended_ms.is_none());

    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(io::Error::from)
        .map_err(system("become a subreaper"))?;
    let isolation = launch::choose(
        config.isolate,
        // Without a lock on the name nothing but the process is only ours.
        &place.as_ref().map_or_else(|| format!("{}-{}", file_name(&config.name), me.pid), Place::label),
    )?;
    let terminal = Terminal::find();
    let span = tracing::info_span!(
        "supervise.run",
        otel.kind = "internal",
        process.command = %config.command[0].to_string_lossy(),
        agor.name = %config.name,
        agor.agent = config.agent.as_deref().unwrap_or_default(),
    );
    telemetry::parent_from_env(&span);

    let program = config.command[0].clone();
    let nul = || SuperviseError::Usage("an argument of the command has a NUL in it".into());
    let candidates = command::candidates(&program, std::env::var_os("PATH").as_deref());
    let plan = Plan {
        candidates: candidates.into_iter().filter_map(command::c_string).collect(),
        argv: config.command.iter().map(command::c_string).collect::<Option<_>>().ok_or_else(nul)?,
        env: environment(&config, me.pid),
        mask: inherited,
        ignored: inherited::ignored(),
        terminal: terminal.is_some(),
        listen_pid: listens(me.pid),
        isolation,
        lock,
    };
    let keeper = match plan.launch() {
        Ok(keeper) => Some(keeper),
        Err(source) if plan.isolation == crate::keeper::Isolation::Pid => {
            return Err(SuperviseError::Isolation { what: "pid", source });
        }
        // No process to be had just now: tried again with the first start, which then counts as an attempt.
        Err(_) => None,
    };

    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| system("make an eventfd")(error.into()))?;
    let signals = signals::descriptor().map_err(system("make a signalfd"))?;
    let listener = match (&place, config.rule.ready || config.watchdog.is_some()) {
        (Some(place), true) => {
            Some(Listener::bind(&place.notify()).map_err(system("make the notify socket"))?)
        }
        (None, true) => {
            let fallback = std::path::Path::new("/").join("x".repeat(200));
            Some(Listener::bind(&fallback).map_err(system("make the notify socket"))?)
        }
        (_, false) => None,
    };
    let (out, err) = pumps(&config, &wake)?;
    let mask = Mask::new(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    );
    let words: Vec<String> = config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let failures = lost.as_ref().map_or(0, |state| state.failures);
    let now_ms = time::now_ms();
    let run = Supervised {
        name: config.name.clone(),
        agent_id: config.agent.clone(),
        run_id: uuid::Uuid::now_v7().to_string(),
        command: mask.command(&words),
        cwd: std::env::current_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default(),
        supervisor: me,
        health: Health::Healthy,
        attempt: failures,
        max_attempts: config.rule.max_attempts,
        error: None,
        reason: None,
        status_text: None,
        isolation: plan.isolation.name().into(),
        incarnation: lost.as_ref().map_or(0, |state| state.run.incarnation),
        child: None,
        child_since_ms: None,
        last_exit: lost.as_ref().and_then(|state| state.run.last_exit.clone()),
        restarts: lost.as_ref().map_or(0, |state| state.run.restarts),
        started_ms: now_ms,
        updated_ms: now_ms,
        ended_ms: None,
    };
    let liveness = Liveness::new(Limits {
        stall_after: config.stall_after,
        watchdog: config.watchdog,
        heartbeat: config.heartbeat,
        agent: config.agent.is_some(),
    });
    Ok(Engine {
        state: State::new(failures, config.seed),
        hooks: Hooks::new(config.on_event.clone()),
        config,
        plan,
        keeper,
        keeper_due: None,
        unborn_due: None,
        place,
        run,
        child: None,
        pending_spawn: None,
        pending_exit: None,
        never_started: None,
        failure: None,
        finished: None,
        hurry: false,
        signals,
        wake,
        control: None,
        orders: Vec::new(),
        answers,
        listener,
        manager_due: manager.watchdog.map(|every| clock::now() + every),
        manager,
        manager_again: None,
        told_ready: false,
        stopping_told: false,
        liveness,
        out,
        err,
        recorder: None,
        lost: lost.map(|state| Box::new(state.run)),
        backlog: Vec::new(),
        terminal,
        foreground: false,
        mask,
        ignored,
        span,
        incarnation_span: tracing::Span::none(),
        dirty: true,
        state_complained: false,
    })
}

/// The command's environment, but for what differs between incarnations. Our own manager's variables are
/// not for it: it must not answer in our place.
fn environment(config: &Config, pid: i32) -> Vec<std::ffi::CString> {
    let listens = listens(pid);
    let mut env: Vec<std::ffi::CString> = std::env::vars_os()
        .filter(|(name, _)| match name.to_str() {
            Some("NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID") => false,
            Some("LISTEN_PID") => !listens,
            Some("BTMSG_AGENT_ID") => config.agent.is_none(),
            Some("AGOR_INCARNATION" | "AGOR_ATTEMPT" | "AGOR_LAST_EXIT") => false,
            // A supervisor inside is another one.
            Some("AGOR_SUPERVISE_NAME" | "AGOR_SUPERVISE_AGENT") => false,
            _ => true,
        })
        .filter_map(|(name, value)| {
            let mut entry = name;
            entry.push("=");
            entry.push(value);
            command::c_string(entry)
        })
        .collect();
    env.extend(config.agent.as_ref().and_then(|agent| command::c_string(format!("BTMSG_AGENT_ID={agent}"))));
    env
}

/// Whether sockets were passed to us (sd_listen_fds(3)), to be passed on.
fn listens(pid: i32) -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|listener| listener == pid.to_string())
}

fn pumps(config: &Config, wake: &OwnedFd) -> Result<(Option<Pump>, Option<Pump>), SuperviseError> {
    let log = |stream: &str| -> Result<Option<Log>, SuperviseError> {
        let Some(logs) = &config.logs else { return Ok(None) };
        let file = format!("{}.{stream}.log", file_name(&config.name));
        Log::open(&logs.dir, &file, logs.max_size, logs.keep)
            .map(Some)
            .map_err(|source| SuperviseError::Place { path: logs.dir.join(file), source })
    };
    let duplicate = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    let start = |name: &'static str, fd: std::os::fd::BorrowedFd<'_>, keep, log| {
        Pump::new(name, duplicate(fd)?, keep, log, wake.try_clone()?)
    };
    let capture = config.logs.is_some()
        || match config.stderr {
            Stderr::Capture => true,
            Stderr::Inherit => false,
            Stderr::Auto => !io::stderr().is_terminal(),
        };
    // A thread that cannot be had costs the observation and not the command.
    let kept = |stream: &str, pump: io::Result<Pump>| match pump {
        Ok(pump) => Some(pump),
        Err(error) => {
            output::warning(crate::TOOL, &format!("{stream} is not observed: {error}"));
            None
        }
    };
    let mut out = None;
    if config.observe {
        let log = log("out")?;
        out = kept("stdout", start("stdout", io::stdout().as_fd(), 1, log));
    }
    let mut err = None;
    if capture {
        let log = log("err")?;
        err = kept("stderr", start("stderr", io::stderr().as_fd(), TAIL, log));
    }
    Ok((out, err))
}

impl Engine {
    fn open_control(&mut self) {
        let Some(place) = &self.place else { return };
        match place.open_control() {
            Ok(control) => self.control = Some(control),
            Err(error) => {
                output::warning(crate::TOOL, &format!("no orders: {}", error::one_line(&error)));
            }
        }
    }

    /// Whether the name's files are where they belong.
    pub(super) fn has_place(&self) -> bool {
        self.has_lock() && !self.has_lost_control()
    }

    fn has_lock(&self) -> bool {
        self.place.as_ref().zip(self.plan.lock.as_ref()).is_some_and(|(place, lock)| place.has(lock))
    }

    /// One that could not be made is not lost.
    fn has_lost_control(&self) -> bool {
        let control = self.place.as_ref().zip(self.control.as_ref());
        control.is_some_and(|(place, control)| !place.has_control(control))
    }

    /// Takes the name again where its files are gone, or could not be made: the runtime directory was
    /// removed, or there is room on the disk again. Somebody who has taken the name meanwhile keeps it.
    pub(super) fn keep_place(&mut self) {
        if self.has_lock() {
            if self.has_lost_control() {
                self.control = None;
                self.open_control();
            }
            return;
        }
        let (name, me) = (&self.config.name, &self.run.supervisor);
        let taken = match locked(name, me, Duration::ZERO) {
            Ok((place, lock)) => {
                if let Some(listener) = &mut self.listener
                    && listener.address == place.notify().as_os_str()
                    && let Ok(again) = Listener::bind(&place.notify())
                {
                    *listener = again;
                }
                (self.place, self.plan.lock) = (Some(place), Some(lock));
                return self.open_control();
            }
            Err(error) => error,
        };
        if self.place.take().is_some() {
            let line = error::one_line(&taken);
            output::warning(crate::TOOL, &format!("no lock, no status and no orders: {line}"));
        }
    }

    /// What can wait until the command has been started: orders, and the databases.
    pub(super) fn open_late(&mut self) {
        for pump in [&mut self.out, &mut self.err] {
            if let Some(Err(error)) = pump.as_mut().map(Pump::run) {
                // This incarnation has lost a stream; the next ones get the caller's own.
                output::warning(crate::TOOL, &format!("a stream of the command is lost: {error}"));
                *pump = None;
            }
        }
        self.open_control();
        let database = |path: Result<std::path::PathBuf, paths::PathError>| match path {
            Ok(path) => Some(path),
            Err(error) => {
                output::warning(crate::TOOL, &format!("cannot record: {}", error::one_line(&error)));
                None
            }
        };
        let recorder = self.wake.try_clone().and_then(|wake| {
            Recorder::start(Target {
                sessions: database(paths::sessions_db()),
                mail: self.config.agent.as_ref().and_then(|_| database(paths::mail_db())),
                name: self.config.name.clone(),
                run_id: self.run.run_id.clone(),
                agent: self.config.agent.clone(),
                lost: self.lost.take(),
                wake,
            })
        });
        match recorder {
            Ok(recorder) => {
                for note in self.backlog.drain(..) {
                    recorder.note(note);
                }
                self.recorder = Some(recorder);
            }
            Err(error) => output::warning(crate::TOOL, &format!("cannot record: {error}")),
        }
    }
}
