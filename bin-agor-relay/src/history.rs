//! The events of one session, numbered from 1, for as long as they fit: a ring in memory that spills, where
//! that is asked for, into an unlinked bounded file. What fell out of both is known as a gap.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;

/// What an entry costs beyond its payload, so that a flood of empty events stays bounded too.
const OVERHEAD: u64 = 64;

#[derive(Debug)]
struct Entry {
    payload: Bytes,
    /// Session bytes (not JSON) up to the end of this event, since the session began.
    end: u64,
}

/// What is at a sequence number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// The event as it goes over the wire.
    Event(Bytes),
    /// These fell out: up to and including `to`; `end` is the byte position where the rest begins, where that
    /// is known.
    Gap { to: u64, end: Option<u64> },
    /// Not written yet.
    Nothing,
}

/// The numbered events.
#[derive(Debug)]
pub(crate) struct History {
    ring: VecDeque<Entry>,
    /// Sequence number of the ring's first entry.
    first: u64,
    /// Byte position before the ring's first entry.
    start: u64,
    cost: u64,
    limit: u64,
    spill: Option<Spill>,
}

impl History {
    /// A ring of `limit` bytes, and a file of `spill` bytes in a directory, if any.
    pub(crate) fn new(limit: u64, spill: Option<(&Path, u64)>) -> io::Result<History> {
        let spill = spill.map(|(dir, limit)| Spill::new(dir, limit)).transpose()?;
        Ok(History { ring: VecDeque::new(), first: 1, start: 0, cost: 0, limit, spill })
    }

    /// The number that the next event gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// The oldest number that can still be replayed.
    pub(crate) fn first_seq(&self) -> u64 {
        self.spill.as_ref().and_then(Spill::first).unwrap_or(self.first)
    }

    /// Session bytes before event `seq`; `None` where that is no longer known.
    pub(crate) fn position(&self, seq: u64) -> Option<u64> {
        if seq == 1 {
            return Some(0);
        }
        if seq == self.first {
            return Some(self.start);
        }
        let index = usize::try_from(seq.checked_sub(self.first + 1)?).ok()?;
        self.ring.get(index).map(|entry| entry.end)
    }

    /// Session bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.ring.back().map_or(self.start, |entry| entry.end)
    }

    /// Appends an event that carries `bytes` session bytes.
    pub(crate) fn push(&mut self, payload: Bytes, bytes: u64) {
        let end = self.bytes() + bytes;
        self.cost += payload.len() as u64 + OVERHEAD;
        self.ring.push_back(Entry { payload, end });
    }

    /// Whether the next push would push out an event from `keep` on. With a file, the file counts too.
    pub(crate) fn is_full(&self, keep: u64) -> bool {
        match &self.spill {
            None => self.cost > self.limit && self.first >= keep,
            Some(spill) => {
                self.cost > self.limit
                    && spill.would_drop(CHUNK_ESTIMATE).is_some_and(|dropped| dropped >= keep)
            }
        }
    }

    /// Drops what is over the limit, except events from `keep` on. Returns whether the spill file failed
    /// and was given up.
    pub(crate) fn trim(&mut self, keep: u64) -> Result<(), io::Error> {
        let mut failed = Ok(());
        while self.cost > self.limit && self.ring.len() > 1 {
            if self.spill.is_none() && self.first >= keep {
                break;
            }
            if let Some(spill) = &mut self.spill {
                let size = self.ring.front().map_or(0, |entry| entry.payload.len() as u64);
                if spill.would_drop(size).is_some_and(|dropped| dropped >= keep) {
                    break;
                }
            }
            let Some(entry) = self.ring.pop_front() else { break };
            if let Some(spill) = &mut self.spill
                && let Err(error) = spill.push(self.first, &entry.payload)
            {
                self.spill = None;
                failed = Err(error);
            }
            self.cost -= entry.payload.len() as u64 + OVERHEAD;
            self.first += 1;
            self.start = entry.end;
        }
        failed
    }

    /// What is at `seq`.
    pub(crate) fn at(&self, seq: u64) -> At {
        if seq >= self.first {
            return usize::try_from(seq - self.first)
                .ok()
                .and_then(|index| self.ring.get(index))
                .map_or(At::Nothing, |entry| At::Event(entry.payload.clone()));
        }
        if let Some(spill) = &self.spill {
            match spill.get(seq) {
                Some(payload) => return At::Event(payload),
                None => {
                    if let Some(first) = spill.first().filter(|first| *first > seq) {
                        // How many bytes lie before the file's first event is not recorded there.
                        return At::Gap { to: first - 1, end: None };
                    }
                }
            }
        }
        At::Gap { to: self.first - 1, end: Some(self.start) }
    }
}

