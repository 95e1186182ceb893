//! For how long a reader has been in the way, as far as this process has watched it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agor_common::db::files::Index;
use agor_common::db::locks::{self, Holder, Slot};
use agor_common::process;

/// One hold: the same process, slot and read mark all the time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Hold {
    database: PathBuf,
    process: (i32, u64),
    slot: Slot,
    mark: Option<u32>,
}

/// A lock holder, and since when it has been seen.
#[derive(Debug, Clone)]
pub(crate) struct InTheWay {
    pub(crate) holder: Holder,
    /// Up to which frame it sees the log.
    pub(crate) mark: Option<u32>,
    /// At least this long; `None` when it is not known which process it is.
    pub(crate) held: Option<Duration>,
}

/// Remembers holds from one look to the next, and from one pass to the next.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<Hold, Instant>);

impl Seen {
    /// Everyone who holds a lock on `db` now. `index` is the WAL index of this moment, where it is known.
    pub(crate) fn look(&mut self, db: &Path, index: Option<&Index>) -> Vec<InTheWay> {
        let now = Instant::now();
        let mut current = Vec::new();
        let found: Vec<InTheWay> = locks::holders(db)
            .into_iter()
            .map(|holder| {
                let mark = mark(holder.slot, index);
                let held = holder.pid.map(|pid| {
                    let process = (pid, process::start_time(pid).unwrap_or(0));
                    let hold = Hold { database: db.into(), process, slot: holder.slot, mark };
                    let since = *self.0.entry(hold.clone()).or_insert(now);
                    current.push(hold);
                    now - since
                });
                InTheWay { holder, mark, held }
            })
            .collect();
        // Who let go and came back starts anew.
        self.0.retain(|hold, _| hold.database != db || current.contains(hold));
        found
    }
}

/// Who is seen for this long is more than a passer-by.
const STAYS: Duration = Duration::from_millis(50);

/// Of `holders`, those that keep a pass over a log of `frames` frames, `moved` of them in the main file,
/// from emptying it: its readers, and of them only those that stay, if any does (writers read too, for a
/// moment); or, where there are none, whoever holds another lock.
pub(crate) fn blockers(holders: Vec<InTheWay>, moved: u32, frames: u32) -> Vec<InTheWay> {
    let reads = |one: &InTheWay| match one.holder.slot {
        Slot::Read(0) => moved < frames,
        Slot::Read(_) => true,
        _ => false,
    };
    let stays = |one: &InTheWay| one.held.is_some_and(|held| held >= STAYS);
    let (mut readers, others): (Vec<_>, Vec<_>) = holders.into_iter().partition(reads);
    if readers.iter().any(stays) {
        readers.retain(stays);
    }
    if !readers.is_empty() {
        return readers;
    }
    others.into_iter().filter(|one| !matches!(one.holder.slot, Slot::Read(_))).collect()
}

fn mark(slot: Slot, index: Option<&Index>) -> Option<u32> {
    let Slot::Read(i) = slot else { return None };
    index?.marks.get(usize::from(i)).copied().filter(|mark| *mark != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(slot: Slot) -> InTheWay {
        let holder = Holder { slot, exclusive: false, pid: Some(1), command: None, stopped: false };
        InTheWay { holder, mark: None, held: None }
    }

    #[test]
    fn readers_come_first() {
        let all = || vec![one(Slot::Write), one(Slot::Read(0)), one(Slot::Read(2))];
        let slots = |found: Vec<InTheWay>| found.iter().map(|one| one.holder.slot).collect::<Vec<_>>();
        assert_eq!(slots(blockers(all(), 1, 2)), [Slot::Read(0), Slot::Read(2)]);
        assert_eq!(slots(blockers(all(), 2, 2)), [Slot::Read(2)]);
        let mut mixed = all();
        mixed[2].held = Some(Duration::from_secs(1));
        assert_eq!(slots(blockers(mixed, 1, 2)), [Slot::Read(2)]);
        assert_eq!(slots(blockers(vec![one(Slot::Write), one(Slot::Read(0))], 2, 2)), [Slot::Write]);
    }
}
