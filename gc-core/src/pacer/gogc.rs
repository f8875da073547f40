//! Go's pacer: a percentage of growth, under a limit.
//!
//! ```text
//!   base    = live less a quarter of what was allocated while it was marked
//!   growth  = base + base · GOGC / 100, at least 4 MiB · GOGC / 100
//!   room    = limit − overhead − what is above the limit already, less max(3 %, 1 MiB)
//!   goal    = the lesser of the two, but above live
//!   rate    = grown · (u + i) / (scanned · (1 − u)), the most of the last five cycles;
//!             u: the share of the CPU that marking took, i: what idle processors gave to it
//!   runway  = rate · scanned · (1 − ¼) / ¼
//!   trigger = goal − runway, at least live + 45/64 of (goal − live),
//!             at most live + 61/64 of it or goal − 4 MiB, whichever is later
//! ```
//!
//! *Rate* is bytes allocated per byte scanned, if the mutators' and the collector's CPU were the same;
//! with the quarter that the workers are entitled to it gives the growth to expect, whatever assists
//! did in the cycles that it was taken from. Runway, both bounds of the trigger and the memory of five are
//! those of Go's `mgcpacer.go`; so is the limit's margin, but that Go leaves a heap a megabyte below the
//! smallest limits.
//!
//! # Where we differ
//!
//! Go's base is all that is live, and what its stacks and globals hold. Here roots are few. Much of what was
//! allocated during a cycle is dead by its end, and a span costs us more around its objects: with a quarter
//! of it off, a process peaks where Go's does.
//!
//! In Go each goroutine has an account of bytes that it owes, and waits in a queue when there is nothing
//! to mark. Here all have one account, the [`Schedule`](super::Schedule), and nobody waits who holds a
//! guard; a tenth beyond the goal, or at the limit, guards are held up before they are entered. The CPU
//! [`Limiter`] takes both back while collection eats the program.
//!
//! Where marking begins late, Go moves a goal that the limit did not make 64 KiB beyond that point, and a
//! goal that comes before a sweep is over a megabyte. Here the [`Schedule`](super::Schedule) moves its end by a
//! sixteenth of the heap or 64 KiB, whoever made the goal; and a cycle begins with the sweep of the one before.

use super::{Facts, Limiter, Pacer, Target};

/// Go's pacer: the heap may grow by a percentage of what survived, and not beyond a limit.
///
/// The limit is soft: a heap whose live objects are above it is collected again and again, but it grows,
/// and the [`Limiter`] keeps half of the CPU for the program.
///
/// ```
/// use gc_core::pacer::{Facts, Gogc, Pacer};
///
/// let facts = Facts { live: 100 << 20, scanned: 100 << 20, ..Facts::default() };
/// assert_eq!(Gogc::new(100).next(facts).goal, 200 << 20);
/// let target = Gogc::new(100).limit(160 << 20).next(facts);
/// assert!(target.goal < 160 << 20 && target.trigger < target.goal);
/// ```
#[derive(Clone, Debug)]
pub struct Gogc {
    /// `None`: the limit alone.
    percent: Option<u64>,
    limit: u64,
    /// Bytes allocated per byte scanned, in the last cycles.
    rates: [f64; 5],
    cycles: usize,
    limiter: Limiter,
}

impl Gogc {
    /// The smallest goal at 100 percent.
    pub const MINIMUM: u64 = 4 << 20;

    /// What part of newcomers does not count.
    const DISCOUNT: u64 = 4;

    /// The share of the CPU that workers are entitled to.
    const SHARE: f64 = 0.25;

    /// A pacer that lets the heap grow by `percent` of what survived.
    ///
    /// ```
    /// use gc_core::pacer::{Facts, Gogc, Pacer};
    ///
    /// let facts = Facts { live: 100 << 20, scanned: 100 << 20, ..Facts::default() };
    /// assert_eq!(Gogc::new(50).next(facts).goal, 150 << 20);
    /// assert_eq!(Gogc::new(50).first().goal, Gogc::MINIMUM / 2);
    /// ```
    pub fn new(percent: u32) -> Self {
        Self { percent: Some(percent.max(1).into()), ..Self::off() }
    }

    /// A pacer that never begins a cycle, unless a [`limit`](Self::limit) is near.
    ///
    /// ```
    /// use gc_core::pacer::{Gogc, Pacer};
    ///
    /// assert_eq!(Gogc::off().first().trigger, u64::MAX);
    /// assert!(Gogc::off().limit(1 << 30).first().trigger < 1 << 30);
    /// ```
    pub fn off() -> Self {
        Self {
            percent: None,
            limit: u64::MAX,
            rates: [0.0; 5],
            cycles: 0,
            limiter: Limiter::default(),
        }
    }

