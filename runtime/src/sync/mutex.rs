//! [`Mutex`]: mutual exclusion that parks the goroutine, and is fair where it matters.
//!
//! # Problem
//!
//! A lock handed to waiters strictly in turn (a ticket lock) is fair and slow: each hand-over waits
//! for a switch. A lock that anyone may grab when it is free is fast, and can starve one waiter for
//! ever. Go's mutex is both: normally free for all, but handed over once somebody waited 1 ms.
//!
//! # State
//!
//! ```text
//! bit 0 LOCKED   somebody owns the mutex
//! bit 1 QUEUED   the list is not empty: unlock must look
//! bit 2 WOKEN    one waiter was taken out of the list and woken, and has not tried yet
//! ```
//!
//! `lock` is one compare-and-swap on a free mutex. So is `unlock`, unless somebody waits and nobody is
//! on its way: QUEUED without WOKEN. Those two bits change only under the lock of the list; LOCKED
//! changes also without it.
//!
//! # Slow paths
//!
//! - `lock`: spin shortly; under the list's lock set QUEUED, append a node, then try once more: if
//!   LOCKED went away meanwhile, take it and the node out. Either the unlock saw QUEUED, and looks
//!   at the list after us, or its store came first and we see LOCKED gone: both are changes of one
//!   word.
//! - `unlock`, under the list's lock: takes the first waiter out and wakes it. Has it waited for 1 ms?
//!   Then it gets the mutex itself: LOCKED stays set, and no newcomer can slip in. Else LOCKED is
//!   cleared, and WOKEN set.
//! - A woken waiter clears WOKEN and tries. If a newcomer was faster it goes back to the *front*, and
//!   the time since its first attempt goes on counting.
//!
//! # Fairness
//!
//! Let W be the first in the list, after 1 ms. If nobody is on its way, the next unlock hands the mutex
//! to W. Else the one on its way tries when its turn on a P has come. Should it lose, it is the first
//! again, and the next unlock, which finds WOKEN clear, hands the mutex to it. So newcomers can pass a
//! waiter only within 1 ms and while one that was woken is not running yet; with k others before it,
//! it owns the mutex after at most k + 1 such turns. The mode needs no bit of its own: it ends as in Go
//! when the first in line has waited less than 1 ms.
//!
//! # Why the owner does not look at the list while somebody is on its way
//!
//! It did, to hand over a little earlier: each unlock of a mutex with waiters took the list's lock and
//! read the clock while LOCKED was set. Then whoever spun found it locked, parked, and made the list
//! longer. 64 goroutines on two processors took 48 ns per lock, and now 11 (Go 28, one processor 9): the
//! two that run take turns by spinning, many locks at a time, and leave the list alone.
//!
//! # Source
//!
//! Go's `internal/sync/mutex.go`. Unlike Go, time is looked at in `unlock`, so that the hand-over
//! does not wait for the starving waiter to lose once more.
//!
//! There is no poisoning: a panic in a critical section unlocks, as in Go and in parking_lot. So a reference to
//! a mutex is no `UnwindSafe`.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::UnwindSafe;

use crate::wait::{Later, List, Node, Ticket};
use sched_core::const_unless_loom;
use sched_core::entry;
use sched_core::lock::Lock;
use sched_core::park::WaitReason;
use sched_core::sync::{AtomicU32, Ordering, UnsafeCell, now, scaled, spin_loop};

const LOCKED: u32 = 1;
const QUEUED: u32 = 2;
const WOKEN: u32 = 4;

/// After so many nanoseconds a waiter is handed the mutex.
const STARVING: u64 = 1_000_000;

/// Rounds of spinning before a lock parks, and pauses in each; Go's numbers. A model does not spin, as it
/// would explore every count.
const SPIN_ROUNDS: usize = scaled(4, 0);
const SPIN_PAUSES: u32 = 30;

/// A value that one goroutine or thread at a time may use.
///
/// A panic while it is locked unlocks it, and the value stays as it is then: nothing is poisoned. That is why
/// a reference to one is not `UnwindSafe`, unlike std's: who catches a panic says with `AssertUnwindSafe` that
/// the value is in order.
///
/// ```
/// use runtime::sync::Mutex;
///
/// let sum = Mutex::new(0);
/// std::thread::scope(|s| {
///     for _ in 0..4 {
///         s.spawn(|| (0..1000).for_each(|_| *sum.lock() += 1));
///     }
/// });
/// assert_eq!(sum.into_inner(), 4000);
/// ```
pub struct Mutex<T: ?Sized> {
    /// See the module's essay.
    state: AtomicU32,
    waiters: Lock<List>,
    /// Guarded by LOCKED.
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one owner of the lock at a time, who may be on any thread.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

// As the value. Not by reference, as std's: without poisoning, whoever locks after a panic may find the value
// half changed and is not told.
impl<T: ?Sized + UnwindSafe> UnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    const_unless_loom! {
        /// An unlocked mutex.
        ///
        /// ```
        /// static COUNT: runtime::sync::Mutex<u32> = runtime::sync::Mutex::new(0);
        /// *COUNT.lock() += 1;
        /// assert_eq!(*COUNT.lock(), 1);
        /// ```
        pub const fn new(value: T) -> Self {
            Mutex {
                state: AtomicU32::new(0),
                waiters: Lock::new(List::new()),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value; nobody else can have it.
    ///
    /// ```
    /// assert_eq!(runtime::sync::Mutex::new(5).into_inner(), 5);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, waiting until the mutex is free. The guard unlocks when it is dropped.
    ///
    /// A goroutine that locks a mutex it already holds waits for ever.
    ///
    /// ```
    /// let mutex = runtime::sync::Mutex::new(1);
    /// let mut guard = mutex.lock();
    /// *guard += 1;
    /// assert_eq!(*guard, 2);
    /// ```
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if !self.try_acquire() {
            self.lock_slow();
        }
        MutexGuard { mutex: self }
    }

    /// Locks if the mutex is free now.
    ///
    /// ```
    /// let mutex = runtime::sync::Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_none());
    /// drop(guard);
    /// assert!(mutex.try_lock().is_some());
    /// ```
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.try_acquire().then(|| MutexGuard { mutex: self })
    }

