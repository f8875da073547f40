//! [`GcMutex`]: a value in the heap that one task at a time may use.

use super::{holders::MutexGuard, interior::interior_of, raw::Want};
use crate::{guard::Guard, heap::Tag, trace::Trace};

interior_of! {
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
    GcMutex
}

impl<T: Trace<H>, H: Tag> GcMutex<T, H> {
    /// Takes the lock, waiting until it is free.
    ///
    /// ```
    /// use gc_core::{GcMutex, Heap, Plain, Root};
    /// use std::thread;
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let count: Root<GcMutex<u64>> = heap.enter().root(heap.enter().alloc(GcMutex::new(0u64)));
    /// thread::scope(|scope| {
    ///     for _ in 0..4 {
    ///         scope.spawn(|| {
    ///             let guard = heap.enter();
    ///             (0..1000).for_each(|_| *count.get(&guard).lock(&guard) += 1);
    ///         });
    ///     }
    /// });
    /// let guard = heap.enter();
    /// assert_eq!(*count.get(&guard).lock(&guard), 4000);
    /// ```
    #[inline]
    pub fn lock<'a>(&'a self, guard: &'a Guard<'_, H>) -> MutexGuard<'a, T, H> {
        self.interior.take(guard, Want::Exclusive);
        MutexGuard::of(&self.interior, guard)
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
        taken.then(|| MutexGuard::of(&self.interior, guard))
    }
}