    /// The heap should not take more than so many bytes of the system's memory.
    ///
    /// ```
    /// use gc_core::pacer::{Facts, Gogc, Pacer};
    ///
    /// let facts = Facts { live: 100 << 20, scanned: 100 << 20, ..Facts::default() };
    /// let fat = Facts { overhead: 30 << 20, ..facts };
    /// let goal = |facts| Gogc::new(100).limit(160 << 20).next(facts).goal;
    /// assert!(goal(facts) < 160 << 20);
    /// assert!(goal(fat) < 130 << 20, "what the space holds beside objects counts");
    /// ```
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Whether the CPU limiter holds assists back.
    ///
    /// ```
    /// use gc_core::pacer::{Facts, Gogc, Pacer};
    /// use std::time::Duration;
    ///
    /// // Four seconds on two processors, and the collector had all of them.
    /// let time = Duration::from_secs(4);
    /// let so_far = Facts { work: 2 * time, period: time, processors: 2, ..Facts::default() };
    /// let mut pacer = Gogc::new(100);
    /// assert!(pacer.relents(so_far) && pacer.is_limiting());
    /// ```
    pub fn is_limiting(&self) -> bool {
        self.limiter.is_limiting()
    }

    fn target(&self, facts: &Facts, runway: u64) -> Target {
        let live = facts.live;
        let newcomers = live.saturating_sub(facts.scanned);
        let growth = self.growth(live - newcomers / Self::DISCOUNT);
        let limit = self.room(facts);
        let goal = growth.min(limit).max(live.saturating_add(1));
        if goal == u64::MAX {
            return Target { trigger: u64::MAX, goal, assist: u64::MAX };
        }
        let room = goal - live;
        let (low, high) = (live + room / 64 * 45, live + room / 64 * 61);
        // A cycle that has little to do costs no more than this much growth, however large the heap is.
        let high = high.max(goal.saturating_sub(Self::MINIMUM));
        let trigger = goal.saturating_sub(runway).clamp(low, high);
        let assist = goal.saturating_add(goal / 10).min(limit.max(goal));
        Target { trigger, goal, assist }
    }

    fn growth(&self, live: u64) -> u64 {
        let Some(percent) = self.percent else { return u64::MAX };
        let scaled = |bytes: u64| bytes.saturating_mul(percent) / 100;
        live.saturating_add(scaled(live)).max(scaled(Self::MINIMUM))
    }

    /// What the limit leaves for objects.
    fn room(&self, facts: &Facts) -> u64 {
        if self.limit == u64::MAX {
            return u64::MAX;
        }
        let held = facts.live.saturating_add(facts.grown).saturating_add(facts.overhead);
        let above = held.saturating_sub(self.limit);
        let room = self.limit.saturating_sub(facts.overhead).saturating_sub(above);
        room.saturating_sub((room / 100 * 3).max(1 << 20))
    }

    /// Notes the rate of a cycle, and returns the most of the last ones.
    fn rate(&mut self, facts: &Facts) -> f64 {
        let cpu = facts.cycle.as_secs_f64() * f64::from(facts.processors.max(1));
        let (share, idle) = (facts.work.as_secs_f64() / cpu, facts.idle.as_secs_f64() / cpu);
        // A cycle that nobody measured, or in which nobody else ran, says nothing about the share.
        let measured = share > 0.0 && share < 0.95;
        let (share, idle) = if measured { (share, idle) } else { (Self::SHARE, 0.0) };
        let scanned = facts.scanned.max(1) as f64;
        let rate = facts.grown as f64 * (share + idle) / (scanned * (1.0 - share));
        self.rates[self.cycles % self.rates.len()] = rate;
        self.cycles += 1;
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}

impl Pacer for Gogc {
    fn first(&self) -> Target {
        self.target(&Facts::default(), 0)
    }

    fn next(&mut self, facts: Facts) -> Target {
        self.limiter.update(facts.work, facts.period, facts.processors);
        self.limiter.end_period();
        let rate = self.rate(&facts);
        let runway = rate * facts.scanned as f64 * (1.0 - Self::SHARE) / Self::SHARE;
        // Saturating: a cast from a float is.
        self.target(&facts, runway as u64)
    }

