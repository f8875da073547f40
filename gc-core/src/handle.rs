//! [`Gc`]: a pointer to an object, good while its guard is held.
//!
//! A `Gc<'g, T>` is a `&'g T` that may also be stored in the heap. `'g` is a borrow of a
//! [`Guard`](crate::Guard); the borrow checker, not the collector, sees to it that no `Gc` outlives
//! the guard. The third parameter is the heap's tag: pointers of one heap do not fit into slots
//! of another.

use crate::{
    Plain,
    heap::Tag,
    slice::Slice,
    space::Kind,
    trace::{Pointee, Rebind, Trace, Tracer},
};
use core::{fmt, hash, marker::PhantomData, mem, ops::Deref, ptr::NonNull};

/// A pointer to an object in the collected heap. `Copy`; derefs to the object.
///
/// Two pointers are equal if they point to the same object; compare contents by dereferencing.
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let answer = guard.alloc(42u64);
/// let same = answer;
/// assert_eq!(*answer, 42);
/// assert!(answer == same && answer != guard.alloc(42));
/// ```
///
/// As a field it is an edge that never changes, and needs no barrier.
pub struct Gc<'g, T: ?Sized, H = Plain> {
    pointer: NonNull<T>,
    marker: PhantomData<(&'g T, Invariant<H>)>,
}

type Invariant<H> = fn(H) -> H;

// SAFETY: a `Gc` shares its object, as `&T` does; the guard that keeps the object alive cannot
// end while the lifetime lasts, whichever thread uses it. `Send` of `T` is asked for as well,
// because the object's edges may be taken out of it.
unsafe impl<T: ?Sized + Send + Sync, H> Send for Gc<'_, T, H> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync, H> Sync for Gc<'_, T, H> {}

impl<T: ?Sized, H> Copy for Gc<'_, T, H> {}

impl<T: ?Sized, H> Clone for Gc<'_, T, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'g, T: ?Sized, H> Gc<'g, T, H> {
    /// The object, for as long as the guard is held (`Deref` gives it for as long as the `Gc`
    /// is borrowed).
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let text: &str = {
    ///     let word = guard.alloc(String::from("goroutine"));
    ///     word.get() // `&word` would end here
    /// };
    /// assert_eq!(text, "goroutine");
    /// ```
    #[inline(always)]
    pub fn get(self) -> &'g T {
        // SAFETY: the object stays while the guard is held, that is for `'g`, and objects are
        // only ever shared.
        unsafe { self.pointer.as_ref() }
    }

    /// A pointer to an object.
    ///
    /// # Safety
    ///
    /// As [`from_cell`](Self::from_cell), for the cell that the pointer points to the start of.
    #[inline(always)]
    pub(crate) unsafe fn from_pointer(pointer: NonNull<T>) -> Self {
        Self { pointer, marker: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn pointer(self) -> NonNull<T> {
        self.pointer
    }

    #[inline(always)]
    pub(crate) fn cell(self) -> NonNull<u8> {
        self.pointer.cast()
    }

    /// The object's address. It says nothing once the guard is gone.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let object = guard.alloc(7u64);
    /// assert_eq!(object.as_ptr(), &raw const *object, "objects do not move");
    /// ```
    pub fn as_ptr(self) -> *const T {
        self.pointer.as_ptr()
    }
}

impl<T, H> Gc<'_, T, H> {
    /// A pointer to the object in a cell.
    ///
    /// # Safety
    ///
    /// The cell is allocated, holds a `T`, belongs to the heap with tag `H`, and a guard keeps it
    /// for the lifetime chosen.
    #[inline(always)]
    pub(crate) unsafe fn from_cell(cell: NonNull<u8>) -> Self {
        Self { pointer: cell.cast(), marker: PhantomData }
    }
}

impl<T: ?Sized, H> Deref for Gc<'_, T, H> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        (*self).get()
    }
}

impl<T: ?Sized, H> PartialEq for Gc<'_, T, H> {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::addr_eq(self.as_ptr(), other.as_ptr())
    }
}

impl<T: ?Sized, H> Eq for Gc<'_, T, H> {}

impl<T: ?Sized, H> hash::Hash for Gc<'_, T, H> {
    fn hash<S: hash::Hasher>(&self, state: &mut S) {
        self.as_ptr().cast::<u8>().hash(state);
    }
}

impl<T: ?Sized + fmt::Debug, H> fmt::Debug for Gc<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

// SAFETY: the one edge is reported, and it never changes; it is of the heap with tag `H`.
unsafe impl<T: ?Sized + Send + Sync, H: Tag> Trace<H> for Gc<'_, T, H> {
    #[inline]
    fn trace(&self, tracer: &mut Tracer) {
        tracer.edge(self.cell());
    }
}

// SAFETY: the lifetime is replaced here and, by its own `Pointee`, in the object.
unsafe impl<T: ?Sized + Pointee, H: Tag> Rebind for Gc<'_, T, H> {
    type At<'a> = Gc<'a, T::At<'a>, H>;
}

/// The [`Kind`]s of objects of type `T`, alone and in slices.
pub(crate) struct KindOf<T, H>(PhantomData<(T, H)>);

impl<T: Trace<H> + Rebind, H: Tag> KindOf<T, H> {
    /// A single object.
    pub(crate) const ONE: &'static Kind = &Kind {
        name: core::any::type_name::<T>,
        align: mem::align_of::<T>(),
        trace: if T::EDGES { Some(trace_one::<T, H>) } else { None },
        drop: if mem::needs_drop::<T>() { Some(drop_one::<T>) } else { None },
    };

    /// A slice of them.
    pub(crate) const SLICE: &'static Kind = &Kind {
        name: core::any::type_name::<Slice<T>>,
        align: mem::align_of::<Slice<T>>(),
        trace: if T::EDGES { Some(trace_slice::<T, H>) } else { None },
        drop: if mem::needs_drop::<T>() { Some(drop_slice::<T>) } else { None },
    };
}

/// # Safety
///
/// The cell holds a `T`.
unsafe fn trace_one<T: Trace<H>, H: Tag>(cell: NonNull<u8>, tracer: &mut Tracer) {
    // SAFETY: the caller's.
    unsafe { cell.cast::<T>().as_ref() }.trace(tracer);
}

/// # Safety
///
/// The cell holds a `T` that nobody uses any more.
unsafe fn drop_one<T>(cell: NonNull<u8>) {
    // SAFETY: the caller's.
    unsafe { cell.cast::<T>().drop_in_place() };
}

/// # Safety
///
/// The cell holds a `Slice<T>`.
unsafe fn trace_slice<T: Trace<H>, H: Tag>(cell: NonNull<u8>, tracer: &mut Tracer) {
    // SAFETY: the caller's.
    let items = unsafe { Slice::items(cell.cast::<Slice<T>>()).as_ref() };
    tracer.items(items);
}

/// # Safety
///
/// The cell holds a `Slice<T>` that nobody uses any more.
unsafe fn drop_slice<T>(cell: NonNull<u8>) {
    // SAFETY: the caller's.
    unsafe { Slice::items(cell.cast::<Slice<T>>()).drop_in_place() };
}
