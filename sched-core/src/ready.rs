//! Goroutines and futures that are ready: the scheduler's side of the [`policy`](crate::policy).
//!
//! Everything that queues one or takes one from a queue goes through [`dispatch`](crate::dispatch), with what
//! is gathered here for the policy, which decides where and which. One who holds a P calls with a [`Held`],
//! and everybody is inside the runtime. Which policy, and how it changes: [`swap`](crate::swap).

use crate::{
    dispatch::{Dispatch, Installed},
    handoff,
    policy::{Cause, Moment, Ready},
    proc::Held,
    queue::list::List,
    shared::Shared,
    succession::Succession,
    sync::Ordering,
    task::{Run, runnable::Runnable},
};

// SAFETY: the queues are a field, and `dispatch` alone has a P of this scheduler sit down.
unsafe impl Dispatch for Shared {
    type Item = Runnable;
    type Held<'a> = Held<'a>;

    #[inline(always)]
    fn queues(&self) -> &Succession<Installed<Runnable>> {
        &self.queues
    }

    fn procs(&self) -> usize {
        self.procs.len()
    }

    #[inline]
    fn moment(&self, held: Option<Held<'_>>) -> Moment {
        let tick = held.map_or(0, |held| held.proc().tick());
        Moment::real(self.wanted_procs(), tick, self.in_hurry())
    }

    fn notify(&self) {
        Shared::notify(self);
    }
}

impl Shared {
    /// Queues a goroutine that became ready. The caller sees to it that somebody
    /// [looks for it](Shared::notify).
    #[inline(always)]
    pub(crate) fn put(&self, held: Option<Held<'_>>, run: impl Into<Runnable>, cause: Cause) {
        let run = run.into();
        let ready = Ready { cause, holds: run.is_holder() };
        self.enqueue(held, run, ready);
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
}
