//! The policy: where a ready goroutine goes, what runs next, and whom to steal from.
//!
//! # Problem
//!
//! A scheduler has two halves. The mechanism switches stacks, wakes threads, takes Ps from goroutines
//! that block; it is the same for everybody. The order in which goroutines run is not: a server with
//! requests of several kinds wants deadlines, a parallel computation wants its own newest piece of work,
//! somebody who debugs wants first come, first served. Go has one order, and programs have asked for
//! others for ten years (golang/go#51071).
//!
//! # Words
//!
//! * *policy*: the description, a small value: [`Gmp`], [`GlobalFifo`], [`WorkSteal`], [`Priority`], or a
//!   user's own. It makes the queues.
//! * *queues*: the policy at work ([`Queues`]): a part that all Ps share, which is the value itself, and a
//!   part for each P ([`Queues::Local`]).
//! * *seat*: the evidence that the caller holds a P ([`Seat`]), with that P's part.
//! * *moment*: what a policy may know of the world: how many Ps there are, the time, the number of the
//!   slice ([`Moment`]). It knows nothing else. So the same code runs in the workers, in the
//!   [simulator](crate::sim) on a thousand Ps in virtual time, and in a model.
//!
//! # Contract
//!
//! A policy is called inside the runtime. It allocates nothing (what it queues is linked:
//! [`List`]), takes no lock but the runtime's [`Lock`](crate::lock::Lock), parks
//! nobody, and does not panic: a panic there ends the process. It cannot break memory safety: it holds
//! goroutines as values that it can neither copy nor run. It can call the scheduler, on the stack of whoever is about
//! to wait; if that would move the caller, or give its P away (a park, a lock that somebody has, a yield, `blocking`),
//! the process ends and says so.
//!
//! Queues that were replaced are dropped outside the runtime: by the service thread, or by whoever changes the policy
//! next. So are what they own and, with the scheduler's last count, those in office and the policy itself. A
//! [`Drop`] there may allocate and take locks, but not for long, and it waits for no goroutine: meanwhile nobody makes
//! threads or stacks. If it panics on a thread of the scheduler's, the process says which one it was and aborts; in
//! [`set_policy`](crate::Scheduler::set_policy) the panic is the caller's.
//!
//! What it owes to the proof in `idle.md`:
//!
//! 1. *Found.* What was put is found by [`pick`](Queues::pick) of whoever sits on that P, or by
//!    [`steal`](Queues::steal) of everybody else in the last round.
//! 2. *Seen.* Between the put and the taking, [`is_empty`](Queues::is_empty) or
//!    [`is_local_empty`](Queues::is_local_empty) of that P is false for whoever looks after a full fence.
//! 3. *Bounded.* If it promises not to starve anybody, what waits is taken after finitely many picks,
//!    whatever else is put. All policies here promise it; `tests/policy.rs` looks.
//!
//! # Shape
//!
//! The default costs what it cost without a seam: the workers hold `Gmp`'s queues as themselves and all
//! others behind a table of functions, so that the branch between the two is always predicted. A type
//! parameter on the scheduler would have made every handle generic, and a change at run time impossible.
//!
//! # Source
//!
//! The split of description and queues is ours. tokio has two schedulers and no seam; rayon has one
//! breadth-first switch; Linux's `sched_class` is the nearest relative.

use core::fmt;
use core::marker::PhantomData;

use crate::queue::list::{Linked, List};
use crate::sync::now;

pub(crate) mod board;
#[cfg(not(loom))]
mod chosen;
mod class;
mod fifo;
mod gmp;
mod priority;
mod steal;

pub use crate::queue::local::Slice;
#[cfg(not(loom))]
pub use chosen::Chosen;
pub use {
    class::Class,
    fifo::{FifoQueues, GlobalFifo},
    gmp::{Gmp, GmpLocal, GmpQueues},
    priority::{Deadlines, Priority, PriorityQueues},
    steal::{StealLocal, StealQueues, WorkSteal},
};

/// A goroutine, as a policy sees it: something that can be linked, and its class.
///
/// Workers queue goroutines; simulator and models queue other things.
pub trait Item: Linked + 'static {
    /// How urgent it is.
    fn class(&self) -> Class;
}

/// How a goroutine became ready. There may be more ways one day: a policy has an arm for those that it does not
/// know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It is new.
    Spawned,
    /// Somebody who runs made it ready: the other end of a channel, the end of a goroutine it waits for.
    Unparked,
    /// A timer woke it, or it is back from the kernel: it has waited already.
    Woken,
    /// It gave way by itself.
    Yielded,
    /// It gave way because its slice was over.
    Preempted,
    /// It was ready before: its P was retired, it had to wait for a stack, or the policy has changed.
    Moved,
}

/// What a policy is told of a goroutine that became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// How.
    pub cause: Cause,
    /// It holds something that others may have to wait for; see [`holds_or`](crate::holds_or).
    pub holds: bool,
}

impl From<Cause> for Ready {
    /// Of one that holds nothing.
    fn from(cause: Cause) -> Self {
        Self { cause, holds: false }
    }
}

/// What a policy may know of the world.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// How many Ps there are.
    pub procs: usize,
    /// Slices that the P has begun so far; 0 where there is no P.
    pub tick: u32,
    /// Somebody waits for goroutines that [hold](Ready::holds) something.
    pub hurry: bool,
    time: Time,
}

