//! The databases, off the path on which a command is started again.
//!
//! One thread takes what is to be recorded and writes it, as much as there is, in one transaction. It keeps
//! `sessions.db` (and `btmsg.db` for an agent) open, and opens it anew when the path leads to another file. A
//! database that is locked, full,
//! corrupt, read-only or absent is said once on stderr and tried again; nothing here ever holds
//! supervision up.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agor_common::db::{Db, DbError, Durability, Options, set_deadline};
use agor_common::mail::presence::{self, Clock};
use agor_common::process::Identity;
use agor_common::sessions::{self, IncarnationEnd, Supervised};
use agor_common::{error, mail, output, time};

use crate::sys::memory;

/// How long each database may be locked. Shorter than elsewhere: what cannot be written now is tried again anyway.
const LOCK: Duration = Duration::from_secs(2);
/// The same at the end, when the last try is made.
const LAST_LOCK: Duration = Duration::from_secs(1);

/// What is kept while the database cannot be written; beyond it the oldest is given up.
const BACKLOG: usize = 10_000;
/// With nothing to write for this long, memory is given back, once.
const QUIET: Duration = Duration::from_millis(500);
/// A database is opened this long after the start: until then the processors are the command's.
const SETTLE: Duration = Duration::from_millis(30);
/// Between tries.
const RETRY: [u64; 5] = [1, 2, 5, 15, 30];

/// Something to record.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// The run as it is now. Only the latest matters.
    Run(Box<Supervised>),
    /// An incarnation began.
    Started {
        /// Its number.
        incarnation: u64,
        /// The attempt that it is.
        attempt: u32,
        /// Its process.
        pid: Option<i32>,
        /// When.
        at_ms: i64,
    },
    /// An incarnation ended.
    Ended {
        /// Its number.
        incarnation: u64,
        /// How.
        end: Box<IncarnationEnd>,
    },
    /// The agent has been started, and says later that it is ready; it may speak before that.
    Starting,
    /// The agent runs.
    Active,
    /// The agent is gone, and why; `true` when it crashed.
    Gone(bool, String),
    /// The agent makes progress.
    Beat,
    /// How old is the agent's heartbeat? Answered in [`Answers`].
    AskBeat,
    /// Write what there is; nothing follows.
    Finish,
}

/// What the thread found out.
#[derive(Default)]
pub(crate) struct Answers {
    beat_age: Mutex<Option<Option<Duration>>>,
}

