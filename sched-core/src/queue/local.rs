//! The run queue of a P: a ring, and one place in front of it.
//!
//! # Problem
//!
//! A P puts and takes goroutines millions of times a second, so its own side must need no lock. Idle
//! Ps must be able to steal half of it. And what a goroutine has just made ready (the other end
//! of a channel) should run next, on the same processor, while its data is warm.
//!
//! # Words
//!
//! * *owner*: whoever holds the P; [`Owner`] is the evidence. It puts at the tail.
//! * *thief*: anyone else. Owner and thieves take at the head, by compare-and-swap.
//! * *runnext*: the place in front. Only the owner fills it; a thief may empty it.
//!
//! # Layout
//!
//! ```text
//!          head                tail           head, tail count for ever (64 bits: they never wrap,
//!            v                   v            so a stalled thief's head cannot come round again);
//!   ┌───┬───┬───┬───┬───┬───┬───┬───┐         slot = index mod CAPACITY; 0 ≤ tail − head ≤ CAPACITY
//!   │   │   │ a │ b │ c │ d │ e │   │
//!   └───┴───┴───┴───┴───┴───┴───┴───┘
//! ```
//!
//! # Algorithm
//!
//! * *put*: write the slot, then publish it by storing the tail.
//! * *take*: read the slots `head..head+n`, then claim them by moving the head. Slots are atomic, so
//!   that a thief whose claim fails has read stale words and no torn ones; it drops them unused.
//! * *full*: the owner claims half of its own ring like a thief and hands it, with the newcomer, to
//!   the [`Overflow`].
//! * *runnext*: `push_next` swaps, and puts what was there at the tail. The runner inherits the
//!   slice ([`Slice::Inherit`]): a pair that wakes each other shares one slice, and cannot starve
//!   the rest.
//!
//! # When a thief may have runnext
//!
//! Whoever has just made a goroutine ready is about to wait for it: the two belong on one processor,
//! and a thief that tears them apart turns a switch of 50 ns into a conversation between two caches.
//! But the owner may as well compute on for long, and then it is a thief's duty. So a thief waits for
//! some microseconds, and takes what has been there all the time. That it is still the same goroutine
//! proves nothing, as a pair that wakes each other puts the same two in turn: the owner counts its
//! `push_next`s, and the thief compares counts. (Go compares goroutines.)
//!
//! # Orderings
//!
//! | edge | writer | reader |
//! |---|---|---|
//! | content of a slot and of the goroutine | `tail` Release (`put`) | `tail` Acquire (`grab`) |
//! | a slot is free to be overwritten | `head` Release (`claim`) | `head` Acquire (`put`) |
//! | tail not older than head | `head` Release (`claim`) | `head` Acquire (`grab`) |
//! | content of runnext | swap, AcqRel; into an empty one a store, Release | swap, AcqRel |
//!
//! A thief's slot reads cannot see a later lap: the owner overwrites slot *i* only after it has
//! acquired a head beyond *i*, which is released after the reads of whoever moved it; and if that
//! was another thief, this one's claim fails.
//!
//! [`LocalQueue::is_empty`] reads head, tail, runnext and the tail again. While the owner moves
//! something from runnext to the tail, the first tail may be too old and runnext too new; then the
//! second tail differs.
//!
//! # Source
//!
//! Go's `runqput`, `runqget`, `runqgrab`, `runqempty` (`proc.go`). Turned down: tokio's ring with
//! two heads, which lets one thief at a time claim first and read later (thieves then wait for each
//! other); Chase–Lev, whose owner pays a fence for each take.
//! Model: `loom-tests/tests/sched_queue.rs`.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

use super::{Handle, Overflow};
use crate::sync::{AtomicPtr, AtomicU64, Ordering, scaled, spin_loop};

/// Goroutines that a ring holds. Four in a model, so that laps and overflow happen.
pub const CAPACITY: usize = scaled(256, 4);

/// Half of it: what overflows at once, and the most that one theft takes.
const HALF: usize = CAPACITY / 2;

/// The slots of a ring. The length is in the type, so that no index needs a check.
type Slots<H> = Box<[AtomicPtr<<H as Handle>::Target>; CAPACITY]>;

