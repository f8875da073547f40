//! Go's policy, with a lane for those that were woken: the default.
//!
//! | it became ready | where it goes |
//! |---|---|
//! | spawned or unparked by somebody with a P | that P's runnext |
//! | yielded | the tail of the P's ring |
//! | preempted | the tail of the ring if there is room, else the global queue |
//! | woken; or unparked where there is no P | the global queue's woken lane |
//! | a holder that gives way; in a hurry, any holder | the global queue's lane of holders |
//!
//! What runs next: woken ones first, as others have had a slice while they slept, and holders that
//! somebody waits for; but not more than [`WOKEN_STREAK`] in a row. Then, one time in 61, the global
//! queue, which would starve behind a ring that refills itself. Then the ring, then the global queue.
//! On more than 64 Ps that is several: where each of these looks goes then, [`shards`](crate::queue::shards) says.
//!
//! A thief takes half of the first ring that has something. Why runnext only in the last round, and
//! after some microseconds: [`local`](crate::queue::local).
//!
//! # Why nobody starves
//!
//! The ring is first in, first out, and a pair that wakes each other through runnext shares one slice,
//! at whose end the one that runs goes behind the ring. The global queue has a turn after 61 slices at
//! most, each of its shards after 61 for each of them; its own lanes have their turns after [`WOKEN_STREAK`].
//! `docs/decisions/0009` has the numbers.
//!
//! # Source
//!
//! Go's `runqput`, `findRunnable`, `globrunqget` (`proc.go`).

use crate::queue::{
    lanes::{Lane, WOKEN_STREAK},
    list::List,
    local::{CAPACITY, LocalQueue, Next, Owner, Slice},
    shards::{Home, Near, Shards},
};
use crate::sync::{AtomicU32, Ordering, scaled};

use super::{Cause, Item, Moment, Policy, Queues, Ready, Seat};

/// One in so many picks looks at the global queue first: Go's number, a prime.
const GLOBAL_EVERY: u32 = 61;

/// Turns of a spin loop for which runnext must have stood before it is stolen: some 3 µs. Whoever has
/// just made a goroutine ready is about to run it. A model would explore every turn.
const PATIENCE: usize = scaled(100, 1);

/// Go's policy. See the [module](super).
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, policy::{Chosen, Gmp}};
/// # use std::sync::Arc;
/// let config = Config { policy: Chosen::new(Gmp), ..Config::default() }; // the default
/// let scheduler = Scheduler::new(config, Arc::new(NoHooks))?;
/// assert_eq!(scheduler.spawn(|| 7)?.join().unwrap(), 7);
/// # scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Gmp;

impl Policy for Gmp {
    type Queues<H: Item> = GmpQueues<H>;

    fn queues<H: Item>(&self) -> GmpQueues<H> {
        GmpQueues { global: Shards::new() }
    }
}

/// The global queue.
#[derive(Debug)]
pub struct GmpQueues<H: Item> {
    global: Shards<H>,
}

/// A P's ring and runnext, and its place at the global queue.
#[derive(Debug)]
pub struct GmpLocal<H: Item> {
    queue: LocalQueue<H>,
    /// Picked in a row that went before others. The holder's.
    streak: AtomicU32,
    home: Home,
}

/// The owner's side of the ring.
#[inline]
fn owner<'a, H: Item>(seat: Seat<'a, GmpLocal<H>>) -> Owner<'a, H> {
    // SAFETY: a seat is the evidence that the caller holds the P, after its former holder.
    unsafe { seat.local().queue.owner() }
}

impl<H: Item> GmpQueues<H> {
    /// The global queue, as the P sees it.
    #[inline(always)]
    fn near<'a>(&'a self, local: &'a GmpLocal<H>, moment: &Moment) -> Near<'a, H> {
        self.global.near(&local.home, moment.procs, moment.hurry)
    }

    /// Queues what comes from outside.
    #[cold]
    fn put_outside(&self, item: H, ready: Ready, moment: &Moment) {
        self.global.push(item, lane(ready, moment), moment.procs);
    }
}

#[inline]
fn pick_first<H: Item>(local: &GmpLocal<H>, global: Near<'_, H>) -> Option<H> {
    // Relaxed, all: the holder's own.
    let streak = local.streak.load(Ordering::Relaxed);
    let first = if streak < WOKEN_STREAK { global.pop_first() } else { None };
    if first.is_some() {
        local.streak.store(streak + 1, Ordering::Relaxed);
    } else if streak != 0 {
        local.streak.store(0, Ordering::Relaxed);
    }
    first
}

