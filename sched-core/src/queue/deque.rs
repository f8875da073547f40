//! A work-stealing deque: its owner takes what it put last, thieves take what was put first.
//!
//! # Problem
//!
//! A computation that splits itself wants its newest piece next, whose data is warm, and wants to give
//! away its oldest, which is the largest. One end for each lets them work without getting in each
//! other's way, but for the last item.
//!
//! # Algorithm
//!
//! ```text
//!         top                 bottom        thieves move top forward, by compare-and-swap;
//!          v                    v           the owner moves bottom; both count for ever (64 bits)
//!   ┌───┬───┬───┬───┬───┬───┬───┬───┐
//!   │   │   │ a │ b │ c │ d │ e │   │       bottom − top ≤ CAPACITY
//!   └───┴───┴───┴───┴───┴───┴───┴───┘
//! ```
//!
//! * *push*: write the slot, then publish it by moving bottom.
//! * *take*: move bottom back, which claims the slot, then look at top. If items are left beyond
//!   it, the claimed one is ours. If it is the last one, a thief may want it as well: both try to move
//!   top, and one succeeds.
//! * *steal*: read top, then bottom, then the slot; move top. If that fails the slot's word was stale,
//!   and is dropped unused.
//!
//! *take* is a store and a load of another word, *steal* is a load and a load: the owner's store to bottom
//! must be visible to a thief that does not see top moved by it, so there is a full fence in both. Either
//! the owner's fence comes first, and the thief sees bottom moved and leaves the item; or the thief's, and
//! the owner sees the item as the last, and meets the thief at top.
//!
//! # Orderings
//!
//! | edge | writer | reader |
//! |---|---|---|
//! | content of a slot and of the goroutine | bottom, Release (`push`) | bottom, Acquire (`steal`) |
//! | the claim of `take` | bottom, then `fence(SeqCst)`, then top | top, then `fence(SeqCst)`, then bottom |
//! | a slot is free to be overwritten | top, compare-and-swap, Release (`steal`) | top, Acquire (`push`) |
//!
//! # Source
//!
//! D. Chase, Y. Lev, *Dynamic circular work-stealing deque*, SPAA 2005; orderings as in N. M. Lê,
//! A. Pop, A. Cohen, F. Zappa Nardelli, *Correct and efficient work-stealing for weak memory models*,
//! PPoPP 2013. Ours does not grow: a larger array would have to be allocated inside the runtime, and
//! the old one reclaimed under thieves; what does not fit goes to a global queue. Slots are atomic
//! words, so a stale one is never torn. Model: `loom-tests/tests/sched_queue.rs`.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::Handle;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, fence, scaled};

/// Items that a deque holds. Four in a model, so that laps happen.
pub const CAPACITY: usize = scaled(256, 4);

/// The slots of a ring. The length is in the type, so that no index needs a check.
type Slots<H> = Box<[AtomicPtr<<H as Handle>::Target>; CAPACITY]>;

/// The deque of one P. Thieves use it as it is; the P's holder through [`owner`](Self::owner).
///
/// ```
/// use sched_core::queue::deque::{Deque, Steal};
///
/// let deque = Deque::new();
/// // SAFETY: this thread alone uses the owner.
/// let owner = unsafe { deque.owner() };
/// for n in 0..3 {
///     owner.push(Box::new(n)).unwrap();
/// }
/// assert_eq!(deque.steal(), Steal::Success(Box::new(0)));
/// assert_eq!(owner.take(), Some(Box::new(2)));
/// ```
pub struct Deque<H: Handle> {
    /// Moved forward by thieves, and by the owner for the last item.
    top: AtomicU64,
    /// Written by the owner alone. Starts at 1, so that `take` never goes below zero.
    bottom: AtomicU64,
    slots: Slots<H>,
}

// SAFETY: the deque owns handles, which are Send, and gives each of them to one taker.
unsafe impl<H: Handle> Send for Deque<H> {}
// SAFETY: as above; shared access goes through the protocol.
unsafe impl<H: Handle> Sync for Deque<H> {}

/// What a theft came to.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Steal<H> {
    /// There was nothing.
    Empty,
    /// The oldest.
    Success(H),
    /// Somebody else was faster; there may be more.
    Retry,
}

