//! Goroutines and futures that are ready: the scheduler's side of the [`policy`](crate::policy).
//!
//! Everything that queues one or takes one from a queue goes through here. The policy decides
//! where and which; what it may know is gathered here, and who may call it: one who holds a P calls with
//! a [`Held`], and everybody is inside the runtime. Which policy, and how it changes:
//! [`swap`](crate::swap).

use crate::{
    handoff,
    policy::{
        Cause, Moment, Ready,
        board::{Installed, Place},
    },
    proc::Held,
    queue::{list::List, local::Slice},
    shared::Shared,
    sync::Ordering,
    task::{Run, runnable::Runnable},
};

impl Shared {
    /// The queues in office, and the P's place there.
    #[inline(always)]
    fn at<'a>(&'a self, held: Held<'a>) -> (&'a Installed<Runnable>, Place) {
        match held.chair() {
            Some(chair) if self.queues.is_in_office(&chair.stay) => {
                (self.queues.at(&chair.stay), chair.place)
            }
            _ => self.sit_down(held),
        }
    }

    /// Queues a goroutine that became ready. The caller sees to it that somebody
    /// [looks for it](Shared::notify).
    #[inline(always)]
    pub(crate) fn put(&self, held: Option<Held<'_>>, run: impl Into<Runnable>, cause: Cause) {
        let run = run.into();
        let ready = Ready { cause, holds: run.is_holder() };
        match held {
            Some(held) => {
                let (queues, place) = self.at(held);
                // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
                unsafe { queues.put(Some(place), || self.moment(Some(held)), run, ready) };
            }
            None => self.put_from_outside(run, ready),
        }
    }

    #[cold]
    fn put_from_outside(&self, run: Runnable, ready: Ready) {
        let queues = self.queues.visit();
        // SAFETY: no P is named.
        unsafe { queues.put(None, || self.moment(None), run, ready) };
    }

    /// Puts `run` into `list`, for [`put_all`](Self::put_all); one that holds something is queued by itself.
    pub(crate) fn collect(&self, list: &mut List<Runnable>, run: Run, cause: Cause) {
        if run.task().is_holder() {
            return self.put(None, run, cause);
        }
        list.push(run.into());
    }

    /// Queues all of `list`, of which none holds anything, in one step. The caller sees to it that somebody
    /// [looks for them](Shared::notify).
    pub(crate) fn put_all(&self, list: List<Runnable>, cause: Cause) {
        if !list.is_empty() {
            self.queues.visit().board().put_all(&self.moment(None), list, cause);
        }
    }

    /// Queues a goroutine that shall not wait for a slice to end.
    pub(crate) fn put_woken(&self, held: Option<Held<'_>>, run: impl Into<Runnable>) {
        self.put(held, run, Cause::Woken);
        self.notify();
        handoff::make_room(self);
    }

    /// What runs next on this P, without a look at what others have.
    #[inline]
    pub(crate) fn pick(&self, held: Held<'_>) -> Option<Runnable> {
        let (queues, place) = self.at(held);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let (run, slice) = unsafe { queues.pick(place, || self.moment(Some(held))) }?;
        if slice == Slice::Fresh {
            held.begin_slice();
        }
        Some(run)
    }

    /// Something from the queues of others. `last`: the thief gives up after this.
    pub(crate) fn steal(&self, held: Held<'_>, last: bool) -> Option<Runnable> {
        let (queues, place) = self.at(held);
        let (moment, random) = (self.moment(Some(held)), held.random());
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let run = unsafe { queues.board().steal(place, &moment, random, last) };
        let run = run.or_else(|| self.rescue(held, last))?;
        held.begin_slice();
        Some(run)
    }

    /// Moves what lies in the P's own part to where it is nobody's in particular: the P is given up. The
    /// caller notifies on its behalf.
    #[cold]
    pub(crate) fn evict(&self, held: Held<'_>) {
        let (queues, place) = self.at(held);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        while let Some(run) = unsafe { queues.board().evict(place) } {
            self.put(None, run, Cause::Moved);
        }
    }

    /// Whether anything waits that this P would run.
    pub(crate) fn work_at_hand(&self, held: Held<'_>) -> bool {
        let (queues, place) = self.at(held);
        !queues.board().is_local_empty(place.proc) || !queues.board().is_empty()
    }

    /// How often other Ps were given something to run at once.
    pub(crate) fn handovers_of_others(&self, held: Held<'_>) -> u64 {
        let (queues, place) = self.at(held);
        queues.board().handovers_of_others(place.proc)
    }

    /// Whether there is anything to run in any queue.
    pub(crate) fn any_work(&self) -> bool {
        // In this order: who looks at the old queues as those in office sees what is there, and who looks at the
        // new ones finds the old ones leaving.
        !self.queues.visit().board().all_empty()
            || self.queues.visit_leaving().is_some_and(|old| !old.board().all_empty())
    }

    /// How many goroutines are queued, at about this time.
    pub(crate) fn queued(&self) -> usize {
        let leaving = self.queues.visit_leaving();
        leaving.map_or(0, |old| old.board().len()) + self.queues.visit().board().len()
    }

    /// Whether a goroutine waits that shall not wait for a slice to end.
    pub(crate) fn has_urgent(&self) -> bool {
        self.queues.visit().board().has_urgent(&self.moment(None))
    }

    /// The same, of others than holders.
    pub(crate) fn has_woken(&self) -> bool {
        let calm = Moment::real(self.wanted_procs(), 0, false);
        self.queues.visit().board().has_urgent(&calm)
    }

    /// Whether somebody waits for goroutines that hold something.
    pub(crate) fn in_hurry(&self) -> bool {
        self.is_hurried(1)
    }

    /// Whether somebody waits for those who hold this.
    pub(crate) fn is_hurried(&self, holds: u64) -> bool {
        // Relaxed: a hint; who misses it serves one more in turn.
        holds != 0 && holds < self.hurry.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn moment(&self, held: Option<Held<'_>>) -> Moment {
        let tick = held.map_or(0, |held| held.proc().tick());
        Moment::real(self.wanted_procs(), tick, self.in_hurry())
    }
}
