//! Goroutines that wait for long give back what deep calls touched of their stacks.
//!
//! # Problem
//!
//! A goroutine that once went deep keeps every page that it touched. Ten thousand that have parsed something,
//! 256 KiB deep, and then wait for their clients keep two gigabytes. A stack that lies unused gives its memory
//! back ([`Slots::grow_older`](crate::stack::Slots::grow_older)); one in use is its goroutine's.
//!
//! # How
//!
//! Of a suspended stack everything below the stack pointer is free: what returns needs what lies above. So about
//! once a second whoever looks after the stacks walks over all records and takes each that has waited for
//! [`Config::trim_after`](crate::Config::trim_after), as a dump does
//! ([`with_parked`](crate::shared::Shared::with_parked)): for that time it has the G, and who wakes the goroutine
//! leaves a permit. The pages go back, but for the [`KEEP`] bytes next to the stack pointer, which the goroutine
//! needs again with its first calls; so no red zone comes near. A large stack is done [piece](PIECE) by piece,
//! and the goroutine given back in between, so a wake-up comes late by one piece at most.
//!
//! A wait is known by its beginning, and trimmed once ([`Task::is_trimmed`]). Walks go on while one finds somebody
//! who waits and whose time has not come, or anything was switched to since ([`may_trim`](Shared::may_trim)). When
//! all wait and all are trimmed nobody walks any more. Nobody is forgotten: a goroutine notes its wait, then its M
//! counts the switch, then it is parked. The walk reads the count first. So whoever is missing from it is counted
//! later, or was seen with a note and not yet parked.
//!
//! # Who is not trimmed
//!
//! * In thread mode nobody: a thread waits on each stack, below the place that it tells.
//! * A runnable goroutine, which will run soon; so one that stays in a handler, on whose stack a thread stands.
//! * One whose stack pointer is not on its own stack: what lies there is not ours.
//! * A carrier that rests, one per P. One whose poll has parked is a goroutine as any other.
//!
//! # Price
//!
//! 25 ns for each goroutine that has been trimmed; once in so long a wait 1 µs if its stack has nothing to give, and
//! 1 µs for each page, which costs a page fault when it is needed again. Nothing at the park.
//!
//! # Source
//!
//! Go's `shrinkstack` (`stack.go`), which copies the stack into one of half the size when the collector finds three
//! quarters of it unused. Here a stack keeps its place, and only its pages go.
//!
//! # Rejected
//!
//! `docs/decisions/0048` has them, with numbers.

use core::{ops::Range, time::Duration};

use crate::{
    lull::Lull,
    shared::Shared,
    stack::{Slot, page_bytes},
    sync::Ordering,
    task::{Task, about::Wait, state::Phase},
};

/// Bytes below the stack pointer that stay: what channels, locks and short calls need.
const KEEP: usize = 16 << 10;

/// Bytes that are given back at once, between two chances to wake up.
const PIECE: usize = 1 << 20;

impl Shared {
    /// Whether there may be stacks with memory that nobody needs, in use or not.
    pub(crate) fn stacks_rest(&self) -> bool {
        self.supplies.rest() || self.may_trim()
    }

    /// Whether [`trim`](Self::trim) may find something to do.
    fn may_trim(&self) -> bool {
        // Relaxed: a stale one costs a walk.
        self.trim_after().is_some() && self.settled.load(Ordering::Relaxed) != self.switches()
    }

    /// How long a goroutine must have waited. `None`: nobody is trimmed.
    fn trim_after(&self) -> Option<Duration> {
        self.config.trim_after.filter(|_| self.mode.is_own_tls())
    }

    /// Gives back what the stacks of those do not need who wait for long. How many they are.
    pub(crate) fn trim(&self) -> usize {
        let Some(after) = self.trim_after() else { return 0 };
        let switches = self.switches();
        let (mut trimmed, mut later) = (0, false);
        for task in self.registry.records() {
            match self.judge(task, after) {
                Verdict::Trim(wait) => trimmed += usize::from(self.trim_stack(task, wait)),
                Verdict::Later => later = true,
                Verdict::Leave => {}
            }
        }
        if !later {
            // Relaxed: only this walk and the question for the next one use it.
            self.settled.store(switches, Ordering::Relaxed);
        }
        trimmed
    }

    fn judge(&self, task: &Task, after: Duration) -> Verdict {
        // One that changes meanwhile was switched to.
        let Some((_, wait, phase)) = task.about.read(|| task.state.phase()) else {
            return Verdict::Leave;
        };
        match (phase, wait) {
            (Phase::Parked, Some(wait)) if task.is_trimmed(wait) => Verdict::Leave,
            (Phase::Parked, Some(wait)) if self.time_since(wait.since) >= after => {
                Verdict::Trim(wait)
            }
            // Too young, or on the way there.
            (Phase::Parked, _) | (Phase::Running, Some(_)) => Verdict::Later,
            _ => Verdict::Leave,
        }
    }

    /// Trims one that was seen to wait. False if there is nothing to give, or it was woken before.
    fn trim_stack(&self, task: &Task, wait: Wait) -> bool {
        let mut given = 0;
        // SAFETY: for the time of the call we have the G.
        let trim = |from| self.with_parked(task, || unsafe { self.trim_piece(task, wait, from) });
        while trim(given) == Some(true) {
            given += PIECE;
        }
        given > 0
    }

    /// Gives back the piece of the stack that lies `from` bytes above its lowest. False if it is needed, or the
    /// goroutine waits anew.
    ///
    /// # Safety
    ///
    /// The caller has the G, which is parked.
    unsafe fn trim_piece(&self, task: &Task, wait: Wait, from: usize) -> bool {
        let same = task.about.read(|| ()).is_some_and(|(_, now, ())| now == Some(wait));
        // SAFETY: the caller's promise.
        let Some(slot) = unsafe { task.slot_ref() }.filter(|_| same) else { return false };
        // SAFETY: as above.
        let free = unsafe { free_part(slot) };
        let piece = free.start + from..free.end.min(free.start + from + PIECE);
        if piece.is_empty() {
            task.set_trimmed(wait);
            return false;
        }
        // SAFETY: a part of this goroutine's stack, which it does not need before it is resumed, and then as new.
        unsafe { self.supplies.discard(task.order(), piece) };
        true
    }
}

/// What to do about a goroutine.
enum Verdict {
    /// It has waited for long.
    Trim(Wait),
    /// It may have to be trimmed the next time.
    Later,
    /// There is nothing to do before it has run.
    Leave,
}

/// The pages of its stack that a suspended goroutine does not need. None if it does not stand there.
///
/// # Safety
///
/// The caller has the G, which is parked, and this is its slot, with own TLS.
unsafe fn free_part(slot: &Slot) -> Range<usize> {
    let stack = slot.bounds();
    // SAFETY: the caller's promise.
    let sp = unsafe { slot.context().suspended_at() }.map_or(0, |at| at.sp);
    // What the switch has saved lies just below.
    let end = if stack.contains(&sp) { (sp - KEEP) & !(page_bytes() - 1) } else { stack.start };
    stack.start..end
}
