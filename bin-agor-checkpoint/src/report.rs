//! What became of a database: a value before it is a line.

use std::path::PathBuf;
use std::time::Duration;

use agor_common::db::DbError;
use agor_common::{Exit, Failure as _};

use crate::cli::Mode;
use crate::seen::InTheWay;

/// The row of `PRAGMA wal_checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Row {
    /// 1 when something was in the way of what was asked for.
    pub(crate) busy: i32,
    /// Frames in the log; -1 when the checkpoint lock was taken.
    pub(crate) log: i32,
    /// Frames of it that are in the main file.
    pub(crate) checkpointed: i32,
}

impl Row {
    /// Frames in the log.
    pub(crate) fn frames(self) -> u32 {
        u32::try_from(self.log).unwrap_or(0)
    }

    /// Frames of it in the main file.
    pub(crate) fn moved(self) -> u32 {
        u32::try_from(self.checkpointed).unwrap_or(0)
    }

    /// Frames that are not.
    pub(crate) fn rest(self) -> u32 {
        self.frames().saturating_sub(self.moved())
    }

    /// Whether another process was checkpointing: then the row says nothing else.
    pub(crate) fn is_refused(self) -> bool {
        self.log < 0
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The WAL is empty.
    Truncated,
    /// It was before.
    Nothing,
    /// Passive mode: every frame is in the main file; the WAL was not to be emptied.
    Copied,
    /// Some frames were moved, or all, but the WAL could not be emptied.
    Partial,
    /// Nothing was moved.
    Blocked,
    /// Its journal is no WAL.
    NotWal,
    /// There is no such file.
    Missing,
    /// Ended by a signal.
    Interrupted,
    /// An error.
    Failed,
}

impl Outcome {
    /// Its name in JSON and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Truncated => "truncated",
            Outcome::Nothing => "nothing_to_do",
            Outcome::Copied => "copied",
            Outcome::Partial => "partial",
            Outcome::Blocked => "blocked",
            Outcome::NotWal => "not_wal",
            Outcome::Missing => "missing",
            Outcome::Interrupted => "interrupted",
            Outcome::Failed => "failed",
        }
    }
}

/// The result of a pass over one database.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) database: PathBuf,
    /// Named by the user, so that its absence is an error.
    pub(crate) named: bool,
    pub(crate) outcome: Outcome,
    /// `truncate` or `passive`: what was tried in the end.
    pub(crate) mode: &'static str,
    /// The last row; `None` when it did not come to one.
    pub(crate) row: Option<Row>,
    /// Frames in the log: before it was emptied, or at the end.
    pub(crate) frames: u32,
    /// How many of them are in the main file now.
    pub(crate) frames_moved: u32,
    pub(crate) wal_bytes_before: u64,
    pub(crate) wal_bytes_after: u64,
    pub(crate) duration: Duration,
    pub(crate) passive: Duration,
    pub(crate) truncate: Duration,
    pub(crate) lock_wait: Duration,
    /// The longest that one try may have kept a writer waiting.
    pub(crate) stall: Duration,
    /// TRUNCATE calls.
    pub(crate) tries: u32,
    pub(crate) in_the_way: Vec<InTheWay>,
    pub(crate) warnings: Vec<String>,
    pub(crate) error: Option<DbError>,
}

impl Report {
    pub(crate) fn new(database: PathBuf, named: bool, mode: Mode) -> Report {
        Report {
            database,
            named,
            outcome: Outcome::Failed,
            mode: if mode == Mode::Passive { "passive" } else { "truncate" },
            row: None,
            frames: 0,
            frames_moved: 0,
            wal_bytes_before: 0,
            wal_bytes_after: 0,
            duration: Duration::ZERO,
            passive: Duration::ZERO,
            truncate: Duration::ZERO,
            lock_wait: Duration::ZERO,
            stall: Duration::ZERO,
            tries: 0,
            in_the_way: Vec::new(),
            warnings: Vec::new(),
            error: None,
        }
    }

    /// The status that this database alone would give.
    pub(crate) fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Truncated | Outcome::Nothing | Outcome::Copied => Exit::OK,
            Outcome::Missing if !self.named => Exit::OK,
            Outcome::Missing => Exit::NO_INPUT,
            Outcome::Partial | Outcome::Blocked | Outcome::Interrupted => Exit::TRY_AGAIN,
            Outcome::NotWal => Exit::DATA,
            Outcome::Failed => self.error.as_ref().map_or(Exit::INTERNAL, DbError::exit),
        }
    }
}

/// One status for several databases: what will not go away by itself wins over what may.
pub(crate) fn combine(exits: impl IntoIterator<Item = Exit>) -> Exit {
    const ORDER: [Exit; 8] = [
        Exit::INTERNAL,
        Exit::DATA,
        Exit::CONFIG,
        Exit::PERMISSION,
        Exit::IO,
        Exit::NO_INPUT,
        Exit::TRY_AGAIN,
        Exit::OK,
    ];
    let rank = |exit: &Exit| ORDER.iter().position(|one| one == exit).unwrap_or(0);
    exits.into_iter().min_by_key(rank).unwrap_or(Exit::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_wins() {
        assert_eq!(combine([]), Exit::OK);
        assert_eq!(combine([Exit::OK, Exit::TRY_AGAIN]), Exit::TRY_AGAIN);
        assert_eq!(combine([Exit::TRY_AGAIN, Exit::DATA, Exit::OK]), Exit::DATA);
        assert_eq!(combine([Exit::NO_INPUT, Exit::TRY_AGAIN]), Exit::NO_INPUT);
    }

    #[test]
    fn only_what_was_done_is_zero() {
        let mut report = Report::new("a".into(), false, Mode::Auto);
        for (outcome, code) in [
            (Outcome::Truncated, 0),
            (Outcome::Nothing, 0),
            (Outcome::Copied, 0),
            (Outcome::Missing, 0),
            (Outcome::Partial, 75),
            (Outcome::Blocked, 75),
            (Outcome::Interrupted, 75),
            (Outcome::NotWal, 65),
            (Outcome::Failed, 70),
        ] {
            report.outcome = outcome;
            assert_eq!(report.exit().code(), code, "{}", outcome.name());
        }
        report.named = true;
        report.outcome = Outcome::Missing;
        assert_eq!(report.exit(), Exit::NO_INPUT);
    }

    #[test]
    fn rows_are_read_as_they_are_meant() {
        let row = Row { busy: 1, log: -1, checkpointed: -1 };
        assert!(row.is_refused() && row.rest() == 0);
        // A passive checkpoint under a reader: no complaint, and nothing moved.
        assert_eq!(Row { busy: 0, log: 10, checkpointed: 3 }.rest(), 7);
    }
}
