//! The CPU limiter: collection may take half of the CPU for a while, and no more than half for ever.
//!
//! Under a memory limit that is too low, each cycle frees little and the next begins at once. A program
//! that then only collects is worse than one that uses more memory. So a bucket of one second per
//! processor is filled by the collector's time and drained by the mutators'; while it is full, nobody
//! but the workers collects. It never holds less than nothing: who was idle for a day has saved nothing up.
//! So it is told piece by piece, before a cycle and in its middle: a cycle that is long enough would
//! else be over before it is limited.
//!
//! Source: Go's `mgclimit.go`. Go reckons with the quarter that its workers are entitled to, here it is the
//! time that they took; and Go leaves idle processors out, whose time here is the mutators'.

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
    /// What was noted since the last period's end: the collector's time, and the time that passed.
    noted: (Duration, Duration),
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

    /// Notes what is new in the sums of a period so far: the CPU time that the collector took, and the time that
    /// passed.
    ///
    /// ```
    /// use gc_core::pacer::Limiter;
    ///
    /// let mut limiter = Limiter::default();
    /// limiter.update(Limiter::EACH / 2, Limiter::EACH / 2, 1);
    /// assert!(!limiter.is_limiting(), "all of the CPU, but not for long enough");
    /// limiter.update(Limiter::EACH, Limiter::EACH, 1);
    /// assert!(limiter.is_limiting());
    /// ```
    pub fn update(&mut self, collector: Duration, passed: Duration, processors: u32) {
        let work = collector.saturating_sub(self.noted.0);
        let all = passed.saturating_sub(self.noted.1) * processors.max(1);
        self.note(work, all.saturating_sub(work), processors);
        self.noted = (collector, passed);
    }

    /// A period has ended, and the sums of the next begin at zero.
    ///
    /// ```
    /// use gc_core::pacer::Limiter;
    ///
    /// let mut limiter = Limiter::default();
    /// for _ in 0..2 {
    ///     limiter.update(Limiter::EACH / 2, Limiter::EACH / 2, 1);
    ///     limiter.end_period();
    /// }
    /// assert!(limiter.is_limiting());
    /// ```
    pub fn end_period(&mut self) {
        self.noted = Default::default();
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
    fn what_was_idle_before_is_no_credit_for_what_comes() {
        let day = SECOND * 86_400;
        let mut limiter = Limiter::default();
        limiter.update(Duration::ZERO, day, 2);
        limiter.update(SECOND * 3, day + SECOND * 2, 2);
        assert!(limiter.is_limiting());
        limiter.end_period();
        limiter.update(Duration::ZERO, SECOND / 100, 2);
        assert!(!limiter.is_limiting());
    }

    #[test]
    fn a_full_bucket_is_no_fuller_for_it() {
        let mut limiter = Limiter::default();
        limiter.note(SECOND * 3600, Duration::ZERO, 1);
        limiter.note(Duration::ZERO, SECOND / 100, 1);
        assert!(!limiter.is_limiting());
    }
}
