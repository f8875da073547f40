//! A P is given up: who gets it, and who hears of what lies on it.
//!
//! # Problem
//!
//! Whoever gives a P up, an M without work or a taker, leaves something behind: goroutines in the P's
//! queue, and submitters who relied on it to look for theirs. Both must end with somebody else.
//!
//! # Three ways
//!
//! * [`hand_over`]: a P that was taken, or is new, goes to a sleeping M, or a new one, if there is
//!   anything to run; else to the idle list.
//! * [`retire`]: an M has found nothing, after a search of everything if it spun.
//! * [`shed`]: an M gives up its P as there are Ps too many.
//!
//! A P that is one too many takes nothing along: what lies in its queue is moved to where it is nobody's in
//! particular. Whoever looked meanwhile found it in no queue, and the P that would have run it is gone. So
//! it is submitted anew, by a notification.
//!
//! The scheduler is a [`Crew`] to this file; so is a model. Models: `loom-tests/tests/sched_resize.rs`,
//! `sched_entry.rs`.

use crate::{
    idle::{Host, Idle, Release, Spinning},
    orders::Order,
};

/// The scheduler, to whoever gives up a P.
pub trait Crew {
    /// Evidence that a P is the caller's.
    type Held<'a>: Copy
    where
        Self: 'a;

    /// Who is idle and who searches.
    fn idle(&self) -> &Idle;

    /// The number of the P.
    fn index(&self, held: Self::Held<'_>) -> usize;

    /// Whether anything waits that this P would run, without a look at what others have.
    fn work_at_hand(&self, held: Self::Held<'_>) -> bool;

    /// Whether there is anything to run in any queue.
    fn any_work(&self) -> bool;

    /// Moves what lies in the P's own queue to where it is nobody's in particular. Tells nobody.
    fn evict(&self, held: Self::Held<'_>);

    /// The P has nothing to run: it leaves what only a P in use needs.
    fn stand_down(&self, held: Self::Held<'_>);

    /// Has `host` carry out `order`.
    fn host(&self, host: Host, order: Order);

    /// Work was published: sees to it that somebody looks for it.
    #[inline]
    fn notify(&self) {
        if let Some(wake) = self.idle().notify() {
            self.host(wake.host, Order { proc: wake.proc, spinning: Some(wake.spinning) });
        }
    }
}

/// Gives a P, which is the caller's, to an M if there is work, else to the idle list; a surplus one to
/// nobody.
pub fn hand_over<C: Crew>(crew: &C, held: C::Held<'_>) {
    let (idle, proc) = (crew.idle(), crew.index(held));
    let surplus = idle.surplus() != 0;
    if surplus {
        crew.evict(held);
    } else if crew.work_at_hand(held) {
        return crew.host(idle.take_host(), Order { proc, spinning: None });
    }
    crew.stand_down(held);
    // Nothing that is published after the look above is missed: its submitter finds this P idle, or
    // has left word that the next one to become idle must search.
    match idle.release(proc, None, || false) {
        Release::Idle => {}
        Release::Search { proc, spinning } => {
            crew.host(idle.take_host(), Order { proc, spinning: Some(spinning) });
        }
    }
    if surplus {
        // On behalf of what was in the queue.
        crew.notify();
    }
}

/// An M has nothing to run: it gives up `held`, of which it lets go by `let_go`. What it may get in return is
/// an order to search again.
pub fn retire<C: Crew>(
    crew: &C,
    held: C::Held<'_>,
    spinning: Option<Spinning>,
    let_go: impl FnOnce(),
) -> Option<Order> {
    let proc = crew.index(held);
    crew.stand_down(held);
    let_go();
    match crew.idle().release(proc, spinning, || crew.any_work()) {
        Release::Idle => None,
        Release::Search { proc, spinning } => Some(Order { proc, spinning: Some(spinning) }),
    }
}

/// As [`retire`], of an M that may have work, but there are Ps too many: what is in the queue is for others
/// to run.
#[cold]
pub fn shed<C: Crew>(
    crew: &C,
    held: C::Held<'_>,
    spinning: Option<Spinning>,
    let_go: impl FnOnce(),
) -> Option<Order> {
    crew.evict(held);
    let order = retire(crew, held, spinning, let_go);
    // On behalf of what was in the queue.
    crew.notify();
    order
}
