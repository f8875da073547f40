//! A thread that gives memory back to the system, for a program that knows nothing of it.
//!
//! What such a program freed, and does not take again for a second, would stay resident until its end.
//! Nobody calls [`Scavenger::step`] for it, so the library does, from a thread of its own.
//!
//! # When it starts
//!
//! *Lazily*: a library that starts threads in every process surprises whoever counts threads, forks or
//! drops privileges, and most processes are small. So the thread starts after the call by which
//! the heap has grown beyond [`WORTH_IT`]. That is asked where the heap can grow, on the slow path of `malloc`, in each
//! `calloc` and `realloc`, and after the block was allocated, outside of the allocator: libc may allocate for the
//! thread. What it allocates does not start another, as the threshold is out of reach by then.
//!
//! The first look, at the first allocation, asks the environment for a policy and decides whether there will be
//! a second.
//!
//! *Again after a fork*: the child has no such thread, and a handler brings the threshold back there. Nothing waits
//! for the thread before the fork. What it does to the heap is whole in the child by alloc-core's own handlers, and
//! what belongs to its steps lies on its stack: the child's thread begins anew.
//!
//! # What it must not do
//!
//! It has all signals blocked, so that no handler of the program runs on its small stack. It allocates
//! nothing. Without one free page that has memory it looks five times a second.
//!
//! Rejected: *a timer of the kernel's* (its signal would interrupt the program's system calls); *stepping inside of
//! `free`* (a program that waits frees nothing); *a mutex that each step holds, and each fork*: a handler that forks
//! where it has interrupted the allocator would wait for a step, and the step for a lock that the interrupted one holds.

use core::{
    cell::UnsafeCell,
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use alloc_core::{errno, global::heap};

use crate::{ATTENDANT, policy::Policy};

/// Bytes of heap from which a thread is worth it.
const WORTH_IT: usize = 16 << 20;

/// No heap is as large: there is a thread, or none can be had, or none is wanted.
const NEVER: usize = usize::MAX;

/// Every heap is as large: nobody has asked for the policy.
const AT_ONCE: usize = 0;

/// The pause while there is nothing to give back.
const QUIET: Duration = Duration::from_millis(200);

/// Bytes of the thread's stack: libc's own share and a program's thread-locals lie in it.
const STACK: usize = 256 << 10;

/// Starts the thread.
pub(crate) struct Attendant {
    /// Bytes of heap at which the thread is to be started.
    threshold: AtomicUsize,
    /// The fork handler is installed.
    forks: AtomicBool,
    /// Written by the one who finds the threshold `AT_ONCE`, before it is `WORTH_IT`, and never again.
    policy: UnsafeCell<Policy>,
}

// SAFETY: the policy has one writer, and is read by whoever has seen what came after that.
unsafe impl Sync for Attendant {}

impl Attendant {
    pub(crate) const fn new() -> Self {
        Attendant {
            threshold: AtomicUsize::new(AT_ONCE),
            forks: AtomicBool::new(false),
            policy: UnsafeCell::new(Policy::Age),
        }
    }

    /// Starts the thread if it is time to. Called outside of the allocator.
    #[inline(always)]
    pub(crate) fn look(&'static self) {
        // Relaxed: a hint; `start` decides.
        if heap().grown() >= self.threshold.load(Ordering::Relaxed) {
            self.start();
        }
    }

    #[cold]
    fn start(&'static self) {
        // Acquire: pairs with the Release in `choose`, and in the child of a fork with that in `in_child`; the thread's
        // creation hands the policy on.
        match self.threshold.swap(NEVER, Ordering::Acquire) {
            NEVER => {}
            // `malloc` succeeds whatever becomes of these, so errno stays.
            AT_ONCE => errno::kept(|| self.choose()),
            _ => errno::kept(|| self.attend()),
        }
    }

    /// Asks for the policy, and looks again if it may give anything back.
    fn choose(&'static self) {
        let chosen = Policy::by_environment();
        if matches!(chosen, Policy::Never) {
            return;
        }
        // SAFETY: the threshold was `AT_ONCE` for one caller, and nobody reads this before it is `WORTH_IT`.
        unsafe { *self.policy.get() = chosen };
        // Release: publishes the policy; pairs with the Acquire in `start`.
        self.threshold.store(WORTH_IT, Ordering::Release);
        self.look();
    }

    /// Installs the handler, once, and starts the thread.
    fn attend(&self) {
        // Relaxed, both: one thread at a time is here, by the threshold.
        if self.forks.load(Ordering::Relaxed)
            // SAFETY: the handler keeps to what such may do.
            || unsafe { libc::pthread_atfork(None, None, Some(in_child)) } == 0
        {
            self.forks.store(true, Ordering::Relaxed);
            start_thread();
        }
    }
}

/// Without a thread, as without memory for one, nothing is given back.
fn start_thread() {
    // SAFETY: all values are made by libc's functions before they are used; the start routine fits.
    unsafe {
        let (mut all, mut before) = (core::mem::zeroed(), core::mem::zeroed());
        let (mut attributes, mut thread) = (core::mem::zeroed(), 0);
        libc::sigfillset(&mut all);
        libc::pthread_attr_init(&mut attributes);
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        libc::pthread_attr_setstacksize(&mut attributes, STACK);
        // The thread inherits the mask.
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        libc::pthread_create(&mut thread, &attributes, attend, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        libc::pthread_attr_destroy(&mut attributes);
    }
}

extern "C" fn attend(_: *mut c_void) -> *mut c_void {
    // SAFETY: the name ends with a zero, and is short enough.
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"scavenger".as_ptr()) };
    // SAFETY: chosen before this thread was started, and never written again.
    let policy = unsafe { *ATTENDANT.policy.get() };
    // Nobody else in this process asks for it.
    let Some(mut scavenger) = heap().scavenger(policy) else { return ptr::null_mut() };
    loop {
        sleep(scavenger.step(now()).unwrap_or(QUIET));
    }
}

/// The time since some moment of the machine's past.
fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours; the clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn sleep(pause: Duration) {
    let pause = libc::timespec {
        tv_sec: pause.as_secs() as libc::time_t,
        tv_nsec: pause.subsec_nanos().into(),
    };
    // SAFETY: the place is ours. Waking early does no harm.
    unsafe { libc::nanosleep(&pause, ptr::null_mut()) };
}

unsafe extern "C" fn in_child() {
    // Release: the policy was chosen before the fork; pairs with the Acquire in `start`.
    ATTENDANT.threshold.store(WORTH_IT, Ordering::Release);
}
