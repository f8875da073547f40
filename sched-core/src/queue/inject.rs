//! The scheduler's global queue, with a lane for those that were woken, and one for holders.
//!
//! # Problem
//!
//! Some goroutines become ready where there is no P (a timer, a plain thread), some do not fit into
//! a ring, some have used up their slice and should stand behind all others. They meet in one
//! unbounded queue, which must not allocate: its callers are inside the runtime. So it links the
//! goroutines themselves.
//!
//! # Lanes
//!
//! A sleeper whose time has come is late with every slice that runs before it. In one common queue
//! it stands behind every hog that was preempted (Go's ticker beside eight hogs is 19 ms late for
//! this reason). So there are two lanes: [`Lane::Woken`] is served first. Lest a flood of wake-ups
//! starve the hogs, after [`WOKEN_STREAK`] of them one of the plain lane has its turn.
//!
//! A *holder* gave way while it held something that all others may have to wait for: a guard of the
//! collector's. It stands in [`Lane::Holder`]. As a rule its turn is where it would be in the plain
//! lane: it notes how many plain ones came before it. While somebody waits for holders
//! ([`hurry`](Inject::hurry)) they go first, like the woken, and under the same bound.
//!
//! # Protection
//!
//! Lists and links are under the lock. The length is an atomic beside it, so that looking at an
//! empty queue takes no lock; it is written under the lock only. For the spinner's last look the
//! order "push, fence, read the spinners" / "retire, fence, read the length" decides (`idle.md`).
//!
//! # Source
//!
//! Go's `sched.runq`, `globrunqget` (`proc.go`): a batch is `min(128, length / P + 1)`, so that one
//! P does not take what all others wait for. Model: `loom-tests/tests/sched_queue.rs`.

use core::fmt;
use core::ptr::NonNull;

use super::{Handle, Overflow};
use crate::lock::Lock;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, UnsafeCell, const_unless_loom, scaled};

/// The most that one P takes at once.
pub const BATCH: usize = scaled(128, 2);

/// Woken ones and hurried holders served in a row while a plain one waits.
pub const WOKEN_STREAK: u32 = 16;

/// The link that a target keeps for the queue it stands in.
pub struct Link<T> {
    next: UnsafeCell<Option<NonNull<T>>>,
    /// Of one in the lane of holders: how many plain ones had been queued before it.
    due: UnsafeCell<usize>,
}

// SAFETY: a link is touched by the queue's lock holder only, or by the owner of a private list.
unsafe impl<T> Send for Link<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Link<T> {}

