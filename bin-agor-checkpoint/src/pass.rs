//! One pass over one database.
//!
//! PASSIVE first: it copies while everybody goes on. TRUNCATE then has to keep writers out, so it comes
//! only when what is left can be copied within the stall budget, and not while a reader is known to hold
//! on to the log: that wait would be in vain, with every writer behind it. In between the pass looks who
//! is in the way and waits outside of all locks.

use std::path::Path;
use std::time::{Duration, Instant};

use agor_common::db::files::{self, Header, Index, Sharing};
use agor_common::db::rusqlite::{self, Connection, ErrorCode};
use agor_common::db::{self, Access, DbError, locks};

use crate::cli::Mode;
use crate::config::{Manners, Target};
use crate::control::Control;
use crate::litestream;
use crate::report::{Outcome, Report, Row};
use crate::seen::{self, Seen};
use crate::stall;
use crate::sys::paced::{self, paced};

/// The part of the stall budget that copying the rest may take, by the last PASSIVE's measure.
const COPY_SHARE: f64 = 0.3;
/// The same in the second half of the deadline, when the disk seems to be no faster.
const LATE_COPY_SHARE: f64 = 0.6;
/// A WAL that has grown by less than this while TRUNCATE waited is always copied.
const SMALL_GROWTH: u64 = 256 * 1024;

/// More frames than this are many (8 MiB of 4 KiB pages).
const LARGE: u32 = 2048;

/// Does one pass over `target`.
pub(crate) fn run(target: &Target, manners: &Manners, control: &Control, seen: &mut Seen) -> Report {
    let started = Instant::now();
    let mut report = Report::new(target.path.clone(), target.named, manners.mode);
    match begin(target, manners, &mut report) {
        Ok(Some(conn)) => {
            let mut pass = Pass { conn, manners, control, seen: &mut *seen, report: &mut report, cost: None };
            if let Err(error) = pass.run() {
                let interrupted = error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted);
                report.outcome = if interrupted { Outcome::Interrupted } else { Outcome::Failed };
                report.error = (!interrupted).then(|| DbError::from_sqlite(&target.path, error));
            }
            if report.error.as_ref().is_some_and(DbError::is_busy) {
                report.outcome = Outcome::Blocked;
                let holders = seen.look(&target.path, None);
                report.in_the_way = seen::blockers(holders, report.frames_moved, report.frames);
            }
        }
        Ok(None) => {}
        Err(error @ DbError::Missing { .. }) => {
            report.outcome = Outcome::Missing;
            report.error = target.named.then_some(error);
        }
        Err(error) => report.error = Some(error),
    }
    report.wal_bytes_after = files::wal_bytes(&target.path);
    report.duration = started.elapsed();
    report
}

/// What can be said without SQLite; a connection where there is something to do.
fn begin(target: &Target, manners: &Manners, report: &mut Report) -> Result<Option<Connection>, DbError> {
    let path = &target.path;
    let open = |source| DbError::Open { path: path.clone(), source };
    let meta = match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(open(std::io::ErrorKind::IsADirectory.into())),
        // A FIFO or a device would keep the reading of a header waiting for ever.
        Ok(meta) if !meta.is_file() => return Err(DbError::NotADatabase { path: path.clone() }),
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DbError::Missing { path: path.clone() });
        }
        Err(error) => return Err(open(error)),
    };
    report.wal_bytes_before = files::wal_bytes(path);
    let whole = match Header::read(path).map_err(open)? {
        Header::Empty if report.wal_bytes_before > 0 => {
            let why =
                "it is empty, but its log is not (SQLite deletes that when it opens the database)".into();
            return Err(DbError::Foreign { path: path.clone(), what: "an SQLite database", why });
        }
        Header::Empty => {
            report.outcome = Outcome::Nothing;
            return Ok(None);
        }
        Header::Foreign => return Err(DbError::NotADatabase { path: path.clone() }),
        Header::Database { wal: false, .. } => {
            report.outcome = Outcome::NotWal;
            return Ok(None);
        }
        Header::Database { page_size, pages, .. } => u64::from(pages) * u64::from(page_size) <= meta.len(),
    };
    if report.wal_bytes_before == 0 && whole {
        if log_was_deleted(path) {
            return Err(DbError::LogDeleted { path: path.clone() });
        }
        report.row = Some(Row { busy: 0, log: 0, checkpointed: 0 });
        report.outcome = Outcome::Nothing;
        return Ok(None);
    }
    if !manners.any_filesystem {
        match files::sharing(path) {
            Some(Sharing::Network(kind)) => {
                let why = format!(
                    "it is on {kind}, where processes of other machines do not see its locks \
                     (--any-filesystem goes ahead)"
                );
                return Err(DbError::Unsuitable { path: path.clone(), why });
            }
            Some(Sharing::Layered(kind)) => report.warnings.push(format!(
                "{} is on {kind}: a process that sees the file through another container does not share its \
                 locks (--any-filesystem silences this)",
                path.display()
            )),
            None => {}
        }
        report.warnings.extend(files::names(path));
    }
    let vfs = paced::register().then_some(paced::NAME);
    db::open_bare_through(path, Access::Write, vfs).map(Some)
}

