//! Newest first at home, oldest first for thieves: what parallel computations want.
//!
//! Each P has a Chase–Lev deque ([`deque`](crate::queue::deque)). What a goroutine starts or makes ready
//! goes to the bottom and is taken from there: a tree is walked in depth, on warm data, with as many
//! goroutines queued as it is deep. A thief takes one from the top: the oldest, nearest the root.
//! What gives way, what was woken and what does not fit goes to a global queue, first in, first out; on more than 64
//! Ps it is [several](crate::queue::shards), each of them so.
//!
//! # Why nobody starves
//!
//! A goroutine that goes on starting others would keep the oldest waiting for ever, and a full deque the
//! global queue. So one pick in [`OTHERS_EVERY`] begins with the global queue, and the one half way
//! between two such with the oldest of the P's own. What lies in a deque has finitely many below it on its
//! way to the top, and each such pick takes one of them. The global queue's shards have their turns one by one.
//!
//! # Source
//!
//! R. D. Blumofe, C. E. Leiserson, *Scheduling multithreaded computations by work stealing*, JACM 46(5),
//! 1999; Cilk; rayon. Those have no global queue: nothing there yields or is woken.

use crate::queue::{
    deque::{Deque, Owner, Steal},
    lanes::Lane,
    list::List,
    shards::{Home, Near, Shards},
};

use super::{Cause, Item, Moment, Policy, Queues, Ready, Seat, Slice};

/// One in so many picks looks at others than the newest first: Go's number.
const OTHERS_EVERY: u32 = 61;

/// Work stealing. See the [module](super).
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, policy::{Chosen, WorkSteal}};
/// # use std::sync::Arc;
/// fn sum(from: u64, to: u64) -> u64 {
///     if to - from <= 1_000 {
///         return (from..to).sum();
///     }
///     let middle = from.midpoint(to);
///     let left = sched_core::spawn(move || sum(from, middle)).unwrap().unwrap();
///     sum(middle, to) + left.join().unwrap()
/// }
/// let config = Config { policy: Chosen::new(WorkSteal), ..Config::default() };
/// let scheduler = Scheduler::new(config, Arc::new(NoHooks))?;
/// assert_eq!(scheduler.spawn(|| sum(0, 100_000))?.join().unwrap(), 4_999_950_000);
/// # scheduler.shutdown(None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkSteal;

impl Policy for WorkSteal {
    type Queues<H: Item> = StealQueues<H>;

    fn queues<H: Item>(&self) -> StealQueues<H> {
        StealQueues { global: Shards::new() }
    }
}

/// What gave way, was woken, or did not fit.
#[derive(Debug)]
pub struct StealQueues<H: Item> {
    global: Shards<H>,
}

/// A P's deque, and its place at the global queue.
#[derive(Debug)]
pub struct StealLocal<H: Item> {
    deque: Deque<H>,
    home: Home,
}

/// The owner's side of a P's deque.
fn owner<'a, H: Item>(seat: Seat<'a, StealLocal<H>>) -> Owner<'a, H> {
    // SAFETY: a seat is the evidence that the caller holds the P, after its former holder.
    unsafe { seat.local().deque.owner() }
}

impl<H: Item> StealQueues<H> {
    /// The global queue, as the P sees it.
    fn near<'a>(&'a self, local: &'a StealLocal<H>, moment: &Moment) -> Near<'a, H> {
        self.global.near(&local.home, moment.procs, false)
    }
}

/// There is no room: a half of the deque, the older, makes room.
#[cold]
fn overflow<H: Item>(owner: &Owner<'_, H>, global: Near<'_, H>, item: H) {
    let half = crate::queue::deque::CAPACITY / 2;
    let mut batch: List<H> = core::iter::from_fn(|| owner.take_oldest()).take(half).collect();
    if let Err(item) = owner.push(item) {
        batch.push(item);
    }
    global.append(batch, Lane::Plain);
}

/// Where in the global queue it goes.
fn lane(cause: Cause) -> Lane {
    match cause {
        Cause::Woken | Cause::Unparked => Lane::Woken,
        _ => Lane::Plain,
    }
}

impl<H: Item> Queues<H> for StealQueues<H> {
    type Local = StealLocal<H>;

    fn local(&self) -> StealLocal<H> {
        StealLocal { deque: Deque::new(), home: self.global.home() }
    }

    fn put(&self, seat: Option<Seat<'_, StealLocal<H>>>, moment: &Moment, item: H, ready: Ready) {
        let lane = lane(ready.cause);
        let Some(seat) = seat else { return self.global.push(item, lane, moment.procs) };
        let (owner, global) = (owner(seat), self.near(seat.local(), moment));
        match ready.cause {
            Cause::Spawned | Cause::Unparked => {
                if let Err(item) = owner.push(item) {
                    overflow(&owner, global, item);
                }
            }
            _ => global.push(item, lane),
        }
    }

    fn expect_urgent(&self, seat: Seat<'_, StealLocal<H>>) {
        seat.local().home.expect();
    }

    fn pick(&self, seat: Seat<'_, StealLocal<H>>, moment: &Moment) -> Option<(H, Slice)> {
        let (owner, global) = (owner(seat), self.near(seat.local(), moment));
        let early = match moment.tick % OTHERS_EVERY {
            0 => global.pop_in_turn(moment.tick / OTHERS_EVERY),
            n if n == OTHERS_EVERY / 2 => owner.take_oldest(),
            _ => global.pop_first(),
        };
        let item = early.or_else(|| owner.take()).or_else(|| global.pop())?;
        Some((item, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, StealLocal<H>>,
        _: &Moment,
        mut victims: impl Iterator<Item = &'a StealLocal<H>>,
        _: bool,
    ) -> Option<H> {
        victims.find_map(|victim| {
            loop {
                match victim.deque.steal() {
                    Steal::Success(item) => return Some(item),
                    Steal::Empty => return None,
                    Steal::Retry => {}
                }
            }
        })
    }

    fn evict(&self, seat: Seat<'_, StealLocal<H>>) -> Option<H> {
        owner(seat).take_oldest()
    }

    fn is_empty(&self) -> bool {
        self.global.is_empty()
    }

    fn is_local_empty(local: &StealLocal<H>) -> bool {
        local.deque.is_empty()
    }

    fn len(&self) -> usize {
        self.global.len()
    }

    fn local_len(local: &StealLocal<H>) -> usize {
        local.deque.len()
    }

    fn has_urgent(&self, _: &Moment) -> bool {
        self.global.has_first(false)
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        self.global.visits(see);
    }
}