impl<T> Link<T> {
    const_unless_loom! {
        /// A link that leads nowhere.
        pub const fn new() -> Self {
            Self { next: UnsafeCell::new(None), due: UnsafeCell::new(0) }
        }
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// A handle whose target carries a [`Link`].
///
/// # Safety
///
/// `link` always gives the same place of the same target, and nobody but this module uses it.
pub unsafe trait Linked: Handle {
    /// The link inside `target`.
    fn link(target: &Self::Target) -> &Link<Self::Target>;
}

/// Which of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Served first: a timer or the network woke it.
    Woken,
    /// Everything else: new, overflowed, preempted.
    Plain,
    /// Gave way while it held something that others may wait for.
    Holder,
}

/// The first and the last of a chain.
type Ends<T> = (NonNull<T>, NonNull<T>);

/// A list of handles, first in first out, linked through their targets.
///
/// It is what the queue is made of, and what a batch comes as. Dropping it drops what is in it.
pub struct List<H: Linked> {
    /// The chain from the first to the last; the last one's link leads nowhere.
    ends: Option<Ends<H::Target>>,
    len: usize,
}

// SAFETY: a list owns its handles, which are Send.
unsafe impl<H: Linked> Send for List<H> {}

impl<H: Linked> List<H> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { ends: None, len: 0 }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `item` at the end.
    pub fn push(&mut self, item: H) {
        let raw = item.into_raw();
        set_link::<H>(raw, None);
        self.append_chain(raw, raw, 1);
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<H> {
        let (first, last) = self.ends?;
        self.ends = get_link::<H>(first).map(|second| (second, last));
        self.len -= 1;
        // SAFETY: the list owns `first`, and has just let go of it.
        Some(unsafe { H::from_raw(first) })
    }

    /// Puts all of `other` at the end. O(1).
    pub fn append(&mut self, mut other: Self) {
        if let Some((first, last)) = other.ends.take() {
            self.append_chain(first, last, core::mem::take(&mut other.len));
        }
    }

    /// Puts all of `other` in front. O(1).
    pub fn prepend(&mut self, mut other: Self) {
        core::mem::swap(self, &mut other);
        self.append(other);
    }

    fn append_chain(&mut self, first: NonNull<H::Target>, last: NonNull<H::Target>, n: usize) {
        self.ends = match self.ends {
            None => Some((first, last)),
            Some((front, back)) => {
                set_link::<H>(back, Some(first));
                Some((front, last))
            }
        };
        self.len += n;
    }
}

fn set_link<H: Linked>(target: NonNull<H::Target>, next: Option<NonNull<H::Target>>) {
    // SAFETY: the caller's list owns the target, so it is alive (rule 2 of `Handle`).
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: the list's owner alone touches the links of its targets.
    link.next.with_mut(|link| unsafe { *link = next });
}

fn get_link<H: Linked>(target: NonNull<H::Target>) -> Option<NonNull<H::Target>> {
    // SAFETY: as in `set_link`.
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: as in `set_link`.
    link.next.with(|link| unsafe { *link })
}

fn set_due<H: Linked>(target: NonNull<H::Target>, due: usize) {
    // SAFETY: as in `set_link`.
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: as in `set_link`.
    link.due.with_mut(|place| unsafe { *place = due });
}

fn get_due<H: Linked>(target: NonNull<H::Target>) -> usize {
    // SAFETY: as in `set_link`.
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: as in `set_link`.
    link.due.with(|due| unsafe { *due })
}

impl<H: Linked> Iterator for List<H> {
    type Item = H;

    fn next(&mut self) -> Option<H> {
        self.pop()
    }
}

impl<H: Linked> Extend<H> for List<H> {
    fn extend<I: IntoIterator<Item = H>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<H: Linked> FromIterator<H> for List<H> {
    fn from_iter<I: IntoIterator<Item = H>>(items: I) -> Self {
        let mut list = Self::new();
        list.extend(items);
        list
    }
}

impl<H: Linked> Drop for List<H> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<H: Linked> Default for List<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Linked> fmt::Debug for List<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The lanes and whose turn it is.
struct Lanes<H: Linked> {
    woken: List<H>,
    plain: List<H>,
    holders: List<H>,
    /// Plain ones taken so far; with those that wait, plain ones queued so far. Wraps.
    taken: usize,
    /// Woken ones, and holders out of turn, served since the last plain one, while a plain one waited.
    streak: u32,
}

impl<H: Linked> Lanes<H> {
    fn put(&mut self, list: List<H>, lane: Lane) {
        match lane {
            Lane::Woken => self.woken.append(list),
            Lane::Plain => self.plain.append(list),
            Lane::Holder => list.for_each(|item| self.put_holder(item)),
        }
    }

    fn put_holder(&mut self, item: H) {
        let raw = item.into_raw();
        set_due::<H>(raw, self.taken.wrapping_add(self.plain.len()));
        // SAFETY: just taken apart.
        self.holders.push(unsafe { H::from_raw(raw) });
    }

    fn put_back(&mut self, list: List<H>, lane: Lane) {
        match lane {
            Lane::Woken => self.woken.prepend(list),
            Lane::Plain => {
                self.taken = self.taken.wrapping_sub(list.len());
                self.plain.prepend(list);
            }
            Lane::Holder => self.holders.prepend(list),
        }
    }

    fn len(&self) -> usize {
        self.woken.len() + self.plain.len() + self.holders.len()
    }

    /// One who goes before all others: a woken one, or, in a hurry, a holder.
    fn pop_first(&mut self, hurry: bool) -> Option<H> {
        let woken = self.woken.pop();
        woken.or_else(|| if hurry { self.holders.pop() } else { None })
    }

