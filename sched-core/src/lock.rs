//! A mutex for short critical sections of the runtime itself.
//!
//! # Problem
//!
//! Queues of waiters, the idle lists and the take lock need mutual exclusion between Ms. A goroutine
//! that finds such a lock held must not park (the scheduler itself is what is locked), and the
//! standard library's mutex may be held by user code. So: a lock of our own that stops the thread,
//! held for a few hundred instructions.
//!
//! # Rules
//!
//! The holder is inside the runtime ([`crate::entry`]), so it is neither preempted nor robbed of its
//! P; the lock itself looks at the entry words in debug builds alone. Under a lock nobody allocates, parks, calls
//! user code or makes a system call that can be slow. The order of locks is in
//! `docs/lock-order.md`. It works on plain threads too. There is no poisoning: a panic inside the
//! runtime aborts.
//!
//! # Algorithm
//!
//! One futex word: *free*, *held*, *contended* (held, and somebody may sleep on it). Locking is one
//! compare-and-swap; a loser spins a little and then swaps in *contended*, so that the unlock knows
//! whom to wake. Whoever gets the lock after sleeping keeps *contended*, since others may sleep
//! still: at worst one needless wake.
//!
//! # Patience
//!
//! Two processors that send into and receive from one channel take its lock at each operation, 15 ns of
//! work. If each gets it as soon as it is free they take turns, and each turn moves the lines of the
//! lock, of the ring and of the lists from cache to cache: 100–190 ns per value, where one processor
//! alone needs 29. So a loser stays away for some four microseconds before it looks
//! ([`lock_patiently`](Lock::lock_patiently)): meanwhile the winner does a batch in its own cache. Half
//! of that and the batches are shorter than the cost of moving; twice that and a ring of 128 has run
//! full or dry before its other side comes (bench `channel-4`: 65 ns with 64 pauses, 44–55 with 128, 87
//! with 256). Locks of the scheduler's own are taken once in a while by each processor, and are
//! waited for eagerly.
//!
//! # Source
//!
//! Ulrich Drepper, *Futexes Are Tricky* (2011), the third mutex. Go's runtime lock adds bits for a
//! single spinner; with critical sections this short the simple form measured the same.
//! Model: `loom-tests/tests/sched_queue.rs`.

use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::sync::{Futex, Ordering, UnsafeCell, const_unless_loom, scaled, spin_loop};
#[cfg(not(loom))]
use crate::tls::{Words, with_words};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// How a loser looks at a held lock before it sleeps. A model does not look, as it would explore every count.
#[derive(Clone, Copy)]
struct Looks {
    times: usize,
    /// Pauses of the processor before each, of some 30 ns.
    pauses: usize,
}

/// About the length of a critical section.
const EAGER: Looks = Looks { times: scaled(100, 0), pauses: 1 };
/// About the length of a hundred. See the essay.
const PATIENT: Looks = Looks { times: scaled(4, 0), pauses: 128 };

/// A mutex that stops the thread. See the [module](self) for who may use it.
///
/// ```
/// use sched_core::lock::Lock;
///
/// static TOTAL: Lock<u32> = Lock::new(0);
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| *TOTAL.lock() += 1);
///     }
/// });
/// assert_eq!(*TOTAL.lock(), 4);
/// ```
pub struct Lock<T: ?Sized> {
    state: Futex,
    #[cfg(loom)]
    rank: usize,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out one `&mut T` at a time, from whichever thread holds it.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: as above; `&Lock<T>` gives access only through the lock.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    const_unless_loom! {
        /// A free lock around `value`.
        pub const fn new(value: T) -> Self {
            Self {
                state: Futex::new(FREE),
                #[cfg(loom)]
                rank: next_rank(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// Takes the value out; no one else can hold the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Waits for the lock. Deadlocks if the caller holds it.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_slow(EAGER))
    }

    /// As [`lock`](Self::lock), for a lock that its holder is likely to take again at once, like that of a
    /// channel: the caller stays away for some microseconds before it looks.
    #[inline]
    pub fn lock_patiently(&self) -> Guard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_slow(PATIENT))
    }

    /// The value, of whoever has the lock to himself.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self`: nobody else has the lock.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Where it stands among all locks: whoever takes several of one kind takes them in this order.
    ///
    /// By address. In a model by age, since addresses differ from one execution to the next.
    #[inline]
    pub fn rank(&self) -> usize {
        #[cfg(loom)]
        return self.rank;
        #[cfg(not(loom))]
        return core::ptr::from_ref(self).addr();
    }

    /// The lock, if it is free.
    ///
    /// # Panics
    ///
    /// In debug builds, as [`lock`](Self::lock): on a goroutine that has not entered the runtime.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(not(loom))]
        debug_assert!(with_words(Words::is_inside), "a lock of the runtime is taken outside of it");
        // Acquire: the former holder's writes; pairs with the Release swap in `Guard::drop`.
        // Relaxed on failure: nothing is read.
        self.state
            .word()
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
            .then(|| Guard { lock: self })
    }

    #[cold]
    fn lock_slow(&self, looks: Looks) -> Guard<'_, T> {
        for () in core::iter::repeat_n((), looks.times) {
            (0..looks.pauses).for_each(|_| spin_loop());
            // Relaxed: a hint; `try_lock` acquires.
            if self.state.word().load(Ordering::Relaxed) == FREE
                && let Some(guard) = self.try_lock()
            {
                return guard;
            }
        }
        // Acquire: as in `try_lock`, when the swap finds the lock free.
        while self.state.word().swap(CONTENDED, Ordering::Acquire) != FREE {
            self.state.wait(CONTENDED, None);
        }
        Guard { lock: self }
    }
}

#[cfg(loom)]
fn next_rank() -> usize {
    static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
    // Relaxed: only uniqueness matters, and loom makes locks one after the other.
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<T: ?Sized> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for the eye only. The value is not shown: showing it would take the lock.
        let held = self.state.word().load(Ordering::Relaxed) != FREE;
        f.debug_struct("Lock").field("held", &held).finish_non_exhaustive()
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The right to the value of a [`Lock`], until it is dropped.
#[must_use = "the lock is free again as soon as the guard is dropped"]
pub struct Guard<'a, T: ?Sized> {
    lock: &'a Lock<T>,
}

// SAFETY: sharing a guard shares only `&T`. (Guards are Send as well: no thread owns a futex.)
unsafe impl<T: ?Sized + Sync> Sync for Guard<'_, T> {}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard proves that this holder has the lock, so no `&mut T` exists elsewhere.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard proves that this holder has the lock, and it is borrowed mutably.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let word = self.lock.state.word();
        // Release: this holder's writes happen before the next one's Acquire in `lock`.
        if word.swap(FREE, Ordering::Release) == CONTENDED {
            self.lock.state.wake(1);
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Guard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_cannot_be_taken() {
        let lock = Lock::new(7);
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(guard);
        assert_eq!(lock.into_inner(), 7);
    }

    #[test]
    fn contended_increments_all_count() {
        const THREADS: usize = 4;
        const TURNS: usize = 10_000;
        let lock = Lock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..TURNS).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(lock.into_inner(), THREADS * TURNS);
    }
}
