//! How far marking should have come: the line on which allocation pays for it.
//!
//! ```text
//!   due                                        live: what the heap holds now
//!    │                       ┌──────  whole    from: what it held when marking began
//!    │                      ╱                  to:   the goal
//!    │                   ╱  ·
//!    │  expected ─ ─ ─╱─ ─ ─·
//!    │             ╱        ·
//!    └──────────┴───────────┴──► live
//!              from         to
//! ```
//!
//! Whoever allocates while marking is behind the line marks some objects, in slices, until it is not.
//! So marking is over when the heap is at its goal, however fast mutators allocate; and as long as the
//! collector's own workers keep the line, nobody pays.
//!
//! How much there is to mark is known when it is done. The line first goes for what the cycle before
//! marked; once that much is marked, for everything that was there when marking began. (Go's pacer makes
//! the same two guesses.) A heap that has reached its goal before marking began, because a guard from
//! before was held for long, may grow by a sixteenth beyond, and by [`ROOM`] in any case.

/// What a heap may grow by while it is marked, at least: else a few allocations would have to pay for all of
/// it. As much as in Go.
const ROOM: u64 = 64 << 10;

/// The line. Bytes throughout.
///
/// ```
/// use gc_core::pacer::Schedule;
///
/// let line = Schedule { from: 150, to: 200, expected: 80, whole: 150 };
/// assert_eq!(line.due(175, 0), 40, "half of the way, half of the work");
/// assert_eq!(line.due(175, 100), 75, "more is alive than expected");
/// assert_eq!(line.due(1000, 0), 80);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// What the heap held when marking began.
    pub from: u64,
    /// What it should hold when marking ends, at most.
    pub to: u64,
    /// What the cycle before marked.
    pub expected: u64,
    /// The most that there can be to mark.
    pub whole: u64,
}

impl Schedule {
    /// While nothing is marked: nobody owes anything.
    pub const NONE: Self = Self { from: u64::MAX, to: u64::MAX, expected: 0, whole: 0 };

    /// The line from here to a goal. `expected`: what the cycle before marked, 0 if there was none.
    ///
    /// ```
    /// use gc_core::pacer::Schedule;
    ///
    /// const MIB: u64 = 1 << 20;
    /// let line = |live, goal| Schedule::new(live * MIB, goal * MIB, 80 * MIB);
    /// let drawn = Schedule { from: 150 * MIB, to: 200 * MIB, expected: 80 * MIB, whole: 150 * MIB };
    /// assert_eq!(line(150, 200), drawn);
    /// assert_eq!(line(160, 160).to, 170 * MIB, "late: a sixteenth beyond");
    /// ```
    pub fn new(live: u64, goal: u64, expected: u64) -> Self {
        let expected = if expected == 0 { live } else { expected.min(live) };
        Self { from: live, to: goal.max(live + (live / 16).max(ROOM)), expected, whole: live }
    }

    /// What should be marked when so much is live and so much is marked.
    ///
    /// ```
    /// use gc_core::pacer::Schedule;
    ///
    /// let line = Schedule::new(100 << 20, 200 << 20, 80 << 20);
    /// let due = [100, 150, 200].map(|live| line.due(live << 20, 0) >> 20);
    /// assert_eq!(due, [0, 40, 80]);
    /// ```
    pub fn due(&self, live: u64, marked: u64) -> u64 {
        let Some(gone) = live.checked_sub(self.from) else { return 0 };
        let work = if marked < self.expected { self.expected } else { self.whole };
        let way = self.to.saturating_sub(self.from).max(1);
        (work as f64 * gone.min(way) as f64 / way as f64) as u64
    }
}

/// How far marking is. Bytes.
///
/// ```
/// use gc_core::pacer::Progress;
///
/// assert_eq!(Progress { due: 50, marked: 20 }.lag(), 30);
/// assert_eq!(Progress { due: 50, marked: 60 }.lag(), 0, "ahead");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Progress {
    /// What should be marked by now, by the [`Schedule`].
    pub due: u64,
    /// What is marked. Who is in the middle of a slice has not said.
    pub marked: u64,
}

impl Progress {
    /// By how much marking is behind.
    pub fn lag(&self) -> u64 {
        self.due.saturating_sub(self.marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pays_while_nothing_is_marked() {
        assert_eq!(Schedule::NONE.due(u64::MAX - 1, 0), 0);
        let endless = Schedule::new(1 << 30, u64::MAX, 1 << 30);
        assert!(endless.due(2 << 30, 0) < 1 << 10, "no goal, no hurry");
    }

    #[test]
    fn all_is_due_at_the_goal() {
        let line = Schedule { from: 150, to: 200, expected: 80, whole: 150 };
        assert_eq!((line.due(149, 0), line.due(150, 0), line.due(200, 0)), (0, 0, 80));
        assert_eq!(line.due(200, 80), 150, "what was not expected is due as well");
    }

    #[test]
    fn a_heap_beyond_its_goal_has_a_sixteenth() {
        let line = Schedule::new(160 << 20, 100 << 20, 0);
        let due = |live: u64| line.due(live << 20, 0) >> 20;
        assert_eq!((line.to >> 20, due(170), due(165)), (170, 160, 80));
        let small = Schedule::new(160 << 10, 161 << 10, 0);
        assert_eq!(small.to, (160 << 10) + ROOM, "and a small one has more");
    }
}
