//! A cache for each thread: from a pool at its first allocation, back to it at its end. It is found through the
//! thread's [`words`](super::words).
//!
//! # A thread that does nothing
//!
//! Its cache would keep what lies in it for ever. So the scavenger has it for a moment ([`lend`](crate::lend))
//! and empties it ([`empty_idle`]). It holds the pool's lock meanwhile: caches neither come nor go, and no
//! thread forks.
//!
//! *Only a thread that did nothing since the step before is asked*: `turns`, which the thread counts, tells it
//! beforehand. To ask everybody and look afterwards costs nothing more on an idle machine; on a busy one the
//! scavenger may lose its processor between question and answer, and a thread that is filling memory is
//! served by the emergency heap for that time: tens of megabytes were seen there.
//!
//! # The end of a thread
//!
//! A key of pthread's gives the cache back. Destructors of other keys may allocate, in any order, and
//! may make themselves run again, for four rounds. So ours asks to be called again in each of the
//! first three and acts in the last. What is allocated after that comes from the emergency heap. No handler
//! interrupts it: one that forks would wait for the locks that it has, which no cache in use tells of.
//!
//! *Who allocates for the first time in a destructor* comes in some round, and libc does not tell in which: of the
//! calls that ours asks for, the last may never come. So at its first call the pool forgets the thread's words, and
//! scavenger and forks leave the cache alone. If the last call does not come, the cache is lost without harm.
//!
//! *Not covered* is a first allocation in the fourth round, behind our destructor, which is not called any more: the
//! pool knows words then that go with the thread. It takes a thread that never allocated, and a destructor that has
//! asked for its fourth call to do so (docs/decisions/0046).
//!
//! # A thread that only frees
//!
//! *A cache that is bound after the last destructor never comes back*, and the words that the pool knows it by are
//! unmapped. Libc allocates nothing so late, but it frees: the thread's own table of thread-locals, and those of
//! threads whose stacks it has kept. In a preloaded library these frees come here, in a thread that may never have
//! been here before. So the pool learns of a thread's words by an allocation only:
//!
//! ```text
//!             an allocation
//!    New ─────────────────────────────────────▶ Bound        the pool knows the words: scavenger and forks look at them
//!     │ many frees              an allocation     ▲
//!     └────────────▶ Freeing ─────────────────────┘          a cache that only its thread knows
//! ```
//!
//! Who only frees does so without a cache at first, by marks, then with one that nobody asks for. At the thread's end
//! that comes back as others do. After the last destructor a few frees bind none, and what many bind is lost without
//! harm. The price: a thread that never allocates keeps its cache while it does nothing, and a child of a fork loses
//! it.

use core::{
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{Ordering, compiler_fence},
};

use super::{
    Binding, GlobalCache, HEAP, KEY, POOL, fork,
    words::{Place, State, StdPlace, Words},
};
use crate::{cache_pool, lend::heavy_fence, undisturbed::Undisturbed};

/// A cache in the pool or in the hands of the thread with these words.
pub(super) type Pooled = cache_pool::Pooled<GlobalCache, Words>;

/// All caches of threads.
pub(super) type Pool = cache_pool::Pool<GlobalCache, Words>;

/// A record of a new cache, in memory that is kept for ever.
pub(super) fn make() -> Option<NonNull<Pooled>> {
    let (size, align) = (size_of::<Pooled>(), align_of::<Pooled>());
    let at = HEAP.meta.alloc(HEAP.source(), size, align)?.cast::<Pooled>();
    // SAFETY: fresh memory for a record.
    unsafe { at.write(Pooled::new(HEAP.cache())) };
    Some(at)
}

/// In the child of a fork: takes back the caches of the threads that it does not have.
///
/// # Safety
///
/// The caller is the only thread, the child's, with the words `own`; no lock of the heap is held.
pub(super) unsafe fn adopt_orphans(own: &Words) {
    // The child sees of each thread what it had written up to some moment, so a full slot means a
    // whole cache.
    let is_whole = |pooled: NonNull<Pooled>| {
        // SAFETY: libc keeps the stacks and thread-locals of the lost threads mapped until something
        // reuses them, and nothing of this process ran since the fork.
        unsafe { (*Pooled::owner(pooled)).slot.cache() == Some(pooled) }
    };
    let stays = |words: &Words| words.state.get() == State::Processor;
    // SAFETY: promised by the caller.
    unsafe { POOL.lock().adopt_orphans(own, is_whole, stays, GlobalCache::flush) }
}

