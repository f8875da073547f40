//! [`GcCell`]: an edge that changes.
//!
//! One atomic word. Loads are plain loads; everything that takes a pointer out goes through the
//! deletion barrier and therefore wants to see a guard. The cell's lifetime is that of the
//! pointers that may be put in, and it is invariant: a pointer that is good for less does not fit,
//! and a cell moved to the stack does not outlive its guard either.

use crate::{
    Plain,
    engine::{Link, Slot},
    guard::Guard,
    handle::Gc,
    heap::Tag,
    trace::{Rebind, Trace, Tracer},
};
use core::{fmt, marker::PhantomData};

type Pointer<'g, T, H> = Option<Gc<'g, T, H>>;

/// A place for a pointer that changes, shared between threads.
///
/// ```
/// use gc_core::{GcCell, Heap, Plain, Trace};
///
/// #[derive(Trace)]
/// struct Node<'g> {
///     value: u64,
///     next: GcCell<'g, Node<'g>>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let tail = guard.alloc(Node { value: 2, next: GcCell::null() });
/// let head = guard.alloc(Node { value: 1, next: GcCell::new(Some(tail)) });
/// assert_eq!(head.next.load().unwrap().value, 2);
/// tail.next.set(&guard, Some(head)); // a cycle is nothing special
/// assert!(head.next.take(&guard) == Some(tail));
/// ```
pub struct GcCell<'g, T: ?Sized, H = Plain> {
    slot: Slot,
    /// Invariant in `'g` and `T`; Send and Sync as `Gc` is.
    marker: PhantomData<Invariant<Gc<'g, T, H>>>,
}

type Invariant<T> = (T, fn(T) -> T);

impl<T: ?Sized, H> Default for GcCell<'_, T, H> {
    fn default() -> Self {
        Self::null()
    }
}

impl<T: ?Sized, H> GcCell<'_, T, H> {
    /// A cell that holds nothing.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let cell = guard.alloc(GcCell::<u64>::null());
    /// assert!(cell.load().is_none());
    /// ```
    pub fn null() -> Self {
        Self { slot: Slot::new(None), marker: PhantomData }
    }
}

impl<'g, T, H: Tag> GcCell<'g, T, H> {
    /// A cell with a first value.
    pub fn new(value: Pointer<'g, T, H>) -> Self {
        Self { slot: Slot::new(value.map(Gc::cell)), marker: PhantomData }
    }

    /// # Safety
    ///
    /// The link was read from this cell.
    #[inline(always)]
    unsafe fn typed(link: Link) -> Pointer<'g, T, H> {
        // SAFETY: the caller's: it points to a `T` of this heap. It was in the cell while a guard
        // of the lifetime `'g` was held, so that guard keeps it to the end of `'g`.
        link.map(|cell| unsafe { Gc::from_cell(cell) })
    }

    /// The pointer in the cell.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let cell = guard.alloc(GcCell::new(Some(guard.alloc(7u64))));
    /// let found = cell.load();
    /// cell.set(&guard, None);
    /// assert_eq!(found.as_deref(), Some(&7), "the guard keeps what was found");
    /// ```
    #[inline(always)]
    pub fn load(&self) -> Pointer<'g, T, H> {
        // SAFETY: just read from this cell.
        unsafe { Self::typed(self.slot.load()) }
    }

    /// Stores a pointer.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let cell = guard.alloc(GcCell::null());
    /// cell.set(&guard, Some(guard.alloc(7u64)));
    /// assert_eq!(cell.load().as_deref(), Some(&7));
    /// ```
    #[inline]
    pub fn set(&self, guard: &Guard<'_, H>, value: Pointer<'g, T, H>) {
        guard.store(&self.slot, value.map(Gc::cell));
    }

    /// Stores a pointer and returns the former one.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let (one, two) = (guard.alloc(1u64), guard.alloc(2));
    /// let cell = guard.alloc(GcCell::new(Some(one)));
    /// assert!(cell.swap(&guard, Some(two)) == Some(one));
    /// assert!(cell.load() == Some(two));
    /// ```
    #[inline]
    pub fn swap(&self, guard: &Guard<'_, H>, value: Pointer<'g, T, H>) -> Pointer<'g, T, H> {
        // SAFETY: just taken out of this cell.
        unsafe { Self::typed(guard.swap(&self.slot, value.map(Gc::cell))) }
    }

    /// Takes the pointer out and leaves nothing.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let cell = guard.alloc(GcCell::new(Some(guard.alloc(7u64))));
    /// assert_eq!(cell.take(&guard).as_deref(), Some(&7));
    /// assert!(cell.take(&guard).is_none());
    /// ```
    #[inline]
    pub fn take(&self, guard: &Guard<'_, H>) -> Pointer<'g, T, H> {
        self.swap(guard, None)
    }

    /// Replaces `current` by `new`.
    ///
    /// There is no ABA: while the caller holds a pointer to an object, its cell is not reused.
    ///
    /// # Errors
    ///
    /// What the cell holds, if that is not `current`.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let (one, two) = (guard.alloc(1u64), guard.alloc(2));
    /// let cell = guard.alloc(GcCell::null());
    /// assert!(cell.compare_exchange(&guard, None, Some(one)) == Ok(None));
    /// assert!(cell.compare_exchange(&guard, None, Some(two)) == Err(Some(one)));
    /// ```
    #[inline]
    pub fn compare_exchange(
        &self,
        guard: &Guard<'_, H>,
        current: Pointer<'g, T, H>,
        new: Pointer<'g, T, H>,
    ) -> Result<Pointer<'g, T, H>, Pointer<'g, T, H>> {
        let (current, new) = (current.map(Gc::cell), new.map(Gc::cell));
        guard
            .compare_exchange(&self.slot, current, new)
            // SAFETY: just taken out of this cell.
            .map(|link| unsafe { Self::typed(link) })
            // SAFETY: just read from this cell.
            .map_err(|link| unsafe { Self::typed(link) })
    }
}

impl<T: fmt::Debug, H: Tag> fmt::Debug for GcCell<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the target: a graph with cycles would never end.
        f.debug_tuple("GcCell").field(&self.load().map(|value| value.as_ptr())).finish()
    }
}

// SAFETY: the one edge is reported; it is of the heap with tag `H`.
unsafe impl<T: Send + Sync, H: Tag> Trace<H> for GcCell<'_, T, H> {
    #[inline]
    fn trace(&self, tracer: &mut Tracer) {
        if let Some(cell) = self.slot.load() {
            tracer.edge(cell);
        }
    }
}

// SAFETY: the lifetime is replaced here and, by its own `Rebind`, in the object.
unsafe impl<T: Rebind, H: Tag> Rebind for GcCell<'_, T, H> {
    type At<'a> = GcCell<'a, T::At<'a>, H>;
}