/// Room that one more event may need in the file.
const CHUNK_ESTIMATE: u64 = 512 * 1024;
/// Every so many events the position of one is kept; the ones between are found by walking.
const STRIDE: u64 = 32;

/// Two halves of a file: when the second is full, the first is forgotten and becomes the second.
#[derive(Debug)]
struct Spill {
    halves: VecDeque<Half>,
    half_limit: u64,
}

#[derive(Debug)]
struct Half {
    file: File,
    /// First sequence number in it, and how many.
    first: u64,
    count: u64,
    /// Positions of events `first`, `first + STRIDE`, …
    index: Vec<u64>,
    len: u64,
}

impl Spill {
    fn new(dir: &Path, limit: u64) -> io::Result<Spill> {
        // Opened once now, so that a directory that cannot be written to is found at start.
        drop(tempfile::tempfile_in(dir)?);
        let halves = [tempfile::tempfile_in(dir)?, tempfile::tempfile_in(dir)?].map(|file| Half {
            file,
            first: 0,
            count: 0,
            index: Vec::new(),
            len: 0,
        });
        Ok(Spill { halves: halves.into(), half_limit: (limit / 2).max(1) })
    }

    fn first(&self) -> Option<u64> {
        self.halves.iter().find(|half| half.count > 0).map(|half| half.first)
    }

    /// The last number that writing `size` more bytes would drop.
    fn would_drop(&self, size: u64) -> Option<u64> {
        let (old, new) = (self.halves.front()?, self.halves.back()?);
        (new.len + size > self.half_limit && old.count > 0).then(|| old.first + old.count - 1)
    }

    fn push(&mut self, seq: u64, payload: &[u8]) -> io::Result<()> {
        let full = self.halves.back().is_some_and(|half| half.len + payload.len() as u64 > self.half_limit);
        if full && let Some(mut old) = self.halves.pop_front() {
            old.file.set_len(0)?;
            (old.first, old.count, old.len) = (0, 0, 0);
            old.index.clear();
            self.halves.push_back(old);
        }
        let Some(half) = self.halves.back_mut() else { return Ok(()) };
        if half.count == 0 {
            half.first = seq;
        }
        if half.count.is_multiple_of(STRIDE) {
            half.index.push(half.len);
        }
        let mut record = Vec::with_capacity(payload.len() + 4);
        record.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        record.extend_from_slice(payload);
        half.file.write_all_at(&record, half.len)?;
        half.len += record.len() as u64;
        half.count += 1;
        Ok(())
    }

