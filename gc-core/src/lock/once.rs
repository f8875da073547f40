//! [`GcOnce`]: a value in the heap that is set once.
//!
//! Setting takes nothing out, so it needs no barrier: what is put in, the one who sets holds, and it is
//! marked by its own rules. The marker looks at the flag, and reads what no longer changes; if it came
//! too early, there was nothing.

use super::{
    Lot,
    raw::{RawLock, Want},
};
use crate::{
    Plain,
    guard::Guard,
    heap::Tag,
    space::Space,
    sync::{AtomicBool, Ordering, UnsafeCell},
    trace::{Rebind, Trace, Tracer},
    world::World,
};
use core::{fmt, marker::PhantomData};

/// A place for a value with edges that is set once, as a field of an object in the heap.
///
/// ```
/// use gc_core::{Gc, GcOnce, Heap, Plain, Trace};
///
/// #[derive(Trace)]
/// struct Node<'g> {
///     key: u64,
///     square: GcOnce<Gc<'g, u64>>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let node = guard.alloc(Node { key: 7, square: GcOnce::new() });
/// assert!(node.square.get().is_none());
/// let square = node.square.get_or_init(&guard, || guard.alloc(node.key * node.key));
/// assert_eq!(**square, 49);
/// assert_eq!(node.square.set(&guard, guard.alloc(50)).map_err(|late| *late), Err(50));
/// ```
pub struct GcOnce<T, H = Plain> {
    place: RawOnce<T>,
    heap: PhantomData<fn(H) -> H>,
}

impl<T, H> GcOnce<T, H> {
    /// A place that is empty.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { place: RawOnce::new(), heap: PhantomData }
    }

    /// A place that is empty.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { place: RawOnce::new(), heap: PhantomData }
    }

    /// The value, if there is one yet.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.place.get()
    }
}

impl<T: Trace<H>, H: Tag> GcOnce<T, H> {
    /// The value; made by `make` if there is none. One task makes it, others wait for it.
    ///
    /// If `make` unwinds the place stays empty. If it asks for the same place, it waits for itself.
    ///
    /// ```
    /// use gc_core::{GcOnce, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let once = guard.alloc(GcOnce::new());
    /// let makes = std::cell::Cell::new(0);
    /// let ask = || *once.get_or_init(&guard, || makes.replace(makes.get() + 1));
    /// assert_eq!((ask(), ask(), makes.get()), (0, 0, 1));
    /// ```
    #[inline]
    pub fn get_or_init(&self, guard: &Guard<'_, H>, make: impl FnOnce() -> T) -> &T {
        match self.get() {
            Some(value) => value,
            None => guard.core().make_once(&self.place, make),
        }
    }

    /// Sets the value, unless there is one.
    ///
    /// # Errors
    ///
    /// The value, if it came late.
    ///
    /// ```
    /// use gc_core::{GcOnce, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let once = guard.alloc(GcOnce::new());
    /// assert_eq!(once.set(&guard, 1), Ok(()));
    /// assert_eq!(once.set(&guard, 2), Err(2));
    /// assert_eq!(once.get().get(), Some(&1)); // the first is `Gc::get`
    /// ```
    pub fn set(&self, guard: &Guard<'_, H>, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(guard, || value.take().expect("a value is made once"));
        value.map_or(Ok(()), Err)
    }
}

/// A place for a value that is set once, and who makes it.
#[derive(Debug)]
pub struct RawOnce<T> {
    /// Held by whoever makes the value.
    lock: RawLock,
    /// Set after the value was written.
    ready: AtomicBool,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by one holder of the lock, before `ready` is set, and read by anybody
// after.
unsafe impl<T: Send + Sync> Sync for RawOnce<T> {}

impl<T> Default for RawOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> RawOnce<T> {
    /// A place that is empty.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        let (lock, ready) = (RawLock::new(), AtomicBool::new(false));
        Self { lock, ready, value: UnsafeCell::new(None) }
    }

    /// A place that is empty.
    #[cfg(loom)]
    pub fn new() -> Self {
        let (lock, ready) = (RawLock::new(), AtomicBool::new(false));
        Self { lock, ready, value: UnsafeCell::new(None) }
    }

    /// The value, if there is one yet.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Acquire: brings the value; pairs with `make`.
        if !self.ready.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: nobody writes after `ready` is set.
        self.value.with(|value| unsafe { (*value).as_ref() })
    }

    /// Makes the value, or waits in the lot for who does.
    #[cold]
    pub fn make<S: Space, W: World<S>>(
        &self,
        lot: &Lot<W::Waiter>,
        world: &W,
        make: impl FnOnce() -> T,
    ) -> &T {
        let mut late = false;
        while !self.lock.try_take(Want::Exclusive) {
            lot.wait(world, &self.lock, Want::Exclusive, late);
            late = true;
        }
        let wake = || lot.wake(world, &self.lock);
        let _turn = Turn { lock: &self.lock, wake };
        if self.get().is_none() {
            let made = make();
            // SAFETY: this task has the lock, and `ready` is not set, so nobody reads.
            self.value.with_mut(|value| unsafe { *value = Some(made) });
            // Release: publishes the value; pairs with `get`.
            self.ready.store(true, Ordering::Release);
        }
        self.get().expect("just set")
    }
}

/// The lock of a place, given back also if `make` unwinds.
struct Turn<'a, F: Fn()> {
    lock: &'a RawLock,
    wake: F,
}

impl<F: Fn()> Drop for Turn<'_, F> {
    fn drop(&mut self) {
        if self.lock.leave(Want::Exclusive) {
            (self.wake)();
        }
    }
}

impl<T, H> Default for GcOnce<T, H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, H> fmt::Debug for GcOnce<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the value, but whether there is one: a graph with cycles would never end.
        f.debug_struct("GcOnce").field("set", &self.get().is_some()).finish_non_exhaustive()
    }
}

// SAFETY: a value that is there is traced, and does not change; before it is there, there is no edge.
unsafe impl<T: Trace<H>, H: Tag> Trace<H> for GcOnce<T, H> {
    fn trace(&self, tracer: &mut Tracer) {
        if let Some(value) = self.get() {
            value.trace(tracer);
        }
    }
}

// SAFETY: the lifetime is replaced in the value by its own `Rebind`.
unsafe impl<T: Rebind, H: Tag> Rebind for GcOnce<T, H> {
    type At<'a> = GcOnce<T::At<'a>, H>;
    const EDGES: bool = T::EDGES;
}
