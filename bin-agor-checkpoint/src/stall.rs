//! Waiting during a TRUNCATE: patiently for the right to write, hardly at all once we have it.
//!
//! SQLite calls one busy handler for both. While another process writes, waiting costs nobody anything.
//! From the moment the right is ours every writer waits for us, so from then on the stall budget counts.
//! The handler tells the two apart by looking whose lock it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agor_common::db::{files, locks};

use crate::control::Control;

/// The part of the budget that may be spent waiting for readers; the rest is for copying, syncing, and the
/// time until a waiting writer looks again.
const WAIT_SHARE: f64 = 0.4;
/// The part after which a copy that takes too long is interrupted.
const COPY_SHARE: f64 = 0.6;

/// What a TRUNCATE call may cost.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The database.
    pub(crate) database: PathBuf,
    /// How long writers may be kept waiting.
    pub(crate) budget: Duration,
    /// When to stop waiting for the right to write.
    pub(crate) give_up: Instant,
    /// By how many bytes the WAL may have grown by then: more would take too long to copy.
    pub(crate) growth: u64,
}

/// What it did cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Waiting for locks.
    pub(crate) waited: Duration,
    /// From when on writers may have been waiting for us.
    pub(crate) stall_from: Instant,
}

/// A busy handler for one TRUNCATE, and the place where it leaves its [`Cost`].
pub(crate) fn handler(
    limits: Limits,
    control: Control,
) -> (impl FnMut(i32) -> bool + Send + 'static, Arc<Mutex<Cost>>) {
    let started = Instant::now();
    let cost = Arc::new(Mutex::new(Cost { waited: Duration::ZERO, stall_from: started }));
    let shared = Arc::clone(&cost);
    let size = files::wal_bytes(&limits.database);
    control.limit(started + limits.budget.mul_f64(COPY_SHARE));
    let handler = move |_tries: i32| {
        let mut cost = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if control.is_over() {
            return false;
        }
        if locks::is_writer(&limits.database) {
            if now.duration_since(cost.stall_from) >= limits.budget.mul_f64(WAIT_SHARE) {
                return false;
            }
        } else {
            if now >= limits.give_up
                || files::wal_bytes(&limits.database) > size.saturating_add(limits.growth)
            {
                return false;
            }
            // Ours within the coming pause at the earliest.
            cost.stall_from = now;
            control.limit(now + limits.budget.mul_f64(COPY_SHARE));
        }
        let pause = Duration::from_micros(fastrand::u64(300..1300));
        std::thread::sleep(pause);
        cost.waited += now.elapsed();
        true
    };
    (handler, cost)
}