#[cold]
fn pick_global<H: Item>(owner: &Owner<'_, H>, global: Near<'_, H>) -> Option<H> {
    let mut batch = global.take(CAPACITY / 2);
    let first = batch.pop()?;
    for other in batch {
        owner.push_back(other, global);
    }
    Some(first)
}

/// Queues what does not go into a ring.
#[cold]
fn put_global<H: Item>(global: Near<'_, H>, item: H, ready: Ready, moment: &Moment) {
    global.push(item, lane(ready, moment));
}

/// Where in the global queue it goes.
fn lane(ready: Ready, moment: &Moment) -> Lane {
    match ready.cause {
        Cause::Yielded | Cause::Preempted if ready.holds => Lane::Holder,
        Cause::Unparked if ready.holds && moment.hurry => Lane::Holder,
        Cause::Woken | Cause::Unparked => Lane::Woken,
        Cause::Spawned | Cause::Yielded | Cause::Preempted | Cause::Moved => Lane::Plain,
    }
}

impl<H: Item> Queues<H> for GmpQueues<H> {
    type Local = GmpLocal<H>;

    fn local(&self) -> GmpLocal<H> {
        GmpLocal { queue: LocalQueue::new(), streak: AtomicU32::new(0), home: self.global.home() }
    }

    #[inline(always)]
    fn put(&self, seat: Option<Seat<'_, GmpLocal<H>>>, moment: &Moment, item: H, ready: Ready) {
        let Some(seat) = seat else { return self.put_outside(item, ready, moment) };
        let (owner, global) = (owner(seat), self.near(seat.local(), moment));
        match ready.cause {
            Cause::Spawned => owner.push_next(item, global),
            Cause::Unparked if !(ready.holds && moment.hurry) => owner.push_next(item, global),
            Cause::Yielded if !ready.holds => owner.push_back(item, global),
            Cause::Preempted if !ready.holds && owner.room() > 0 => owner.push_back(item, global),
            _ => put_global(global, item, ready, moment),
        }
    }

    fn put_all(&self, moment: &Moment, items: List<H>, cause: Cause) {
        self.global.append(items, lane(cause.into(), moment), moment.procs);
    }

    fn expect_urgent(&self, seat: Seat<'_, GmpLocal<H>>) {
        seat.local().home.expect();
    }

    #[inline]
    fn pick(&self, seat: Seat<'_, GmpLocal<H>>, moment: &Moment) -> Option<(H, Slice)> {
        let global = self.near(seat.local(), moment);
        if let Some(first) = pick_first(seat.local(), global) {
            return Some((first, Slice::Fresh));
        }
        if moment.tick.is_multiple_of(GLOBAL_EVERY)
            && let Some(fair) = global.pop_in_turn(moment.tick / GLOBAL_EVERY)
        {
            return Some((fair, Slice::Fresh));
        }
        let owner = owner(seat);
        owner.pop().or_else(|| Some((pick_global(&owner, global)?, Slice::Fresh)))
    }

    fn steal<'a>(
        &self,
        seat: Seat<'_, GmpLocal<H>>,
        _: &Moment,
        mut victims: impl Iterator<Item = &'a GmpLocal<H>>,
        last: bool,
    ) -> Option<H> {
        let next = if last { Next::Take { patience: PATIENCE } } else { Next::Leave };
        victims.find_map(|victim| victim.queue.steal_into(&owner(seat), next))
    }

    fn evict(&self, seat: Seat<'_, GmpLocal<H>>) -> Option<H> {
        owner(seat).pop().map(|(item, _)| item)
    }

    fn is_empty(&self) -> bool {
        self.global.is_empty()
    }

    fn is_local_empty(local: &GmpLocal<H>) -> bool {
        local.queue.is_empty()
    }

    fn handovers(local: &GmpLocal<H>) -> u64 {
        local.queue.handovers()
    }

    fn len(&self) -> usize {
        self.global.len()
    }

    fn local_len(local: &GmpLocal<H>) -> usize {
        local.queue.len()
    }

    fn has_urgent(&self, moment: &Moment) -> bool {
        self.global.has_first(moment.hurry)
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        self.global.visits(see);
    }
}
