//! Classes with deadlines: the one whose time is up first runs next.
//!
//! # Idea
//!
//! Strict priorities starve: a background goroutine waits as long as anything urgent is ready. Here each
//! [`Class`] has an *allowance*, the time that one of it may wait. A goroutine that becomes ready at
//! time *t* gets the deadline *t* + allowance, and the earliest deadline runs next (Liu and Layland 1973).
//! So an urgent one goes before a background one that became ready at the same time, and behind one that
//! has waited long enough.
//!
//! Within a class the allowance is the same for all, so deadlines are in the order of arrival: a list
//! per class will do, and what runs next is the earliest of the heads. A put takes O(1), a pick looks at
//! four numbers.
//!
//! # Why nobody starves
//!
//! Let *w* become ready at *t*, with allowance *a*. Whatever becomes ready after *t* + *a* has a later
//! deadline. So before *w* runs only what was ready at *t* or became ready until *t* + *a*, which is
//! finite. This holds for one queue; each P and the shared part have one, and a pick takes the earlier of
//! the two heads.
//!
//! # Preemption
//!
//! A deadline does not end the slice of another that runs; [`Class::Urgent`] does, when it comes from a
//! timer or from outside: it is put into the shared part, which says that
//! [something urgent](Queues::has_urgent) waits.
//!
//! # Thieves
//!
//! A thief takes the earliest of all that others have: it looks at every P, once.
//!
//! # Source
//!
//! C. L. Liu, J. W. Layland, *Scheduling algorithms for multiprogramming in a hard-real-time
//! environment*, JACM 20(1), 1973. Turned down: a heap over exact deadlines for each goroutine (it needs
//! two links more in each record, and a class says what people want to say); ageing in steps, as Unix
//! schedulers do (a bound is harder to state).

use core::time::Duration;

use crate::lock::Lock;
use crate::queue::list::List;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

use super::{Cause, Class, Item, Moment, Policy, Queues, Ready, Seat, Slice};

const CLASSES: usize = Class::ALL.len();

/// No deadline: nothing is queued.
const NEVER: u64 = u64::MAX;

/// Classes with deadlines. See the [module](super).
///
/// ```
/// use sched_core::policy::{Class, Priority};
/// use std::time::Duration;
/// let policy = Priority::new().allow(Class::Background, Duration::from_millis(500));
/// assert_eq!(policy.allowance(Class::Background), Duration::from_millis(500));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Priority {
    /// Nanoseconds that one of the class may wait.
    allowances: [u64; CLASSES],
}

impl Priority {
    /// Allowances of 0 (urgent), 1 (high), 10 (normal) and 100 ms (background).
    pub const fn new() -> Self {
        Self { allowances: [0, 1_000_000, 10_000_000, 100_000_000] }
    }

    /// One of `class` may wait for `allowance` when others are ready, too.
    #[must_use]
    pub fn allow(mut self, class: Class, allowance: Duration) -> Self {
        self.allowances[class as usize] = u64::try_from(allowance.as_nanos()).unwrap_or(NEVER / 2);
        self
    }