    fn get(&self, seq: u64) -> Option<Bytes> {
        let half = self.halves.iter().find(|half| (half.first..half.first + half.count).contains(&seq))?;
        let nth = seq - half.first;
        let mut at = *half.index.get(usize::try_from(nth / STRIDE).ok()?)?;
        let mut length = [0u8; 4];
        for _ in 0..nth % STRIDE {
            half.file.read_exact_at(&mut length, at).ok()?;
            at += 4 + u64::from(u32::from_le_bytes(length));
        }
        half.file.read_exact_at(&mut length, at).ok()?;
        let mut payload = vec![0; u32::from_le_bytes(length) as usize];
        half.file.read_exact_at(&mut payload, at + 4).ok()?;
        Some(payload.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(history: &mut History, events: std::ops::RangeInclusive<u64>) {
        for n in events {
            history.push(Bytes::from(format!("{n:0100}")), 10);
            history.trim(u64::MAX).unwrap();
        }
    }

    #[test]
    fn replays_what_it_has_and_names_what_it_lost() {
        let mut history = History::new(10 * (100 + OVERHEAD), None).unwrap();
        fill(&mut history, 1..=5);
        assert_eq!(history.at(6), At::Nothing);
        assert_eq!(history.at(1), At::Event(Bytes::from(format!("{:0100}", 1))));
        fill(&mut history, 6..=25);
        assert_eq!((history.first_seq(), history.next_seq()), (16, 26));
        assert_eq!(history.at(3), At::Gap { to: 15, end: Some(150) });
        assert_eq!(history.position(1), Some(0));
        assert_eq!(history.position(16), Some(150));
        assert_eq!(history.position(17), Some(160));
        assert_eq!(history.position(9), None);
    }

    #[test]
    fn what_is_held_is_not_dropped() {
        let mut history = History::new(4 * (100 + OVERHEAD), None).unwrap();
        for n in 1..=8u64 {
            history.push(Bytes::from(format!("{n:0100}")), 1);
            history.trim(3).unwrap();
        }
        assert_eq!(history.first_seq(), 3);
        assert!(history.is_full(3));
        history.trim(6).unwrap();
        assert_eq!(history.first_seq(), 5);
        assert!(!history.is_full(6));
    }

    #[test]
    fn the_file_takes_what_the_ring_drops() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::new(2 * (100 + OVERHEAD), Some((dir.path(), 20 * 104))).unwrap();
        fill(&mut history, 1..=100);
        let first = history.first_seq();
        assert!((78..=90).contains(&first), "{first}");
        for n in first..=100 {
            assert_eq!(history.at(n), At::Event(Bytes::from(format!("{n:0100}"))), "{n}");
        }
        assert!(matches!(history.at(first - 1), At::Gap { to, .. } if to == first - 1));
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "the file has no name");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        // What a client replays from anywhere: every event since, or one gap first, and never what was held.
        #[test]
        fn replay_is_complete_or_names_its_gap(
            steps in prop::collection::vec((0usize..300, 0u64..100, prop::option::of(0u64..40)), 1..80),
            limit in 200u64..4000,
            spill in prop::option::of(200u64..4000),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut history = History::new(limit, spill.map(|size| (dir.path(), size))).unwrap();
            // Every event ever written: payload and the session bytes up to its end.
            let mut all: Vec<(Bytes, u64)> = Vec::new();
            for (len, bytes, back) in steps {
                let seq = history.next_seq();
                prop_assert_eq!(seq, all.len() as u64 + 1);
                let payload = Bytes::from(format!("{seq}:{}", "x".repeat(len)));
                let end = history.bytes() + bytes;
                history.push(payload.clone(), bytes);
                all.push((payload, end));
                // A writer holds the last `back` events, or nobody holds any.
                let keep = back.map_or(u64::MAX, |back| seq.saturating_sub(back).max(1));
                let held_before = history.first_seq();
                history.trim(keep).unwrap();
                let first = history.first_seq();
                prop_assert!(first >= held_before && first <= keep.max(held_before), "{first} held {keep}");
                for seq in 1..=all.len() as u64 {
                    match history.at(seq) {
                        At::Event(payload) => {
                            prop_assert!(seq >= first);
                            prop_assert_eq!(&payload, &all[usize::try_from(seq).unwrap() - 1].0);
                        }
                        At::Gap { to, end } => {
                            prop_assert!(seq < first && to == first - 1, "{seq}: gap to {to}, first {first}");
                            if spill.is_none() {
                                prop_assert_eq!(end, Some(all[usize::try_from(to).unwrap() - 1].1));
                            }
                        }
                        At::Nothing => prop_assert!(false, "{seq} of {}", all.len()),
                    }
                }
                prop_assert_eq!(history.at(all.len() as u64 + 1), At::Nothing);
            }
        }
    }
}
