//! [`GcRwLock`]: a value in the heap that many may read, or one may change.

use super::{interior::Interior, raw::Want};
use crate::{
    Plain,
    guard::Guard,
    heap::Tag,
    trace::{Rebind, Trace, Tracer},
};
use core::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

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
pub struct GcRwLock<T, H = Plain> {
    interior: Interior<T>,
    heap: PhantomData<fn(H) -> H>,
}

impl<T, H> GcRwLock<T, H> {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self { interior: Interior::new(value), heap: PhantomData }
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self { interior: Interior::new(value), heap: PhantomData }
    }
}

impl<T: Trace<H>, H: Tag> GcRwLock<T, H> {
    /// Waits until nobody writes.
    #[inline]
    pub fn read<'a>(&'a self, guard: &'a Guard<'_, H>) -> ReadGuard<'a, T, H> {
        self.interior.take(guard, Want::Shared);
        ReadGuard { lock: self, guard }
    }

    /// Waits until nobody reads or writes.
    #[inline]
    pub fn write<'a>(&'a self, guard: &'a Guard<'_, H>) -> WriteGuard<'a, T, H> {
        self.interior.take(guard, Want::Exclusive);
        WriteGuard { lock: self, guard }
    }

    /// The right to read, if nobody writes or waits to.
    pub fn try_read<'a>(&'a self, guard: &'a Guard<'_, H>) -> Option<ReadGuard<'a, T, H>> {
        let taken = self.interior.try_take(guard, Want::Shared);
        taken.then(|| ReadGuard { lock: self, guard })
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
        taken.then(|| WriteGuard { lock: self, guard })
    }
}

impl<T: Default, H> Default for GcRwLock<T, H> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, H> fmt::Debug for GcRwLock<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Looking inside takes a guard.
        f.debug_struct("GcRwLock").finish_non_exhaustive()
    }
}

// SAFETY: the interior reports its edges, whenever somebody else does not do it for the marker; it
// changes only under its lock, held exclusively.
unsafe impl<T: Trace<H>, H: Tag> Trace<H> for GcRwLock<T, H> {
    fn trace(&self, tracer: &mut Tracer) {
        self.interior.trace(tracer);
    }
}

// SAFETY: the lifetime is replaced in the value by its own `Rebind`.
unsafe impl<T: Rebind, H: Tag> Rebind for GcRwLock<T, H> {
    type At<'a> = GcRwLock<T::At<'a>, H>;
    const EDGES: bool = T::EDGES;
}

/// The right to read the value of a [`GcRwLock`].
#[must_use = "the lock is given back at once"]
pub struct ReadGuard<'a, T, H: Tag = Plain> {
    lock: &'a GcRwLock<T, H>,
    guard: &'a Guard<'a, H>,
}

/// The right to change the value of a [`GcRwLock`].
#[must_use = "the lock is given back at once"]
pub struct WriteGuard<'a, T, H: Tag = Plain> {
    lock: &'a GcRwLock<T, H>,
    guard: &'a Guard<'a, H>,
}

impl<T, H: Tag> Deref for ReadGuard<'_, T, H> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { self.lock.interior.get() }
    }
}

impl<T, H: Tag> Deref for WriteGuard<'_, T, H> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, exclusively.
        unsafe { self.lock.interior.get() }
    }
}

impl<T, H: Tag> DerefMut for WriteGuard<'_, T, H> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held exclusively, and this borrow is the only one.
        unsafe { self.lock.interior.get_mut() }
    }
}

impl<T, H: Tag> Drop for ReadGuard<'_, T, H> {
    #[inline]
    fn drop(&mut self) {
        self.lock.interior.leave(self.guard, Want::Shared);
    }
}

impl<T, H: Tag> Drop for WriteGuard<'_, T, H> {
    #[inline]
    fn drop(&mut self) {
        self.lock.interior.leave(self.guard, Want::Exclusive);
    }
}

impl<T: fmt::Debug, H: Tag> fmt::Debug for ReadGuard<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug, H: Tag> fmt::Debug for WriteGuard<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
