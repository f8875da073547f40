//! [`Ring`]: the buffer of a bounded channel. Values are moved in and out by copy, so that no code
//! of the user runs while the channel's lock is held.

use std::mem::MaybeUninit;
use std::ptr;

/// A circle of places, of which `len` from `head` on hold a value.
///
/// It is full with `capacity` values. There may be more places, for values that come back
/// ([`push_front`](Ring::push_front)).
pub(crate) struct Ring<T> {
    places: Box<[MaybeUninit<T>]>,
    capacity: usize,
    head: usize,
    len: usize,
}

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Ring { places: Box::new_uninit_slice(capacity), capacity, head: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Whether it is not full when one value has left. An empty one has room for what is handed over.
    pub(crate) fn will_have_room(&self) -> bool {
        self.len <= self.capacity
    }

    /// Whether there is a place, be it beyond the capacity.
    pub(crate) fn has_place(&self) -> bool {
        self.len < self.places.len()
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Moves all values to `places`, if those are more, and gives back the places that are not used any
    /// more, which hold nothing. Allocates and frees nothing.
    pub(crate) fn move_to(&mut self, mut places: Box<[MaybeUninit<T>]>) -> Box<[MaybeUninit<T>]> {
        if places.len() > self.places.len() {
            for (offset, place) in places.iter_mut().take(self.len).enumerate() {
                let at = self.index(offset);
                // SAFETY: that place holds a value, which is given up with `self.places`.
                unsafe { ptr::copy_nonoverlapping(&self.places[at], place, 1) };
            }
            self.head = 0;
            std::mem::swap(&mut self.places, &mut places);
        }
        places
    }

    /// Moves the value at `from` before the first one.
    ///
    /// # Safety
    ///
    /// There is a place. `from` holds a value, which now belongs to the ring.
    pub(crate) unsafe fn push_front(&mut self, from: *const T) {
        debug_assert!(self.has_place(), "{} of {}", self.len, self.places.len());
        let at = self.head.checked_sub(1).unwrap_or(self.places.len() - 1);
        // SAFETY: `from` holds a value, says the caller; the place is ours, and empty.
        unsafe { ptr::copy_nonoverlapping(from, self.places[at].as_mut_ptr(), 1) };
        self.head = at;
        self.len += 1;
    }

    /// Moves the value at `from` behind the last one.
    ///
    /// # Safety
    ///
    /// The ring is not full. `from` holds a value, which now belongs to the ring.
    pub(crate) unsafe fn push(&mut self, from: *const T) {
        debug_assert!(!self.is_full(), "{} of {}", self.len, self.places.len());
        let at = self.index(self.len);
        // SAFETY: `from` holds a value, says the caller; the place is ours, and empty.
        unsafe { ptr::copy_nonoverlapping(from, self.places[at].as_mut_ptr(), 1) };
        self.len += 1;
    }

    /// Moves the oldest value to `to`.
    ///
    /// # Safety
    ///
    /// The ring is not empty. `to` is a place for a `T` that holds none.
    pub(crate) unsafe fn pop(&mut self, to: *mut T) {
        debug_assert!(!self.is_empty());
        // SAFETY: the place at `head` holds a value as `len > 0`; it is given up below.
        unsafe { ptr::copy_nonoverlapping(self.places[self.head].as_ptr(), to, 1) };
        self.head = self.index(1);
        self.len -= 1;
    }

    /// The place `offset` behind the head.
    fn index(&self, offset: usize) -> usize {
        // There may be as many places as there are numbers, if values have no size.
        let behind = self.places.len() - self.head;
        if offset < behind { self.head + offset } else { offset - behind }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let places: *mut T = self.places.as_mut_ptr().cast();
        let first = self.len.min(self.places.len() - self.head);
        // SAFETY: the values lie from `head` to the end and then from the beginning; none is used again.
        unsafe {
            let _second = Second(ptr::slice_from_raw_parts_mut(places, self.len - first));
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(places.add(self.head), first));
        }
    }
}

/// The values at the beginning, dropped also if the destructor of one before them panics. (Within a slice
/// that is the language's own doing.)
struct Second<T>(*mut [T]);

impl<T> Drop for Second<T> {
    fn drop(&mut self) {
        // SAFETY: the ring's destructor gives these values up.
        unsafe { ptr::drop_in_place(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn behaves_like_a_deque() {
        let mut ring = Ring::new(3);
        let mut model = VecDeque::new();
        for step in 0..100_u32 {
            let push = (step * 7 + step / 5) % 3 != 0;
            if push && !ring.is_full() {
                let value = Box::new(step);
                // SAFETY: not full; the box is forgotten, as it now belongs to the ring.
                unsafe { ring.push(&value) };
                std::mem::forget(value);
                model.push_back(step);
            } else if !push && !ring.is_empty() {
                let mut place = MaybeUninit::<Box<u32>>::uninit();
                // SAFETY: not empty; the place is filled by `pop`.
                let value = unsafe {
                    ring.pop(place.as_mut_ptr());
                    place.assume_init()
                };
                assert_eq!(Some(*value), model.pop_front());
            }
            assert_eq!(ring.len(), model.len());
        }
    }

    #[test]
    fn all_are_dropped_once_although_one_of_them_panics() {
        struct Counted<'a>(&'a Cell<usize>, bool);
        impl Drop for Counted<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
                assert!(!self.1, "a destructor that panics");
            }
        }
        // The head before, at and behind the middle: with and without values at the beginning.
        for (head, bad) in (0..4).flat_map(|head| (0..4).map(move |bad| (head, bad))) {
            let dropped = Cell::new(0);
            let mut ring = Ring::new(4);
            ring.head = head;
            for nth in 0..4 {
                let value = MaybeUninit::new(Counted(&dropped, nth == bad));
                // SAFETY: not full; the value is not dropped here.
                unsafe { ring.push(value.as_ptr()) };
            }
            assert!(catch_unwind(AssertUnwindSafe(|| drop(ring))).is_err());
            assert_eq!(dropped.get(), 4, "from {head}, the {bad}th panics");
        }
    }

    #[test]
    fn nothing_overflows_with_as_many_places_as_there_are_numbers() {
        let mut ring = Ring::<()>::new(usize::MAX);
        // SAFETY: not full; the places are there; not empty, three times.
        unsafe {
            ring.push_front(&());
            ring.push(&());
            ring.push(&());
            (0..3).for_each(|_| ring.pop(&mut ()));
        }
        assert!(ring.is_empty());
    }

    #[test]
    fn what_comes_back_is_the_first_and_may_be_too_much() {
        let mut ring = Ring::new(2);
        // SAFETY: not full, twice.
        [2, 3].iter().for_each(|value| unsafe { ring.push(value) });
        assert!(ring.is_full() && !ring.has_place());
        drop(ring.move_to(Box::new_uninit_slice(4)));
        for back in [1, 0] {
            // SAFETY: there are four places now.
            unsafe { ring.push_front(&back) };
        }
        assert!(ring.is_full() && !ring.will_have_room());
        let mut next = || {
            let mut place = MaybeUninit::<i32>::uninit();
            // SAFETY: not empty, four times; the place is filled by `pop`.
            unsafe {
                ring.pop(place.as_mut_ptr());
                place.assume_init()
            }
        };
        assert_eq!([next(), next(), next(), next()], [0, 1, 2, 3]);
    }
}
