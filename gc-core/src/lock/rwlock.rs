//! [`GcRwLock`]: a value in the heap that many may read, or one may change.

use super::{
    holders::{ReadGuard, WriteGuard},
    interior::interior_of,
    raw::Want,
};
use crate::{guard::Guard, heap::Tag, trace::Trace};

interior_of! {
    /// A value with edges, as a field of an object in the heap, with many readers or one writer.
    ///
    /// ```
    /// use gc_core::{Gc, GcRwLock, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let table = guard.alloc(GcRwLock::new(Vec::new()));
    /// table.write(&guard).push(guard.alloc(7u64));
    /// let (one, two) = (table.read(&guard), table.read(&guard));
    /// assert_eq!((*one[0], two.len()), (7, 1));
    /// ```
    ///
    /// A writer that waits keeps new readers out: a task that reads twice at once may wait for itself.
    /// There is no poisoning.
    GcRwLock
}

impl<T: Trace<H>, H: Tag> GcRwLock<T, H> {
    /// Waits until nobody writes.
    ///
    /// ```
    /// use gc_core::{GcRwLock, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let words = guard.alloc(GcRwLock::new(vec![guard.alloc_str("one")]));
    /// let (mine, yours) = (words.read(&guard), words.read(&guard));
    /// assert_eq!((mine[0].as_str(), yours.len()), ("one", 1));
    /// ```
    #[inline]
    pub fn read<'a>(&'a self, guard: &'a Guard<'_, H>) -> ReadGuard<'a, T, H> {
        self.interior.take(guard, Want::Shared);
        ReadGuard::of(&self.interior, guard)
    }

    /// Waits until nobody reads or writes.
    ///
    /// ```
    /// use gc_core::{GcRwLock, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let words = guard.alloc(GcRwLock::new(Vec::new()));
    /// words.write(&guard).push(guard.alloc_str("one"));
    /// assert_eq!(words.read(&guard).len(), 1);
    /// ```
    #[inline]
    pub fn write<'a>(&'a self, guard: &'a Guard<'_, H>) -> WriteGuard<'a, T, H> {
        self.interior.take(guard, Want::Exclusive);
        WriteGuard::of(&self.interior, guard)
    }

    /// The right to read, if nobody writes or waits to.
    ///
    /// ```
    /// use gc_core::{GcRwLock, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let count = guard.alloc(GcRwLock::new(1));
    /// let writer = count.write(&guard);
    /// assert!(count.try_read(&guard).is_none());
    /// drop(writer);
    /// assert_eq!(count.try_read(&guard).as_deref(), Some(&1));
    /// ```
    pub fn try_read<'a>(&'a self, guard: &'a Guard<'_, H>) -> Option<ReadGuard<'a, T, H>> {
        let taken = self.interior.try_take(guard, Want::Shared);
        taken.then(|| ReadGuard::of(&self.interior, guard))
    }

    /// The right to write, if nobody reads or writes.
    ///
    /// ```
    /// use gc_core::{GcRwLock, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let count = guard.alloc(GcRwLock::new(1));
    /// let reader = count.read(&guard);
    /// assert!(count.try_write(&guard).is_none() && count.try_read(&guard).is_some());
    /// drop(reader);
    /// *count.try_write(&guard).unwrap() += 1;
    /// assert_eq!(*count.read(&guard), 2);
    /// ```
    pub fn try_write<'a>(&'a self, guard: &'a Guard<'_, H>) -> Option<WriteGuard<'a, T, H>> {
        let taken = self.interior.try_take(guard, Want::Exclusive);
        taken.then(|| WriteGuard::of(&self.interior, guard))
    }
}
