//! The clock that backoff runs by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: neither set nor stepped by anybody, and it stands still during a suspend, so that a
/// delay is never cut short and never fires twice. Asked of the kernel's vDSO directly.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
