//! [`GcMutex`]: a value in the heap that one task at a time may use.

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

/// Mutual exclusion for a value with edges, as a field of an object in the heap.
///
/// Locking takes a [`Guard`]: the lock is given back before the guard ends. Whoever waits parks; a
/// goroutine gives its processor away.
///
/// ```
/// use gc_core::{Gc, GcMutex, Heap, Plain, Trace};
///
/// #[derive(Trace)]
/// struct Node<'g> {
///     name: u32,
///     children: GcMutex<Vec<Gc<'g, Node<'g>>>>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let leaf = guard.alloc(Node { name: 2, children: GcMutex::new(Vec::new()) });
/// let root = guard.alloc(Node { name: 1, children: GcMutex::new(vec![leaf]) });
/// root.children.lock(&guard).push(root);
/// let names: Vec<_> = root.children.lock(&guard).iter().map(|node| node.name).collect();
/// assert_eq!(names, [2, 1]);
/// ```
///
/// A task that locks what it holds already waits for ever. There is no poisoning.
pub struct GcMutex<T, H = Plain> {
    interior: Interior<T>,
    heap: PhantomData<fn(H) -> H>,
}

impl<T, H> GcMutex<T, H> {
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

impl<T: Trace<H>, H: Tag> GcMutex<T, H> {
    /// Takes the lock, waiting until it is free.
    #[inline]
    pub fn lock<'a>(&'a self, guard: &'a Guard<'_, H>) -> MutexGuard<'a, T, H> {
        self.interior.take(guard, Want::Exclusive);
        MutexGuard { mutex: self, guard }
    }

    /// Takes the lock if it is free now.
    ///
    /// ```
    /// use gc_core::{GcMutex, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let count = guard.alloc(GcMutex::new(1));
    /// let held = count.lock(&guard);
    /// assert!(count.try_lock(&guard).is_none());
    /// drop(held);
    /// assert_eq!(*count.try_lock(&guard).unwrap(), 1);
    /// ```
    pub fn try_lock<'a>(&'a self, guard: &'a Guard<'_, H>) -> Option<MutexGuard<'a, T, H>> {
        let taken = self.interior.try_take(guard, Want::Exclusive);
        taken.then(|| MutexGuard { mutex: self, guard })
    }
}

impl<T: Default, H> Default for GcMutex<T, H> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, H> fmt::Debug for GcMutex<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Looking inside takes a guard.
        f.debug_struct("GcMutex").finish_non_exhaustive()
    }
}

// SAFETY: the interior reports its edges, whenever somebody else does not do it for the marker; it
// changes only under its lock.
unsafe impl<T: Trace<H>, H: Tag> Trace<H> for GcMutex<T, H> {
    fn trace(&self, tracer: &mut Tracer) {
        self.interior.trace(tracer);
    }
}

// SAFETY: the lifetime is replaced in the value by its own `Rebind`.
unsafe impl<T: Rebind, H: Tag> Rebind for GcMutex<T, H> {
    type At<'a> = GcMutex<T::At<'a>, H>;
    const EDGES: bool = T::EDGES;
}

/// The right to use the value of a [`GcMutex`]; gives the lock back when it is dropped.
#[must_use = "the lock is given back at once"]
pub struct MutexGuard<'a, T, H: Tag = Plain> {
    mutex: &'a GcMutex<T, H>,
    guard: &'a Guard<'a, H>,
}

impl<T, H: Tag> Deref for MutexGuard<'_, T, H> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held, exclusively.
        unsafe { self.mutex.interior.get() }
    }
}

impl<T, H: Tag> DerefMut for MutexGuard<'_, T, H> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held exclusively, and this borrow is the only one.
        unsafe { self.mutex.interior.get_mut() }
    }
}

impl<T, H: Tag> Drop for MutexGuard<'_, T, H> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.interior.leave(self.guard, Want::Exclusive);
    }
}

impl<T: fmt::Debug, H: Tag> fmt::Debug for MutexGuard<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
