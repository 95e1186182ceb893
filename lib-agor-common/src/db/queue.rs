//! The queue of writers: who comes first is served first, as a rule.
//!
//! SQLite gives its write lock to whoever asks at the right moment, so that of many writers some starve. A writer
//! therefore takes a flock(2) on the WAL file first, for which Linux wakes those who wait one by one, in order. Who
//! comes before the next one runs overtakes all: on a busy machine some wait long here, and go on without a turn.
//! SQLite itself puts no lock on that file. Nothing depends on this: who finds no file, who has waited for as long
//! as it may, and every program that knows nothing of the queue asks SQLite all the same, and is answered.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// A writer's turn; over when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _file: Option<File>,
}

/// Waits for the turn to write to the database whose log is `wal`, `deadline` at most: then without one.
pub(super) fn wait(wal: &Path, deadline: Duration) -> Turn {
    let Ok(file) = File::open(wal) else { return Turn { _file: None } };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) if !deadline.is_zero() => Turn { _file: in_line(file, deadline) },
        _ => Turn { _file: Some(file) },
    }
}

/// flock(2) knows no deadline: a thread waits, and where it comes too late it gives the turn back.
fn in_line(file: File, deadline: Duration) -> Option<File> {
    let (hand_over, take) = mpsc::sync_channel(0);
    let waiter = move || {
        let done = loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                done => break done,
            }
        };
        if done.is_ok() {
            let _ = hand_over.send(file);
        }
    };
    std::thread::Builder::new().name("agor-queue".into()).stack_size(64 << 10).spawn(waiter).ok()?;
    take.recv_timeout(deadline).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let wal = dir.path().join("m.db-wal");
        std::fs::write(&wal, "").unwrap();
        (dir, wal)
    }

    #[test]
    fn the_turn_passes_on_in_the_order_of_arrival() {
        let (_dir, wal) = log();
        let first = wait(&wal, Duration::from_secs(60));
        let (said, order) = mpsc::channel();
        let mut threads = Vec::new();
        for n in 0..8 {
            let (mine, said) = (wal.clone(), said.clone());
            threads.push(std::thread::spawn(move || {
                let _turn = wait(&mine, Duration::from_secs(60));
                said.send(n).unwrap();
            }));
            // In line before the next one comes.
            while waiting(&wal) <= n {
                std::thread::yield_now();
            }
        }
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(order.try_iter().collect::<Vec<usize>>(), (0..8).collect::<Vec<_>>());
    }

    /// How many wait for the file, by /proc/locks.
    fn waiting(wal: &Path) -> usize {
        use std::os::unix::fs::MetadataExt as _;
        let inode = std::fs::metadata(wal).unwrap().ino();
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains("->") && line.contains(&format!(":{inode} "))).count()
    }

    #[test]
    fn who_has_waited_long_enough_goes_on_without_a_turn() {
        let (_dir, wal) = log();
        let first = wait(&wal, Duration::ZERO);
        assert!(first._file.is_some());
        assert!(wait(&wal, Duration::from_millis(20))._file.is_none());
        drop(first);
        assert!(wait(&wal, Duration::from_secs(60))._file.is_some());
        assert!(wait(Path::new("/nowhere/m.db-wal"), Duration::ZERO)._file.is_none());
    }
}
