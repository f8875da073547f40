//! The pacing numbers that mutators touch: how much is live, and whether that is too much.
//!
//! Mutators add what they allocated when they take the space's slow path, so the number lags by
//! at most one span per mutator and class. The driver corrects it at the end of each cycle, when
//! it knows what survived.

use crate::pacer::{Progress, Schedule, Target};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

// All orderings here but one pair are Relaxed: the numbers decide when to begin work, never whether memory is
// in use, and a late look only begins it later.

/// Nobody has asked for a cycle.
const NONE: u8 = 0;
/// Somebody has, and whoever runs cycles is told.
const TOLD: u8 = 1;
/// Somebody has, and who was told cannot run one.
const DECLINED: u8 = 2;

/// Live bytes, trigger and goal.
#[derive(Debug)]
pub(crate) struct Pace {
    live: AtomicU64,
    trigger: AtomicU64,
    goal: AtomicU64,
    /// Beyond this, guards are held up.
    outrun: AtomicU64,
    line: Line,
    /// Nobody is to be held up for now, nor to pay.
    relents: AtomicBool,
    /// [`NONE`], [`TOLD`] or [`DECLINED`].
    request: AtomicU8,
    /// From a cycle's begin until there are new numbers, or its driver unwinds: the old ones are no reason for
    /// another cycle.
    collecting: AtomicBool,
}

impl Pace {
    pub(crate) fn new(target: Target) -> Self {
        let pace = Self {
            live: AtomicU64::new(0),
            trigger: AtomicU64::new(0),
            goal: AtomicU64::new(0),
            outrun: AtomicU64::new(0),
            line: Line::default(),
            relents: AtomicBool::new(false),
            request: AtomicU8::new(NONE),
            collecting: AtomicBool::new(false),
        };
        pace.set(target);
        pace
    }

    pub(crate) fn set(&self, target: Target) {
        self.trigger.store(target.trigger, Ordering::Relaxed);
        self.goal.store(target.goal, Ordering::Relaxed);
        self.outrun.store(target.assist, Ordering::Relaxed);
    }

    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Adds fresh bytes; true if a cycle should begin, and none is under way.
    pub(crate) fn allocated(&self, bytes: u64) -> bool {
        let live = self.live.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Acquire: who sees that the cycle has ended sees what it left; pairs with `ended`. A sum from
        // before is looked at again.
        live >= self.trigger.load(Ordering::Relaxed)
            && !self.collecting.load(Ordering::Acquire)
            && self.live() >= self.trigger.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn is_outrun(&self) -> bool {
        self.live() >= self.outrun.load(Ordering::Relaxed) && !self.relents()
    }

    /// What the pacer says about that.
    pub(crate) fn relent(&self, relents: bool) {
        self.relents.store(relents, Ordering::Relaxed);
    }

    fn relents(&self) -> bool {
        self.relents.load(Ordering::Relaxed)
    }

    /// Whether a cycle is under way.
    pub(crate) fn is_collecting(&self) -> bool {
        // Relaxed: advice for one who waits and looks again; nothing is read on the strength of it.
        self.collecting.load(Ordering::Relaxed)
    }

    /// Marking begins, of a heap of so many bytes; the cycle before marked `expected`.
    pub(crate) fn begin_mark(&self, live: u64, expected: u64) {
        let hurries = self.outrun.load(Ordering::Relaxed) != u64::MAX;
        let goal = if hurries { self.goal.load(Ordering::Relaxed) } else { u64::MAX };
        self.line.set(Schedule::new(live, goal, expected));
    }

    /// Marking is over.
    pub(crate) fn end_mark(&self) {
        self.line.set(Schedule::NONE);
    }

    /// How far marking is if so much is marked. Nothing is due while nothing is marked, or the pacer relents.
    pub(crate) fn progress(&self, marked: u64) -> Progress {
        let due = if self.relents() { 0 } else { self.line.get().due(self.live(), marked) };
        Progress { due, marked }
    }

    /// Asks for a cycle. True if whoever runs cycles is to be told: for the first to ask since the last one began,
    /// or since one was declined.
    pub(crate) fn request(&self) -> bool {
        self.request.swap(TOLD, Ordering::Relaxed) != TOLD
    }

    /// Who was told cannot run the cycle that was asked for. It stays asked for.
    pub(crate) fn decline(&self) {
        // One that has begun meanwhile serves the request. Of an exchange that fails nothing is read.
        let _ = self.request.compare_exchange(TOLD, DECLINED, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.request.load(Ordering::Relaxed) != NONE
    }

    /// A cycle begins: requests up to now are served by it.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.collecting.store(true, Ordering::Relaxed);
        self.request.store(NONE, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Marking ended: of what was live at `at_mark`, `marked` is left. Returns what is live now.
    pub(crate) fn settle(&self, at_mark: u64, marked: u64) -> u64 {
        let correct = |live: u64| (live + marked).saturating_sub(at_mark);
        // The closure never declines, so this always succeeds.
        self.live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| Some(correct(live)))
            .map_or(0, correct)
    }
}

/// A cycle is under way, until this is dropped: by a driver that unwinds as well, or mutators would wait for it and
/// pay for it for ever.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay<'a>(&'a Pace);

impl UnderWay<'_> {
    /// The cycle has ended, and this is its target.
    pub(crate) fn ended(self, target: Target) {
        self.0.set(target);
        self.0.relent(false);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.end_mark();
        // Release: the numbers are there; pairs with `allocated`.
        self.0.collecting.store(false, Ordering::Release);
    }
}

/// A [`Schedule`] that the driver sets and mutators read. Numbers of two lines at once do no harm: a
/// slice of marking more, or less.
#[derive(Debug)]
struct Line {
    from: AtomicU64,
    to: AtomicU64,
    expected: AtomicU64,
    whole: AtomicU64,
}

impl Default for Line {
    fn default() -> Self {
        let Schedule { from, to, expected, whole } = Schedule::NONE;
        let [from, to, expected, whole] = [from, to, expected, whole].map(AtomicU64::new);
        Self { from, to, expected, whole }
    }
}

impl Line {
    fn set(&self, line: Schedule) {
        self.from.store(line.from, Ordering::Relaxed);
        self.to.store(line.to, Ordering::Relaxed);
        self.expected.store(line.expected, Ordering::Relaxed);
        self.whole.store(line.whole, Ordering::Relaxed);
    }

