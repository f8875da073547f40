//! [`Alloc`]: the allocator that knows Ps.
//!
//! # Problem
//!
//! alloc-core's caches have one user at a time. With a cache per thread, found by a thread-local,
//! each goroutine would grow its own, as thread-locals are per goroutine here; with one per M, two
//! goroutines could meet in it, as they migrate in the middle of an allocation. So caches belong to
//! Ps, and an allocation is an entry into the runtime: while it lasts the P cannot be taken away, and
//! the goroutine is not preempted.
//!
//! # Algorithm
//!
//! ```text
//! enter the runtime; a P here?   its cache, if it is free to use; leave the runtime
//!                    no P:       leave the runtime; the cache of the thread (alloc-core's own pool)
//! ```
//!
//! A signal handler that allocates in between finds the cache in use and is told that there is none:
//! alloc-core then serves it from its emergency heap. So is who comes back to a P whose cache the scavenger is
//! just emptying, since nothing allocated there for a while. A handler that forks is told too ([`Around`]): it must
//! not wait for the heap's locks.
//!
//! The collector takes locks of the heap by other ways than an allocation. It does so with the cache in use
//! ([`with_locks`]), and handlers that interrupt it fare as above.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use alloc_core::global::{self, Binding, GlobalCache, PerThread, Place, StdPlace, Words};
use sched_core::{entry, tls};

use super::proc::ProcLocal;
use crate::current;

/// Go's allocator as Rust's global one, for programs with a [`Runtime`](crate::Runtime).
///
/// Each P has a cache from which its goroutines allocate without a lock. Threads without a P have one
/// each.
///
/// ```
/// #[global_allocator]
/// static ALLOC: runtime::Alloc = runtime::Alloc::new();
///
/// let rt = runtime::Runtime::new().unwrap();
/// let text = rt.run(|| (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(" "));
/// assert_eq!(text.len(), 289);
/// ```
#[derive(Debug, Default)]
pub struct Alloc {
    heap: global::GlobalAlloc<ProcBinding>,
}

impl Alloc {
    /// The allocator; it has no state of its own.
    ///
    /// ```
    /// static ALLOC: runtime::Alloc = runtime::Alloc::new();
    /// println!("{ALLOC:?}");
    /// ```
    pub const fn new() -> Self {
        Alloc { heap: global::GlobalAlloc::new() }
    }

    /// Gives back to the system what nobody uses, what lies in the caches of Ps and threads included that are not
    /// in the middle of an allocation; returns how many bytes.
    ///
    /// The caller keeps its P meanwhile: 0.1 s for some hundred megabytes in small pieces.
    ///
    /// ```
    /// #[global_allocator]
    /// static ALLOC: runtime::Alloc = runtime::Alloc::new();
    ///
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.run(|| {
    ///     drop((0..100_000).map(|n| n.to_string()).collect::<Vec<_>>());
    ///     assert!(ALLOC.release() > 1 << 20);
    /// });
    /// ```
    pub fn release(&self) -> usize {
        self.heap.release()
    }
}

// SAFETY: passed on to alloc-core's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Alloc {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.alloc(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.realloc(block, layout, size) }
    }
}

/// The cache of the P that the caller holds; of the thread, without one.
#[derive(Debug)]
pub(crate) struct ProcBinding;

// SAFETY: 1. the P's cache is used by who holds the P, who keeps it while the runtime is entered; the hand-over of a
// P synchronises. 2. a handler finds the record occupied and gets no cache. 3. neither entering nor the record
// allocates. Without a P: as `PerThread`.
unsafe impl Binding for ProcBinding {
    type Place = Around;

    #[inline(always)]
    fn with<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        note_use();
        let entered = entry::enter();
        let Some(local) = ProcLocal::here(&entered) else {
            drop(entered);
            return PerThread::<Around>::with(f);
        };
        // SAFETY: who holds the P is its cache's only user, until the entry ends: see above.
        unsafe { local.cache().with(f) }
    }

    #[inline(always)]
    fn with_to_free<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        note_use();
        let entered = entry::enter();
        let Some(local) = ProcLocal::here(&entered) else {
            drop(entered);
            return PerThread::<Around>::with_to_free(f);
        };
        // SAFETY: as in `with`.
        unsafe { local.cache().with(f) }
    }

    #[inline(always)]
    fn with_bound<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let entered = entry::try_enter()?;
        let Some(local) = ProcLocal::here(&entered) else {
            drop(entered);
            return PerThread::<Around>::with_bound(f);
        };
        // SAFETY: as in `with`.
        unsafe { local.cache().with_bound(f) }
    }
}

/// The words of a thread or a goroutine, where std keeps such; and the cache of its P.
#[derive(Debug)]
pub(crate) struct Around;

// SAFETY: 1. and 2. those of `StdPlace`; to look at a P's record allocates nothing.
unsafe impl Place for Around {
    #[inline(always)]
    fn with<R>(f: impl FnOnce(&Words) -> R) -> R {
        StdPlace::with(f)
    }

    fn is_amid() -> bool {
        // Who was interrupted outside used no P's cache; and to enter there might mean to wait.
        tls::with_words(tls::Words::is_inside)
            && ProcLocal::here(&entry::enter()).is_some_and(|local| local.cache().is_in_use())
    }
}

/// Runs `f`, which takes locks of the process's heap without an allocation: inside the runtime, and so that handlers
/// of signals do not wait for those locks.
///
/// The caller's cache is in use meanwhile. Where there is none, or the scavenger has it, signals are off.
#[inline]
pub(super) fn with_locks<R>(f: impl FnOnce() -> R) -> R {
    let inside = entry::enter();
    let (mut f, mut result) = (Some(f), None);
    let run = |_: &mut GlobalCache| result = f.take().map(|f| f());
    let _ = match ProcLocal::here(&inside) {
        // SAFETY: as in `ProcBinding::with`.
        Some(local) => unsafe { local.cache().with(run) },
        None => PerThread::<Around>::with_bound(run),
    };
    match result {
        Some(result) => result,
        None => global::undisturbed(f.expect("it did not run")),
    }
}

/// Notes that an allocation came this way: each but those that a cache serves at once.
#[inline]
fn note_use() {
    // Relaxed, both: one flag that is only ever set; `is_foreign` asks on a thread that set it.
    if !current::ALLOC_IS_OURS.load(Ordering::Relaxed) {
        current::ALLOC_IS_OURS.store(true, Ordering::Relaxed);
    }
}

/// Whether the global allocator is alloc-core, but not through [`Alloc`]: makes one allocation and
/// looks where it came from.
pub(crate) fn is_foreign() -> bool {
    // Of zeros, as no cache serves that without `note_use`.
    let probe: Box<[u64]> = vec![0; 1].into();
    let from_core = global::heap().contains(NonNull::from(&probe[..]).cast());
    // Relaxed: this thread has just been through `note_use`, if anyone has.
    from_core && !current::ALLOC_IS_OURS.load(Ordering::Relaxed)
}