    fn pop(&mut self, hurry: bool) -> Option<H> {
        let hogs_turn = self.streak >= WOKEN_STREAK && !self.plain.is_empty();
        if !hogs_turn && let Some(first) = self.pop_first(hurry) {
            self.streak = if self.plain.is_empty() { 0 } else { self.streak + 1 };
            return Some(first);
        }
        self.streak = 0;
        self.pop_in_turn()
    }

    /// Up to `share` of them. A holder comes alone or first: in the ring of whoever takes the batch it
    /// would not be found.
    fn pop_batch(&mut self, share: usize, hurry: bool) -> List<H> {
        let mut batch: List<H> = self.pop(hurry).into_iter().collect();
        while batch.len() < share && !(hurry && !self.holders.is_empty() || self.holder_is_due()) {
            let Some(next) = self.pop(hurry) else { break };
            batch.push(next);
        }
        batch
    }

    /// A plain one, or the holder that came before it.
    fn pop_in_turn(&mut self) -> Option<H> {
        if self.holder_is_due() {
            return self.holders.pop();
        }
        let plain = self.plain.pop()?;
        self.taken = self.taken.wrapping_add(1);
        Some(plain)
    }

    fn holder_is_due(&self) -> bool {
        let Some((first, _)) = self.holders.ends else { return false };
        // In a ring of numbers: not more than half of it lies between two that meet.
        let ahead = get_due::<H>(first).wrapping_sub(self.taken);
        self.plain.is_empty() || ahead == 0 || ahead > usize::MAX / 2
    }
}

/// The global queue.
///
/// ```
/// use sched_core::queue::Handle;
/// use sched_core::queue::inject::{Inject, Lane, Link, Linked};
/// use core::ptr::NonNull;
///
/// struct Task { name: &'static str, link: Link<Task> }
/// struct Ref(Box<Task>);
/// // SAFETY: the round trip is the box's.
/// unsafe impl Handle for Ref {
///     type Target = Task;
///     fn into_raw(self) -> NonNull<Task> { self.0.into_raw() }
///     unsafe fn from_raw(raw: NonNull<Task>) -> Self {
///         // SAFETY: the caller's promise is the same.
///         Ref(unsafe { Box::from_raw(raw.as_ptr()) })
///     }
/// }
/// // SAFETY: one link per task, not used elsewhere.
/// unsafe impl Linked for Ref {
///     fn link(task: &Task) -> &Link<Task> { &task.link }
/// }
/// let task = |name| Ref(Box::new(Task { name, link: Link::new() }));
///
/// let global = Inject::new();
/// global.push(task("hog"), Lane::Plain);
/// global.push(task("sleeper"), Lane::Woken);
/// assert_eq!(global.len(), 2);
/// assert_eq!(global.pop().expect("two were pushed").0.name, "sleeper");
/// assert_eq!(global.take(1, 8).map(|task| task.0.name).collect::<Vec<_>>(), ["hog"]);
/// ```
pub struct Inject<H: Linked> {
    /// The sum of all lanes; written under the lock.
    len: AtomicUsize,
    /// Woken ones alone; written under the lock.
    woken: AtomicUsize,
    /// Holders alone; written under the lock.
    holders: AtomicUsize,
    /// Somebody waits for holders.
    hurry: AtomicBool,
    lanes: Lock<Lanes<H>>,
}

impl<H: Linked> Inject<H> {
    const_unless_loom! {
        /// An empty queue.
        pub const fn new() -> Self {
            let lanes = Lanes {
                woken: List::new(),
                plain: List::new(),
                holders: List::new(),
                taken: 0,
                streak: 0,
            };
            Self {
                len: AtomicUsize::new(0),
                woken: AtomicUsize::new(0),
                holders: AtomicUsize::new(0),
                hurry: AtomicBool::new(false),
                lanes: Lock::new(lanes),
            }
        }
    }

    /// Puts `item` at the end of `lane`.
    pub fn push(&self, item: H, lane: Lane) {
        let mut list = List::new();
        list.push(item);
        self.append(list, lane);
    }

    /// Puts all of `list` at the end of `lane`, in one step.
    pub fn append(&self, list: List<H>, lane: Lane) {
        self.with(|lanes| lanes.put(list, lane));
    }

