//! The CPU limiter: collection may take half of the CPU for a while, and no more than half for ever.
//!
//! Under a memory limit that is too low, each cycle frees little and the next begins at once. A program
//! that then only collects is worse than one that uses more memory. So a bucket of one second per
//! processor is filled by the collector's time and drained by the mutators'; while it is full, nobody
//! but the workers collects.
//!
//! Source: Go's `mgclimit.go`.

use core::time::Duration;

/// A leaky bucket of CPU time.
///
/// ```
/// use core::time::Duration;
/// use gc_core::pacer::Limiter;
///
/// let second = Duration::from_secs(1);
/// let mut limiter = Limiter::default();
/// limiter.note(second * 3, second, 2);
/// assert!(limiter.is_limiting());
/// limiter.note(Duration::ZERO, second, 2);
/// assert!(!limiter.is_limiting());
/// ```
#[derive(Clone, Default, Debug)]
pub struct Limiter {
    fill: Duration,
    full: bool,
}

impl Limiter {
    /// What fits in the bucket, for each processor.
    pub const EACH: Duration = Duration::from_secs(1);

    /// Notes CPU time of the collector and of everybody else, over the same stretch of time.
    ///
    /// ```
    /// use gc_core::pacer::Limiter;
    /// use std::time::Duration;
    ///
    /// let mut limiter = Limiter::default();
    /// limiter.note(Limiter::EACH * 3 / 2, Limiter::EACH / 4, 1);
    /// assert!(limiter.is_limiting());
    /// ```
    pub fn note(&mut self, collector: Duration, mutators: Duration, processors: u32) {
        let capacity = Self::EACH * processors.max(1);
        let fill = (self.fill + collector).saturating_sub(mutators);
        self.full = fill >= capacity;
        self.fill = fill.min(capacity);
    }

    /// Whether the bucket is full.
    pub fn is_limiting(&self) -> bool {
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn half_of_the_cpu_is_no_reason() {
        let mut limiter = Limiter::default();
        for _ in 0..1000 {
            limiter.note(SECOND, SECOND, 2);
            assert!(!limiter.is_limiting());
        }
    }

    #[test]
    fn more_than_half_is_one_after_a_while() {
        let mut limiter = Limiter::default();
        let limited = (0..100).position(|_| {
            limiter.note(SECOND * 6 / 10, SECOND * 4 / 10, 2);
            limiter.is_limiting()
        });
        assert_eq!(limited, Some(9), "two seconds, a fifth of a second at a time");
    }

    #[test]
    fn a_full_bucket_is_no_fuller_for_it() {
        let mut limiter = Limiter::default();
        limiter.note(SECOND * 3600, Duration::ZERO, 1);
        limiter.note(Duration::ZERO, SECOND / 100, 1);
        assert!(!limiter.is_limiting());
    }
}
