//! Newest first at home, oldest first for thieves: what parallel computations want.
//!
//! Each P has a Chase–Lev deque ([`deque`](crate::queue::deque)). What a goroutine starts or makes ready
//! goes to the bottom and is taken from there: a tree is walked in depth, on warm data, with as many
//! goroutines queued as it is deep. A thief takes one from the top: the oldest, nearest the root.
//! What gives way, what was woken and what does not fit goes to one global queue, first in, first out.
//!
//! # Why nobody starves
//!
//! A goroutine that goes on starting others would keep the oldest waiting for ever, and a full deque the
//! global queue. So one pick in [`OTHERS_EVERY`] begins with the global queue, and the one half way
//! between two such with the oldest of the P's own. What lies in a deque has finitely many below it on its
//! way to the top, and each such pick takes one of them.
//!
//! # Source
//!
//! R. D. Blumofe, C. E. Leiserson, *Scheduling multithreaded computations by work stealing*, JACM 46(5),
//! 1999; Cilk; rayon. Those have no global queue: nothing there yields or is woken.

use crate::queue::{
    deque::{Deque, Owner, Steal},
    inject::Inject,
    lanes::Lane,
    list::List,
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
        StealQueues { global: Inject::new() }
    }
}

/// What gave way, was woken, or did not fit.
#[derive(Debug)]
pub struct StealQueues<H: Item> {
    global: Inject<H>,
}

/// The owner's side of a P's deque.
fn owner<'a, H: Item>(seat: Seat<'a, Deque<H>>) -> Owner<'a, H> {
    // SAFETY: a seat is the evidence that the caller holds the P, after its former holder.
    unsafe { seat.local().owner() }
}

impl<H: Item> StealQueues<H> {
    /// There is no room: a half of the deque, the older, makes room.
    #[cold]
    fn overflow(&self, owner: &Owner<'_, H>, item: H) {
        let half = crate::queue::deque::CAPACITY / 2;
        let mut batch: List<H> = core::iter::from_fn(|| owner.take_oldest()).take(half).collect();
        if let Err(item) = owner.push(item) {
            batch.push(item);
        }
        self.global.append(batch, Lane::Plain);
    }
}

impl<H: Item> Queues<H> for StealQueues<H> {
    type Local = Deque<H>;

    fn local(&self) -> Deque<H> {
        Deque::new()
    }

    fn put(&self, seat: Option<Seat<'_, Deque<H>>>, _: &Moment, item: H, ready: Ready) {
        match (seat, ready.cause) {
            (Some(seat), Cause::Spawned | Cause::Unparked) => {
                let owner = owner(seat);
                if let Err(item) = owner.push(item) {
                    self.overflow(&owner, item);
                }
            }
            (_, Cause::Woken | Cause::Unparked) => self.global.push(item, Lane::Woken),
            _ => self.global.push(item, Lane::Plain),
        }
    }

    fn pick(&self, seat: Seat<'_, Deque<H>>, moment: &Moment) -> Option<(H, Slice)> {
        let owner = owner(seat);
        let early = match moment.tick % OTHERS_EVERY {
            0 => self.global.pop(false),
            n if n == OTHERS_EVERY / 2 => owner.take_oldest(),
            _ => self.global.pop_first(false),
        };
        let item = early.or_else(|| owner.take()).or_else(|| self.global.pop(false))?;
        Some((item, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, Deque<H>>,
        _: &Moment,
        mut victims: impl Iterator<Item = &'a Deque<H>>,
        _: bool,
    ) -> Option<H> {
        victims.find_map(|victim| {
            loop {
                match victim.steal() {
                    Steal::Success(item) => return Some(item),
                    Steal::Empty => return None,
                    Steal::Retry => {}
                }
            }
        })
    }

    fn evict(&self, seat: Seat<'_, Deque<H>>) -> Option<H> {
        owner(seat).take_oldest()
    }

    fn is_empty(&self) -> bool {
        self.global.is_empty()
    }

    fn is_local_empty(local: &Deque<H>) -> bool {
        local.is_empty()
    }

    fn len(&self) -> usize {
        self.global.len()
    }

    fn local_len(local: &Deque<H>) -> usize {
        local.len()
    }

    fn has_urgent(&self, _: &Moment) -> bool {
        self.global.has_first(false)
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        see(self.global.visits());
    }
}
