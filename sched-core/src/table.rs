//! A table that only fills up: entries are made once, in order, and live as long as the table.
//!
//! So a thief, a monitor or a handler may follow a number or a reference into it without a lock.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// Places for `T`s, filled from the front.
pub(crate) struct Table<T> {
    places: Box<[AtomicPtr<T>]>,
    made: AtomicUsize,
}

// SAFETY: the table owns its entries and gives out shared references only.
unsafe impl<T: Send + Sync> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Table<T> {}

impl<T> Table<T> {
    pub(crate) fn new(places: usize) -> Self {
        let places = (0..places).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect();
        Self { places, made: AtomicUsize::new(0) }
    }

    /// How many there can be.
    #[cfg(not(loom))]
    pub(crate) fn room(&self) -> usize {
        self.places.len()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        // Acquire: the entries below; pairs with `add`.
        self.made.load(Ordering::Acquire)
    }

    /// Enters one more. One caller at a time, which has looked whether there is room.
    pub(crate) fn add(&self, entry: T) {
        // Relaxed: this is the only writer.
        let index = self.made.load(Ordering::Relaxed);
        let entry = Box::into_raw(Box::new(entry));
        // Release: the entry's fields; pairs with the Acquire in `get`.
        self.places[index].store(entry, Ordering::Release);
        // Release: the place; pairs with the Acquire in `len`.
        self.made.store(index + 1, Ordering::Release);
    }

    /// The entry with this number, which is less than [`len`](Self::len) was.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &T {
        // Acquire: pairs with the Release in `add`.
        let entry = self.places[index].load(Ordering::Acquire);
        // SAFETY: null, or leaked by `add`; entries are freed with the table only.
        unsafe { entry.as_ref() }.expect("a number is given out after its entry is made")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).map(|index| self.get(index))
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        for index in 0..self.len() {
            // Relaxed: `&mut self`: all others have gone.
            let entry = self.places[index].load(Ordering::Relaxed);
            // SAFETY: `add` leaked it from a box, and nobody borrows the table any more.
            drop(unsafe { Box::from_raw(entry) });
        }
    }
}