/// Each thread has a cache of its own, from its first allocation to its end; its words lie in `P`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PerThread<P>(PhantomData<fn(P)>);

/// [`PerThread`] with the words in a thread-local of std's.
pub type ThreadBinding = PerThread<StdPlace>;

// SAFETY: a cache out of the pool has one thread, the pool's lock synchronises its owners (1); it
// is taken out of `slot` first, so a handler finds null (2); `bind` allocates from the heap's own
// records only, and libc's functions while there is no cache to take (3).
unsafe impl<P: Place> Binding for PerThread<P> {
    type Place = P;

    #[inline(always)]
    fn with<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let words = words::<P>();
        // From here on a handler of this thread finds no cache.
        let pooled = match words.slot.enter() {
            Some(pooled) => pooled,
            None => bind::<P>(words, State::Bound)?,
        };
        if words.state.get() == State::Freeing {
            make_known(words, pooled);
        }
        words.count_turn();
        // SAFETY: the cache is this thread's and was in the slot, or was just bound to it.
        Some(unsafe { use_cache(words, pooled, f) })
    }

    #[inline(always)]
    fn with_to_free<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let words = words::<P>();
        let pooled = match words.slot.enter() {
            Some(pooled) => pooled,
            None if words.count_free() => bind::<P>(words, State::Freeing)?,
            None => return None,
        };
        words.count_turn();
        // SAFETY: as in `with`.
        Some(unsafe { use_cache(words, pooled, f) })
    }

    #[inline(always)]
    fn with_bound<R>(f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let words = words::<P>();
        let pooled = words.slot.enter()?;
        // SAFETY: the cache is this thread's and was in the slot.
        Some(unsafe { use_cache(words, pooled, f) })
    }
}

/// The words of this thread.
#[inline(always)]
fn words<'a, P: Place>() -> &'a Words {
    // A closure that uses the cache would be a function of its own, called by std's; so only the address
    // comes from there. SAFETY: the promise of `Place`: in place until the thread has ended.
    unsafe { &*P::with(ptr::from_ref) }
}

/// Runs `f` with the cache, and puts that into the slot.
///
/// # Safety
///
/// The cache is the thread's with these words and out of the slot: handlers do not find it, nobody uses
/// it, and the scavenger has not got it.
#[inline(always)]
pub(super) unsafe fn use_cache<R>(
    words: &Words,
    pooled: NonNull<Pooled>,
    f: impl FnOnce(&mut GlobalCache) -> R,
) -> R {
    // SAFETY: promised by the caller.
    let result = f(unsafe { &mut *Pooled::cache(pooled) });
    words.slot.exit(pooled);
    result
}

/// Gives the thread a cache, and makes it one that is [`Bound`](State::Bound), or [`Freeing`](State::Freeing); unless
/// it had one already: then it is in use, below us on the stack.
#[cold]
#[inline(never)]
fn bind<P: Place>(words: &Words, becomes: State) -> Option<NonNull<Pooled>> {
    if words.state.get() != State::New {
        return None;
    }
    words.state.set(State::Binding);
    compiler_fence(Ordering::SeqCst);
    let owner = if becomes == State::Bound { ptr::from_ref(words) } else { ptr::null() };
    let pooled = take_pooled::<P>(words, owner);
    compiler_fence(Ordering::SeqCst);
    // Without a cache not for ever: memory may come back.
    words.state.set(if pooled.is_some() { becomes } else { State::New });
    pooled
}

/// The thread, which has taken its cache out of the slot, allocates: so its last destructors are still to come.
#[cold]
#[inline(never)]
fn make_known(words: &Words, pooled: NonNull<Pooled>) {
    // SAFETY: the cache is the thread's, whose end takes the words away from there.
    unsafe { cache_pool::make_known(&POOL, pooled, words) };
    words.state.set(State::Bound);
}

/// The thread ends: nobody asks for its cache any more, and an allocation does not make it known again.
fn hide(words: &Words, pooled: NonNull<Pooled>) {
    // Whoever has the cache on loan holds the pool's lock meanwhile.
    // SAFETY: the cache is the thread's.
    unsafe { cache_pool::make_unknown(&POOL, pooled) };
    if words.state.get() == State::Freeing {
        words.state.set(State::Bound);
    }
}

