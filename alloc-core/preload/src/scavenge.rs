//! A thread that gives memory back to the system, for a program that knows nothing of it.
//!
//! What such a program freed, and does not take again for a second, would stay resident until its end.
//! Nobody calls [`Scavenger::step`] for it, so the library does, from a thread of its own.
//!
//! # When it starts
//!
//! *Lazily*: a library that starts threads in every process surprises whoever counts threads, forks or
//! drops privileges, and most processes are small. So the thread starts after the `malloc` by which
//! the heap has grown beyond [`WORTH_IT`]. That is asked where the heap can grow, on the slow path, and after
//! the block was allocated, outside of the allocator: libc may allocate for the thread. What it allocates does
//! not start another, as the threshold is out of reach by then.
//!
//! The first look, at the first allocation, asks the environment for a policy and decides whether there will be
//! a second.
//!
//! *Again after a fork*: the child has no such thread. Handlers hold the turn over the fork, so that no
//! step is half done in the child, and bring the threshold back there.
//!
//! # What it must not do
//!
//! It has all signals blocked, so that no handler of the program runs on its small stack. It allocates
//! nothing. Without one free page that has memory it looks five times a second.
//!
//! The mutex is libc's, since the one of alloc-core has no way to be taken in one function and given
//! back in another. Rejected: a timer of the kernel's (its signal would interrupt the program's system
//! calls), and stepping inside of `free` (a program that waits frees nothing).

use core::{
    cell::UnsafeCell,
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use alloc_core::{global::heap, pages::os::Os, scavenge::Scavenger};

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

/// Starts the thread, and is what it works on.
pub(crate) struct Attendant {
    /// Bytes of heap at which the thread is to be started.
    threshold: AtomicUsize,
    /// The fork handlers are installed.
    forks: AtomicBool,
    /// Held over each step, and over a fork.
    turn: UnsafeCell<libc::pthread_mutex_t>,
    /// Both under the turn.
    policy: UnsafeCell<Policy>,
    scavenger: UnsafeCell<Option<Scavenger<'static, Os, Policy>>>,
}

// SAFETY: policy and scavenger are used under the mutex alone, which is made to be shared.
unsafe impl Sync for Attendant {}

impl Attendant {
    pub(crate) const fn new() -> Self {
        Attendant {
            threshold: AtomicUsize::new(AT_ONCE),
            forks: AtomicBool::new(false),
            turn: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            policy: UnsafeCell::new(Policy::Age),
            scavenger: UnsafeCell::new(None),
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
        // Relaxed: only who gets the number matters; the thread's creation publishes the rest.
        match self.threshold.swap(NEVER, Ordering::Relaxed) {
            NEVER => return,
            AT_ONCE => return self.choose(),
            _ => {}
        }
        // SAFETY: errno is this thread's; the handlers keep to what such may do.
        unsafe {
            let errno = libc::__errno_location();
            let before = *errno;
            // Relaxed: one thread at a time is here, see above.
            if self.forks.load(Ordering::Relaxed)
                || libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) == 0
            {
                self.forks.store(true, Ordering::Relaxed);
                start_thread();
            }
            *errno = before;
        }
    }

    /// Asks for the policy, and looks again if it may give anything back.
    fn choose(&'static self) {
        let chosen = Policy::by_environment();
        if matches!(chosen, Policy::Never) {
            return;
        }
        self.take_turn();
        // SAFETY: we have the turn until it is ended.
        unsafe {
            *self.policy.get() = chosen;
            self.end_turn();
        }
        // Relaxed: the turn orders the policy.
        self.threshold.store(WORTH_IT, Ordering::Relaxed);
        self.look();
    }

    /// Takes the turn, and gives it back in another function.
    fn take_turn(&self) {
        // SAFETY: a mutex made by its initialiser, in a static.
        unsafe { libc::pthread_mutex_lock(self.turn.get()) };
    }

    /// # Safety
    ///
    /// This thread, or the one that it is the child's copy of, has the turn.
    unsafe fn end_turn(&self) {
        // SAFETY: promised by the caller.
        unsafe { libc::pthread_mutex_unlock(self.turn.get()) };
    }

    /// One step; returns the pause after it.
    fn step(&self, now: Duration) -> Duration {
        self.take_turn();
        // SAFETY: we have the turn.
        let (scavenger, policy) = unsafe { (&mut *self.scavenger.get(), *self.policy.get()) };
        if scavenger.is_none() {
            *scavenger = heap().scavenger(policy);
        }
        let pause = scavenger.as_mut().and_then(|scavenger| scavenger.step(now));
        // SAFETY: we took it.
        unsafe { self.end_turn() };
        pause.unwrap_or(QUIET)
    }
}

/// Without a thread, as without memory for one, nothing is given back.
///
/// # Safety
///
/// None beyond what libc asks of any thread that is started.
unsafe fn start_thread() {
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
    loop {
        sleep(ATTENDANT.step(now()));
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

unsafe extern "C" fn before_fork() {
    ATTENDANT.take_turn();
}

unsafe extern "C" fn in_parent() {
    // SAFETY: taken before the fork, by this thread.
    unsafe { ATTENDANT.end_turn() };
}

unsafe extern "C" fn in_child() {
    // SAFETY: taken before the fork, by the thread that this one is the copy of.
    unsafe { ATTENDANT.end_turn() };
    // Relaxed: the child has one thread.
    ATTENDANT.threshold.store(WORTH_IT, Ordering::Relaxed);
}