    /// How long one of `class` may wait.
    pub fn allowance(&self, class: Class) -> Duration {
        Duration::from_nanos(self.allowances[class as usize])
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Priority {
    type Queues<H: Item> = PriorityQueues<H>;

    fn queues<H: Item>(&self) -> PriorityQueues<H> {
        PriorityQueues { policy: *self, shared: Deadlines::new() }
    }
}

/// The shared part: what has become ready where there is no P, or is urgent.
#[derive(Debug)]
pub struct PriorityQueues<H: Item> {
    policy: Priority,
    shared: Deadlines<H>,
}

/// A list per class, of goroutines in the order of their deadlines.
#[derive(Debug)]
pub struct Deadlines<H: Item> {
    classes: Lock<[List<H>; CLASSES]>,
    /// The earliest deadline; written under the lock.
    earliest: AtomicU64,
    /// How many; written under the lock.
    len: AtomicUsize,
    /// How many of the most urgent class; written under the lock.
    urgent: AtomicUsize,
    /// How often the lock was taken; written under it.
    visits: AtomicU64,
}

impl<H: Item> Deadlines<H> {
    fn new() -> Self {
        Self {
            classes: Lock::new(Default::default()),
            earliest: AtomicU64::new(NEVER),
            len: AtomicUsize::new(0),
            urgent: AtomicUsize::new(0),
            visits: AtomicU64::new(0),
        }
    }

    fn push(&self, item: H, class: Class, deadline: u64) {
        self.with(|classes| classes[class as usize].push_due(item, deadline));
    }

    /// Takes the one whose deadline is first.
    fn pop(&self) -> Option<H> {
        if self.earliest() == NEVER {
            return None;
        }
        self.with(|classes| {
            let due = |class: &List<H>| class.first_due();
            let first = (0..CLASSES).filter(|&class| due(&classes[class]).is_some());
            classes[first.min_by_key(|&class| due(&classes[class]))?].pop()
        })
    }

    /// The earliest deadline at about this time, or [`NEVER`].
    fn earliest(&self) -> u64 {
        // Acquire: the looks of a retired spinner that follow come after this one.
        self.earliest.load(Ordering::Acquire)
    }

    fn with<R>(&self, f: impl FnOnce(&mut [List<H>; CLASSES]) -> R) -> R {
        let mut classes = self.classes.lock();
        let result = f(&mut classes);
        let earliest = classes.iter().filter_map(List::first_due).min().unwrap_or(NEVER);
        // Relaxed, all: numbers, and hints.
        self.visits.store(self.visits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.len.store(classes.iter().map(List::len).sum(), Ordering::Relaxed);
        self.urgent.store(classes[Class::Urgent as usize].len(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `earliest`. The handshake with a retiring spinner is made
        // by the fences of `idle`.
        self.earliest.store(earliest, Ordering::Release);
        result
    }
}

impl<H: Item> Queues<H> for PriorityQueues<H> {
    type Local = Deadlines<H>;

    fn local(&self) -> Deadlines<H> {
        Deadlines::new()
    }

    fn put(&self, seat: Option<Seat<'_, Deadlines<H>>>, moment: &Moment, item: H, ready: Ready) {
        // Whoever waits for holders waits for all of them: in a hurry they are urgent.
        let class = if ready.holds && moment.hurry { Class::Urgent } else { item.class() };
        // A clock that stands still in the highest bits is not this one: 584 years.
        let deadline = (moment.now() + self.policy.allowances[class as usize]).min(NEVER - 1);
        let shared = ready.cause == Cause::Woken || ready.holds && moment.hurry;
        match seat {
            Some(seat) if !shared => seat.local().push(item, class, deadline),
            _ => self.shared.push(item, class, deadline),
        }
    }

    fn pick(&self, seat: Seat<'_, Deadlines<H>>, _: &Moment) -> Option<(H, Slice)> {
        let local = seat.local();
        let shared_first = self.shared.earliest() < local.earliest();
        let (first, second) =
            if shared_first { (&self.shared, local) } else { (local, &self.shared) };
        Some((first.pop().or_else(|| second.pop())?, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, Deadlines<H>>,
        _: &Moment,
        victims: impl Iterator<Item = &'a Deadlines<H>>,
        _: bool,
    ) -> Option<H> {
        let victim = victims.min_by_key(|victim| victim.earliest())?;
        victim.pop()
    }

    fn evict(&self, seat: Seat<'_, Deadlines<H>>) -> Option<H> {
        seat.local().pop()
    }

    fn is_empty(&self) -> bool {
        self.shared.earliest() == NEVER
    }

    fn is_local_empty(local: &Deadlines<H>) -> bool {
        local.earliest() == NEVER
    }

    fn len(&self) -> usize {
        // Relaxed: a number.
        self.shared.len.load(Ordering::Relaxed)
    }

    fn local_len(local: &Deadlines<H>) -> usize {
        // Relaxed: a number.
        local.len.load(Ordering::Relaxed)
    }

    fn has_urgent(&self, _: &Moment) -> bool {
        // Relaxed: a hint; the timer thread looks again.
        self.shared.urgent.load(Ordering::Relaxed) != 0
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        // Relaxed: a number.
        see(self.shared.visits.load(Ordering::Relaxed));
    }
}
