//! When to begin a cycle: arithmetic over a few numbers, no clock, no atomics.
//!
//! A cycle should *end* when the heap has grown to its goal. It takes a while, and mutators go on
//! allocating; so it must begin earlier, at the *trigger*. The growth to expect is the growth
//! seen: bytes allocated during a cycle per byte scanned in it, times the bytes to scan now.
//!
//! ```text
//!   goal    = marked + marked · GOGC / 100, at least 4 MiB · GOGC / 100
//!   runway  = max over the last four cycles of grown / scanned, times bytes to scan
//!   trigger = goal − runway, between marked + 45/64 and marked + 61/64 of (goal − marked)
//! ```
//!
//! These are the formulas of Go's pacer (`mgcpacer.go`) with the collector's share of the CPU
//! held constant; the bounds are Go's.

/// What a cycle did, as far as pacing is concerned. All in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// What is live when the cycle has ended, the base of the next goal: what was marked, and what was
    /// allocated black meanwhile.
    pub live: u64,
    /// What the marker read.
    pub scanned: u64,
    /// What mutators allocated while the cycle ran.
    pub grown: u64,
}

/// When the next cycle begins, and where it should end. In bytes of live heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Begin a cycle when this much is live.
    pub trigger: u64,
    /// The heap should not grow beyond this.
    pub goal: u64,
}

/// Decides when cycles begin.
pub trait Pacer: Send {
    /// The target before the first cycle.
    fn first(&self) -> Target;

    /// The target after a cycle.
    fn next(&mut self, facts: Facts) -> Target;
}

/// Go's pacer: the heap may grow by a percentage of what survived.
#[derive(Clone, Debug)]
pub struct Gogc {
    percent: u64,
    /// Growth per byte scanned in the last cycles, in 1/1024.
    growth: [u64; 4],
    cycles: usize,
}

impl Gogc {
    /// The smallest goal at 100 percent.
    pub const MINIMUM: u64 = 4 << 20;

    /// A pacer that lets the heap grow by `percent` of what survived.
    ///
    /// ```
    /// use gc_core::pacer::{Facts, Gogc, Pacer};
    ///
    /// let mut pacer = Gogc::new(100);
    /// let target = pacer.next(Facts { live: 100 << 20, scanned: 100 << 20, grown: 25 << 20 });
    /// assert_eq!(target.goal, 200 << 20);
    /// assert_eq!(target.trigger, 175 << 20);
    /// ```
    pub fn new(percent: u32) -> Self {
        Self { percent: percent.max(1).into(), growth: [0; 4], cycles: 0 }
    }

    fn target(&self, marked: u64, runway: u64) -> Target {
        let scaled = |bytes: u64| bytes.saturating_mul(self.percent) / 100;
        let goal = marked.saturating_add(scaled(marked)).max(scaled(Self::MINIMUM)).max(marked + 1);
        let room = goal - marked;
        let (low, high) = (marked + room / 64 * 45, marked + room / 64 * 61);
        Target { trigger: goal.saturating_sub(runway).clamp(low, high), goal }
    }
}

impl Pacer for Gogc {
    fn first(&self) -> Target {
        self.target(0, 0)
    }

    fn next(&mut self, facts: Facts) -> Target {
        let growth = facts.grown.saturating_mul(1024) / facts.scanned.max(1);
        self.growth[self.cycles % self.growth.len()] = growth;
        self.cycles += 1;
        let worst = self.growth.iter().copied().max().unwrap_or(0);
        let runway = worst.saturating_mul(facts.scanned) / 1024;
        self.target(facts.live, runway)
    }
}

/// A cycle whenever a fixed number of bytes was allocated.
#[derive(Clone, Debug)]
pub struct Every(
    /// Bytes between cycles.
    pub u64,
);

impl Pacer for Every {
    fn first(&self) -> Target {
        Target { trigger: self.0, goal: self.0.saturating_mul(2) }
    }

    fn next(&mut self, facts: Facts) -> Target {
        let trigger = facts.live.saturating_add(self.0);
        Target { trigger, goal: trigger.saturating_add(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heap in numbers: `keep(cycle)` bytes survive the cycle, and mutators allocate `rate`
    /// bytes per byte that the marker reads. Returns the peaks.
    fn simulate(
        pacer: &mut dyn Pacer,
        cycles: u64,
        keep: impl Fn(u64) -> u64,
        rate: f64,
    ) -> Vec<u64> {
        let mut target = pacer.first();
        (0..cycles)
            .map(|cycle| {
                let scanned = keep(cycle);
                let grown = (scanned as f64 * rate) as u64;
                let peak = target.trigger.max(scanned) + grown;
                target = pacer.next(Facts { live: scanned, scanned, grown });
                peak
            })
            .collect()
    }

    #[test]
    fn a_steady_heap_ends_its_cycles_at_the_goal() {
        let live = 64 << 20;
        let peaks = simulate(&mut Gogc::new(100), 20, |_| live, 0.2);
        for peak in &peaks[2..] {
            let goal = 2 * live;
            assert!(peak.abs_diff(goal) < goal / 50, "peak {peak} beside goal {goal}");
        }
    }

    #[test]
    fn a_fast_allocator_starts_cycles_earlier_but_not_at_once() {
        let live = 64u64 << 20;
        let mut pacer = Gogc::new(100);
        let target = pacer.next(Facts { live, scanned: live, grown: live });
        assert_eq!(target.trigger, live + live / 64 * 45);
    }

    #[test]
    fn a_spike_is_remembered_for_four_cycles() {
        let live = 64u64 << 20;
        let mut pacer = Gogc::new(100);
        let calm = Facts { live, scanned: live, grown: 0 };
        let first = pacer.next(Facts { grown: live / 4, ..calm });
        let followed: Vec<_> = (0..4).map(|_| pacer.next(calm).trigger).collect();
        assert!(followed[..3].iter().all(|trigger| *trigger == first.trigger));
        assert!(followed[3] > first.trigger);
    }

    #[test]
    fn a_shrinking_heap_lowers_its_goal_to_the_minimum() {
        let mut pacer = Gogc::new(100);
        let keep = |cycle: u64| (256 << 20) >> cycle;
        simulate(&mut pacer, 20, keep, 0.1);
        let target = pacer.next(Facts { live: 1 << 10, scanned: 1 << 10, grown: 0 });
        assert_eq!(target.goal, Gogc::MINIMUM);
    }

    #[test]
    fn numbers_at_the_edge_do_not_overflow() {
        let mut pacer = Gogc::new(u32::MAX);
        let most = u64::MAX / 4;
        let target = pacer.next(Facts { live: most, scanned: 1, grown: most });
        assert!(target.trigger >= most && target.goal > most);
    }

    #[test]
    fn the_fixed_pacer_does_not_care() {
        let peaks = simulate(&mut Every(1 << 20), 5, |_| 8 << 20, 0.0);
        assert!(peaks[1..].iter().all(|peak| *peak == 9 << 20));
    }
}
