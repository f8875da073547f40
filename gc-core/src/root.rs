//! [`Root`]: a pointer that needs no guard.
//!
//! A root owns its object together with everybody else who has a path to it, and owns a share of
//! the heap, so it may be kept in a `static`, sent away, and dropped after the last [`Heap`]
//! handle. Getting at the object takes a guard.
//!
//! [`Heap`]: crate::Heap

use crate::{
    Plain, counted::Counted, dynamic::rebound, error::AllocError, guard::Guard, handle::Gc,
    heap::Tag, inner::Core, roots::RootSlot, trace::Pointee, world::World,
};
use core::{fmt, marker::PhantomData, ptr::NonNull};

/// Keeps an object alive, from outside the heap.
///
/// ```
/// use gc_core::{GcCell, Heap, Plain, Root, Trace};
///
/// #[derive(Trace)]
/// struct Node<'g> {
///     value: u64,
///     next: GcCell<'g, Node<'g>>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let kept: Root<Node<'static>> = {
///     let guard = heap.enter();
///     guard.root(guard.alloc(Node { value: 1, next: GcCell::null() }))
/// };
/// heap.collect().unwrap();
/// let guard = heap.enter();
/// assert_eq!(kept.get(&guard).value, 1);
/// ```
pub struct Root<T: ?Sized, H: Tag = Plain> {
    /// The object: what the slot holds, with the metadata of a trait object.
    pointer: NonNull<T>,
    /// Taken out by `drop` alone.
    slot: Option<RootSlot>,
    core: Counted<Core<H>>,
    marker: PhantomData<*mut T>,
}

// SAFETY: a root gives a shared reference to its object on whatever thread has a guard; the slot
// is atomic.
unsafe impl<T: ?Sized + Send + Sync, H: Tag> Send for Root<T, H> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync, H: Tag> Sync for Root<T, H> {}

impl<T: ?Sized, H: Tag> Root<T, H> {
    /// # Safety
    ///
    /// The pointer is to an object of this heap, and a guard or another root keeps it during the call.
    pub(crate) unsafe fn new(core: &Counted<Core<H>>, pointer: NonNull<T>) -> Option<Self> {
        let slot = core.engine.roots.add(pointer.cast())?;
        Some(Self { pointer, slot: Some(slot), core: core.clone(), marker: PhantomData })
    }

    /// Another root of the same object.
    ///
    /// # Errors
    ///
    /// [`AllocError`], if there is no memory for one. `clone` panics then.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, Root};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let one: Root<u64> = heap.enter().root(heap.enter().alloc(7u64));
    /// let other = one.try_clone().unwrap();
    /// drop(one);
    /// heap.collect().unwrap();
    /// assert_eq!(*other.get(&heap.enter()), 7);
    /// ```
    pub fn try_clone(&self) -> Result<Self, AllocError<()>> {
        // SAFETY: this root keeps the object.
        unsafe { Self::new(&self.core, self.pointer) }.ok_or(AllocError::new(()))
    }

    /// The object, for as long as the guard is held.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, Root};
    /// use std::thread;
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let root: Root<u64> = heap.enter().root(heap.enter().alloc(7u64));
    /// let elsewhere = heap.clone();
    /// let seen = thread::spawn(move || *root.get(&elsewhere.enter())).join();
    /// assert_eq!(seen.unwrap(), 7);
    /// ```
    #[inline]
    pub fn get<'g>(&self, _guard: &'g Guard<'_, H>) -> Gc<'g, T::At<'g>, H>
    where
        T: Pointee,
    {
        // SAFETY: the guard is of this heap: it has the tag, and both keep the tag's one heap
        // alive. The object is there now, because the root is; so the guard keeps it.
        unsafe { Gc::from_pointer(rebound(self.pointer)) }
    }
}

impl<T: ?Sized, H: Tag> Clone for Root<T, H> {
    fn clone(&self) -> Self {
        self.try_clone().unwrap_or_else(|refused| refused.panic())
    }
}

impl<T: ?Sized, H: Tag> Drop for Root<T, H> {
    fn drop(&mut self) {
        let Some(root) = self.slot.take() else { return };
        let core = &self.core;
        if core.join().is_err() {
            // The slot stays as it is: nobody can say that it is to be emptied.
            return;
        }
        let clear = || {
            core.operate(|operation| {
                // SAFETY: the slot is ours, in a table that lives.
                unsafe { core.engine.clear_root(operation, root.slot(), || core.world.light()) }
            })
        };
        while clear().is_err() {
            if !core.extend_log() {
                core.operate(|operation| {
                    let light = || core.world.light();
                    // SAFETY: as above.
                    unsafe { core.engine.clear_root_unlogged(operation, root.slot(), light) }
                });
                break;
            }
        }
        // SAFETY: the slot is of this heap's table, and was just emptied.
        unsafe { core.engine.roots.recycle(root) };
    }
}

impl<T: ?Sized, H: Tag> fmt::Debug for Root<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.pointer).finish()
    }
}
