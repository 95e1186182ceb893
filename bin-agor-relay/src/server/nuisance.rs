//! Frames that cost something and are of no use.

use std::time::Instant;

use super::connection::{End, cut};

/// This many at once, and this many more each second.
const BURST: f64 = 2000.0;
const RATE: f64 = 100.0;

/// How many more a peer may send.
#[derive(Debug)]
pub(crate) struct Nuisance {
    left: f64,
    at: Instant,
}

impl Default for Nuisance {
    fn default() -> Nuisance {
        Nuisance { left: BURST, at: Instant::now() }
    }
}

impl Nuisance {
    /// Counts a control frame or a bad message; too many end the connection.
    pub(crate) fn count(&mut self) -> Option<End> {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * RATE).min(BURST) - 1.0;
        self.at = now;
        (self.left < 0.0).then(|| cut(1008, "too many control frames or bad messages"))
    }
}