    /// Puts all of `list` in front of `lane`: the ring of a P that is being retired.
    pub fn prepend(&self, list: List<H>, lane: Lane) {
        self.with(|lanes| lanes.put_back(list, lane));
    }

    /// Takes the one whose turn it is.
    pub fn pop(&self) -> Option<H> {
        if self.is_empty() {
            return None;
        }
        let hurry = self.in_hurry();
        self.with(|lanes| lanes.pop(hurry))
    }

    /// Takes one who goes before all others, if there is one: a P looks here before its own ring.
    pub fn pop_first(&self) -> Option<H> {
        if !self.has_first() {
            return None;
        }
        let hurry = self.in_hurry();
        self.with(|lanes| lanes.pop_first(hurry))
    }

    /// Takes one P's share: `len / procs + 1`, at most [`BATCH`] and `room`, in the order in which
    /// `pop` would give them.
    pub fn take(&self, procs: usize, room: usize) -> List<H> {
        if self.is_empty() || room == 0 {
            return List::new();
        }
        let hurry = self.in_hurry();
        self.with(|lanes| {
            let share = (lanes.len() / procs.max(1) + 1).min(BATCH).min(room);
            lanes.pop_batch(share, hurry)
        })
    }

    /// Whether holders go first from now on.
    pub fn hurry(&self, on: bool) {
        // Relaxed: a hint; who misses it serves one more in turn.
        self.hurry.store(on, Ordering::Relaxed);
    }

    /// Whether somebody waits for holders.
    #[inline]
    pub fn in_hurry(&self) -> bool {
        // Relaxed: as in `hurry`.
        self.hurry.load(Ordering::Relaxed)
    }

    /// How many there were at about this time.
    #[inline]
    pub fn len(&self) -> usize {
        // Acquire: not needed for the lists (the lock orders those); it keeps a spinner's later
        // looks after this one.
        self.len.load(Ordering::Acquire)
    }

    /// True if there were none at about this time.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if one waited at about this time who goes before all others.
    #[inline]
    pub fn has_first(&self) -> bool {
        // Relaxed, both: hints; who misses one finds the goroutine by `pop`.
        self.woken.load(Ordering::Relaxed) != 0
            || self.in_hurry() && self.holders.load(Ordering::Relaxed) != 0
    }

    fn with<R>(&self, f: impl FnOnce(&mut Lanes<H>) -> R) -> R {
        let mut lanes = self.lanes.lock();
        let result = f(&mut lanes);
        // Relaxed, both: hints, see `has_first`.
        self.woken.store(lanes.woken.len(), Ordering::Relaxed);
        self.holders.store(lanes.holders.len(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `len`. The handshake with a retiring spinner is made
        // by the fences of `idle`.
        self.len.store(lanes.len(), Ordering::Release);
        result
    }
}

impl<H: Linked> Overflow<H> for Inject<H> {
    fn take_batch(&self, batch: impl Iterator<Item = H>) {
        self.append(batch.collect(), Lane::Plain);
    }
}

impl<H: Linked> Default for Inject<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Linked> fmt::Debug for Inject<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inject").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Task {
        id: u32,
        link: Link<Task>,
    }

    #[derive(Debug)]
    struct Ref(Box<Task>);

    // SAFETY: the box's round trip.
    unsafe impl Handle for Ref {
        type Target = Task;

        fn into_raw(self) -> NonNull<Task> {
            self.0.into_raw()
        }

        unsafe fn from_raw(raw: NonNull<Task>) -> Self {
            // SAFETY: the caller's promise.
            Ref(unsafe { Box::from_raw(raw.as_ptr()) })
        }
    }

    // SAFETY: one link, used here only.
    unsafe impl Linked for Ref {
        fn link(task: &Task) -> &Link<Task> {
            &task.link
        }
    }

    fn task(id: u32) -> Ref {
        Ref(Box::new(Task { id, link: Link::new() }))
    }

    fn ids(items: impl Iterator<Item = Ref>) -> Vec<u32> {
        items.map(|item| item.0.id).collect()
    }

    fn drained(queue: &Inject<Ref>) -> Vec<u32> {
        ids(core::iter::from_fn(|| queue.pop()))
    }

