//! The words that threads share, and the one lock of this crate.
//!
//! This is the only file that names loom. Under `--cfg loom` the atomics are loom's and a wait is
//! a yield to loom's scheduler; all other code is the same, so a model runs the production code.
//!
//! # The lock
//!
//! An allocator can use neither `std::sync::Mutex` (it must work without std, before `main` and
//! after thread-locals are gone) nor libc's (a preloaded library would recurse). [`Lock`] is the
//! usual futex mutex of three states: *free*, *held*, *held and somebody may sleep*. It spins
//! briefly, since every critical section here is short and makes no slow system call, then sleeps
//! in the kernel. It is not fair and not re-entrant; code that may run inside a signal handler
//! uses [`Lock::try_lock`] only.
//!
//! Source: Ulrich Drepper, "Futexes Are Tricky" (2011), mutex 2.

#[cfg(loom)]
pub use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(not(loom))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use core::{
    cell::UnsafeCell,
    fmt,
    ops::{Deref, DerefMut},
};

/// Asks memory for the cache line of an address. A hint: nothing is read, and any address will do.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch faults on no address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Declares functions that are `const`, save under loom, whose atomics are made at run time.
#[cfg(not(loom))]
macro_rules! const_fn {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)+) => {
        $($(#[$meta])* $vis const fn $name($($arg: $ty),*) -> $ret $body)+
    };
}
#[cfg(loom)]
macro_rules! const_fn {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)+) => {
        $($(#[$meta])* $vis fn $name($($arg: $ty),*) -> $ret $body)+
    };
}
pub(crate) use const_fn;

/// An array of values that are each made by the expression; in a constant where that is possible.
#[cfg(not(loom))]
macro_rules! array_of {
    ($make:expr; $n:expr) => {
        [const { $make }; $n]
    };
}
#[cfg(loom)]
macro_rules! array_of {
    ($make:expr; $n:expr) => {
        core::array::from_fn::<_, { $n }, _>(|_| $make)
    };
}
pub(crate) use array_of;

const FREE: u32 = 0;
const HELD: u32 = 1;
const HELD_SLEEPERS: u32 = 2;

#[cfg(not(loom))]
const SPINS: u32 = 64;
#[cfg(loom)]
const SPINS: u32 = 1;

/// A value that one thread at a time may use: spin, then sleep.
///
/// ```
/// use alloc_core::sync::Lock;
/// let counter = Lock::new(1);
/// *counter.lock() += 1;
/// assert_eq!(*counter.lock(), 2);
/// ```
pub struct Lock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands out `&mut T` to one thread at a time, so sharing the lock sends `T`
// between threads and needs nothing more than `T: Send`.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    const_fn! {
        /// A free lock around `value`.
        pub fn new(value: T) -> Self {
            Lock { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
        }
    }

    /// Waits until the value is free and takes it.
    pub fn lock(&self) -> LockGuard<'_, T> {
        self.acquire();
        LockGuard { lock: self }
    }

    /// Takes the value if it is free; never waits, so a signal handler may call it.
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        // Acquire: what the last holder wrote is visible; pairs with the Release in `release`.
        // Relaxed on failure: nothing is read.
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| LockGuard { lock: self })
    }

    /// Takes the lock without a guard: for a fork handler, which releases in another function.
    pub(crate) fn acquire(&self) {
        // Acquire and Relaxed: as in `try_lock`.
        if self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_slow();
        }
    }

    #[cold]
    fn acquire_slow(&self) {
        for _ in 0..SPINS {
            // Relaxed: a hint only; the swap below takes the lock.
            if self.state.load(Ordering::Relaxed) == FREE {
                break;
            }
            spin_loop();
        }
        // Acquire: as in `try_lock`. The lock is taken as *with sleepers*, since we cannot know
        // whether others sleep; one needless wake-up is the price.
        while self.state.swap(HELD_SLEEPERS, Ordering::Acquire) != FREE {
            futex::wait(&self.state, HELD_SLEEPERS);
        }
    }

    /// Gives the lock back.
    ///
    /// # Safety
    ///
    /// The caller holds it by [`Lock::acquire`], or is the only thread of a forked child whose
    /// parent held it.
    pub(crate) unsafe fn release(&self) {
        // Release: publishes the holder's writes; pairs with the Acquire of the next holder.
        if self.state.swap(FREE, Ordering::Release) == HELD_SLEEPERS {
            futex::wake_one(&self.state);
        }
    }

    /// The value, for whoever owns the lock itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

/// The right to use the value of a [`Lock`]; gives the lock back when dropped.
pub struct LockGuard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard's existence means that this thread holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow unique.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the guard was made by taking the lock, and is dropped once.
        unsafe { self.lock.release() }
    }
}

impl<T> fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
mod futex {
    //! The two system calls.

    use super::AtomicU32;
    use crate::errno;

    /// Sleeps while `word` is `expected`; may return for no reason.
    pub(super) fn wait(word: &AtomicU32, expected: u32) {
        call(word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected);
    }

    /// Wakes one sleeper.
    pub(super) fn wake_one(word: &AtomicU32) {
        call(word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }

    fn call(word: &AtomicU32, operation: libc::c_int, value: u32) {
        let no_time_out = core::ptr::null::<libc::timespec>();
        // SAFETY: the word outlives the call, and the time-out is null.
        errno::kept(|| unsafe {
            libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_time_out)
        });
    }
}

#[cfg(loom)]
mod futex {
    //! In a model a sleeper is a thread that lets the others run.

    use super::AtomicU32;

    pub(super) fn wait(_word: &AtomicU32, _expected: u32) {
        loom::thread::yield_now();
    }

    pub(super) fn wake_one(_word: &AtomicU32) {}
}
