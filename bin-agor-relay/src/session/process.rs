//! Starting the process, reading it, and noticing its end.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use agor_common::{output, telemetry};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::{Session, State};
use crate::lines::{CHUNK, Chunker};
use crate::protocol::{Code, Refusal};
use crate::{TOOL, sys};

/// Variables that are the relay's own and must not reach a session.
pub(crate) const PRIVATE_ENV: [&str; 10] = [
    "AGOR_RELAY_TOKEN",
    "AGOR_RELAY_TOKEN_FILE",
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "JOURNAL_STREAM",
];

/// How long output is still read after the process ended, while something else holds its stdout open.
const DRAIN_QUIET: Duration = Duration::from_millis(500);
const DRAIN_TOTAL: Duration = Duration::from_secs(5);
const DRAIN_LOOK: Duration = Duration::from_millis(50);
/// A line without its end is shown after this long: it may be a prompt.
const UNFINISHED_LINE: Duration = Duration::from_millis(200);
/// A larger pipe means fewer switches between the process and the relay.
const PIPE_SIZE: usize = 256 * 1024;

/// A running process: leader of its own process group.
pub(super) struct Process {
    pid: Pid,
    master: Option<Rc<AsyncFd<OwnedFd>>>,
    /// Writes its input.
    feeder: tokio::task::AbortHandle,
}

impl Process {
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }
}

/// A sibling tool is taken from this program's own directory where it is there, so that a relay that was
/// built in a directory outside PATH runs the tools it was built with.
pub(crate) fn program(name: &OsStr) -> OsString {
    let sibling = name.to_str().is_some_and(|name| name == "btmsg" || name.starts_with("agor-"));
    let beside = || -> Option<PathBuf> {
        let path = std::env::current_exe().ok()?.parent()?.join(name);
        path.is_file().then_some(path)
    };
    sibling.then(beside).flatten().map_or_else(|| name.to_owned(), PathBuf::into_os_string)
}

/// A command without the relay's own variables, and with the trace of the current span.
pub(crate) fn command(argv: &[OsString]) -> Command {
    let mut command = Command::new(program(argv.first().map_or(OsStr::new(""), OsString::as_os_str)));
    command.args(argv.iter().skip(1));
    for name in PRIVATE_ENV {
        command.env_remove(name);
    }
    command.envs(telemetry::child_env(&tracing::Span::current()));
    command
}

struct Spawned {
    child: Child,
    stdin: Rc<AsyncFd<OwnedFd>>,
    /// Stream name and descriptor.
    streams: Vec<(&'static str, Rc<AsyncFd<OwnedFd>>)>,
    master: Option<Rc<AsyncFd<OwnedFd>>>,
    /// Lasts as long as the process.
    span: tracing::Span,
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // Refused beyond the user's pipe quota; the default size works too.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_SIZE);
    Ok((read, write))
}

fn ours(fd: OwnedFd) -> std::io::Result<Rc<AsyncFd<OwnedFd>>> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(Rc::new(sys::poll::watch(fd)?))
}

