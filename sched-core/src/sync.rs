//! What differs between a machine and a model of it.
//!
//! # Problem
//!
//! The protocols of this crate (the run queue, the last spinner, entry and retake, park and ready,
//! the timer thread) are checked by loom in every interleaving. What loom runs must be the code
//! that ships, so the code may not know which of the two it is in. This file is the only place
//! that does.
//!
//! # Words
//!
//! * *machine*: the ordinary build. Everything here is `core`'s, or one system call.
//! * *model*: the build with `--cfg loom`. Everything here is loom's.
//!
//! # What a model changes
//!
//! | here | machine | model |
//! |---|---|---|
//! | atomics, `fence` | `core::sync::atomic` | loom's; it explores stale reads |
//! | [`UnsafeCell`] | a `core` cell | loom's; it reports two accesses that race |
//! | [`Futex`] | `futex(2)` | a mutex and a condition variable; a deadline has passed from the start, or never does |
//! | [`now`] | the kernel's clock | stands at 0 until the model says what time it is (`set_now`) |
//! | [`asymmetric_light`] | a compiler fence | `fence(SeqCst)` |
//! | [`asymmetric_heavy`] | `membarrier(2)` | `fence(SeqCst)` |
//! | [`scaled`] | the full size | the small one |
//! | [`wait_briefly`] | a short sleep | another thread of the model runs |
//! | `const_unless_loom!` | `const fn` | `fn`: loom's atomics are made at run time |
//!
//! A light fence costs nothing at run time, so a model that made it weaker than a full fence would
//! find races that `membarrier` excludes: the pair is defined by the promise that one of the two
//! sides sees the other's store, and two full fences give the same promise.
//!
//! # Source
//!
//! The wiring is crossbeam's (`--cfg loom`, models in a crate of their own); the cell with `with`
//! and `with_mut` is the one of loom's documentation.

#[cfg(loom)]
pub use loom::{
    cell::UnsafeCell,
    hint::spin_loop,
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    },
};

#[cfg(not(loom))]
pub use core::{
    hint::spin_loop,
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    },
};

/// `full` on a machine, `small` in a model.
///
/// ```
/// assert_eq!(sched_core::sync::scaled(256, 4), 256);
/// ```
pub const fn scaled(full: usize, small: usize) -> usize {
    if cfg!(loom) { small } else { full }
}

/// A `const fn` on a machine and a plain one in a model, whose atomics are made at run time.
#[doc(hidden)]
#[macro_export]
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $vis:vis const fn $name:ident($($args:tt)*) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])* #[cfg(not(loom))] $vis const fn $name($($args)*) $(-> $ret)? $body
        $(#[$meta])* #[cfg(loom)] $vis fn $name($($args)*) $(-> $ret)? $body
    };
}
#[doc(hidden)]
pub use const_unless_loom;

/// A cell whose accesses a model checks for races.
#[cfg(not(loom))]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Takes the value out again.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(not(loom))]
impl<T: ?Sized> UnsafeCell<T> {
    /// Calls `f` with a pointer that it may read through. Dereferencing it is the caller's claim.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer that it may write through. Dereferencing it is the caller's claim.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Asks memory for the cache line at `address`, which will be used soon. A hint: nothing is read, and any
/// address will do, though one that is not mapped costs a walk through the page tables.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    // SAFETY: a prefetch reads nothing and faults on no address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(core::ptr::without_provenance(address));
    }
    #[cfg(all(target_arch = "aarch64", not(loom)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags));
    }
    #[cfg(any(loom, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// The cheap side of an asymmetric pair of fences: orders the program, not the processor.
///
/// Paired with [`asymmetric_heavy`], never with another light one.
#[inline(always)]
pub fn asymmetric_light() {
    #[cfg(not(loom))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// The dear side (0.5–0.7 µs): every thread of the process that runs right now executes a full
/// fence before this returns, so each light fence lies before it or after it.
///
/// Call it only after [`asymmetric_register`] returned true.
#[inline]
pub fn asymmetric_heavy() {
    // SeqCst: `membarrier` fences the *other* threads and this one's processor; the language
    // knows nothing of it, so the fence also keeps the compiler from moving accesses over it.
    fence(Ordering::SeqCst);
    #[cfg(not(loom))]
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
        .expect("membarrier was registered, so the kernel executes it");
}

/// Registers the process for [`asymmetric_heavy`]. False where the kernel or a sandbox refuses.
/// Registering twice does no harm; a forked child inherits it.
pub fn asymmetric_register() -> bool {
    #[cfg(not(loom))]
    return membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED).is_some();
    #[cfg(loom)]
    return true;
}

