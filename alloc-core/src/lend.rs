//! The place of a thread's cache, out of which the thread takes it for each call, and the scavenger when
//! the thread lets it lie.
//!
//! # Problem
//!
//! A cache belongs to its thread, which reaches it without a lock or an atomic read-modify-write. A thread
//! that does nothing for a second, or for ever, keeps what lies in it: up to 128 KiB of cells of each
//! size, two megabytes more in all, and the spans around them. Only somebody else can give that back, and nobody else
//! may touch it.
//!
//! # Algorithm
//!
//! ```text
//!   thread                                  scavenger, one at a time
//!     T1  place = null                        S1  mask = 0
//!     T2  light fence                         S2  heavy fence
//!     T3  read mask: 0 → place = cache,       S3  read place: null → the thread is using it
//!         go without                              else the cache is ours
//!     …   uses the cache                      …   empties it
//!     T4  place = cache                       S4  mask = all ones
//! ```
//!
//! Either T2 comes before S2, and then S3 sees T1 (or a later T4, after the use); or S2 does, and then T3
//! sees S1. So never do both have it. A thread that finds its cache asked for does not wait: it is served as a
//! signal handler is that interrupts an allocation (see `global/emergency.rs`), for the microseconds until
//! S4.
//!
//! # Cost
//!
//! For the thread a load: it has to test whether there is a cache in any case, and tests place *and* mask at
//! once. (With a test of its own, a pair of malloc and free took 2.6 ns in place of 2.4.) Its fence is the compiler's where Linux has `membarrier`, which is the scavenger's. Without that
//! caches are not lent.
//!
//! # Orderings
//!
//! T4 releases what the thread did to the cache, S3 acquires it; S4 releases what the scavenger did, T3
//! acquires it. Model: `loom-tests/tests/alloc_lend.rs`.
//!
//! # Rejected
//!
//! * *A number of the scavenger's step that the cache reads on its slow paths*: a thread that sleeps takes
//!   none, and a thread that takes some has cells that move.
//! * *A compare-and-swap to take the cache*: 5 ns for each malloc and each free.
//! * *A signal to the thread*: system calls of the program end with `EINTR`.

use core::{fmt, ptr, ptr::NonNull};

use crate::sync::{AtomicPtr, AtomicUsize, Ordering, const_fn};

/// Where a thread's cache is while nobody uses it. All zeros is a place without a cache.
pub struct Berth<T> {
    place: AtomicPtr<T>,
    /// All ones while the thread may take its cache, else zero.
    mask: AtomicUsize,
}

impl<T> fmt::Debug for Berth<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}

impl<T> Berth<T> {
    const_fn! {
        /// Without a cache, and not open.
        #[allow(clippy::new_without_default, reason = "it is made in constants")]
        pub fn new() -> Self {
            Berth { place: AtomicPtr::new(ptr::null_mut()), mask: AtomicUsize::new(0) }
        }
    }

    /// The cache that lies here. For the thread, and its handlers.
    pub fn cache(&self) -> Option<NonNull<T>> {
        // Relaxed: the thread's own word.
        NonNull::new(self.place.load(Ordering::Relaxed))
    }

    /// The thread takes its cache; `None` if there is none, if the thread is using it, or if somebody
    /// else has it now.
    #[inline(always)]
    pub fn enter(&self) -> Option<NonNull<T>> {
        // Relaxed: the thread's own word. The fence orders the store before the reading of `mask`.
        let cache = self.place.load(Ordering::Relaxed);
        self.place.store(ptr::null_mut(), Ordering::Relaxed);
        light_fence();
        // Acquire: pairs with the Release in `open`: what was done to the cache meanwhile is seen.
        let mask = self.mask.load(Ordering::Acquire);
        if cache.addr() & mask == 0 {
            return self.refuse(cache);
        }
        // The pointer itself, not what the mask left of it: it is put back and read by the next call, and
        // what lies on that way is waited for.
        // SAFETY: some of its bits are ones.
        Some(unsafe { NonNull::new_unchecked(cache) })
    }

    #[cold]
    fn refuse(&self, cache: *mut T) -> Option<NonNull<T>> {
        self.exit(NonNull::new(cache)?);
        None
    }

    /// The thread puts its cache here, and may have used it.
    #[inline(always)]
    pub fn exit(&self, cache: NonNull<T>) {
        // Release: what the thread did to the cache comes first, also for a handler; pairs with the
        // Acquire in `lent`.
        self.place.store(cache.as_ptr(), Ordering::Release);
    }

    /// The thread takes the cache away from here, asked or not. If others lend, it has to wait for them
    /// before it touches the cache.
    pub fn leave(&self) -> *mut T {
        let cache = self.place.load(Ordering::Relaxed);
        // Relaxed: as in `enter`.
        self.place.store(ptr::null_mut(), Ordering::Relaxed);
        light_fence();
        cache
    }

    /// Somebody else would like to have the cache. After [`heavy_fence`] said `true`, [`Berth::lent`]
    /// tells whether it has it; [`Berth::open`] ends it in any case.
    pub fn ask(&self) {
        // Relaxed: the heavy fence orders it before the look at the place.
        self.mask.store(0, Ordering::Relaxed);
    }

    /// Whether somebody has asked and not opened again. For who may ask.
    pub fn is_asked(&self) -> bool {
        // Relaxed: written by who may ask alone, one at a time.
        self.mask.load(Ordering::Relaxed) == 0
    }

    /// The cache, for whoever has asked, until [`Berth::open`]; `None` if its thread is using it.
    pub fn lent(&self) -> Option<NonNull<T>> {
        // Acquire: pairs with the Release in `exit`.
        NonNull::new(self.place.load(Ordering::Acquire))
    }

    /// The thread may take its cache from now on: whoever asked does not touch it any more. For who may
    /// ask, one at a time.
    pub fn open(&self) {
        // Release: pairs with the Acquire in `enter`.
        self.mask.store(usize::MAX, Ordering::Release);
    }
}

/// The thread's side of the store→load handshake.
#[inline(always)]
pub(crate) fn light_fence() {
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// The other side: every thread of the process has passed a full fence since the call began. `false` if
/// the kernel cannot do that.
#[cfg(not(loom))]
pub fn heavy_fence() -> bool {
    const REGISTER: libc::c_int = 1 << 4;
    const ALL: libc::c_int = 1 << 3;
    let call = |command: libc::c_int| {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
        crate::errno::kept(|| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 })
    };
    // The first call of a process has to register it, and the kernel says so.
    call(ALL) || (call(REGISTER) && call(ALL))
}

/// In a model the fence of both sides is the same.
#[cfg(loom)]
pub fn heavy_fence() -> bool {
    loom::sync::atomic::fence(Ordering::SeqCst);
    true
}
