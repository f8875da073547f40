//! The heap of the process, and who may use which cache: `#[global_allocator]`.
//!
//! This is the only file of the crate with statics and thread-locals.
//!
//! # Bindings
//!
//! A cache serves one user at a time. A [`Binding`] says which cache the caller may use now:
//! [`ThreadBinding`] gives each thread its own from a pool; a scheduler would hand out that of the
//! processor the caller runs on, inside its entry protocol. A goroutine with its own thread-locals
//! would otherwise grow its own cache.
//!
//! # Parts
//!
//! * `words`: what is kept for each thread, and where.
//! * `thread`: the pool of caches, what happens when a thread ends.
//! * `processor`: the same for a processor of a scheduler.
//! * `emergency`: who finds no cache. A signal handler that interrupts an allocation is served from another
//!   heap, and so is a thread after its end has begun. Frees never need a cache: [`Heap::free`] takes no lock by
//!   waiting.
//! * `harden`: the heap of the process finds its users' mistakes, by a call or `ALLOC_HARDEN=1`.
//! * `fork`: the child of a threaded process finds every structure whole.

extern crate std;

mod emergency;
mod fork;
mod harden;
mod processor;
mod thread;
mod words;

use core::{
    alloc::Layout,
    fmt,
    marker::PhantomData,
    ptr::{self, NonNull},
};

use crate::{
    Cache, Error, Heap,
    harden::{Hardening, Wait},
    heap::Around,
    pages::os::Os,
    profile::Profiling,
    sync::Lock,
    undisturbed::Undisturbed,
};
pub use harden::unwind;
pub use processor::ProcessorCache;
use thread::Pool;
pub use thread::{PerThread, ThreadBinding};
pub use words::{Place, StdPlace, Words};

static HEAP: Heap<Os> = Heap::new(Os::new()).within(&AROUND);
static AROUND: Around =
    Around { free: emergency::free, give_back, held: emergency::held, rests: emergency::rests };
static POOL: Lock<Pool> = Lock::new(Pool::new());
/// The key whose destructor returns caches. Made at the first binding.
static KEY: Lock<Option<libc::pthread_key_t>> = Lock::new(None);

/// The signal mask of the thread that forks.
static FORKS_MASK: Lock<Option<libc::sigset_t>> = Lock::new(None);

/// What `SIGSEGV` did before a hardened heap asked to see it.
static FAULTS_BEFORE: Lock<Option<libc::sigaction>> = Lock::new(None);

static EMERGENCY_HEAP: Heap<Os> = Heap::new(Os::new());
static EMERGENCY: Lock<GlobalCache> = Lock::new(Cache::new(&EMERGENCY_HEAP, 1));

std::thread_local! {
    static LOCAL: Words = const { Words::new() };
}

/// The heap of the process.
///
/// Its own methods ([`stats`](Heap::stats), [`release`](Heap::release), [`set_limit`](Heap::set_limit)…) take
/// locks that allocations take too, and so keep signals off the calling thread meanwhile: a handler may
/// allocate, and a scheduler that sets tasks aside by a signal finds none that holds a lock. A handler calls none of
/// them, as it may have interrupted an allocation.
///
/// What a collector or a scheduler uses ([`managed`](crate::managed), [`stacks`](Heap::stacks)) and a cache of one's
/// own ([`Heap::cache`]) take such locks and do not: who uses them is not set aside meanwhile, nor interrupted by a
/// handler that allocates ([`undisturbed`]).
///
/// ```
/// let stats = alloc_core::global::heap().stats();
/// assert!(stats.mapped >= stats.small);
/// ```
pub fn heap() -> &'static Heap<Os> {
    &HEAP
}

/// Runs `f` while no handler of a signal interrupts the calling thread: for what takes locks that allocations take
/// too, and does not keep signals off by itself (see [`heap`]). `f` stays on its thread. Two system calls.
///
/// ```
/// use alloc_core::global;
/// let stats = global::undisturbed(|| global::heap().managed_stats());
/// assert_eq!(stats.classes, 0);
/// ```
pub fn undisturbed<R>(f: impl FnOnce() -> R) -> R {
    let _undisturbed = Undisturbed::new();
    f()
}

/// Samples the allocations of the process from now on, one in `every` bytes on average, with stacks by
/// the unwinder (see [`profile`](crate::profile)).
///
/// # Errors
///
/// As [`Heap::profile`].
///
/// ```
/// use alloc_core::global;
/// global::profile(512 << 10)?;
/// global::heap().samples(|sample| println!("{} bytes at {:x?}", sample.size, sample.frames));
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub fn profile(every: usize) -> Result<(), Error> {
    HEAP.profile(Profiling::new(harden::unwind).every(every))
}

/// What the scavenger does around the heap; `all` of it, or what was left alone for a while. Returns whether
/// something will have been, by the next time.
fn give_back(all: bool) -> bool {
    let waits = thread::empty_idle(all);
    emergency::release();
    waits
}

/// A cache of the process-wide heap.
pub type GlobalCache = Cache<'static, Os>;

/// Says which cache the caller may use.
///
/// # Safety
///
/// 1. While `f` runs nobody else gets the cache that it was given; the hand-over from the cache's last
///    user synchronises.
/// 2. A signal handler that interrupts `f` gets another cache, or none.
/// 3. Finding the cache and giving it back does not allocate from this heap with the cache taken, nor
///    unwind.
pub unsafe trait Binding {
    /// Where the words of the calling thread lie, for a caller without a cache.
    type Place: Place;

    /// Runs `f` with a cache of [`heap`]; `None`, without running it, if there is none for this caller
    /// now. `f` does not unwind.
    fn with<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R>;

    /// As [`with`](Self::with) where the caller has had a cache before; `None` else, and no call made to get one:
    /// so that the fast paths, whose `f` makes none either, need no stack frame.
    #[inline(always)]
    fn with_bound<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        Self::with(f)
    }
}

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
fn or_null(block: Result<NonNull<u8>, Error>) -> *mut u8 {
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
        // SAFETY: the caller gives the block up, and it has that layout.
        if B::with_bound(|cache| unsafe { cache.free_cached(block, layout) }) != Some(true) {
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
    /// For whoever has something to do at times, as `alloc` is about to do more: the heap grows nowhere else.
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
        B::with(|cache| unsafe { cache.free_if_known(block) }) == Some(true)
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
        if B::with(|cache| unsafe { cache.free_sized(block, layout) }).is_none() {
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
    /// As [`Heap::harden`].
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
    /// the middle of an allocation, and all that [`Heap::release`] does. Returns how many bytes.
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