#[cfg(not(loom))]
fn membarrier(command: libc::c_int) -> Option<()> {
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    (done == 0).then_some(())
}

/// A word that a thread can sleep on: `futex(2)`, private to the process.
///
/// [`wait`](Futex::wait) may return for no reason; callers loop over their own condition.
#[derive(Debug)]
pub struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    gate: loom::sync::Mutex<()>,
    #[cfg(loom)]
    sleepers: loom::sync::Condvar,
}

impl Futex {
    const_unless_loom! {
        /// A word that holds `value`, with nobody asleep on it.
        pub const fn new(value: u32) -> Self {
            Self {
                word: AtomicU32::new(value),
                #[cfg(loom)]
                gate: loom::sync::Mutex::new(()),
                #[cfg(loom)]
                sleepers: loom::sync::Condvar::new(),
            }
        }
    }

    /// The word itself.
    #[inline(always)]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps while the word holds `expected`, until a [`wake`](Futex::wake) or until `deadline`,
    /// in nanoseconds of `CLOCK_MONOTONIC` (see [`now`]).
    ///
    /// The comparison and the falling asleep are one step: a wake after the word has changed
    /// cannot fall between them.
    #[cfg(not(loom))]
    pub fn wait(&self, expected: u32, deadline: Option<u64>) {
        const NANOS: u64 = 1_000_000_000;
        let limit = deadline.map(|at| libc::timespec {
            tv_sec: (at / NANOS) as libc::time_t,
            tv_nsec: (at % NANOS) as libc::c_long,
        });
        let limit = limit.as_ref().map_or(core::ptr::null(), |limit| limit as *const _);
        // SAFETY: the word outlives the call, which borrows it; `limit` is null or points to a
        // timespec that lives to the end of this function. WAIT_BITSET takes an absolute time.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                expected,
                limit,
                core::ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
    }

    /// Wakes at most `count` sleepers.
    #[cfg(not(loom))]
    pub fn wake(&self, count: u32) {
        let count = count.min(i32::MAX as u32);
        // SAFETY: a wake only uses the address as a key; the word is borrowed for the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.word.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                count,
            )
        };
    }

    /// The model's sleep. The kernel compares and queues under one lock; so does the gate.
    #[cfg(loom)]
    pub fn wait(&self, expected: u32, deadline: Option<u64>) {
        if deadline.is_some_and(|at| now() >= at) {
            return;
        }
        let gate = self.gate.lock().expect("no model panics inside the gate");
        if self.word.load(Ordering::SeqCst) == expected {
            drop(self.sleepers.wait(gate));
        }
    }

    /// The model's wake.
    #[cfg(loom)]
    pub fn wake(&self, count: u32) {
        let _gate = self.gate.lock().expect("no model panics inside the gate");
        match count {
            0 => {}
            1 => self.sleepers.notify_one(),
            _ => self.sleepers.notify_all(),
        }
    }
}

/// What [`now`] says from here on, to all threads of the model: loom runs them on one thread of the machine, so
/// std's thread-local is common to them.
#[cfg(loom)]
pub fn set_now(nanos: u64) {
    MODEL_CLOCK.set(nanos);
}

#[cfg(loom)]
std::thread_local! {
    static MODEL_CLOCK: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of [`Futex::wait`]. In a model it stands still.
///
/// ```
/// let before = sched_core::sync::now();
/// assert!(sched_core::sync::now() >= before);
/// ```
pub fn now() -> u64 {
    #[cfg(loom)]
    return MODEL_CLOCK.get();
    #[cfg(not(loom))]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a timespec of ours; the clock exists on every Linux.
        let done = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        debug_assert_eq!(done, 0, "CLOCK_MONOTONIC can always be read");
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// A step of a wait for somebody who is about to be done, and of whom only a word tells. He may have lost his
/// processor to the caller, so it is a sleep, of some 100 µs.
pub fn wait_briefly() {
    #[cfg(loom)]
    spin_loop();
    #[cfg(not(loom))]
    std::thread::sleep(core::time::Duration::from_micros(50));
}

/// Asks the kernel to end this thread's timed sleeps on time; by default it may be 50 µs late, to
/// save wake-ups.
pub fn sharpen_timers() {
    #[cfg(not(loom))]
    // SAFETY: PR_SET_TIMERSLACK takes one number and touches no memory.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1)
    };
}
