//! `heartbeat`: once, again and again, or for as long as a command runs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use agor_common::db::Db;
use agor_common::mail::dead;
use agor_common::mail::presence::{self, Beat, Clock};
use agor_common::process::Identity;
use agor_common::{Exit, telemetry};
use serde_json::json;

use crate::app::{App, Done};
use crate::error::Error;
use crate::{cli, redrive, wake};

/// Says that the agent is alive.
pub fn heartbeat(app: &mut App, args: cli::Heartbeat) -> Done<Exit> {
    let me = app.me()?.to_owned();
    let Some(every) = args.every else {
        let (redriven, db) = beat(app, &me, &args)?;
        db.leave();
        if app.json {
            app.object(&json!({ "agent": me, "redriven": redriven }))?;
        }
        return Ok(Exit::OK);
    };
    if every < Duration::from_secs(1) {
        return Err(Error::Usage("--every: it must be at least 1s".into()));
    }
    if let Some(process) = &args.while_pid {
        let process = parse(process)?;
        return if args.detach {
            detach(&me, &args, every)
        } else {
            accompany(app, &me, &args, every, &process)
        };
    }
    if args.command.is_empty() {
        beat(app, &me, &args)?;
        loop {
            std::thread::sleep(every);
            again(app, &me, &args);
        }
    }
    beat(app, &me, &args)?;
    around(args, every, &me)
}

/// One heartbeat; mail that was parked while the agent was away goes back. Returns how much, and the
/// database.
fn beat(app: &App, me: &str, args: &cli::Heartbeat) -> Done<(usize, Db)> {
    let span = tracing::info_span!("btmsg.heartbeat", agor.agent = me);
    telemetry::parent_from_env(&span);
    let _in = span.enter();
    let mut db = app.write_lightly()?;
    let redriven = db.write(|tx| -> Done<usize> {
        let what = Beat {
            status: args.status.map(cli::Activity::word),
            note: args.note.as_deref(),
            context: args.context,
            conflict: args.conflict.as_deref(),
            review: args.review,
        };
        // A prefix is found on the second try only: a heartbeat is usually somebody's own full id.
        if !presence::beat(tx, me, me, &what, &Clock::now())? {
            let agent = crate::app::speaker(tx, me)?;
            presence::beat(tx, &agent.id, &agent.id, &what, &Clock::now())?;
            return redrive::parked(tx, app, &agent.id);
        }
        if dead::waits_for(tx, me)? { redrive::parked(tx, app, me) } else { Ok(0) }
    })?;
    if redriven > 0 {
        wake::touch(me);
    }
    Ok((redriven, db))
}

/// A later heartbeat: what fails now may work in a minute, and is said.
fn again(app: &App, me: &str, args: &cli::Heartbeat) {
    if let Err(error) = beat(app, me, args) {
        let why = agor_common::error::one_line(&app.name_file(error));
        agor_common::output::warning(crate::TOOL, &format!("heartbeat of {me}: {why}"));
    }
}

/// Becomes the command; a helper, which is nobody's child by then, beats for as long as this process lives.
fn around(args: cli::Heartbeat, every: Duration, me: &str) -> Done<Exit> {
    let process = Identity::current();
    let failed = |what: &str, source| Error::Io { what: what.into(), source };
    let myself = std::env::current_exe().map_err(|error| failed("find this program", error))?;
    let mut helper = Command::new(myself);
    helper.args(["--as", me, "heartbeat", "--detach"]);
    helper.arg(format!("--every={}ms", every.as_millis()));
    helper.arg(format!("--while-pid={}:{}", process.pid, process.start));
    forward(&mut helper, &args);
    let status = helper.status().map_err(|error| failed("start the heartbeat", error))?;
    if !status.success() {
        return Err(Error::Io {
            what: "start the heartbeat".into(),
            source: std::io::Error::other(format!("it ended with {status}")),
        });
    }
    let mut words = args.command.into_iter();
    let program = words.next().expect("clap gives a command with at least its name");
    let error = Command::new(&program).args(words).exec();
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::NOT_FOUND,
        _ => Exit::NOT_EXECUTABLE,
    };
    Err(Error::Partial { message: format!("run {}: {error}", program.to_string_lossy()), exit })
}

fn forward(helper: &mut Command, args: &cli::Heartbeat) {
    if let Some(status) = args.status {
        helper.args(["--status", status.word()]);
    }
    if let Some(note) = &args.note {
        helper.arg(format!("--note={note}"));
    }
    if let Some(context) = args.context {
        helper.arg(format!("--context={context}"));
    }
    if let Some(conflict) = &args.conflict {
        helper.arg(format!("--conflict={conflict}"));
    }
    if let Some(review) = args.review {
        helper.arg(format!("--review={review}"));
    }
}

/// The process between: starts the helper and ends, so that the command has no child that it did not start.
fn detach(me: &str, args: &cli::Heartbeat, every: Duration) -> Done<Exit> {
    let failed = |source| Error::Io { what: "start the heartbeat".into(), source };
    let mut helper = Command::new(std::env::current_exe().map_err(failed)?);
    helper.args(["--as", me, "heartbeat"]);
    helper.arg(format!("--every={}ms", every.as_millis()));
    helper.arg(format!("--while-pid={}", args.while_pid.as_deref().unwrap_or_default()));
    forward(&mut helper, args);
    // It must not hold the command's pipes open.
    let null = std::process::Stdio::null;
    helper.stdin(null()).stdout(null()).stderr(null()).process_group(0);
    helper.spawn().map_err(failed)?;
    Ok(Exit::OK)
}

fn parse(text: &str) -> Done<Identity> {
    let parsed = text.split_once(':').and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse().ok()?)));
    let (pid, start) = parsed.ok_or_else(|| Error::Usage("--while-pid: it is PID:START".into()))?;
    Ok(Identity { pid, start, boot_id: agor_common::process::boot_id() })
}

/// Beats until the process is gone; sleeps in the kernel on its pidfd.
fn accompany(app: &App, me: &str, args: &cli::Heartbeat, every: Duration, process: &Identity) -> Done<Exit> {
    let pid = rustix::process::Pid::from_raw(process.pid);
    let descriptor =
        pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    // Opened first, checked then: the number may have been somebody else's by now.
    let Some(descriptor) = descriptor.filter(|_| process.is_alive()) else { return Ok(Exit::OK) };
    let timeout = rustix::event::Timespec {
        tv_sec: i64::try_from(every.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(every.subsec_nanos()),
    };
    loop {
        let mut poll = [rustix::event::PollFd::new(&descriptor, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut poll, Some(&timeout)) {
            Ok(0) => again(app, me, args),
            Ok(_) => return Ok(Exit::OK),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(Error::Io { what: "wait for the command".into(), source: error.into() });
            }
        }
    }
}