/// Whether programs have the database open and go by a log that is not there. A frame is in the log before the
/// index counts it and for longer, so of a log that is in order this can be seen for a moment only.
fn log_was_deleted(path: &Path) -> bool {
    let is_empty = || files::wal_bytes(path) == 0;
    (0..3).all(|_| is_empty() && Index::read(path).is_some_and(|index| index.frames > 0))
        && is_empty()
        && locks::is_connected(path)
}

struct Pass<'a> {
    conn: Connection,
    manners: &'a Manners,
    control: &'a Control,
    seen: &'a mut Seen,
    report: &'a mut Report,
    /// Frames and time of the last copy that moved something.
    cost: Option<(u32, Duration)>,
}

impl Pass<'_> {
    fn run(&mut self) -> rusqlite::Result<()> {
        let path = self.report.database.clone();
        let give_up = Instant::now() + self.manners.deadline;
        // A first read: it finds a damaged file, and rebuilds the index where nobody has the file open.
        let control = self.control.clone();
        self.conn.busy_handler(Some(move |_| {
            std::thread::sleep(Duration::from_millis(1));
            Instant::now() < give_up && !control.is_over()
        }))?;
        let managed = litestream::has_tables(&self.conn)? || litestream::has_directory(&files::real(&path));
        let passive_only = match self.manners.mode {
            Mode::Passive => true,
            Mode::Truncate => false,
            Mode::Auto => managed,
        };
        if managed {
            let what = if passive_only {
                "its WAL is only copied here"
            } else {
                "--mode truncate resets its WAL all the same"
            };
            self.report.warnings.push(format!("{}: Litestream replicates it: {what}", path.display()));
        }
        self.report.mode = if passive_only { "passive" } else { "truncate" };
        self.conn.busy_handler(None::<fn(i32) -> bool>)?;
        let before = self.row("NOOP")?;
        self.report.frames = before.frames();
        self.report.frames_moved = before.moved();
        self.report.row = Some(before);
        self.try_until_done(&path, before, passive_only)
    }

    /// PASSIVE and TRUNCATE, until the log is empty or time is up.
    fn try_until_done(&mut self, path: &Path, before: Row, passive_only: bool) -> rusqlite::Result<()> {
        let mut give_up: Option<Instant> = None;
        // The pause after a TRUNCATE that failed: longer than a waiting writer sleeps, so that each gets in.
        let mut gap = Duration::from_millis(120);
        let mut next_try = Instant::now();
        let mut moved = false;
        loop {
            if self.control.is_over() {
                self.report.outcome = Outcome::Interrupted;
                return Ok(());
            }
            let row = self.copy(path)?;
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + self.manners.deadline);
            let give_up = self.control.end().map_or(give_up, |end| end.min(give_up));
            if !row.is_refused() {
                // A log that is shorter than before was emptied by somebody in between.
                moved |= row.frames() < before.frames() || row.moved() > before.moved();
                self.report.row = Some(row);
                self.report.frames = row.frames().max(if passive_only { 0 } else { self.report.frames });
                self.report.frames_moved = row.moved();
                if passive_only && row.rest() == 0 {
                    self.report.outcome = Outcome::Copied;
                    return Ok(());
                }
            }
            let index = Index::read(path);
            let holders = self.seen.look(path, index.as_ref());
            self.report.in_the_way = seen::blockers(holders, row.moved(), row.frames());
            let stuck = self
                .report
                .in_the_way
                .iter()
                .any(|one| one.held.is_some_and(|held| held > self.manners.stall_budget / 2));
            let now = Instant::now();
            if !passive_only
                && !row.is_refused()
                && !stuck
                && now >= next_try
                && self.is_small(row.rest(), give_up)
            {
                let free = self.report.in_the_way.is_empty();
                let Some(after) = self.empty(path, give_up)? else { continue };
                if after.busy == 0 {
                    self.report.frames = self.report.frames.max(row.frames());
                    self.report.frames_moved = self.report.frames;
                    self.report.row = Some(after);
                    self.report.in_the_way.clear();
                    self.report.outcome = Outcome::Truncated;
                    return Ok(());
                }
                if !after.is_refused() {
                    self.report.row = Some(after);
                    self.report.frames = after.frames();
                    self.report.frames_moved = after.moved();
                    moved |= after.moved() > before.moved();
                }
                let holders = self.seen.look(path, Index::read(path).as_ref());
                self.report.in_the_way = seen::blockers(holders, after.moved(), after.frames());
                if !free {
                    gap = gap.mul_f64(1.5);
                }
                next_try = Instant::now() + gap.mul_f64(0.75 + fastrand::f64() / 2.0);
            }
            if Instant::now() >= give_up {
                self.report.outcome = match moved {
                    _ if self.control.is_over() => Outcome::Interrupted,
                    true => Outcome::Partial,
                    false => Outcome::Blocked,
                };
                return Ok(());
            }
            let pause = Duration::from_micros(fastrand::u64(5_000..25_000));
            self.control.pause(pause.min(give_up.saturating_duration_since(Instant::now())));
        }
    }

    /// PASSIVE, where there is something to copy, and a sync of what it wrote.
    fn copy(&mut self, path: &Path) -> rusqlite::Result<Row> {
        let before = self.row("NOOP")?;
        if before.rest() == 0 {
            return Ok(before);
        }
        let started = Instant::now();
        let row = paced(|| self.row("PASSIVE"))?;
        if !row.is_refused() {
            // SQLite leaves the sync to the next one when writers went on meanwhile; and the next one may
            // be the TRUNCATE that keeps them out.
            files::sync(path).map_err(|error| {
                rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC),
                    Some(error.to_string()),
                )
            })?;
            if row.frames() > LARGE && row.rest() == 0 {
                files::forget_log(path);
            }
            let copied = row.moved().saturating_sub(before.moved());
            if copied > 0 {
                self.cost = Some((copied, started.elapsed()));
            }
        }
        self.report.passive += started.elapsed();
        Ok(row)
    }

    /// Whether `rest` frames can be copied within the budget; with room to spare while there is time.
    fn is_small(&self, rest: u32, give_up: Instant) -> bool {
        let Some((frames, time)) = self.cost.filter(|_| rest > 0) else { return rest < 64 };
        let scale = (f64::from(rest) / f64::from(frames)).max(1.0);
        let late = give_up.saturating_duration_since(Instant::now()) < self.manners.deadline / 2;
        let share = if late { LATE_COPY_SHARE } else { COPY_SHARE };
        time.mul_f64(scale) <= self.manners.stall_budget.mul_f64(share)
    }

    /// TRUNCATE; `None` when it was cut short for the writers' sake.
    fn empty(&mut self, path: &Path, give_up: Instant) -> rusqlite::Result<Option<Row>> {
        let limits = stall::Limits {
            database: path.into(),
            budget: self.manners.stall_budget,
            give_up,
            growth: SMALL_GROWTH,
        };
        self.report.tries += 1;
        let handle = self.conn.get_interrupt_handle();
        let started = Instant::now();
        let (result, cost) = self.control.run(handle, || {
            let (handler, cost) = stall::handler(limits, self.control.clone());
            let row = self.conn.busy_handler(Some(handler)).and_then(|()| pragma(&self.conn, "TRUNCATE"));
            (row, cost)
        });
        let ended = Instant::now();
        self.conn.busy_handler(None::<fn(i32) -> bool>)?;
        let cost = *cost.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.report.truncate += ended - started;
        self.report.lock_wait += cost.waited;
        self.report.stall = self.report.stall.max(ended - cost.stall_from);
        match result {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
                    && !self.control.is_over() =>
            {
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// One call that waits for nothing, interrupted only at the program's end.
    fn row(&self, mode: &str) -> rusqlite::Result<Row> {
        self.control.run(self.conn.get_interrupt_handle(), || pragma(&self.conn, mode))
    }
}

fn pragma(conn: &Connection, mode: &str) -> rusqlite::Result<Row> {
    conn.query_row(&format!("PRAGMA main.wal_checkpoint({mode})"), [], |row| {
        Ok(Row { busy: row.get(0)?, log: row.get(1)?, checkpointed: row.get(2)? })
    })
}