    /// The value, without locking: the borrow is unique.
    ///
    /// ```
    /// let mut mutex = runtime::sync::Mutex::new(1);
    /// *mutex.get_mut() = 2;
    /// assert_eq!(*mutex.lock(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: the mutex is borrowed uniquely.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Sets LOCKED if it is clear, whatever else is set.
    fn try_acquire(&self) -> bool {
        // Relaxed: only a first guess; the exchange below decides.
        let mut state = self.state.load(Ordering::Relaxed);
        while state & LOCKED == 0 {
            // Acquire: sees what the last owner did; pairs with the Release in `unlock`,
            // `unlock_slow`. Relaxed on failure: as above.
            match self.state.compare_exchange_weak(
                state,
                state | LOCKED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn spin(&self) -> bool {
        for () in std::iter::repeat_n((), SPIN_ROUNDS) {
            for _ in 0..SPIN_PAUSES {
                spin_loop();
            }
            if self.try_acquire() {
                return true;
            }
        }
        false
    }

    #[cold]
    fn lock_slow(&self) {
        if self.spin() {
            return;
        }
        let mut since = now();
        let mut woken = false;
        loop {
            let ticket = Ticket::sole();
            let node = Node::new(&ticket, 0, (&raw mut since).cast());
            if self.enqueue(&node, woken) {
                return;
            }
            // `ok` means handed over: LOCKED was left set for us, and with it the value.
            if ticket.wait(WaitReason::Lock).ok {
                return;
            }
            woken = true;
        }
    }

    /// Tries once more, else appends `node`. Returns whether the mutex was acquired.
    ///
    /// `woken`: the caller was first in the list, and was woken to try.
    fn enqueue(&self, node: &Node, woken: bool) -> bool {
        let _inside = entry::enter();
        let waiters = self.waiters.lock();
        if woken {
            // Relaxed: the bit tells only that a waiter is on its way, and changes under this lock.
            self.state.fetch_and(!WOKEN, Ordering::Relaxed);
        }
        // Acquire: LOCKED may be clear, then this is the look before `try_acquire`.
        let before = self.state.fetch_or(QUEUED, Ordering::Acquire);
        if before & LOCKED == 0 && self.try_acquire() {
            if waiters.is_empty() {
                // Relaxed: takes back our own bit, under the same lock.
                self.state.fetch_and(!QUEUED, Ordering::Relaxed);
            }
            return true;
        }
        // SAFETY: the lock is held; node and ticket stay on the frame of `lock_slow` until the
        // ticket is done.
        unsafe { if woken { waiters.push_front(node) } else { waiters.push_back(node) } }
        false
    }

    fn unlock(&self) {
        // Relaxed: what we set, or a newer value of the other bits; the exchange below decides.
        let mut state = self.state.load(Ordering::Relaxed);
        while !must_wake(state) {
            // Release: publishes what the owner did to the value; pairs with the Acquire in
            // `try_acquire`. Relaxed on failure: as above.
            match self.state.compare_exchange_weak(
                state,
                state & !LOCKED,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        self.unlock_slow();
    }

    #[cold]
    fn unlock_slow(&self) {
        // Before the lock: a system call of the clock has no place inside.
        let now = now();
        // Kept until the waiter is woken: no preemption between the unlock and the wake-up.
        let inside = entry::enter();
        let waiters = self.waiters.lock();
        let starving = waiters.front().is_some_and(|node| {
            // SAFETY: the slot of a node in this list is the `since` of its `lock_slow`, which does
            // not write to it while the node is queued.
            let since = unsafe { *node.slot().cast::<u64>() };
            now.saturating_sub(since) >= STARVING
        });
        // SAFETY: the lock is held.
        let next = unsafe { waiters.claim_front() };
        let queued = if waiters.is_empty() { 0 } else { QUEUED };
        let next_is = match (&next, starving) {
            (None, _) => 0,
            (Some(_), false) => WOKEN,
            (Some(_), true) => LOCKED,
        };
        // Release: as in `unlock`; when handed over, the ticket publishes as well. A plain store is
        // enough: while LOCKED is set by us, others change the word only under the list's lock.
        self.state.store(queued | next_is, Ordering::Release);
        drop(waiters);
        let later = next.map(|next| next.finish(starving));
        drop(inside);
        later.into_iter().for_each(Later::wake);
    }
}

/// Whether the owner must look at the list before it goes: somebody waits, and nobody is on its way.
fn must_wake(state: u32) -> bool {
    state & (QUEUED | WOKEN) == QUEUED
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Some(guard) => out.field("value", &&*guard),
            None => out.field("value", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The right to use the value of a [`Mutex`]; unlocks when dropped.
///
/// A guard may move to another goroutine or thread: the mutex belongs to whoever has the guard.
///
/// ```
/// let mutex = runtime::sync::Mutex::new(vec![1]);
/// mutex.lock().push(2);
/// assert_eq!(mutex.lock().len(), 2);
/// ```
#[must_use = "the mutex is unlocked when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
}

// SAFETY: a shared guard gives a shared reference to the value, and nothing else. (`Send` follows
// from `Mutex: Sync`, which asks for `T: Send`; unlocking works from any thread.)
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard owns the lock.
        self.mutex.value.with(|value| unsafe { &*value })
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard owns the lock, and is borrowed uniquely.
        self.mutex.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