impl Session {
    fn spawn(&self) -> std::io::Result<Spawned> {
        let spec = self.spec.borrow();
        let span = tracing::info_span!(
            "relay.session",
            relay.session = %self.name,
            process.command = %spec.argv.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned()),
        );
        let mut command = span.in_scope(|| command(&spec.argv));
        command.envs(&spec.env);
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
        if let Some((cols, rows)) = spec.pty {
            if std::env::var_os("TERM").is_none() && !spec.env.contains_key("TERM") {
                command.env("TERM", "xterm-256color");
            }
            let (master, terminal) = sys::pty::open(cols, rows)?;
            sys::pty::attach(&mut command, terminal)?;
            let child = command.spawn()?;
            let master = Rc::new(sys::poll::watch(master)?);
            return Ok(Spawned {
                child,
                stdin: master.clone(),
                streams: vec![("stdout", master.clone())],
                master: Some(master),
                span,
            });
        }
        let (stdin, to_child) = pipe()?;
        let (from_stdout, stdout) = pipe()?;
        let (from_stderr, stderr) = pipe()?;
        command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
        command.process_group(0);
        let child = command.spawn()?;
        Ok(Spawned {
            child,
            stdin: ours(to_child)?,
            streams: vec![("stdout", ours(from_stdout)?), ("stderr", ours(from_stderr)?)],
            master: None,
            span,
        })
    }

    /// Starts the process.
    pub(crate) fn start(self: &Rc<Self>) -> Result<(), Refusal> {
        if matches!(self.state.get(), State::Running | State::Stopping) {
            return Err(Refusal(Code::AlreadyRunning, format!("session {} is running", self.name)));
        }
        let failed = |error: &dyn std::fmt::Display| {
            let spec = self.spec.borrow();
            // execve(2) and chdir(2) fail alike.
            let what = match spec.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
                Some(cwd) => format!("working directory {}", cwd.display()),
                None => {
                    spec.argv.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned())
                }
            };
            Refusal(Code::Failed, format!("start session {}: {what}: {error}", self.name))
        };
        let spawned = self.spawn().map_err(|error| failed(&error))?;
        let mut child = spawned.child;
        let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
            return Err(failed(&"it has no pid"));
        };
        // Opened before anything can reap it, so it is this very process.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).and_then(|fd| {
            sys::poll::watch(fd).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        });
        let pidfd = match pidfd {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(&error));
            }
        };
        self.paused.set(false);
        self.start_again.set(false);
        self.input.open(spawned.stdin, spawned.master.is_some());
        let session = self.clone();
        let feeder = tokio::task::spawn_local(async move { session.input.run().await }).abort_handle();
        *self.process.borrow_mut() = Some(Process { pid, master: spawned.master, feeder });
        self.state.set(State::Running);
        let halt = Rc::new(Notify::new());
        let progress = Rc::new(std::cell::Cell::new(Instant::now()));
        let mut readers = Vec::new();
        for (stream, fd) in spawned.streams {
            let (session, halt, progress) = (self.clone(), halt.clone(), progress.clone());
            readers.push(tokio::task::spawn_local(async move {
                session.read(stream, &fd, &halt, &progress).await;
            }));
        }
        let session = self.clone();
        tokio::task::spawn_local(async move {
            session.wait(child, spawned.span, pidfd, readers, &halt, &progress).await;
        });
        Ok(())
    }

    async fn read(
        &self,
        stream: &'static str,
        fd: &AsyncFd<OwnedFd>,
        halt: &Notify,
        progress: &std::cell::Cell<Instant>,
    ) {
        let mut buffer = vec![0u8; CHUNK];
        let mut chunker = Chunker::new(self.is_pty());
        let halted = halt.notified();
        tokio::pin!(halted);
        loop {
            self.wait_for_room().await;
            // While room was waited for, nothing could be read: that is not silence.
            progress.set(Instant::now());
            let ready = tokio::select! {
                biased;
                () = &mut halted => break,
                ready = fd.readable() => ready,
                () = tokio::time::sleep(UNFINISHED_LINE), if chunker.is_waiting() => {
                    chunker.finish(|data, partial| self.push_output(stream, data, partial));
                    continue;
                }
            };
            let Ok(mut guard) = ready else { break };
            match rustix::io::read(fd, &mut buffer[..]) {
                Ok(0) => break,
                Ok(n) => {
                    chunker.feed(&buffer[..n], |data, partial| self.push_output(stream, data, partial));
                    if n == buffer.len() {
                        // One process that floods must not keep the others, or a stop, from their turn.
                        tokio::task::yield_now().await;
                    } else if !self.is_pty() {
                        // A short read has emptied the pipe (epoll(7)): no need to be told so by another read.
                        guard.clear_ready();
                    }
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR) => {}
                // A terminal whose last process is gone reads as EIO.
                Err(_) => break,
            }
        }
        chunker.finish(|data, partial| self.push_output(stream, data, partial));
    }

    /// Waits for the end of the process, then for the rest of its output, then tells everybody.
    async fn wait(
        self: Rc<Self>,
        mut child: Child,
        span: tracing::Span,
        pidfd: AsyncFd<OwnedFd>,
        readers: Vec<tokio::task::JoinHandle<()>>,
        halt: &Notify,
        progress: &std::cell::Cell<Instant>,
    ) {
        let _ = pidfd.readable().await;
        if self.state.get() == State::Stopping {
            // The leader is not reaped yet, so its number still names its group and no other.
            self.signal_group(Signal::KILL);
        }
        let status = child.wait();
        if let Some(process) = self.process.borrow_mut().take() {
            // It may wait for room in a pipe that a child of the process holds, and must not live to put the input
            // of the next process there.
            process.feeder.abort();
        }
        self.input.drop_all();
        let began = Instant::now();
        for mut reader in readers {
            while tokio::time::timeout(DRAIN_LOOK, &mut reader).await.is_err() {
                let waiting_for_room = self.history.borrow().is_full(self.keep());
                let quiet = progress.get().elapsed() > DRAIN_QUIET && began.elapsed() > DRAIN_QUIET;
                if !waiting_for_room && (quiet || began.elapsed() > DRAIN_TOTAL) {
                    halt.notify_waiters();
                }
            }
        }
        let (code, signal) = match &status {
            Ok(status) => (status.code(), status.signal()),
            Err(_) => (None, None),
        };
        self.push_exit(code, signal);
        if let Some(code) = code {
            telemetry::set_attribute(&span, "process.exit.code", i64::from(code));
        }
        if code != Some(0) {
            let why = signal.map_or_else(|| "exit".to_owned(), |signal| format!("signal {signal}"));
            telemetry::set_error(&span, &why, "the session's process failed");
        }
        drop(span);
        self.state.set(State::Ended);
        self.ended.notify_waiters();
        let how = match (code, signal) {
            (Some(code), _) => format!("exited with {code}"),
            (_, Some(signal)) => format!("was killed by signal {signal}"),
            _ => "ended".into(),
        };
        if !self.raw {
            output::notice(TOOL, &format!("session {} {how}", self.name));
        }
        if self.start_again.replace(false)
            && let Err(Refusal(_, why)) = self.start()
        {
            output::warning(TOOL, &why);
            self.push_exit(None, None);
        }
    }

    /// Sends `signal` to the process group, if the process is there. Returns whether it was.
    pub(crate) fn signal_group(&self, signal: Signal) -> bool {
        let process = self.process.borrow();
        let Some(process) = process.as_ref() else { return false };
        rustix::process::kill_process_group(process.pid, signal).is_ok()
    }

    /// Changes the size of the session's terminal.
    pub(crate) fn resize(&self, cols: u16, rows: u16) -> Result<(), Refusal> {
        let process = self.process.borrow();
        let master = process.as_ref().and_then(|process| process.master.as_ref());
        let Some(master) = master else {
            return Err(Refusal(Code::NotRunning, format!("session {} has no terminal now", self.name)));
        };
        sys::pty::resize(master.get_ref(), cols, rows)
            .map_err(|error| Refusal(Code::Failed, format!("resize: {error}")))
    }
}