    fn relents(&mut self, so_far: Facts) -> bool {
        self.limiter.update(so_far.work, so_far.period, so_far.processors);
        self.limiter.is_limiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_fast_allocator_starts_cycles_earlier_but_not_at_once() {
        let live = 64 * MIB;
        let facts = Facts { live, scanned: live, grown: live, ..Facts::default() };
        assert_eq!(Gogc::new(100).next(facts).trigger, live + live / 64 * 45);
    }

    #[test]
    fn a_cycle_with_nothing_to_do_begins_late_but_not_at_the_goal() {
        let trigger = |live| {
            let facts = Facts { live, scanned: live, ..Facts::default() };
            Gogc::new(100).next(facts).trigger
        };
        assert_eq!(trigger(64 * MIB), (64 + 61) * MIB, "a share of the growth");
        assert_eq!(trigger(1024 * MIB), (2048 - 4) * MIB, "four megabytes, where a share is more");
    }

    #[test]
    fn a_runway_between_the_bounds_is_kept() {
        // Three times what a quarter of the CPU allocates while a quarter marks.
        let live = 1024 * MIB;
        let facts = Facts { live, scanned: live, grown: 100 * MIB, ..Facts::default() };
        assert_eq!(Gogc::new(100).next(facts).trigger, (2048 - 100) * MIB);
    }

    #[test]
    fn a_spike_is_remembered_for_five_cycles() {
        let live = 64 * MIB;
        let mut pacer = Gogc::new(100);
        let calm = Facts { live, scanned: live, ..Facts::default() };
        let first = pacer.next(Facts { grown: live / 8, ..calm });
        let followed: Vec<_> = (0..5).map(|_| pacer.next(calm).trigger).collect();
        assert!(followed[..4].iter().all(|trigger| *trigger == first.trigger));
        assert!(followed[4] > first.trigger);
    }

    #[test]
    fn work_of_guards_counts_as_what_it_is() {
        // The same growth, once beside a quarter of the CPU and once beside half of it: there the
        // mutators had less, so at a quarter they will allocate more.
        let facts = |share: u64| Facts {
            live: 64 * MIB,
            scanned: 64 * MIB,
            grown: 8 * MIB,
            work: Duration::from_millis(10 * share),
            cycle: Duration::from_millis(1000),
            period: Duration::from_secs(10),
            processors: 1,
            ..Facts::default()
        };
        let (quarter, half) = (Gogc::new(100).next(facts(25)), Gogc::new(100).next(facts(50)));
        assert_eq!(quarter.trigger, 120 * MIB);
        assert!(half.trigger < quarter.trigger);
    }

    #[test]
    fn what_idle_processors_mark_is_not_promised_to_the_next_cycle() {
        // The same growth while the same was marked: with help there was less time to grow in, so without
        // it the mutators will allocate more. But nothing was taken from them.
        let second = Duration::from_secs(1);
        let alone = Facts {
            live: 64 * MIB,
            scanned: 64 * MIB,
            grown: 6 * MIB,
            work: second / 2,
            cycle: second,
            period: second * 10,
            processors: 2,
            ..Facts::default()
        };
        let helped = Facts { idle: second / 2, ..alone };
        let runway = |facts| 128 * MIB - Gogc::new(100).next(facts).trigger;
        assert_eq!((runway(alone), runway(helped)), (6 * MIB, 12 * MIB));
    }

    #[test]
    fn the_limiter_looks_away_from_idle_processors() {
        let second = Duration::from_secs(1);
        let mut pacer = Gogc::new(100);
        for _ in 0..100 {
            let (work, idle) = (second / 10, second);
            pacer.next(Facts { work, idle, period: second, processors: 1, ..Facts::default() });
        }
        assert!(!pacer.is_limiting());
    }

    #[test]
    fn overhead_counts_against_the_limit() {
        let facts = Facts { live: 10 * MIB, scanned: 10 * MIB, ..Facts::default() };
        let fat = Facts { overhead: 50 * MIB, ..facts };
        let goal = |facts| Gogc::new(900).limit(100 * MIB).next(facts).goal;
        assert_eq!(goal(facts) - goal(fat), 50 * MIB - MIB - MIB / 2);
    }

    #[test]
    fn a_heap_above_its_limit_is_collected_at_once() {
        let facts = Facts { live: 200 * MIB, scanned: 200 * MIB, ..Facts::default() };
        let target = Gogc::new(100).limit(100 * MIB).next(facts);
        assert_eq!((target.trigger, target.goal), (facts.live, facts.live + 1));
    }

    #[test]
    fn numbers_at_the_edge_do_not_overflow() {
        let most = u64::MAX / 4;
        let facts = Facts { live: most, scanned: 1, grown: most, ..Facts::default() };
        for mut pacer in [Gogc::new(u32::MAX), Gogc::new(1).limit(1), Gogc::off().limit(0)] {
            let target = pacer.next(facts);
            assert!(target.trigger >= most && target.goal > most);
        }
    }
}
