//! [`Histogram`]: how long things took, to a quarter.
//!
//! Each power of two of nanoseconds has four buckets of the same width, so a bucket ends at most a quarter
//! above its beginning. They reach from a nanosecond to four seconds; that is enough to tell 80 µs from
//! 100, and costs a mutator one increment of its own.

use crate::boxed::try_box;
// Not of `sync`: counts are no part of a protocol, and a model would follow a thousand of them.
use core::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets of a power of two.
const PARTS: usize = 4;

const BUCKETS: usize = 32 * PARTS;

/// Counts of durations, to a quarter.
///
/// ```
/// use gc_core::stats::Histogram;
/// use std::time::Duration;
///
/// let mut pauses = Histogram::default();
/// (0..99).for_each(|_| pauses.note(Duration::from_micros(3)));
/// pauses.note(Duration::from_millis(7));
/// assert_eq!(pauses.count(), 100);
/// assert!(pauses.percentile(50.0) <= Duration::from_micros(5));
/// assert!(pauses.percentile(99.9) >= Duration::from_millis(7));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram([u64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

fn bucket(time: Duration) -> usize {
    let nanoseconds = time.as_nanos().clamp(1, u128::from(u64::MAX)) as u64;
    let power = nanoseconds.ilog2() as usize;
    // The two bits below the highest one.
    let part = ((u128::from(nanoseconds) * PARTS as u128) >> power) as usize % PARTS;
    (power * PARTS + part).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn end(bucket: usize) -> Duration {
    let parts = (PARTS + 1 + bucket % PARTS) as u64;
    Duration::from_nanos((parts << (bucket / PARTS)).div_ceil(PARTS as u64))
}

impl Histogram {
    /// Counts one.
    ///
    /// ```
    /// use gc_core::stats::Histogram;
    /// use std::time::Duration;
    ///
    /// let mut pauses = Histogram::default();
    /// pauses.note(Duration::from_micros(3));
    /// assert_eq!(pauses.percentile(100.0), Duration::from_nanos(3072), "to a quarter");
    /// ```
    pub fn note(&mut self, time: Duration) {
        self.0[bucket(time)] += 1;
    }

    /// Adds another's counts.
    ///
    /// ```
    /// use gc_core::stats::Histogram;
    /// use std::time::Duration;
    ///
    /// let (mut all, mut one) = (Histogram::default(), Histogram::default());
    /// one.note(Duration::from_micros(3));
    /// all.add(&one);
    /// all.add(&one);
    /// assert_eq!(all.count(), 2);
    /// ```
    pub fn add(&mut self, other: &Histogram) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// What was counted since an earlier reading of the same.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.collect().unwrap();
    /// let before = heap.stats().waits;
    /// heap.collect().unwrap();
    /// heap.collect().unwrap();
    /// assert_eq!(heap.stats().waits.since(&before).count(), 2);
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        Self(core::array::from_fn(|bucket| self.0[bucket].saturating_sub(earlier.0[bucket])))
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// A time that at least so many per cent did not exceed, rounded up by a quarter at most. Zero, if
    /// nothing was counted. (What took more than four seconds counts as that.)
    ///
    /// ```
    /// use gc_core::stats::Histogram;
    /// use std::time::Duration;
    ///
    /// let mut pauses = Histogram::default();
    /// (1..=100).for_each(|n| pauses.note(Duration::from_micros(n)));
    /// let [median, most] = [50.0, 100.0].map(|percent| pauses.percentile(percent));
    /// assert!((50..=100).contains(&median.as_micros()) && most >= Duration::from_micros(100));
    /// assert_eq!(Histogram::default().percentile(50.0), Duration::ZERO);
    /// ```
    pub fn percentile(&self, percent: f64) -> Duration {
        let mut left = (self.count() as f64 * percent / 100.0).ceil().max(1.0) as u64;
        for (bucket, &count) in self.0.iter().enumerate() {
            if left <= count {
                return end(bucket);
            }
            left -= count;
        }
        Duration::ZERO
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, late, latest] = [50.0, 99.0, 99.99].map(|percent| self.percentile(percent));
        write!(f, "{} times, p50 {median:.1?}, p99 {late:.1?}, p99.99 {latest:.1?}", self.count())
    }
}

/// A histogram that one writes and anybody reads. Boxed: a local state has several, and is made on stacks
/// that may be small, as a model's are.
#[derive(Debug)]
pub(crate) struct Tally(Box<[AtomicU64; BUCKETS]>);

impl Tally {
    /// `None` if the allocator has no memory.
    pub(crate) fn new() -> Option<Self> {
        try_box(core::array::from_fn(|_| AtomicU64::new(0))).ok().map(Self)
    }

    /// Counts one. One writer.
    pub(crate) fn note(&self, time: Duration) {
        let count = &self.0[bucket(time)];
        // Relaxed: a statistic with one writer.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Histogram {
        // Relaxed: as above.
        Histogram(core::array::from_fn(|bucket| self.0[bucket].load(Ordering::Relaxed)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_more_and_at_most_a_quarter_more_than_what_was_noted() {
        for nanoseconds in [4, 5, 6, 7, 1_000, 50_000, 99_999, 999_999, 2_000_000_000] {
            let time = Duration::from_nanos(nanoseconds);
            let mut histogram = Histogram::default();
            histogram.note(time);
            let found = histogram.percentile(99.0);
            assert!(found > time && found <= time * 5 / 4, "{time:?} as {found:?}");
        }
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::from_secs(1));
        let earlier = histogram;
        histogram.note(Duration::from_micros(1));
        let since = histogram.since(&earlier);
        assert_eq!((since.count(), since.percentile(100.0)), (1, Duration::from_nanos(1024)));
    }

    #[test]
    fn what_is_out_of_range_is_counted_at_the_ends() {
        let mut histogram = Histogram::default();
        histogram.note(Duration::ZERO);
        histogram.note(Duration::MAX);
        assert_eq!(histogram.count(), 2);
        assert_eq!(histogram.percentile(50.0), Duration::from_nanos(2));
        assert_eq!(Histogram::default().percentile(99.0), Duration::ZERO);
    }
}
