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
//! * `allocator`: the trait's functions, and what `malloc` needs beside them.
//! * `words`: what is kept for each thread, and where.
//! * `thread`: the pool of caches, what happens when a thread ends.
//! * `processor`: the same for a processor of a scheduler.
//! * `emergency`: who finds no cache. A signal handler that interrupts an allocation is served from another
//!   heap, and so is a thread after its end has begun. Frees never need a cache: [`Heap::free`] takes no lock by
//!   waiting.
//! * `harden`: the heap of the process finds its users' mistakes, by a call or `ALLOC_HARDEN=1`.
//! * `fork`: the child of a threaded process finds every structure whole.

extern crate std;

mod allocator;
mod emergency;
mod fork;
mod harden;
mod processor;
mod thread;
mod words;

use crate::{
    Cache, Error, Heap,
    heap::Around,
    pages::os::Os,
    profile::Profiling,
    sync::{AtomicUsize, Lock},
    undisturbed::Undisturbed,
};
pub use allocator::GlobalAlloc;
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
/// Bytes that the emergency heap has at most; written with its cache's lock held.
static EMERGENCY_HELD: AtomicUsize = AtomicUsize::new(0);

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

    /// As [`with`](Self::with), for an `f` that only frees: `None` also where a cache would come too late, as the caller
    /// may be at its end.
    #[inline(always)]
    fn with_to_free<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        Self::with(f)
    }

    /// As [`with`](Self::with) where the caller has had a cache before; `None` else, and no call made to get one:
    /// so that the fast paths, whose `f` makes none either, need no stack frame.
    #[inline(always)]
    fn with_bound<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        Self::with(f)
    }
}