impl Answers {
    /// The age of the last heartbeat, once it is known: `Some(None)` when there never was one.
    pub(crate) fn take_beat_age(&self) -> Option<Option<Duration>> {
        self.beat_age.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where and for whom.
pub(crate) struct Target {
    /// `sessions.db`.
    pub(crate) sessions: Option<PathBuf>,
    /// `btmsg.db`.
    pub(crate) mail: Option<PathBuf>,
    /// The supervised name.
    pub(crate) name: String,
    /// The run.
    pub(crate) run_id: String,
    /// The agent.
    pub(crate) agent: Option<String>,
    /// The run of a supervisor of this name that was lost, as it described itself last: perhaps it did not
    /// live to record that.
    pub(crate) lost: Option<Box<Supervised>>,
    /// Gets a count for every answer.
    pub(crate) wake: OwnedFd,
}

/// The recording thread.
pub(crate) struct Recorder {
    sender: Sender<Note>,
    done: Receiver<bool>,
    /// What it found out.
    pub(crate) answers: Arc<Answers>,
}

impl Recorder {
    /// Starts it.
    pub(crate) fn start(target: Target) -> std::io::Result<Recorder> {
        let (sender, receiver) = channel();
        let (finished, done) = channel();
        let answers = Arc::new(Answers::default());
        let worker = Worker {
            target,
            answers: answers.clone(),
            run: None,
            events: VecDeque::new(),
            mail: VecDeque::new(),
            closed_lost: false,
            complained: [None, None],
            sessions: None,
            mailbox: None,
        };
        std::thread::Builder::new().name("recorder".into()).stack_size(512 * 1024).spawn(move || {
            let all = worker.run(&receiver);
            // Nobody waits any more when this fails.
            let _ = finished.send(all);
        })?;
        Ok(Recorder { sender, done, answers })
    }

    /// Records something, some time soon.
    pub(crate) fn note(&self, note: Note) {
        // A thread that is gone cannot be told; supervision goes on without a record.
        let _ = self.sender.send(note);
    }

    /// Writes what is left; false when that is not possible, or takes longer than `patience`.
    pub(crate) fn finish(self, patience: Duration) -> bool {
        self.note(Note::Finish);
        self.done.recv_timeout(patience).unwrap_or(false)
    }
}

struct Worker {
    target: Target,
    answers: Arc<Answers>,
    run: Option<Box<Supervised>>,
    events: VecDeque<Note>,
    mail: VecDeque<Note>,
    closed_lost: bool,
    complained: [Option<String>; 2],
    sessions: Option<Open>,
    mailbox: Option<Open>,
}

impl Worker {
    /// Until the end; true where everything was written then.
    fn run(mut self, notes: &Receiver<Note>) -> bool {
        set_deadline(LOCK);
        let mut failures = 0usize;
        let mut finishing = false;
        let mut trimmed = false;
        let settled = Instant::now() + SETTLE;
        while let Ok(note) = notes.recv_timeout(settled.saturating_duration_since(Instant::now())) {
            // An end is worth a record at once.
            let ended = matches!(note, Note::Ended { .. });
            finishing |= self.take(note);
            if finishing || ended {
                break;
            }
        }
        loop {
            let pending = self.run.is_some() || !self.events.is_empty() || !self.mail.is_empty();
            if finishing && (!pending || failures > 0) {
                return !pending;
            }
            let note = if pending {
                let wait = Duration::from_secs(RETRY[failures.saturating_sub(1).min(RETRY.len() - 1)]);
                notes.recv_timeout(if failures == 0 { Duration::ZERO } else { wait })
            } else if trimmed {
                notes.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                notes.recv_timeout(QUIET)
            };
            trimmed = note.is_err() && !pending;
            if trimmed {
                memory::trim();
            }
            match note {
                Ok(note) => {
                    finishing |= self.take(note);
                    while let Ok(note) = notes.try_recv() {
                        finishing |= self.take(note);
                    }
                    if failures > 0 && !finishing {
                        // Not before its time: a broken database is not worth a try per event.
                        let until = Instant::now() + Duration::from_millis(500);
                        while let Ok(note) =
                            notes.recv_timeout(until.saturating_duration_since(Instant::now()))
                        {
                            finishing |= self.take(note);
                            if finishing {
                                break;
                            }
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => finishing = true,
            }
            if finishing {
                // The end is not to wait long for whoever has the databases.
                set_deadline(LAST_LOCK);
            }
            let written = self.write_sessions();
            let sent = self.write_mail();
            failures = if written && sent { 0 } else { failures + 1 };
        }
    }

    /// Files a note; true for [`Note::Finish`].
    fn take(&mut self, note: Note) -> bool {
        match note {
            Note::Run(run) => self.run = Some(run),
            Note::Started { .. } | Note::Ended { .. } => self.events.push_back(note),
            Note::AskBeat | Note::Starting | Note::Active | Note::Gone(..) | Note::Beat => {
                if self.target.agent.is_some() {
                    self.mail.push_back(note);
                }
            }
            Note::Finish => return true,
        }
        for queue in [&mut self.events, &mut self.mail] {
            if queue.len() > BACKLOG {
                queue.pop_front();
            }
        }
        false
    }

    fn write_sessions(&mut self) -> bool {
        if self.run.is_none() && self.events.is_empty() {
            return true;
        }
        let Some(path) = self.target.sessions.clone() else {
            self.run = None;
            self.events.clear();
            return true;
        };
        let (name, run_id) = (self.target.name.as_str(), self.target.run_id.as_str());
        let result = reopen(&mut self.sessions, &path, sessions::open).and_then(|db| {
            let sqlite = |error| DbError::from_sqlite(&path, error);
            db.write(|tx| {
                if !self.closed_lost {
                    if let Some(lost) = &self.target.lost
                        && lost.incarnation > 0
                    {
                        sessions::incarnation_started(
                            tx,
                            (name, &lost.run_id),
                            lost.incarnation,
                            lost.attempt,
                            lost.child.as_ref().map(|child| child.pid),
                            lost.child_since_ms.unwrap_or(lost.started_ms),
                        )
                        .map_err(sqlite)?;
                    }
                    sessions::close_lost(tx, name, run_id, time::now_ms()).map_err(sqlite)?;
                }
                for event in &self.events {
                    match event {
                        Note::Started { incarnation, attempt, pid, at_ms } => sessions::incarnation_started(
                            tx,
                            (name, run_id),
                            *incarnation,
                            *attempt,
                            *pid,
                            *at_ms,
                        ),
                        Note::Ended { incarnation, end } => {
                            sessions::incarnation_ended(tx, (name, run_id), *incarnation, end)
                        }
                        _ => Ok(()),
                    }
                    .map_err(sqlite)?;
                }
                if let Some(run) = &self.run {
                    sessions::save(tx, run).map_err(sqlite)?;
                }
                Ok::<(), DbError>(())
            })
        });
        if self.judge(0, &result) {
            self.closed_lost = true;
            self.events.clear();
            self.run = None;
            return true;
        }
        false
    }

    fn write_mail(&mut self) -> bool {
        let Some(agent) = self.target.agent.clone() else { return true };
        let Some(path) = self.target.mail.clone() else { return true };
        if self.mail.is_empty() {
            return true;
        }
        let asked = self.mail.iter().any(|note| matches!(note, Note::AskBeat));
        let holder = Identity::current();
        let mut age = None;
        let by = format!("supervise:{}", self.target.name);
        let result = reopen(&mut self.mailbox, &path, mail::open).and_then(|db| {
            let sqlite = |error| DbError::from_sqlite(&path, error);
            if asked {
                let beat = presence::heartbeat(db.conn(), &agent).map_err(sqlite)?;
                age = beat.map(|beat| beat.age_ms(&Clock::now()));
            }
            if self.mail.iter().all(|note| matches!(note, Note::AskBeat)) {
                return Ok(());
            }
            db.write(|tx| {
                for note in &self.mail {
                    match note {
                        Note::Starting => presence::announce(tx, &by, &agent),
                        Note::Active => presence::mark_active(tx, &by, &agent, Some(&holder)),
                        Note::Gone(true, why) => presence::mark_crashed(tx, &by, &agent, why).map(drop),
                        Note::Gone(false, why) => presence::mark_stopped(tx, &by, &agent, why).map(drop),
                        Note::Beat => {
                            presence::beat(tx, &by, &agent, &presence::Beat::default(), &Clock::now())
                                .map(drop)
                        }
                        _ => Ok(()),
                    }
                    .map_err(sqlite)?;
                }
                Ok::<(), DbError>(())
            })
        });
        let done = self.judge(1, &result);
        if asked {
            let age = age.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
            *self.answers.beat_age.lock().unwrap_or_else(PoisonError::into_inner) = Some(age);
            self.mail.retain(|note| !matches!(note, Note::AskBeat));
            let _ = rustix::io::write(&self.target.wake, &1u64.to_ne_bytes());
        }
        if done {
            self.mail.clear();
        }
        done
    }

    /// Says once what is wrong, and once that it is mended.
    fn judge(&mut self, which: usize, result: &Result<(), DbError>) -> bool {
        match result {
            Ok(()) => {
                if let Some(before) = self.complained[which].take() {
                    output::notice(crate::TOOL, &format!("recording again after: {before}"));
                }
                true
            }
            Err(failure) => {
                // Whatever it was, the next try begins from the beginning.
                *(if which == 0 { &mut self.sessions } else { &mut self.mailbox }) = None;
                let line = error::one_line(failure);
                if self.complained[which].is_none() {
                    output::warning(crate::TOOL, &format!("cannot record, trying again: {line}"));
                    self.complained[which] = Some(line);
                }
                false
            }
        }
    }
}

/// An open database, and which file it is.
struct Open {
    db: Db,
    file: (u64, u64),
}

fn file_of(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The database at `path`: the one that is open, unless the path leads to another file by now.
fn reopen<'a>(
    slot: &'a mut Option<Open>,
    path: &Path,
    open: impl FnOnce(&Path, Options) -> Result<Db, DbError>,
) -> Result<&'a mut Db, DbError> {
    let file = file_of(path);
    if slot.as_ref().is_some_and(|opened| Some(opened.file) != file) {
        *slot = None;
    }
    let opened = match slot.take() {
        Some(opened) => opened,
        None => {
            let db = open(path, Options::create().durability(Durability::Crash))?;
            // A few pages are enough for a few rows; a failure only costs memory.
            let _ = db.conn().pragma_update(None, "cache_size", -64);
            Open { db, file: file_of(path).unwrap_or_default() }
        }
    };
    Ok(&mut slot.insert(opened).db)
}