/// A cache for this thread, which the thread's end will give back; the pool knows it by `owner`, if that is not null.
fn take_pooled<P: Place>(words: &Words, owner: *const Words) -> Option<NonNull<Pooled>> {
    let key = key::<P>()?;
    // Nobody asks before the pool knows these words.
    words.slot.open();
    let pooled = cache_pool::bind(&POOL, owner, make)?;
    // SAFETY: the key was made, and is never deleted.
    let failed = unsafe { libc::pthread_setspecific(key, pooled.as_ptr().cast()) } != 0;
    if failed {
        // SAFETY: the cache is ours, and was never used.
        unsafe { cache_pool::unbind(&POOL, pooled, |_| (), GlobalCache::flush) };
        return None;
    }
    Some(pooled)
}

/// The key, made by the first caller, who also installs the fork handlers.
fn key<P: Place>() -> Option<libc::pthread_key_t> {
    let mut known = KEY.lock();
    if known.is_none() {
        let mut key = 0;
        // SAFETY: `key` is written by the call; the destructor fits the values stored under it.
        if unsafe { libc::pthread_key_create(&mut key, Some(unbind::<P>)) } != 0 {
            return None;
        }
        if !fork::install::<P>() {
            // SAFETY: nobody has the key yet.
            unsafe { libc::pthread_key_delete(key) };
            return None;
        }
        super::harden::ask_environment();
        *known = Some(key);
    }
    *known
}

/// The thread ends: its cache goes to the pool.
unsafe extern "C" fn unbind<P: Place>(pooled: *mut libc::c_void) {
    let Some(pooled) = NonNull::new(pooled.cast::<Pooled>()) else { return };
    // See the essay: locks are taken here.
    let _undisturbed = Undisturbed::new();
    let words = words::<P>();
    if words.rounds.get() == 0 {
        hide(words, pooled);
    }
    if words.rounds.get() + 1 < ROUNDS && call_again(words, pooled) {
        return;
    }
    words.go_without();
    // SAFETY: not in use: pthread runs destructors on the bare thread, and handlers find the slot
    // empty from here on.
    unsafe { give_to_pool(pooled) };
}

/// The owner gives its cache up, for good, and says that somebody should look: the scavenger empties those that lie
/// in the pool.
///
/// # Safety
///
/// The cache came from the pool, and the caller, its owner, uses it no more.
pub(super) unsafe fn give_to_pool(pooled: NonNull<Pooled>) {
    // SAFETY: promised by the caller.
    unsafe { cache_pool::unbind(&POOL, pooled, GlobalCache::pack, GlobalCache::flush) };
    HEAP.counters.stirred.note();
}

/// Empties the caches that nobody used since the last call, of threads that do nothing and of those that ended, or
/// all that are not in use just now. Returns whether a thread that ended has left one that lies as it was.
///
/// Threads that begin, end or fork meanwhile wait for the pool's lock; one that comes back to its cache is
/// served without it.
pub(super) fn empty_idle(all: bool) -> bool {
    let mut pool = POOL.lock();
    empty_lent(&pool, all);
    pool.empty_rested(all, GlobalCache::flush_rested)
}

/// As [`empty_idle`], of threads and processors that are there.
fn empty_lent(pool: &Pool, all: bool) {
    let mut asked = false;
    for (_, words) in pool.bound() {
        if words.is_idle() || all {
            words.slot.ask();
            asked = true;
        }
    }
    // Else a system call for nothing.
    if !asked {
        return;
    }
    let fenced = heavy_fence();
    for (pooled, words) in pool.bound().filter(|(_, words)| words.slot.is_asked()) {
        if let Some(lent) = words.slot.lent().filter(|_| fenced) {
            debug_assert_eq!(lent, pooled);
            // SAFETY: `lend`: the fence lies between the question and the look, so the thread does not
            // use its cache before `open`.
            unsafe { &mut *Pooled::cache(lent) }.flush_rested();
            // Relaxed: the thread gave the cache back after it had counted.
            words.emptied.set(words.turns.load(Ordering::Relaxed));
        }
        words.slot.open();
    }
}

/// Rounds of destructors that POSIX asks for at least (`PTHREAD_DESTRUCTOR_ITERATIONS`).
const ROUNDS: u8 = 4;

/// Asks for another call of [`unbind`] in the next round; `false` if that fails.
fn call_again(words: &Words, pooled: NonNull<Pooled>) -> bool {
    let Some(key) = *KEY.lock() else { return false };
    words.rounds.set(words.rounds.get() + 1);
    // SAFETY: the key was made, and is never deleted.
    unsafe { libc::pthread_setspecific(key, pooled.as_ptr().cast()) == 0 }
}

