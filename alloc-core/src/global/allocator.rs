//! [`GlobalAlloc`]: what the allocator's trait and `malloc` ask for, of the caller's cache or of whoever stands in
//! for it.

use core::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    ptr::{self, NonNull},
};

use super::{Binding, HEAP, emergency, harden};
use crate::{
    Cache, Error,
    harden::{Hardening, Wait},
    size_class::MAX_SMALL,
    undisturbed::Undisturbed,
};

/// A `#[global_allocator]` over the heap of the process, with caches by the binding `B`.
///
/// ```
/// use alloc_core::global::{GlobalAlloc, ThreadBinding};
///
/// #[global_allocator]
/// static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();
///
/// let squares: Vec<u64> = (0..1000).map(|n| n * n).collect();
/// assert_eq!(squares[999], 998_001);
/// assert!(alloc_core::global::heap().stats().small > 0);
/// ```
pub struct GlobalAlloc<B>(PhantomData<fn(B)>);

impl<B> GlobalAlloc<B> {
    /// The allocator; it has no state of its own.
    pub const fn new() -> Self {
        GlobalAlloc(PhantomData)
    }
}

impl<B> Default for GlobalAlloc<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B> fmt::Debug for GlobalAlloc<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GlobalAlloc")
    }
}

/// What the allocator trait wants: null for an error.
#[inline(always)]
pub(super) fn or_null(block: Result<NonNull<u8>, Error>) -> *mut u8 {
    block.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// Frees a block of this process; `false`, and a report if the heap is hardened, if there is no such.
///
/// # Safety
///
/// The caller gives the block up, if it is one of ours.
#[cold]
#[inline(never)]
unsafe fn free_without_cache(block: NonNull<u8>) -> bool {
    // See `emergency`.
    let _undisturbed = Undisturbed::new();
    // SAFETY: promised by the caller.
    let known = unsafe { emergency::free(block) };
    if !known && HEAP.hardened().is_some() {
        HEAP.free_odd(None, block, Wait::Never);
    }
    known
}

// SAFETY: blocks are disjoint, large and aligned as asked, and stay until they are freed: the promises
// of `Cache` and `Heap`. Nothing here unwinds.
unsafe impl<B: Binding> core::alloc::GlobalAlloc for GlobalAlloc<B> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.alloc_cached(layout) {
            Some(cell) => cell.as_ptr(),
            None => self.alloc_slow(layout),
        }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the contract of `dealloc`: it is a block, which is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // As in `alloc_cached`.
        let cached = layout.size() <= MAX_SMALL
            // SAFETY: the caller gives the block up, and it has that layout.
            && B::with_bound(|cache| unsafe { cache.free_cached(block, layout) }) == Some(true);
        if !cached {
            // SAFETY: as above; it was not freed yet.
            unsafe { self.dealloc_slow(block, layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match B::with(|cache| or_null(cache.alloc_zeroed(layout))) {
            Some(block) => block,
            None => emergency::alloc::<B::Place>(move |cache| cache.alloc_zeroed(layout)),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(old) = NonNull::new(block) else { return ptr::null_mut() };
        // SAFETY: the block has that layout, and the caller gives it up.
        match B::with(|cache| unsafe { cache.realloc_if_known(old, layout, new_size) }).flatten() {
            Some(moved) => or_null(moved),
            // SAFETY: passed on.
            None => unsafe { self.move_block(old, layout, new_size) },
        }
    }
}

impl<B: Binding> GlobalAlloc<B> {
    /// A block for `layout` that the caller's cache has at hand; `None` if `alloc` has to be asked.
    ///
    /// For whoever has something to do at times, as `alloc` is about to do more: it grows the heap only then.
    ///
    /// ```
    /// use alloc_core::global::{GlobalAlloc, ThreadBinding};
    /// use std::alloc::{GlobalAlloc as _, Layout};
    ///
    /// let (allocator, layout) = (GlobalAlloc::<ThreadBinding>::new(), Layout::new::<u64>());
    /// // SAFETY: of a size that is not zero, and freed once, with its layout.
    /// unsafe { allocator.dealloc(allocator.alloc(layout), layout) };
    /// let block = allocator.alloc_cached(layout).expect("the one that was just freed");
    /// // SAFETY: as above.
    /// unsafe { allocator.dealloc(block.as_ptr(), layout) };
    /// ```
    #[inline(always)]
    pub fn alloc_cached(&self, layout: Layout) -> Option<NonNull<u8>> {
        // No magazine has such. Asked out here: a large block enters the cache once, and the way of small ones is no
        // longer for it.
        if layout.size() > MAX_SMALL {
            return None;
        }
        B::with_bound(|cache| cache.alloc_cached(layout))?
    }

    /// Frees a block of unknown size; `false`, and nothing done, if it was never given out here.
    ///
    /// # Safety
    ///
    /// If the block is one of this allocator's, the caller gives it up.
    #[inline(always)]
    pub unsafe fn free(&self, block: NonNull<u8>) -> bool {
        // SAFETY: the caller gives the block up, if it is one of ours; what was not freed there is freed here.
        unsafe { self.free_cached(block) || self.free_slow(block) }
    }

    /// Frees a block of unknown size if the caller's cache takes it at once; `false`, and nothing done, if
    /// [`free`](Self::free) has to be asked. As [`alloc_cached`](Self::alloc_cached), for whoever wants no stack frame.
    ///
    /// ```
    /// use alloc_core::global::{GlobalAlloc, ThreadBinding};
    /// use std::{alloc::{GlobalAlloc as _, Layout}, ptr::NonNull};
    ///
    /// let (allocator, layout) = (GlobalAlloc::<ThreadBinding>::new(), Layout::new::<u64>());
    /// // SAFETY: of a size that is not zero, and freed once.
    /// unsafe {
    ///     let block = NonNull::new(allocator.alloc(layout)).unwrap();
    ///     assert!(allocator.free_cached(block) || allocator.free(block));
    /// }
    /// ```
    ///
    /// # Safety
    ///
    /// As [`free`](Self::free).
    #[inline(always)]
    pub unsafe fn free_cached(&self, block: NonNull<u8>) -> bool {
        // SAFETY: the caller gives the block up, if it is one of ours.
        B::with_bound(|cache| unsafe { cache.free_found(&HEAP, block) }) == Some(true)
    }

    /// What [`free`](Self::free) does where no magazine takes the block.
    ///
    /// # Safety
    ///
    /// As [`free`](Self::free).
    #[cold]
    #[inline(never)]
    unsafe fn free_slow(&self, block: NonNull<u8>) -> bool {
        // SAFETY: the caller gives the block up, if it is one of ours.
        B::with_to_free(|cache| unsafe { cache.free_if_known(block) }) == Some(true)
            // SAFETY: as above.
            || unsafe { free_without_cache(block) }
    }

    /// What `alloc` does where no magazine has a cell.
    #[cold]
    #[inline(never)]
    fn alloc_slow(&self, layout: Layout) -> *mut u8 {
        match B::with(|cache| or_null(cache.alloc(layout))) {
            Some(block) => block,
            None => emergency::alloc::<B::Place>(move |cache| cache.alloc(layout)),
        }
    }

    /// What `dealloc` does where no magazine takes the block.
    ///
    /// # Safety
    ///
    /// As `dealloc` of the trait.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_slow(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller gives the block up, and it has that layout.
        if B::with_to_free(|cache| unsafe { cache.free_sized(block, layout) }).is_none() {
            // SAFETY: as above.
            let known = unsafe { free_without_cache(block) };
            debug_assert!(
                known || HEAP.hardened().is_some(),
                "free of {block:p}, which is not a block of this process's heap"
            );
        }
    }

    /// Hardens the heap of the process: from now on it names its users' mistakes.
    ///
    /// Best called first in `main`: what was allocated before is not covered. `ALLOC_HARDEN=1` in the
    /// environment covers everything, without a call. Faults of overflows are named by a handler of
    /// `SIGSEGV`, unless the program installs another one later.
    ///
    /// # Errors
    ///
    /// As [`Heap::harden`](crate::Heap::harden).
    ///
    /// ```no_run
    /// use alloc_core::{global::{GlobalAlloc, ThreadBinding}, harden::Hardening};
    ///
    /// #[global_allocator]
    /// static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();
    ///
    /// fn main() {
    ///     ALLOCATOR.harden(Hardening::new()).expect("room for the records");
    ///     let block = Box::into_raw(Box::new(1));
    ///     // SAFETY: none: the second free is a mistake, and ends the process.
    ///     unsafe {
    ///         drop(Box::from_raw(block));
    ///         drop(Box::from_raw(block));
    ///     }
    /// }
    /// ```
    pub fn harden(&self, hardening: Hardening) -> Result<(), Error> {
        HEAP.harden(harden::complete(hardening))?;
        let _ = B::with(Cache::flush);
        Ok(())
    }

    /// Gives back to the system what nobody uses: the caller's cache, those of threads that are not in
    /// the middle of an allocation, and all that [`Heap::release`](crate::Heap::release) does. Returns how many bytes.
    ///
    /// Takes time proportional to what is free, 0.1 s for some hundred megabytes in small pieces.
    ///
    /// ```
    /// use alloc_core::global::{GlobalAlloc, ThreadBinding};
    ///
    /// #[global_allocator]
    /// static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();
    ///
    /// drop((0..100_000).map(|n| n.to_string()).collect::<Vec<_>>());
    /// assert!(ALLOCATOR.release() > 1 << 20);
    /// ```
    pub fn release(&self) -> usize {
        B::with(Cache::release).unwrap_or_else(|| HEAP.release())
    }

    /// The bytes that a block may use; `None` if it is not one of this allocator's.
    ///
    /// ```
    /// use alloc_core::global::{GlobalAlloc, ThreadBinding};
    /// use std::{alloc::{GlobalAlloc as _, Layout}, ptr::NonNull};
    ///
    /// let allocator = GlobalAlloc::<ThreadBinding>::new();
    /// let layout = Layout::new::<[u8; 100]>();
    /// // SAFETY: of a size that is not zero; freed once.
    /// let block = NonNull::new(unsafe { allocator.alloc(layout) }).unwrap();
    /// assert_eq!(allocator.usable_size(block), Some(112));
    /// assert!(unsafe { allocator.free(block) });
    /// ```
    pub fn usable_size(&self, block: NonNull<u8>) -> Option<usize> {
        emergency::heap_of(block)?.usable_size(block)
    }

    /// Resizes by copying.
    ///
    /// # Safety
    ///
    /// As `realloc` of the trait.
    #[cold]
    unsafe fn move_block(&self, old: NonNull<u8>, layout: Layout, new_size: usize) -> *mut u8 {
        use core::alloc::GlobalAlloc as _;
        let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        // SAFETY: both blocks are live, distinct and large enough; the old one is given up.
        unsafe {
            let new = self.alloc(wanted);
            if !new.is_null() {
                ptr::copy_nonoverlapping(old.as_ptr(), new, layout.size().min(new_size));
                self.dealloc(old.as_ptr(), layout);
            }
            new
        }
    }
}
