//! Goroutines and futures that are ready: the scheduler's side of the [`policy`](crate::policy).
//!
//! Everything that queues one or takes one from a queue goes through here. The policy decides
//! where and which; what it may know is gathered here, and who may call it: one who holds a P calls with
//! a [`Held`], and everybody is inside the runtime.

use crate::{
    handoff,
    policy::{Cause, Moment, Ready},
    proc::Held,
    queue::local::Slice,
    shared::Shared,
    sync::Ordering,
    task::runnable::Runnable,
};

impl Shared {
    /// Queues a goroutine that became ready. The caller sees to it that somebody
    /// [looks for it](Shared::notify).
    #[inline(always)]
    pub(crate) fn put(&self, held: Option<Held<'_>>, run: impl Into<Runnable>, cause: Cause) {
        let run = run.into();
        let ready = Ready { cause, holds: run.is_holder() };
        let place = held.map(Held::place);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        unsafe { self.queues.put(place, || self.moment(held), run, ready) };
    }

    /// Queues a goroutine that shall not wait for a slice to end.
    pub(crate) fn put_woken(&self, run: impl Into<Runnable>) {
        self.put(None, run, Cause::Woken);
        self.notify();
        handoff::make_room(self);
    }

    /// What runs next on this P, without a look at what others have.
    #[inline]
    pub(crate) fn pick(&self, held: Held<'_>) -> Option<Runnable> {
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let (run, slice) = unsafe { self.queues.pick(held.place(), || self.moment(Some(held))) }?;
        if slice == Slice::Fresh {
            held.begin_slice();
        }
        Some(run)
    }

    /// Something from the queues of others. `last`: the thief gives up after this.
    pub(crate) fn steal(&self, held: Held<'_>, last: bool) -> Option<Runnable> {
        let moment = self.moment(Some(held));
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let run = unsafe { self.queues.board().steal(held.place(), &moment, held.random(), last) }?;
        held.begin_slice();
        Some(run)
    }

    /// Moves what lies in the P's own part to where it is nobody's in particular: the P is given up. The
    /// caller notifies on its behalf.
    #[cold]
    pub(crate) fn evict(&self, held: Held<'_>) {
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        while let Some(run) = unsafe { self.queues.board().evict(held.place()) } {
            self.put(None, run, Cause::Moved);
        }
    }

    /// Whether anything waits that this P would run.
    pub(crate) fn work_at_hand(&self, held: Held<'_>) -> bool {
        let board = self.queues.board();
        !board.is_local_empty(held.proc().index()) || !board.is_empty()
    }

    /// Whether there is anything to run in any queue.
    pub(crate) fn any_work(&self) -> bool {
        !self.queues.board().all_empty()
    }

    /// Whether a goroutine waits that shall not wait for a slice to end.
    pub(crate) fn has_urgent(&self) -> bool {
        self.queues.board().has_urgent(&self.moment(None))
    }

    /// Whether somebody waits for goroutines that hold something.
    pub(crate) fn in_hurry(&self) -> bool {
        // Relaxed: a hint; who misses it serves one more in turn.
        self.hurry.load(Ordering::Relaxed)
    }

    #[inline]
    fn moment(&self, held: Option<Held<'_>>) -> Moment {
        let tick = held.map_or(0, |held| held.proc().tick());
        Moment::real(self.wanted_procs(), tick, self.in_hurry())
    }
}