    #[test]
    fn lists_join_at_both_ends() {
        let mut list: List<Ref> = (3..5).map(task).collect();
        list.append((5..7).map(task).collect());
        list.prepend((0..3).map(task).collect());
        list.append(List::new());
        list.prepend(List::new());
        assert_eq!(list.len(), 7);
        assert_eq!(ids(list), (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn woken_go_first_but_not_for_ever() {
        let queue = Inject::new();
        (0..2).for_each(|id| queue.push(task(id), Lane::Plain));
        (100..140).for_each(|id| queue.push(task(id), Lane::Woken));
        let order = drained(&queue);
        let streak = WOKEN_STREAK as usize;
        assert!(order[..streak].iter().all(|&id| id >= 100));
        assert_eq!((order[streak], order[2 * streak + 1]), (0, 1));
        assert_eq!(order.len(), 42);
    }

    #[test]
    fn a_share_is_bounded_by_procs_batch_and_room() {
        let queue = Inject::new();
        queue.append((0..1_000).map(task).collect(), Lane::Plain);
        assert_eq!(queue.take(4, 256).len(), BATCH);
        assert_eq!(queue.take(100, 256).len(), 872 / 100 + 1);
        assert_eq!(queue.take(1, 3).len(), 3);
        assert_eq!(queue.len(), 1_000 - 128 - 9 - 3);
    }

    #[test]
    fn the_woken_lane_can_be_asked_for_alone() {
        let queue = Inject::new();
        queue.push(task(1), Lane::Plain);
        assert!(queue.pop_first().is_none());
        queue.push(task(2), Lane::Woken);
        assert!(queue.has_first());
        assert_eq!(queue.pop_first().map(|woken| woken.0.id), Some(2));
        queue.prepend((7..9).map(task).collect(), Lane::Plain);
        assert_eq!(drained(&queue), [7, 8, 1]);
        assert!(queue.is_empty() && !queue.has_first());
    }

    #[test]
    fn holders_wait_for_their_turn_unless_there_is_a_hurry() {
        let queue = Inject::new();
        (0..2).for_each(|id| queue.push(task(id), Lane::Plain));
        queue.push(task(10), Lane::Holder);
        queue.push(task(2), Lane::Plain);
        queue.push(task(11), Lane::Holder);
        assert!(!queue.has_first());
        assert_eq!(drained(&queue), [0, 1, 10, 2, 11]);

        (0..2).for_each(|id| queue.push(task(id), Lane::Plain));
        queue.push(task(10), Lane::Holder);
        queue.prepend((7..9).map(task).collect(), Lane::Plain);
        queue.hurry(true);
        assert!(queue.has_first());
        queue.push(task(11), Lane::Holder);
        assert_eq!(drained(&queue), [10, 11, 7, 8, 0, 1]);
    }

    #[test]
    fn a_holder_keeps_its_turn_when_a_ring_is_put_back() {
        let queue = Inject::new();
        queue.push(task(0), Lane::Plain);
        queue.push(task(10), Lane::Holder);
        queue.prepend((7..9).map(task).collect(), Lane::Plain);
        queue.push(task(1), Lane::Plain);
        assert_eq!(drained(&queue), [7, 8, 0, 10, 1]);
    }

    #[test]
    fn a_batch_has_at_most_one_holder() {
        let queue = Inject::new();
        queue.push(task(0), Lane::Plain);
        (10..12).for_each(|id| queue.push(task(id), Lane::Holder));
        queue.append((1..3).map(task).collect(), Lane::Plain);
        let batches: Vec<_> = (0..4).map(|_| ids(queue.take(1, 256))).collect();
        assert_eq!(batches, [vec![0], vec![10], vec![11, 1, 2], vec![]]);
    }

    #[test]
    fn a_hurry_does_not_starve_the_others() {
        let queue = Inject::new();
        queue.push(task(0), Lane::Plain);
        queue.hurry(true);
        (10..30).for_each(|id| queue.push(task(id), Lane::Holder));
        let order = drained(&queue);
        assert_eq!(order[WOKEN_STREAK as usize], 0);
        assert_eq!(order.len(), 21);
    }
}