    fn get(&self) -> Schedule {
        Schedule {
            from: self.from.load(Ordering::Relaxed),
            to: self.to.load(Ordering::Relaxed),
            expected: self.expected.load(Ordering::Relaxed),
            whole: self.whole.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_cycle_keeps_what_came_after_its_begin() {
        let pace = Pace::new(Target { trigger: 100, goal: 200, assist: 250 });
        assert!(!pace.allocated(90));
        assert!(pace.allocated(20));
        let at_mark = pace.live();
        pace.allocated(50);
        assert_eq!(pace.settle(at_mark, 30), 80);
        pace.set(Target { trigger: 1000, goal: 2000, assist: 2500 });
        assert_eq!(pace.live(), 80);
        assert!(!pace.allocated(1));
    }

    #[test]
    fn the_numbers_of_before_are_no_reason_for_the_next_cycle() {
        let pace = Pace::new(Target { trigger: 100, goal: 200, assist: 250 });
        assert!(pace.allocated(150));
        let cycle = pace.begin();
        let at_mark = pace.live();
        assert!(!pace.allocated(10), "a cycle is under way");
        pace.settle(at_mark, 30);
        assert!(!pace.allocated(1), "its target is not there yet");
        cycle.ended(Target { trigger: 50, goal: 60, assist: 75 });
        assert!(!pace.allocated(1));
        assert!(pace.allocated(10));
    }

    #[test]
    fn a_pacer_that_relents_spares_everybody_until_it_does_not() {
        let pace = Pace::new(Target { trigger: 10 << 20, goal: 20 << 20, assist: 22 << 20 });
        pace.allocated(15 << 20);
        let cycle = pace.begin();
        pace.begin_mark(pace.live(), 0);
        pace.allocated(10 << 20);
        let is_hard = || (pace.is_outrun(), pace.progress(0).lag() > 0);
        assert_eq!(is_hard(), (true, true));
        pace.relent(true);
        assert_eq!(is_hard(), (false, false));
        pace.relent(false);
        assert_eq!(is_hard(), (true, true));
        pace.relent(true);
        cycle.ended(Target { trigger: 10 << 20, goal: 20 << 20, assist: 22 << 20 });
        assert!(pace.is_outrun(), "the answer was for one cycle");
    }

    #[test]
    fn one_request_per_cycle_wakes_somebody() {
        let pace = Pace::new(Target { trigger: 1, goal: 2, assist: 3 });
        assert!(pace.request() && !pace.request());
        let cycle = pace.begin();
        assert!(!pace.is_requested() && pace.request());
        drop(cycle);
    }

    #[test]
    fn a_request_that_was_declined_is_told_of_by_the_next_who_asks() {
        let pace = Pace::new(Target { trigger: 1, goal: 2, assist: 3 });
        pace.decline();
        assert!(!pace.is_requested(), "nobody has asked");
        assert!(pace.request());
        pace.decline();
        assert!(pace.is_requested() && pace.request() && !pace.request());
    }
}
