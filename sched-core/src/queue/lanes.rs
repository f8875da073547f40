//! The lanes of the global queue: who goes first, and for how long.
//!
//! A sleeper whose time has come is late with every slice that runs before it. In one common queue
//! it stands behind every hog that was preempted (Go's ticker beside eight hogs is 19 ms late for
//! this reason). So there are lanes: [`Lane::Woken`] is served first. Lest a flood of wake-ups
//! starve the hogs, after [`WOKEN_STREAK`] of them one of the plain lane has its turn.
//!
//! A *holder* gave way while it held something that all others may have to wait for: a guard of the
//! collector's. It stands in [`Lane::Holder`]. As a rule its turn is where it would be in the plain
//! lane: it notes how many plain ones came before it. In a *hurry*, while somebody waits for holders,
//! they go first, like the woken, and under the same bound.
//!
//! Nothing here is shared: [`Inject`](super::inject::Inject) has the lock.

use super::list::{Linked, List};

/// Woken ones and hurried holders served in a row while a plain one waits.
pub const WOKEN_STREAK: u32 = 16;

/// Which of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Served first: a timer or the network woke it.
    Woken,
    /// Everything else: new, overflowed, preempted.
    Plain,
    /// Gave way while it held something that others may wait for.
    Holder,
}

/// The lanes and whose turn it is.
pub(super) struct Lanes<H: Linked> {
    pub(super) woken: List<H>,
    plain: List<H>,
    pub(super) holders: List<H>,
    /// Plain ones taken so far; with those that wait, plain ones queued so far. Wraps.
    taken: u64,
    /// Woken ones, and holders out of turn, served since the last plain one, while a plain one waited.
    streak: u32,
}

impl<H: Linked> Lanes<H> {
    pub(super) const fn new() -> Self {
        Lanes { woken: List::new(), plain: List::new(), holders: List::new(), taken: 0, streak: 0 }
    }

    /// Inline: a call would be half as much again as all that is done under the lock.
    #[inline]
    pub(super) fn put(&mut self, list: List<H>, lane: Lane) {
        match lane {
            Lane::Woken => self.woken.append(list),
            Lane::Plain => self.plain.append(list),
            Lane::Holder => list.for_each(|item| {
                let queued = self.taken.wrapping_add(self.plain.len() as u64);
                self.holders.push_due(item, queued);
            }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.woken.len() + self.plain.len() + self.holders.len()
    }

    /// One who goes before all others: a woken one, or, in a hurry, a holder.
    pub(super) fn pop_first(&mut self, hurry: bool) -> Option<H> {
        let woken = self.woken.pop();
        woken.or_else(|| if hurry { self.holders.pop() } else { None })
    }

    pub(super) fn pop(&mut self, hurry: bool) -> Option<H> {
        let hogs_turn = self.streak >= WOKEN_STREAK && !self.plain.is_empty();
        if !hogs_turn && let Some(first) = self.pop_first(hurry) {
            self.streak = if self.plain.is_empty() { 0 } else { self.streak + 1 };
            return Some(first);
        }
        self.streak = 0;
        self.pop_in_turn()
    }

    /// Up to `share` of them. A holder comes alone or first: in the ring of whoever takes the batch it
    /// would not be found.
    pub(super) fn pop_batch(&mut self, share: usize, hurry: bool) -> List<H> {
        let mut batch: List<H> = self.pop(hurry).into_iter().collect();
        while batch.len() < share && !(hurry && !self.holders.is_empty() || self.holder_is_due()) {
            let Some(next) = self.pop(hurry) else { break };
            batch.push(next);
        }
        batch
    }

    /// A plain one, or the holder that came before it.
    fn pop_in_turn(&mut self) -> Option<H> {
        if self.holder_is_due() {
            return self.holders.pop();
        }
        let plain = self.plain.pop()?;
        self.taken = self.taken.wrapping_add(1);
        Some(plain)
    }

    fn holder_is_due(&self) -> bool {
        let Some(queued) = self.holders.first_due() else { return false };
        // In a ring of numbers: not more than half of it lies between two that meet.
        let ahead = queued.wrapping_sub(self.taken);
        self.plain.is_empty() || ahead == 0 || ahead > u64::MAX / 2
    }
}
