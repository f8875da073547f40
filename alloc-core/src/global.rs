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
//! # The thread's words
//!
//! ```text
//!   slot   the cache, if it is free to use; null while it is in use, or there is none
//!   held   the cache of this thread, in use or not
//! ```
//!
//! `enter` takes the pointer out of `slot`, `exit` puts it back. A signal handler that interrupts
//! the allocator finds `slot` null and gets no cache. Both are plain loads and stores with compiler
//! fences: only this thread and its handlers touch them. They are thread-locals without initialiser
//! and destructor, so they work before `main` and after all destructors of the thread.
//!
//! A key of pthread's gives the cache back when the thread ends. What the thread allocates after that,
//! and what a handler allocates in the middle of an allocation, comes from the *emergency heap*: a
//! heap of its own, one cache behind a lock. A handler that interrupts the emergency path itself
//! gets null. Frees never need a cache: [`Heap::free`] takes no lock by waiting.
//!
//! # Fork
//!
//! Handlers take all locks before a fork and release them in parent and child, so that the child's
//! one thread finds every structure whole. Caches of threads that the child does not have are lost
//! to it, with what they hold. Locks of collected spans are left out: no collector runs in a child.

extern crate std;

use core::{
    alloc::Layout,
    cell::Cell,
    fmt,
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{Ordering, compiler_fence},
};

use crate::{Cache, Error, Heap, pages::os::Os, sync::Lock};

static HEAP: Heap<Os> = Heap::new(Os::new());
static EMERGENCY_HEAP: Heap<Os> = Heap::new(Os::new());
static EMERGENCY: Lock<Cache<'static, Os>> = Lock::new(Cache::new(&EMERGENCY_HEAP, 1));
static POOL: Lock<Pool> = Lock::new(Pool { free: None, key: None });

std::thread_local! {
    static LOCAL: Local = const {
        Local {
            slot: Cell::new(ptr::null_mut()),
            held: Cell::new(ptr::null_mut()),
            state: Cell::new(State::New),
            emergency: Cell::new(false),
        }
    };
}

/// The words of a thread.
struct Local {
    slot: Cell<*mut Pooled>,
    held: Cell<*mut Pooled>,
    state: Cell<State>,
    /// The thread is inside the emergency path.
    emergency: Cell<bool>,
}

/// How far a thread's binding has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Binding,
    Bound,
    /// The cache went back to the pool, or there is none to be had: never again.
    Over,
}

/// A cache in the pool or in the hands of a thread. Never freed.
struct Pooled {
    cache: Cache<'static, Os>,
    next: Option<NonNull<Pooled>>,
}

struct Pool {
    free: Option<NonNull<Pooled>>,
    /// The key whose destructor returns caches. Made at the first binding.
    key: Option<libc::pthread_key_t>,
}

// SAFETY: pooled caches are used by whoever took them out; the pool is only touched under its lock.
unsafe impl Send for Pool {}

/// The heap of the process.
///
/// ```
/// let stats = alloc_core::global::heap().stats();
/// assert!(stats.mapped >= stats.small);
/// ```
pub fn heap() -> &'static Heap<Os> {
    &HEAP
}

/// A cache of the process-wide heap.
pub type GlobalCache = Cache<'static, Os>;

/// A cache that the caller may use until it calls [`Binding::exit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRef(NonNull<GlobalCache>);

impl CacheRef {
    /// A reference to a cache of [`heap`].
    ///
    /// # Safety
    ///
    /// The cache stays in place, and nobody else touches it, until the [`Binding::exit`] that goes
    /// with the [`Binding::enter`] that returns this.
    #[inline(always)]
    pub unsafe fn new(cache: NonNull<GlobalCache>) -> Self {
        CacheRef(cache)
    }

    /// Runs `f` with the cache.
    #[inline(always)]
    fn with<T>(self, f: impl FnOnce(&mut GlobalCache) -> T) -> T {
        // SAFETY: the promise of `new`: it is in place, and ours between enter and exit.
        f(unsafe { &mut *self.0.as_ptr() })
    }
}