/// The queue of one P. Thieves use it as it is; the P's holder through [`owner`](Self::owner).
///
/// ```
/// use sched_core::queue::local::{LocalQueue, Next, Slice};
/// use std::cell::RefCell;
///
/// let global = RefCell::new(Vec::new());
/// let (mine, other) = (LocalQueue::new(), LocalQueue::new());
/// // SAFETY: this thread alone uses the two owners.
/// let (me, you) = unsafe { (mine.owner(), other.owner()) };
///
/// me.push_back(Box::new(1), &global);
/// me.push_back(Box::new(2), &global);
/// me.push_next(Box::new(3), &global);
/// assert_eq!(me.pop(), Some((Box::new(3), Slice::Inherit)));
///
/// let stolen = mine.steal_into(&you, Next::Leave);
/// assert_eq!(stolen, Some(Box::new(1)));
/// assert_eq!(me.pop(), Some((Box::new(2), Slice::Fresh)));
/// assert!(mine.is_empty() && global.borrow().is_empty());
/// ```
pub struct LocalQueue<H: Handle> {
    /// Moved forward by owner and thieves, by compare-and-swap.
    head: AtomicU64,
    /// Written by the owner alone.
    tail: AtomicU64,
    /// Filled by the owner alone, emptied by anyone.
    runnext: AtomicPtr<H::Target>,
    /// How often runnext was filled. Written by the owner alone.
    nexts: AtomicU64,
    /// Written by the owner, beyond the tail.
    slots: Slots<H>,
}

// SAFETY: the queue owns handles, which are Send, and gives each of them to one taker.
unsafe impl<H: Handle> Send for LocalQueue<H> {}
// SAFETY: as above; shared access goes through the protocol.
unsafe impl<H: Handle> Sync for LocalQueue<H> {}

/// Whether the goroutine begins a slice of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// It came through runnext: it continues the slice of whoever made it ready.
    Inherit,
    /// It came through the ring.
    Fresh,
}

/// Whether a thief may take runnext from a P that has nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Leave it: its owner is about to run it, and a theft would only move it to a cold processor.
    Leave,
    /// Take it if it has been there for so many turns of a spin loop: the last round.
    Take {
        /// The turns.
        patience: usize,
    },
}

