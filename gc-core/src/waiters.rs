//! [`Waiters`]: tasks that wait, in order of arrival, each in a place on its own stack.
//!
//! # Problem
//!
//! Who waits for a lock, and who gives one back, has nobody to return an error to. So the list of those who wait
//! must not need memory: a [`Place`] lies on its task's stack, and the list is the links between places.
//!
//! # Protocol
//!
//! ```text
//!   waiter                                waker
//!     under the owner's lock: put in        under the owner's lock: take out
//!     park until told                       after it, for each: take the task's name and the link out
//!     its place ends                          told := true; from here on the place may be gone
//!                                             unpark by the name
//! ```
//!
//! A place is written under the owner's lock while it is in a list, and by the waker alone when it is out. The
//! waiter reads one word of it, *told*, and does not return before that is set: also if it is woken by a permit
//! that somebody else left. Models: `loom-tests/tests/gc_lock.rs`, `gc_cleanup.rs`.
//!
//! # Source
//!
//! The queue of std's `Once`, which tells its waiters in the same way.

use crate::sync::{AtomicBool, Ordering, UnsafeCell};
use core::{mem, ptr::NonNull};

/// Where a task waits. `key` says for what.
pub(crate) struct Place<W, K> {
    key: K,
    held: UnsafeCell<Held<W, K>>,
    told: AtomicBool,
}

/// What of a place is its list's.
struct Held<W, K> {
    /// Who waits; taken out by who wakes.
    waiter: Option<W>,
    next: Option<NonNull<Place<W, K>>>,
}

impl<W, K> Place<W, K> {
    pub(crate) fn new(waiter: W, key: K) -> Self {
        let held = UnsafeCell::new(Held { waiter: Some(waiter), next: None });
        Self { key, held, told: AtomicBool::new(false) }
    }

    /// Waits until the place was taken out of its list, and its waker has done with it. True if a permit was used
    /// up that may have been meant for something else.
    pub(crate) fn wait(&self, park: impl Fn()) -> bool {
        let mut parks = 0;
        // Acquire: what the waker did to the place is over; pairs with `tell`.
        while !self.told.load(Ordering::Acquire) {
            park();
            parks += 1;
        }
        // SAFETY: the waker has done with it.
        debug_assert!(self.held.with(|held| unsafe { (*held).waiter.is_none() }), "told too early");
        parks > 1
    }
}

/// A list of places. Whoever takes some out [tells](Self::tell) them.
pub(crate) struct Waiters<W, K> {
    first: Option<NonNull<Place<W, K>>>,
    last: Option<NonNull<Place<W, K>>>,
}

// SAFETY: a place in a list is used by who has the list, besides `told`, which is atomic.
unsafe impl<W: Send, K: Send> Send for Waiters<W, K> {}

impl<W, K> Default for Waiters<W, K> {
    fn default() -> Self {
        Self { first: None, last: None }
    }
}

impl<W, K> Waiters<W, K> {
    /// Puts a place behind the others.
    ///
    /// # Safety
    ///
    /// The place is in no list, and stays where it is until its [`wait`](Place::wait) returns.
    pub(crate) unsafe fn put_last(&mut self, place: NonNull<Place<W, K>>) {
        // SAFETY: the caller's, and that of those who put in `last`.
        unsafe { link(place, None) };
        match self.last.replace(place) {
            // SAFETY: as above.
            Some(last) => unsafe { link(last, Some(place)) },
            None => self.first = Some(place),
        }
    }

    /// Puts a place before the others.
    ///
    /// # Safety
    ///
    /// As [`put_last`](Self::put_last).
    pub(crate) unsafe fn put_first(&mut self, place: NonNull<Place<W, K>>) {
        // SAFETY: the caller's.
        unsafe { link(place, self.first) };
        self.first = Some(place);
        self.last.get_or_insert(place);
    }

    /// Takes out those who `come`, which is asked in order.
    #[must_use = "who is taken out is to be told"]
    pub(crate) fn take(&mut self, mut come: impl FnMut(&K) -> bool) -> Self {
        let mut taken = Self::default();
        let mut next = mem::take(self).first;
        while let Some(place) = next {
            // SAFETY: who is in a list has not been told.
            let key = unsafe {
                next = place.as_ref().held.with(|held| (*held).next);
                &place.as_ref().key
            };
            let list = if come(key) { &mut taken } else { &mut *self };
            // SAFETY: it was in this list, whose links are read no more.
            unsafe { list.put_last(place) };
        }
        taken
    }

    /// Tells all, and leaves each a permit. Called outside of the owner's lock.
    pub(crate) fn tell(self, unpark: impl Fn(W)) {
        let mut next = self.first;
        while let Some(place) = next {
            // SAFETY: it waits until it is told, and is in nobody else's hands.
            let waiter = unsafe {
                let place = place.as_ref();
                let waiter = place.held.with_mut(|held| {
                    next = (*held).next;
                    (*held).waiter.take()
                });
                // Release: the place is done with; pairs with `wait`.
                place.told.store(true, Ordering::Release);
                waiter
            };
            waiter.into_iter().for_each(&unpark);
        }
    }
}

/// # Safety
///
/// The place is in the caller's hands, or in its list.
unsafe fn link<W, K>(place: NonNull<Place<W, K>>, next: Option<NonNull<Place<W, K>>>) {
    // SAFETY: the caller's.
    unsafe { place.as_ref().held.with_mut(|held| (*held).next = next) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn they_come_in_order_and_once() {
        let places: Vec<_> = (0..6).map(|n| Place::new(n, n % 2)).collect();
        let mut all = Waiters::default();
        for place in &places[1..] {
            // SAFETY: places stay until they are told, below.
            unsafe { all.put_last(NonNull::from(place)) };
        }
        // SAFETY: as above.
        unsafe { all.put_first(NonNull::from(&places[0])) };
        let told = RefCell::new(Vec::new());
        for come in [1, 1, 0] {
            all.take(|key| *key == come).tell(|waiter| told.borrow_mut().push(waiter));
        }
        assert_eq!(*told.borrow(), [1, 3, 5, 0, 2, 4]);
        assert!(all.first.is_none() && all.last.is_none());
        assert!(places.iter().all(|place| !place.wait(|| unreachable!("all were told"))));
    }
}
