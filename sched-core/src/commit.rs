//! The commit after the switch: what is owed to a goroutine that an M leaves, and when it is done.
//!
//! A goroutine that parks, gives way or ends is published for that only when its registers are saved: in a
//! queue, as parked, or as gone, it is anybody's to run, or its stack somebody else's. So whoever switches notes
//! what the goroutine is owed, switches, and whatever runs then on the same M does it: [`switch`]. What that is
//! for each way to leave, [`settle`] says. The drawing is in `worker`.
//!
//! Model: `loom-tests/tests/sched_park.rs`.

use crate::{
    policy::Cause,
    task::state::{CommitPark, State},
};

/// What an M owes to the goroutine that it leaves, which is named by a run reference.
#[derive(Debug)]
pub enum Commit<R> {
    /// Publish it as parked.
    Park(R),
    /// It goes on later: behind the local queue.
    Yield(R),
    /// It gave way because it was asked to: behind the local queue, or the global one.
    Preempted(R),
    /// It has no P: with those that were woken.
    Displaced(R),
    /// It is a carrier without a future: into the P's berth.
    Rest(R),
    /// It has ended: its stack is free.
    End(R),
}

impl<R> Commit<R> {
    /// Whom it is owed to.
    pub fn run(&self) -> &R {
        match self {
            Self::Park(run) | Self::Yield(run) | Self::Preempted(run) => run,
            Self::Displaced(run) | Self::Rest(run) | Self::End(run) => run,
        }
    }
}

/// An M, to the goroutine that was left.
pub trait Role {
    /// The right to run a goroutine.
    type Run;

    /// Its state.
    fn state(run: &Self::Run) -> &State;

    /// What is owed, if the one that was left is owed anything.
    fn owed(&self) -> Option<Commit<Self::Run>>;

    /// Queues it with those that were woken.
    fn put_woken(&self, run: Self::Run);

    /// Queues one that gave way.
    fn put_back(&self, run: Self::Run, cause: Cause);

    /// Queues one that gave way because it was asked to.
    fn put_preempted(&self, run: Self::Run);

    /// Has a carrier rest.
    fn berth(&self, run: Self::Run);

    /// Frees the stack of one that has ended.
    fn bury(&self, run: Self::Run);
}

/// Leaves a goroutine, or an M's own stack, by `switch`. When the switch comes back, on whatever M, that is the
/// one which has `arrived`; what it owes is settled.
#[inline(always)]
pub fn switch<'m, M: Role + 'm>(switch: impl FnOnce(), arrived: impl FnOnce() -> &'m M) {
    switch();
    settle(arrived());
}

/// Does what is owed to the goroutine that the M has just left.
#[inline]
pub fn settle<M: Role>(m: &M) {
    match m.owed() {
        None => {}
        Some(Commit::Park(run)) => match M::state(&run).commit_park() {
            // Whoever unparks it makes the reference anew: it is nobody's variable.
            CommitPark::Parked => core::mem::forget(run),
            // It was unparked while it parked. The M has found something else to do by now, and what
            // that is may run for long.
            CommitPark::Notified => m.put_woken(run),
        },
        Some(Commit::Yield(run)) => {
            M::state(&run).commit_yield();
            m.put_back(run, Cause::Yielded);
        }
        Some(Commit::Preempted(run)) => {
            M::state(&run).commit_yield();
            m.put_preempted(run);
        }
        Some(Commit::Displaced(run)) => {
            M::state(&run).commit_yield();
            m.put_woken(run);
        }
        Some(Commit::Rest(run)) => {
            M::state(&run).commit_yield();
            m.berth(run);
        }
        Some(Commit::End(run)) => m.bury(run),
    }
}