impl<H: Handle> Deque<H> {
    /// An empty deque.
    pub fn new() -> Self {
        Self {
            top: AtomicU64::new(1),
            bottom: AtomicU64::new(1),
            slots: Box::new(core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut()))),
        }
    }

    /// The owner's side.
    ///
    /// # Safety
    ///
    /// The caller holds the P of this deque for as long as it uses the value, and what the former
    /// holder did happened before.
    #[inline]
    pub unsafe fn owner(&self) -> Owner<'_, H> {
        Owner { deque: self, not_sync: PhantomData }
    }

    /// Takes the oldest, from any thread.
    pub fn steal(&self) -> Steal<H> {
        // Acquire: what those wrote who moved it; the owner may have used their slots.
        let top = self.top.load(Ordering::Acquire);
        // SeqCst: (StealFence) top is read before bottom. Partner: the fence in `take`.
        fence(Ordering::SeqCst);
        // Acquire: with the Release in `push`: the slot, and what it points to.
        let bottom = self.bottom.load(Ordering::Acquire);
        if top >= bottom {
            return Steal::Empty;
        }
        // Relaxed: bottom's Acquire covers it; a stale one is never used.
        let raw = self.slot(top).load(Ordering::Relaxed);
        if !self.claim(top) {
            return Steal::Retry;
        }
        // SAFETY: the claim succeeded, so the word is what the owner put, and ours.
        Steal::Success(unsafe { H::from_raw(NonNull::new_unchecked(raw)) })
    }

    /// True if the deque was empty at some instant during the call; never true if it held something all
    /// through it that nobody was about to take.
    pub fn is_empty(&self) -> bool {
        let top = self.top.load(Ordering::Acquire);
        top >= self.bottom.load(Ordering::Acquire)
    }

    /// How many there were at about this time.
    pub fn len(&self) -> usize {
        // Relaxed, both: a number.
        let top = self.top.load(Ordering::Relaxed);
        (self.bottom.load(Ordering::Relaxed).saturating_sub(top) as usize).min(CAPACITY)
    }

    /// Moves top over one slot, if it is still `top`.
    #[inline]
    fn claim(&self, top: u64) -> bool {
        // SeqCst, as in the paper: it is in one order with the fences. Release: our reading of the slot
        // happens before the owner overwrites it.
        self.top.compare_exchange(top, top + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    #[inline]
    fn slot(&self, index: u64) -> &AtomicPtr<H::Target> {
        &self.slots[index as usize % CAPACITY]
    }
}

/// The owner's side of a [`Deque`]: having one proves that one holds the P.
pub struct Owner<'a, H: Handle> {
    deque: &'a Deque<H>,
    /// An owner is one thread at a time.
    not_sync: PhantomData<*mut ()>,
}

impl<H: Handle> Owner<'_, H> {
    /// Puts `item` at the bottom, or gives it back if there is no room.
    pub fn push(&self, item: H) -> Result<(), H> {
        // Relaxed: the owner alone writes it.
        let bottom = self.deque.bottom.load(Ordering::Relaxed);
        // Acquire: with the claim of thieves: the room that they made may be used.
        let top = self.deque.top.load(Ordering::Acquire);
        if bottom - top >= CAPACITY as u64 {
            return Err(item);
        }
        // Relaxed: published by bottom.
        self.deque.slot(bottom).store(item.into_raw().as_ptr(), Ordering::Relaxed);
        // Release: the slot and what it points to; pairs with the Acquire in `steal`.
        self.deque.bottom.store(bottom + 1, Ordering::Release);
        Ok(())
    }

    /// Takes the newest.
    pub fn take(&self) -> Option<H> {
        // Relaxed, both: the owner alone writes it; the fence orders.
        let last = self.deque.bottom.load(Ordering::Relaxed) - 1;
        self.deque.bottom.store(last, Ordering::Relaxed);
        // SeqCst: (TakeFence) bottom is moved before top is read. Partner: the fence in `steal`.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        let top = self.deque.top.load(Ordering::Relaxed);
        if top > last {
            self.put_bottom_back(last);
            return None;
        }
        // Relaxed: written by an owner; the P's hand-over orders former owners before us.
        let raw = self.deque.slot(last).load(Ordering::Relaxed);
        if top == last {
            let won = self.deque.claim(top);
            self.put_bottom_back(last);
            if !won {
                return None;
            }
        }
        // SAFETY: no thief can have it: bottom excludes them, or we moved top before they did.
        Some(unsafe { H::from_raw(NonNull::new_unchecked(raw)) })
    }

    /// Takes the oldest, as a thief does.
    pub fn take_oldest(&self) -> Option<H> {
        loop {
            match self.deque.steal() {
                Steal::Success(item) => return Some(item),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// The deque is empty: bottom is where top is.
    fn put_bottom_back(&self, last: u64) {
        // Release: as in `push`: whoever sees this bottom sees all slots below it. (Thieves that read
        // it have acquired nothing that `push` did not release, but it costs nothing here.)
        self.deque.bottom.store(last + 1, Ordering::Release);
    }
}

impl<H: Handle> Drop for Deque<H> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody else has a part in the deque any more.
        let owner = unsafe { self.owner() };
        while owner.take().is_some() {}
    }
}

impl<H: Handle> Default for Deque<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Handle> fmt::Debug for Deque<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deque").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<H: Handle> fmt::Debug for Owner<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Owner").field(self.deque).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_deque_gives_the_newcomer_back() {
        let deque = Deque::new();
        // SAFETY: the only user.
        let owner = unsafe { deque.owner() };
        for lap in 0..3 {
            for n in 0..CAPACITY {
                assert_eq!(owner.push(Box::new(n)), Ok(()), "lap {lap}");
            }
            assert_eq!(owner.push(Box::new(CAPACITY)), Err(Box::new(CAPACITY)));
            assert_eq!(owner.take_oldest(), Some(Box::new(0)));
            for n in (1..CAPACITY).rev() {
                assert_eq!(owner.take(), Some(Box::new(n)));
            }
            assert_eq!((owner.take(), deque.steal()), (None, Steal::Empty));
        }
    }

    #[test]
    fn a_dropped_deque_drops_what_is_in_it() {
        let witness = std::sync::Arc::new(());
        let deque = Deque::new();
        // SAFETY: the only user.
        let owner = unsafe { deque.owner() };
        assert!(owner.push(witness.clone()).is_ok());
        drop(deque);
        assert_eq!(std::sync::Arc::strong_count(&witness), 1);
    }
}