#[cfg(test)]
mod tests {
    use core::{
        alloc::{GlobalAlloc as _, Layout},
        sync::atomic::{AtomicBool, AtomicPtr},
    };
    use std::{sync::mpsc, thread, vec::Vec};

    use super::*;
    use crate::{
        global::{GlobalAlloc, words::FREES},
        sync::Lock,
        task,
    };

    const ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

    /// Whether this thread has a cache, and whether others may ask for it.
    fn cache() -> (bool, bool) {
        let own = words::<StdPlace>();
        let known = POOL.lock().bound().any(|(_, words)| ptr::eq(words, own));
        (own.slot.cache().is_some(), known)
    }

    #[test]
    fn who_only_frees_has_a_cache_that_nobody_asks_for() {
        let (small, other) = (Layout::new::<[u64; 8]>(), Layout::new::<[u64; 80]>());
        let blocks: Vec<usize> = (0..=FREES)
            // SAFETY: of a size that is not zero.
            .map(|_| unsafe { ALLOCATOR.alloc(small) } as usize)
            .collect();
        let life = move || {
            for block in blocks {
                assert_eq!(cache(), (false, false));
                // SAFETY: allocated above, with that layout, and freed once.
                unsafe { ALLOCATOR.dealloc(block as *mut u8, small) };
            }
            assert_eq!(cache(), (true, false));
            // SAFETY: of a size that is not zero, and freed once, with its layout.
            unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(other), other) };
            assert_eq!(cache(), (true, true), "its end is still to come");
        };
        thread::spawn(life).join().unwrap();
    }

    /// Whether the pool knows whose cache this is.
    fn is_known(cache: NonNull<Pooled>) -> bool {
        POOL.lock().bound().any(|(pooled, _)| pooled == cache)
    }

    /// The cache of the thread that [`late`] ran in.
    static LATE: AtomicPtr<Pooled> = AtomicPtr::new(ptr::null_mut());

    /// A key's destructor, and the first allocation in its thread.
    unsafe extern "C" fn late(_: *mut libc::c_void) {
        let small = Layout::new::<[u64; 8]>();
        // SAFETY: of a size that is not zero, and freed once, with its layout.
        unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(small), small) };
        let cache = words::<StdPlace>().slot.cache().expect("it has allocated");
        LATE.store(cache.as_ptr(), Ordering::Relaxed);
    }

    #[test]
    fn who_allocates_first_in_a_destructor_is_not_known_after_its_end() {
        // First the allocator's key: in each round its destructor comes before the other.
        assert!(ThreadBinding::with(|_| ()).is_some());
        let mut key = 0;
        // SAFETY: the destructor takes any value.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(late)) }, 0);
        let life = move || {
            // SAFETY: the key was made above, and any value does that is not null.
            assert_eq!(unsafe { libc::pthread_setspecific(key, (&raw const LATE).cast()) }, 0);
            assert_eq!(cache(), (false, false));
        };
        thread::spawn(life).join().unwrap();
        let cache = NonNull::new(LATE.load(Ordering::Relaxed)).expect("the destructor was called");
        assert!(!is_known(cache), "the thread's words are gone");
    }

    /// Whether a thread that ends, and waits for `lock`, has signals off.
    fn waits_undisturbed<T>(lock: &'static Lock<T>) -> bool {
        static ENDS: AtomicBool = AtomicBool::new(false);
        ENDS.store(false, Ordering::Relaxed);
        let (to, from) = mpsc::channel();
        let ender = thread::spawn(move || {
            assert!(ThreadBinding::with(|_| ()).is_some());
            to.send(task::number()).unwrap();
            // Awake, so that it sleeps for one reason only.
            while !ENDS.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        });
        let number = from.recv().unwrap();
        let held = lock.lock();
        ENDS.store(true, Ordering::Relaxed);
        // It may sleep for other reasons before, not for long.
        let undisturbed = (0..100_000).any(|_| {
            thread::yield_now();
            task::sleeps(number) && task::blocks(number, libc::SIGURG)
        });
        drop(held);
        ender.join().unwrap();
        undisturbed
    }

    #[test]
    fn no_handler_interrupts_the_end_of_a_thread() {
        assert!(waits_undisturbed(&KEY), "as it asks for another round");
        assert!(waits_undisturbed(&POOL), "as it gives its cache back");
    }
}
