//! Waiting for a lock: a short jittered sleep inside a deadline, shorter the longer one has waited.
//!
//! SQLite's own back-off grows to 100 ms steps, so that of many writers those who have waited longest ask most
//! rarely, and starve for seconds. Here it is the other way round. The lock goes to whoever asks next: who
//! has just come asks every 1 to 4 ms after a few quick tries, who has waited long every 0.1 to 0.3 ms.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long a connection waits for a lock before it reports busy.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);

thread_local! {
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static EARLIER: Cell<Option<Instant>> = const { Cell::new(None) };
    static DEADLINE: Cell<Duration> = Cell::new(at_least(DEFAULT_DEADLINE));
}

/// Sets how long connections used by this thread wait for a lock.
pub fn set_deadline(deadline: Duration) {
    DEADLINE.set(at_least(deadline));
}

/// In a build with debug assertions, `AGOR_TEST_LOCK_WAIT_MS` makes every deadline as long as that: where a crowd
/// is tested for what it writes, neither a slow disk nor a holder that gets no processor may decide.
fn at_least(deadline: Duration) -> Duration {
    if !cfg!(debug_assertions) {
        return deadline;
    }
    let said = std::env::var("AGOR_TEST_LOCK_WAIT_MS").ok().and_then(|text| text.parse().ok());
    deadline.max(Duration::from_millis(said.unwrap_or(0)))
}

/// How long connections used by this thread wait for a lock.
pub(super) fn deadline() -> Duration {
    DEADLINE.get()
}

/// Runs `wait`; the time that it takes counts against the deadline of the next lock, up to [`counted`].
pub(super) fn counting<T>(wait: impl FnOnce() -> T) -> T {
    EARLIER.set(Some(Instant::now()));
    wait()
}

/// What [`counting`] counted is over: the lock was got, or not.
pub(super) fn counted() {
    EARLIER.set(None);
}

/// The busy handler: true to try again. `tries` is 0 at the first call for one lock.
pub(super) fn handler(tries: i32) -> bool {
    let now = Instant::now();
    if tries == 0 {
        SINCE.set(Some(EARLIER.take().unwrap_or(now)));
    }
    let since = SINCE.get().unwrap_or(now);
    let waited = now.duration_since(since);
    if waited >= DEADLINE.get() {
        return false;
    }
    std::thread::sleep(Duration::from_micros(fastrand::u64(step(tries, waited))));
    true
}

/// How long to sleep before the next try, in microseconds.
fn step(tries: i32, waited: Duration) -> std::ops::Range<u64> {
    match waited.as_millis() {
        // Alone with one other writer this is all the waiting there is.
        0..100 if tries < 8 => 300..1300,
        0..200 => 1000..4000,
        200..800 => 600..2000,
        800..2000 => 300..900,
        _ => 100..300,
    }
}

/// One jittered pause.
pub(super) fn pause() {
    std::thread::sleep(Duration::from_micros(fastrand::u64(300..1300)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_longer_asks_more_often() {
        let mean = |ms: u64| {
            let range = step(100, Duration::from_millis(ms));
            range.start + range.end
        };
        let means: Vec<u64> = [0, 300, 1000, 3000].map(mean).to_vec();
        assert!(means.is_sorted_by(|a, b| a > b), "{means:?}");
        assert!(step(0, Duration::ZERO).end <= 1300);
    }
}
