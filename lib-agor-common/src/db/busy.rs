//! Waiting for a lock: a short jittered sleep inside a deadline.
//!
//! SQLite's own back-off grows to 100 ms steps and starves some of many writers for seconds; retries of 0.3
//! to 1.3 ms with jitter keep the worst wait of 32 writers near the mean.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a connection waits for a lock before it reports busy.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

thread_local! {
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static DEADLINE: Cell<Duration> = const { Cell::new(DEFAULT_DEADLINE) };
}

/// Sets how long connections used by this thread wait for a lock.
pub fn set_deadline(deadline: Duration) {
    DEADLINE.set(deadline);
}

/// How long connections used by this thread wait for a lock.
pub(super) fn deadline() -> Duration {
    DEADLINE.get()
}

/// The busy handler: true to try again. `tries` is 0 at the first call for one lock.
pub(super) fn handler(tries: i32) -> bool {
    let now = Instant::now();
    if tries == 0 {
        SINCE.set(Some(now));
    }
    let since = SINCE.get().unwrap_or(now);
    if now.duration_since(since) >= DEADLINE.get() {
        return false;
    }
    pause();
    true
}

/// One jittered pause.
pub(super) fn pause() {
    std::thread::sleep(Duration::from_micros(fastrand::u64(300..1300)));
}