impl<H: Handle> LocalQueue<H> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            runnext: AtomicPtr::new(ptr::null_mut()),
            nexts: AtomicU64::new(0),
            slots: Box::new(core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))),
        }
    }

    /// The owner's side.
    ///
    /// # Safety
    ///
    /// The caller holds the P of this queue for as long as it uses the value, and what the former
    /// holder did happened before.
    #[inline]
    pub unsafe fn owner(&self) -> Owner<'_, H> {
        Owner { queue: self, not_sync: PhantomData }
    }

    /// Steals half of the ring, and says which of it to run at once; the rest lies in `thief`'s
    /// ring. `None` when there was nothing. O(n) in the number stolen.
    ///
    /// The thief's ring should be empty: only what it has room for is taken.
    #[must_use]
    pub fn steal_into(&self, thief: &Owner<'_, H>, next: Next) -> Option<H> {
        let start = thief.tail();
        let room = CAPACITY - thief.len();
        let taken = self.grab(room.min(HALF), |i, slot| {
            // Relaxed: published by the store of the tail below.
            thief.queue.slot(start + i as u64).store(slot, Ordering::Relaxed);
        });
        if taken == 0 {
            return match next {
                Next::Leave => None,
                Next::Take { patience } => {
                    self.take_stale_next(|| (0..patience).for_each(|_| spin_loop()))
                }
            };
        }
        // The last one is not published, so nobody can steal it from the thief: it runs next.
        let last = start + taken as u64 - 1;
        // Relaxed: written by this thread, above.
        let run = thief.queue.slot(last).load(Ordering::Relaxed);
        thief.publish(last);
        // SAFETY: `grab` claimed it for us, and it lies beyond the tail.
        Some(unsafe { revive(run) })
    }

    /// True if the queue was empty at some instant during the call; never true if it held something
    /// all through it.
    pub fn is_empty(&self) -> bool {
        loop {
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            // Acquire: if the owner's `pop` emptied it, the tail read next is not older than the
            // put that came before.
            let next = self.runnext.load(Ordering::Acquire);
            if self.tail.load(Ordering::Acquire) == tail {
                return head == tail && next.is_null();
            }
        }
    }

    /// How many there were at about this time.
    pub fn len(&self) -> usize {
        // Relaxed: a number for statistics and for the choice of a victim.
        let head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        let next = !self.runnext.load(Ordering::Relaxed).is_null();
        (tail.saturating_sub(head) as usize).min(CAPACITY) + usize::from(next)
    }

    /// How often runnext was filled so far.
    pub fn handovers(&self) -> u64 {
        // Relaxed: a number, to be compared with an earlier one.
        self.nexts.load(Ordering::Relaxed)
    }

    /// Claims half of the ring, at most `limit`; calls `keep` for each slot, maybe several times
    /// over before the claim succeeds. Returns how many are the caller's now.
    fn grab(&self, limit: usize, mut keep: impl FnMut(usize, *mut H::Target)) -> usize {
        loop {
            // Acquire: with the Release in `claim`: the tail read next is not older than this head.
            let head = self.head.load(Ordering::Acquire);
            // Acquire: with the Release in `publish`: the slots below it, and what they point to.
            let tail = self.tail.load(Ordering::Acquire);
            debug_assert!(tail >= head, "tail {tail} older than head {head}");
            let len = (tail - head) as usize;
            if len > CAPACITY {
                continue; // The head is an old one: others took and the owner put meanwhile.
            }
            let n = (len - len / 2).min(limit);
            if n == 0 {
                return 0;
            }
            for i in 0..n {
                // Relaxed: the tail's Acquire covers it; a stale one is never used.
                keep(i, self.slot(head + i as u64).load(Ordering::Relaxed));
            }
            if self.claim(head, n) {
                return n;
            }
        }
    }

    /// Moves the head over `n` slots, if it is still `head`: they are the caller's then.
    #[inline]
    fn claim(&self, head: u64, n: usize) -> bool {
        // AcqRel: Release: our reads of the slots happen before the owner overwrites them.
        // Acquire: a head that others moved carries their view of the tail on to whoever reads ours.
        self.head
            .compare_exchange(head, head + n as u64, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes runnext if its owner neither runs it nor replaces it during `wait`.
    fn take_stale_next(&self, wait: impl FnOnce()) -> Option<H> {
        // Relaxed, all: hints; what is taken is taken by a swap.
        let before = self.nexts.load(Ordering::Relaxed);
        if self.runnext.load(Ordering::Relaxed).is_null() {
            return None;
        }
        wait();
        if self.nexts.load(Ordering::Relaxed) != before {
            return None;
        }
        self.take_next()
    }

    /// Takes runnext, from any thread.
    fn take_next(&self) -> Option<H> {
        // Relaxed: most often null; the swap acquires.
        if self.runnext.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // AcqRel: Acquire: the goroutine's content, from `push_next`. Release: for `is_empty`,
        // which must not see this null with an older tail.
        let next = self.runnext.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: a non-null pointer is swapped out of runnext by one taker only.
        (!next.is_null()).then(|| unsafe { revive(next) })
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicPtr<H::Target> {
        &self.slots[index as usize % CAPACITY]
    }
}

/// Turns a claimed slot into the handle that was put there.
///
/// # Safety
///
/// `raw` was put by an owner, and the caller's claim of it succeeded.
unsafe fn revive<H: Handle>(raw: *mut H::Target) -> H {
    debug_assert!(!raw.is_null(), "a claimed slot was written before the tail was published");
    // SAFETY: owners put only pointers from `into_raw`, which are not null; the caller's claim makes
    // this the one use.
    unsafe { H::from_raw(NonNull::new_unchecked(raw)) }
}

/// The owner's side of a [`LocalQueue`]: having one proves that one holds the P.
pub struct Owner<'a, H: Handle> {
    queue: &'a LocalQueue<H>,
    /// An owner is one thread at a time.
    not_sync: PhantomData<*mut ()>,
}

impl<H: Handle> Owner<'_, H> {
    /// Puts `item` behind all others.
    pub fn push_back(&self, item: H, overflow: impl Overflow<H> + Copy) {
        let raw = item.into_raw();
        while !self.put(raw) {
            if self.overflow(raw, overflow) {
                return;
            }
        }
    }

    /// Puts `item` in front of all others; what was there goes to the tail.
    pub fn push_next(&self, item: H, overflow: impl Overflow<H> + Copy) {
        // Relaxed, both: a hint for thieves, and the owner is the only writer.
        let nexts = self.queue.nexts.load(Ordering::Relaxed);
        self.queue.nexts.store(nexts.wrapping_add(1), Ordering::Relaxed);
        let item = item.into_raw().as_ptr();
        // Relaxed: one that is empty stays so, as the owner alone fills it.
        if self.queue.runnext.load(Ordering::Relaxed).is_null() {
            // Release: `item`'s content, for whoever takes it.
            return self.queue.runnext.store(item, Ordering::Release);
        }
        // AcqRel: Release: as above. Acquire: the content of the old.
        let old = self.queue.runnext.swap(item, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: a non-null pointer is swapped out of runnext by one taker only: us.
            self.push_back(unsafe { revive(old) }, overflow);
        }
    }

    /// Takes what runs next: runnext, else the oldest.
    pub fn pop(&self) -> Option<(H, Slice)> {
        match self.queue.take_next() {
            Some(next) => Some((next, Slice::Inherit)),
            None => self.pop_front().map(|oldest| (oldest, Slice::Fresh)),
        }
    }

    /// Takes the oldest of the ring and leaves runnext.
    pub fn pop_front(&self) -> Option<H> {
        loop {
            // Acquire: with `claim`: after a theft, the owner's next put may use the slots.
            let head = self.queue.head.load(Ordering::Acquire);
            if head == self.tail() {
                return None;
            }
            // Relaxed: written by an owner; the P's hand-over orders former owners before us.
            let raw = self.queue.slot(head).load(Ordering::Relaxed);
            if self.queue.claim(head, 1) {
                // SAFETY: the claim succeeded.
                return Some(unsafe { revive(raw) });
            }
        }
    }

    /// How many more the ring takes before it overflows; thieves can only make it more.
    pub fn room(&self) -> usize {
        CAPACITY - self.len()
    }

    fn len(&self) -> usize {
        // Acquire: the room that thieves made may be used at once.
        (self.tail() - self.queue.head.load(Ordering::Acquire)) as usize
    }

    #[inline]
    fn tail(&self) -> u64 {
        // Relaxed: only owners write it.
        self.queue.tail.load(Ordering::Relaxed)
    }

    #[inline]
    fn publish(&self, tail: u64) {
        // Release: the slots below it and what they point to; pairs with the Acquire in `grab`.
        self.queue.tail.store(tail, Ordering::Release);
    }

    /// Puts `raw` at the tail if there is room.
    #[inline]
    fn put(&self, raw: NonNull<H::Target>) -> bool {
        let tail = self.tail();
        if self.len() == CAPACITY {
            return false;
        }
        // Relaxed: published by the tail.
        self.queue.slot(tail).store(raw.as_ptr(), Ordering::Relaxed);
        self.publish(tail + 1);
        true
    }

    /// Moves half of a full ring, and `raw` behind it, to `overflow`. False if a thief was faster:
    /// then there is room.
    ///
    /// A frame of its own: whoever parks looks for the next goroutine on its own stack, and a
    /// kilobyte there is a second page for each that is parked.
    #[cold]
    #[inline(never)]
    fn overflow(&self, raw: NonNull<H::Target>, overflow: impl Overflow<H> + Copy) -> bool {
        let mut half = [const { MaybeUninit::<*mut H::Target>::uninit() }; HALF];
        // Acquire: as in `grab`.
        let head = self.queue.head.load(Ordering::Acquire);
        if (self.tail() - head) as usize != CAPACITY {
            return false;
        }
        for (i, place) in half.iter_mut().enumerate() {
            // Relaxed: written by an owner, see `pop_front`.
            place.write(self.queue.slot(head + i as u64).load(Ordering::Relaxed));
        }
        if !self.queue.claim(head, HALF) {
            return false;
        }
        // SAFETY: all of `half` was written above, and the claim made it ours.
        let oldest = half.into_iter().map(|slot| unsafe { revive::<H>(slot.assume_init()) });
        // SAFETY: `raw` came from `into_raw` in `push_back` and was put nowhere.
        let newest = core::iter::once_with(|| unsafe { H::from_raw(raw) });
        overflow.take_batch(oldest.chain(newest));
        true
    }
}

impl<H: Handle> Drop for LocalQueue<H> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody else has a part in the queue any more.
        let owner = unsafe { self.owner() };
        while owner.pop().is_some() {}
    }
}

impl<H: Handle> Default for LocalQueue<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Handle> fmt::Debug for LocalQueue<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<H: Handle> fmt::Debug for Owner<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(self.queue).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