/// Says which cache the caller may use.
///
/// # Safety
///
/// 1. Between an `enter` that returned a cache and the next `exit` of the same thread of execution,
///    nobody else gets that cache; the hand-over from its last user synchronises.
/// 2. A signal handler that interrupts such a section gets another cache, or none.
/// 3. Neither function allocates from this heap with the cache taken, nor unwinds.
pub unsafe trait Binding {
    /// Takes a cache. `None`: there is none for this caller now, and `exit` is not called.
    fn enter() -> Option<CacheRef>;

    /// Gives back the cache that `enter` returned.
    fn exit();
}

/// Each thread has a cache of its own, from its first allocation to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadBinding;

// SAFETY: a cache out of the pool has one thread, the pool's lock synchronises its owners (1); it
// is taken out of `slot` first, so a handler finds null (2); `bind` allocates from the heap's own
// records only, and libc's `pthread_setspecific` while there is no cache to take (3).
unsafe impl Binding for ThreadBinding {
    #[inline]
    fn enter() -> Option<CacheRef> {
        LOCAL.with(|local| {
            let Some(cache) = NonNull::new(local.slot.get()) else { return bind(local) };
            local.slot.set(ptr::null_mut());
            // The slot is empty before the cache is touched, as a handler of this thread sees it.
            compiler_fence(Ordering::SeqCst);
            Some(CacheRef(cache.cast()))
        })
    }

    #[inline]
    fn exit() {
        LOCAL.with(|local| {
            // The cache is whole before the slot says so.
            compiler_fence(Ordering::SeqCst);
            local.slot.set(local.held.get());
        });
    }
}

/// Gives the thread a cache, unless it had one already: then it is in use, below us on the stack.
#[cold]
fn bind(local: &Local) -> Option<CacheRef> {
    if local.state.get() != State::New {
        return None;
    }
    local.state.set(State::Binding);
    compiler_fence(Ordering::SeqCst);
    let Some(pooled) = take_pooled() else {
        // Not for ever: memory may come back.
        local.state.set(State::New);
        return None;
    };
    local.held.set(pooled.as_ptr());
    compiler_fence(Ordering::SeqCst);
    local.state.set(State::Bound);
    Some(CacheRef(pooled.cast()))
}

/// A cache for this thread, which the thread's end will give back.
fn take_pooled() -> Option<NonNull<Pooled>> {
    let key = key()?;
    let pooled = POOL.lock().pop().or_else(make_pooled)?;
    // SAFETY: the key was made, and is never deleted.
    let failed = unsafe { libc::pthread_setspecific(key, pooled.as_ptr().cast()) } != 0;
    if failed {
        POOL.lock().push(pooled);
        return None;
    }
    Some(pooled)
}

/// The key, made by the first caller, who also installs the fork handlers.
fn key() -> Option<libc::pthread_key_t> {
    let mut pool = POOL.lock();
    if pool.key.is_none() {
        let mut key = 0;
        // SAFETY: `key` is written by the call; the destructor fits the values stored under it.
        // The handlers keep their contract: they only take and release this crate's locks.
        unsafe {
            if libc::pthread_key_create(&mut key, Some(unbind)) != 0 {
                return None;
            }
            if libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(after_fork)) != 0 {
                libc::pthread_key_delete(key);
                return None;
            }
        }
        pool.key = Some(key);
    }
    pool.key
}

fn make_pooled() -> Option<NonNull<Pooled>> {
    let (size, align) = (size_of::<Pooled>(), align_of::<Pooled>());
    let at = HEAP.meta.alloc(HEAP.source(), size, align)?.cast::<Pooled>();
    // SAFETY: fresh memory for a record, kept for ever.
    unsafe { at.write(Pooled { cache: HEAP.cache(), next: None }) };
    Some(at)
}

