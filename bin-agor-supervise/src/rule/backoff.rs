//! How long to wait before an attempt.

use std::time::Duration;

/// Exponential backoff: `base`, doubled for every attempt, never above `cap`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    /// Before the first attempt.
    pub(crate) base: Duration,
    /// Never longer than this.
    pub(crate) cap: Duration,
    /// A delay is spread evenly over `delay * (1 ± jitter)`, and still never above `cap`; 0 to 1.
    pub(crate) jitter: f64,
}

impl Backoff {
    /// The delay before `attempt` (from 1), without jitter.
    pub(crate) fn nominal(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).filter(|_| doublings < 32);
        factor.and_then(|factor| self.base.checked_mul(factor)).unwrap_or(self.cap_for_base()).min(self.cap)
    }

    /// A base of zero stays zero, however often it is doubled.
    fn cap_for_base(&self) -> Duration {
        if self.base.is_zero() { Duration::ZERO } else { self.cap }
    }

    /// The delay before `attempt`, with jitter.
    pub(crate) fn delay(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        let nominal = self.nominal(attempt);
        if self.jitter <= 0.0 || nominal.is_zero() {
            return nominal;
        }
        let factor = 1.0 + self.jitter * (2.0 * rng.f64() - 1.0);
        nominal.mul_f64(factor.clamp(0.0, 2.0)).min(self.cap)
    }
}
