//! [`Procs`]: who mutates the collected heap. gc-core's `World` with sched-core's Ps.
//!
//! A goroutine's local state is that of the P it runs on, found through the P's record and used inside
//! the runtime, where the P cannot be taken away. A thread without a P has a state of its own, as with
//! gc-core alone. How many guards a task holds is a thread-local: the goroutine's own.
//!
//! # Making a local state
//!
//! A P's first use finds none. Making one allocates, which must not happen inside the runtime; so the
//! caller leaves, makes it, comes back, perhaps on another P, and offers it there. If that has one
//! by now, the new one is dropped, again outside ([`Table`]).
//!
//! Local states are never freed: a P's number is used again, and the counters of a dead P belong to
//! guards that may be left on another one.

use std::alloc::{self, Layout};
use std::fmt;
use std::time::Duration;

use gc_core::local::Local;
use gc_core::space::{Exhausted, Space};
use gc_core::world::threads::{Place, Threads};
use gc_core::world::{Barrier, Nesting, Stint, World};
use sched_core::entry::{self, Entered};
use sched_core::park::{self, WaitReason};

use super::proc::{Numbers, ProcLocal};
use super::space::Cells;
use crate::current;
use crate::table::{self, Table};

/// How long a guard is held up at a time when the heap has outrun its collector and nobody else is ready.
const RELIEF: Duration = Duration::from_micros(200);

pub(super) type State = Local<Cells>;

/// The Ps of all runtimes, and the threads that have none.
pub struct Procs {
    procs: Table<State, { table::chunks(Numbers::LIMIT) }>,
    threads: Threads<Cells>,
    barrier: Barrier,
}

/// The occupancy of a local state.
struct Seat<'a> {
    state: &'a State,
    /// Keeps the P; means nothing on a thread without one.
    _inside: Entered<'static>,
    /// Of a thread without a P.
    _place: Option<Place<'a, Cells>>,
}

impl fmt::Debug for Procs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Procs").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Procs {
    pub(crate) fn new() -> Self {
        Procs { procs: Table::new(), threads: Threads::new(), barrier: Barrier::probe() }
    }

    /// Takes the caller's seat, which its P does not know, or which is no P's.
    ///
    /// # Safety
    ///
    /// As [`World::join`].
    #[cold]
    unsafe fn find(
        &self,
        space: &Cells,
        mut inside: Entered<'static>,
    ) -> Result<Seat<'_>, Exhausted> {
        loop {
            let Some(proc) = ProcLocal::here(&inside) else {
                // SAFETY: the caller's.
                let place = unsafe { self.threads.place(space) }?;
                return Ok(Seat { state: place.local(), _inside: inside, _place: Some(place) });
            };
            if let Some(state) = self.procs.get(proc.number()) {
                proc.remember(state);
                return Ok(Seat { state, _inside: inside, _place: None });
            }
            drop(inside);
            self.make(space)?;
            inside = entry::enter();
        }
    }

    /// Makes a local state for the P that the caller runs on.
    #[cold]
    fn make(&self, space: &Cells) -> Result<(), Exhausted> {
        let number = ProcLocal::here(&entry::enter()).map(ProcLocal::number);
        if !number.is_none_or(|number| self.procs.grow(number)) {
            return Err(Exhausted);
        }
        let state = State::boxed(space)?;
        let unneeded = {
            let inside = entry::enter();
            match ProcLocal::here(&inside) {
                Some(proc) => self.procs.put(proc.number(), state),
                None => Some(state),
            }
        };
        drop(unneeded);
        Ok(())
    }
}

/// A goroutine that holds a guard came onto a P without a local state, and there is no memory for one: what it is
/// about to do cannot fail.
#[cold]
fn refused() -> ! {
    alloc::handle_alloc_error(Layout::new::<State>())
}

// SAFETY:
// 1. A P has one goroutine inside the runtime at a time, and sched-core orders one after the other;
//    numbers are unique among living Ps, and `Numbers` orders a dead P's last use before the next
//    one's first. Threads without a P: `Threads` promises it.
// 2. A state is put into the table before it is first given, and never removed. Whoever is counted in
//    it passes the barrier after that and before its guard counts, so an `each` after the other
//    side of the barrier finds it, or the guard counts in the new epoch.
// 3. The barrier was probed when the world was made, and there is one world in the process.
// 4. sched-core's parking runs no code of others, and what it asserts ends the process: it would mean that a
//    goroutine runs twice.
unsafe impl World<Cells> for Procs {
    unsafe fn join<R>(&self, space: &Cells, f: impl FnOnce(&State) -> R) -> Result<R, Exhausted> {
        // SAFETY: the caller's.
        unsafe { self.find(space, entry::enter()) }.map(|seat| f(seat.state))
    }

    #[inline(always)]
    unsafe fn with<R>(&self, space: &Cells, f: impl FnOnce(&State) -> R) -> R {
        let inside = entry::enter();
        let seat = match ProcLocal::here(&inside).and_then(ProcLocal::state) {
            Some(state) => Seat { state, _inside: inside, _place: None },
            // SAFETY: the caller's.
            None => unsafe { self.find(space, inside) }.unwrap_or_else(|Exhausted| refused()),
        };
        // One call of `f`, so that it is inlined: see `Threads`.
        f(seat.state)
    }

    #[inline(always)]
    unsafe fn try_with<R>(&self, f: impl FnOnce(&State, &Nesting) -> R) -> Option<R> {
        let inside = entry::try_enter()?;
        let state = ProcLocal::here(&inside).and_then(ProcLocal::state)?;
        Some(current::nesting(|nesting| f(state, nesting)))
    }

    fn each(&self, f: &mut dyn FnMut(&State)) {
        self.procs.each(f);
        self.threads.each(f);
    }

    #[inline]
    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R {
        current::nesting(f)
    }

    #[inline(always)]
    fn light(&self) {
        self.barrier.light();
    }

    fn heavy(&self) {
        self.barrier.heavy();
    }

    fn released(&self) {
        sched_core::yield_to_holders();
    }

    fn stint(&self) -> Option<Stint> {
        let (thread, switches) = sched_core::stint()?;
        Some(Stint(thread, switches))
    }

    fn outrun(&self) -> bool {
        // Who gives way while others are ready stands behind all of them.
        let alone = |home: sched_core::Scheduler| home.monitor().load().runnable == 0;
        let waits = sched_core::current().is_none_or(alone);
        if waits {
            crate::sleep(RELIEF);
        }
        waits
    }

    type Waiter = park::Waiter;

    fn waiter(&self) -> park::Waiter {
        park::current()
    }

    fn park(&self) {
        park::park(WaitReason::Lock);
    }

    fn unpark(&self, waiter: &park::Waiter) {
        waiter.unpark();
    }

    fn processors(&self) -> u32 {
        sched_core::current().map_or_else(|| self.threads.processors(), |home| home.procs() as u32)
    }

    fn nap(&self, time: Duration) {
        crate::sleep(time);
    }
}

const _: () = {
    // `Local` is shared between Ps and the collector.
    const fn shared<T: Send + Sync>() {}
    shared::<State>();
    const fn space<T: Space>() {}
    space::<Cells>();
};