impl Pool {
    fn pop(&mut self) -> Option<NonNull<Pooled>> {
        let mut pooled = self.free?;
        // SAFETY: caches in the pool are nobody else's.
        self.free = unsafe { pooled.as_mut() }.next.take();
        Some(pooled)
    }

    fn push(&mut self, mut pooled: NonNull<Pooled>) {
        // SAFETY: the caller gives the cache up.
        unsafe { pooled.as_mut() }.next = self.free.replace(pooled);
    }
}

/// The thread ends: its cache goes to the pool, empty.
unsafe extern "C" fn unbind(pooled: *mut libc::c_void) {
    let Some(mut pooled) = NonNull::new(pooled.cast::<Pooled>()) else { return };
    LOCAL.with(|local| {
        local.state.set(State::Over);
        local.slot.set(ptr::null_mut());
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the thread's own cache, not in use: pthread runs destructors on the bare thread,
        // and handlers find the slot empty from here on.
        unsafe { pooled.as_mut() }.cache.flush();
        local.held.set(ptr::null_mut());
    });
    POOL.lock().push(pooled);
}

unsafe extern "C" fn before_fork() {
    POOL.acquire();
    EMERGENCY.acquire();
    EMERGENCY_HEAP.lock_all();
    HEAP.lock_all();
}

unsafe extern "C" fn after_fork() {
    // SAFETY: `before_fork` took these locks, in this thread or in the parent's copy of it.
    unsafe {
        HEAP.unlock_all();
        EMERGENCY_HEAP.unlock_all();
        EMERGENCY.release();
        POOL.release();
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

// SAFETY: blocks are disjoint, large and aligned as asked, and stay until they are freed: the promises
// of `Cache` and `Heap`. Nothing here unwinds.
unsafe impl<B: Binding> core::alloc::GlobalAlloc for GlobalAlloc<B> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(cache) = B::enter() else { return emergency(|cache| cache.alloc(layout)) };
        let block = cache.with(|cache| cache.alloc(layout));
        B::exit();
        or_null(block)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        let Some(cache) = B::enter() else { return free_without_cache(block) };
        // SAFETY: the caller gives the block up.
        let known = cache.with(|cache| unsafe { cache.free_if_known(block) });
        B::exit();
        if !known {
            free_without_cache(block);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(cache) = B::enter() else { return emergency(|cache| cache.alloc_zeroed(layout)) };
        let block = cache.with(|cache| cache.alloc_zeroed(layout));
        B::exit();
        or_null(block)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(old) = NonNull::new(block) else { return ptr::null_mut() };
        if HEAP.contains(old)
            && let Some(cache) = B::enter()
        {
            // SAFETY: the block is one of this heap's, with that layout; the caller gives it up.
            let moved = cache.with(|cache| unsafe { cache.realloc(old, layout, new_size) });
            B::exit();
            return or_null(moved);
        }
        // SAFETY: passed on.
        unsafe { self.move_block(old, layout, new_size) }
    }
}

impl<B: Binding> GlobalAlloc<B> {
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

/// Allocates from the emergency heap; null if this thread is in the middle of that already.
#[cold]
fn emergency(alloc: impl FnOnce(&mut GlobalCache) -> Result<NonNull<u8>, Error>) -> *mut u8 {
    LOCAL.with(|local| {
        if local.emergency.replace(true) {
            return ptr::null_mut();
        }
        compiler_fence(Ordering::SeqCst);
        let block = alloc(&mut EMERGENCY.lock());
        compiler_fence(Ordering::SeqCst);
        local.emergency.set(false);
        or_null(block)
    })
}

/// Frees a block of either heap; never waits.
#[cold]
fn free_without_cache(block: NonNull<u8>) {
    let heap = if HEAP.contains(block) { &HEAP } else { &EMERGENCY_HEAP };
    // SAFETY: the caller gives up a block that one of the two heaps gave out.
    unsafe { heap.free(block) }
}