#[derive(Clone, Copy, Debug)]
enum Time {
    Real,
    Virtual(u64),
}

impl Moment {
    /// Of the machine.
    #[inline]
    pub fn real(procs: usize, tick: u32, hurry: bool) -> Self {
        Self { procs, tick, hurry, time: Time::Real }
    }

    /// Of a simulation, `nanos` after its beginning.
    pub fn simulated(procs: usize, tick: u32, nanos: u64) -> Self {
        Self { procs, tick, hurry: false, time: Time::Virtual(nanos) }
    }

    /// The time in nanoseconds. It costs a reading of the clock.
    pub fn now(&self) -> u64 {
        match self.time {
            Time::Real => now(),
            Time::Virtual(nanos) => nanos,
        }
    }
}

/// The evidence that the caller holds a P, with the policy's part for it.
pub struct Seat<'a, L> {
    local: &'a L,
    /// A P has one holder.
    not_send: PhantomData<*mut ()>,
}

impl<'a, L> Seat<'a, L> {
    /// # Safety
    ///
    /// The caller holds the P whose part `local` is for as long as the value is used, and what the
    /// former holder did happened before.
    #[inline]
    pub unsafe fn new(local: &'a L) -> Self {
        Seat { local, not_send: PhantomData }
    }

    /// The P's part. What only the holder of the P may do to it, the caller may do.
    #[inline]
    pub fn local(&self) -> &'a L {
        self.local
    }
}

impl<L> Clone for Seat<'_, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Seat<'_, L> {}

impl<L: fmt::Debug> fmt::Debug for Seat<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(self.local).finish()
    }
}

/// A policy: what it is called, and how its queues are made. What it owes, also when it is dropped:
/// [contract](self#contract).
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Its queues, of whatever is queued.
    type Queues<H: Item>: Queues<H>;

    /// Makes them, empty. May allocate.
    fn queues<H: Item>(&self) -> Self::Queues<H>;
}

/// A policy at work: the part that all Ps share. See the [contract](self#contract).
pub trait Queues<H: Item>: Send + Sync + 'static {
    /// The part of one P. Thieves see it, too.
    type Local: Send + Sync + 'static;

    /// Makes the part of the next P, empty. One caller at a time. May allocate.
    fn local(&self) -> Self::Local;

    /// `item` became ready: puts it where it will be found. `seat` is the P of whoever made it ready,
    /// if they hold one.
    fn put(&self, seat: Option<Seat<'_, Self::Local>>, moment: &Moment, item: H, ready: Ready);

    /// All of `items` became ready at once, where there is no P, and none holds anything: as [`put`](Self::put)
    /// for each, in their order.
    fn put_all(&self, moment: &Moment, items: List<H>, cause: Cause) {
        items.for_each(|item| self.put(None, moment, item, cause.into()));
    }

    /// What runs next on this P, without a look at what other Ps have, and whether it begins a slice.
    fn pick(&self, seat: Seat<'_, Self::Local>, moment: &Moment) -> Option<(H, Slice)>;

    /// Takes something from other Ps for this one, which has nothing: to run at once, in a fresh slice.
    /// More may be moved into this P's part. `victims` are the parts of all other Ps in a random order;
    /// `last` says that the thief goes to sleep if it finds nothing.
    fn steal<'a>(
        &self,
        seat: Seat<'_, Self::Local>,
        moment: &Moment,
        victims: impl Iterator<Item = &'a Self::Local>,
        last: bool,
    ) -> Option<H>;

    /// Takes one of what lies in this P's part, in the order in which it would run: the P is given up.
    fn evict(&self, seat: Seat<'_, Self::Local>) -> Option<H>;

    /// Whether the shared part holds nothing. Never true if one item lay there all through the call: see *seen* in
    /// the [contract](self#contract). It may be true if something was put there before the last of what lay there was
    /// taken: whoever put it sees to it that somebody looks again.
    fn is_empty(&self) -> bool;

    /// The same of a P's part.
    fn is_local_empty(local: &Self::Local) -> bool;

    /// How many there are in the shared part, at about this time.
    fn len(&self) -> usize;

    /// How many there are in a P's part, at about this time.
    fn local_len(local: &Self::Local) -> usize;

    /// How often so far something was put into a P's part for that P to run at once: two who wake each other
    /// in turn make it grow, and are none for thieves. Who finds nothing else watches for a while before it
    /// sleeps. 0 of a policy that knows no such thing.
    fn handovers(local: &Self::Local) -> u64 {
        let _ = local;
        0
    }

    /// Whether something waits in the shared part that shall not wait for a slice to end. Then the
    /// oldest slice of at least 100 µs ends, if no P is idle, and `pick` gives it first on that P, which
    /// [expects](Self::expect_urgent) it.
    fn has_urgent(&self, moment: &Moment) -> bool {
        let _ = moment;
        false
    }

    /// The goroutine on this P was asked to give way, perhaps for one that shall not wait: the next `pick` there gives
    /// that one, wherever in the shared part it lies. For policies whose `pick` does not look everywhere first.
    fn expect_urgent(&self, seat: Seat<'_, Self::Local>) {
        let _ = seat;
    }

    /// How often the locks of the shared part were taken so far, one number each: what the simulator
    /// charges for.
    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        let _ = see;
    }
}
