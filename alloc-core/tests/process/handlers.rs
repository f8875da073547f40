//! Handlers that interrupt the allocator, each other, or a fork.

use std::{
    ptr::{self, NonNull},
    sync::{
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, Scope},
};

use alloc_core::global::heap;

use super::{
    alone, churn, churn_large, filled, forks::fork_and_check, is_from_main_heap, is_whole,
};

/// Served by handlers, and how many of these blocks came from another heap than the main one.
static SERVED: AtomicUsize = AtomicUsize::new(0);
static EMERGENCIES: AtomicUsize = AtomicUsize::new(0);
/// Handlers on the stack, and the most there were.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

extern "C" fn allocate(_signal: libc::c_int) {
    DEEPEST.fetch_max(DEPTH.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    let seed = SERVED.fetch_add(1, Ordering::Relaxed);
    for seed in seed..seed + 10 {
        let mut block = filled(seed);
        block.extend_from_within(..);
        if !is_from_main_heap(&block) {
            EMERGENCIES.fetch_add(1, Ordering::Relaxed);
        }
        let half = block.len() / 2;
        // A panic would unwind out of the handler.
        if !is_whole(&block[..half], seed) || !is_whole(&block[half..], seed) {
            std::process::abort();
        }
    }
    DEPTH.fetch_sub(1, Ordering::Relaxed);
}

fn install(signal: libc::c_int, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: zeros are a valid `sigaction`; the handlers touch atomics and the allocator only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

/// A thread that does `work`: whom signals are sent to.
fn interrupted<'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() + Send + 'scope,
) -> libc::pthread_t {
    let (to, from) = mpsc::channel();
    scope.spawn(move || {
        // SAFETY: the call has no preconditions.
        to.send(unsafe { libc::pthread_self() }).unwrap();
        work();
    });
    from.recv().unwrap()
}

#[test]
fn handlers_that_interrupt_handlers_in_the_allocator_are_served() {
    alone("handlers::handlers_that_interrupt_handlers_in_the_allocator_are_served", || {
        let signals = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN()];
        signals.into_iter().for_each(|signal| install(signal, allocate));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let target = interrupted(scope, || churn_large(&done));
            scope.spawn(|| churn(&done));
            let enough = || {
                SERVED.load(Ordering::Relaxed) >= 1_000
                    && EMERGENCIES.load(Ordering::Relaxed) >= 2_500
                    && DEEPEST.load(Ordering::Relaxed) >= 2
            };
            while !enough() {
                let before = SERVED.load(Ordering::Relaxed);
                for (signal, wait) in signals.into_iter().zip([7_919, 6_101, 0]) {
                    // SAFETY: the thread runs until `done`.
                    unsafe { libc::pthread_kill(target, signal) };
                    // The next one comes at any moment of this one's handler.
                    (0..before * wait % 5_000).for_each(|_| std::hint::spin_loop());
                }
                // No more come before one of these was handled, or the handlers would be all it does.
                while SERVED.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Forks; the child allocates, in the middle of whatever was interrupted, and ends.
extern "C" fn fork_in_handler(_signal: libc::c_int) {
    // SAFETY: the child allocates from this crate only, and ends without exit handlers.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(300);
            libc::_exit(if is_whole(&filled(9), 9) { 7 } else { 8 });
        }
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 {}
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 7 {
            libc::abort();
        }
    }
    FORKS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_that_interrupts_the_allocator_may_fork() {
    alone("handlers::a_handler_that_interrupts_the_allocator_may_fork", || {
        install(libc::SIGUSR1, fork_in_handler);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let target = interrupted(scope, || churn_large(&done));
            while FORKS.load(Ordering::Relaxed) < 100 {
                let before = FORKS.load(Ordering::Relaxed);
                // SAFETY: the thread runs until `done`.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                while FORKS.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// Bytes of a block that takes the lock of the page heap, also as it is freed: above 2 MiB none waits in a slot.
const LOCKS: std::alloc::Layout = std::alloc::Layout::new::<[u8; 3 << 20]>();

/// Handlers that ran, and those that got no memory.
static SERVED_IN_FORKS: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Allocates and frees. It does not fork: libc's `fork` takes a lock before it calls anybody's handlers, and one that
/// interrupts it there waits for itself.
extern "C" fn allocate_with_a_lock(_signal: libc::c_int) {
    // SAFETY: the block is used within its length, and freed once.
    unsafe {
        let block = std::alloc::alloc(LOCKS);
        if block.is_null() {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        } else {
            block.write_bytes(7, 3_000);
            std::alloc::dealloc(block, LOCKS);
        }
    }
    SERVED_IN_FORKS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_that_would_interrupt_a_fork_comes_after_it() {
    alone("handlers::a_handler_that_would_interrupt_a_fork_comes_after_it", || {
        install(libc::SIGUSR1, allocate_with_a_lock);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            // SAFETY: the call has no preconditions.
            let target = unsafe { libc::pthread_self() };
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let before = SERVED_IN_FORKS.load(Ordering::Relaxed);
                    // SAFETY: the thread waits for this one.
                    unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                    while SERVED_IN_FORKS.load(Ordering::Relaxed) == before
                        && !done.load(Ordering::Relaxed)
                    {
                        thread::yield_now();
                    }
                }
            });
            let mut forks = 0;
            while forks < 300 || SERVED_IN_FORKS.load(Ordering::Relaxed) < 100 {
                fork_and_check(|| is_whole(&filled(3), 3));
                forks += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(REFUSED.load(Ordering::Relaxed), 0, "there is memory for all");
    });
}

/// Blocks that handlers had from another heap than the main one.
static PASSED: [AtomicPtr<u8>; 8] = [const { AtomicPtr::new(ptr::null_mut()) }; 8];

extern "C" fn pass_blocks(_signal: libc::c_int) {
    for passed in PASSED.iter().filter(|passed| passed.load(Ordering::Relaxed).is_null()) {
        // SAFETY: the block is passed on, or freed, once.
        unsafe {
            let block = std::alloc::alloc(LOCKS);
            let Some(at) = NonNull::new(block) else { std::process::abort() };
            if heap().contains(at) {
                std::alloc::dealloc(block, LOCKS);
                break;
            }
            passed.store(block, Ordering::Relaxed);
        }
    }
    SERVED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_that_interrupts_the_free_of_another_handlers_block_is_served() {
    alone(
        "handlers::a_handler_that_interrupts_the_free_of_another_handlers_block_is_served",
        || {
            install(libc::SIGUSR1, pass_blocks);
            let (done, freed) = (AtomicBool::new(false), AtomicUsize::new(0));
            thread::scope(|scope| {
                let target = interrupted(scope, || {
                    while !done.load(Ordering::Relaxed) {
                        // SAFETY: each block is freed once.
                        unsafe { std::alloc::dealloc(std::alloc::alloc(LOCKS), LOCKS) };
                        for passed in &PASSED {
                            let block = passed.swap(ptr::null_mut(), Ordering::Relaxed);
                            if !block.is_null() {
                                // SAFETY: as above.
                                unsafe { std::alloc::dealloc(block, LOCKS) };
                                freed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
                while freed.load(Ordering::Relaxed) < 6_000 {
                    let before = SERVED.load(Ordering::Relaxed);
                    // SAFETY: the thread runs until `done`.
                    unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                    while SERVED.load(Ordering::Relaxed) == before {
                        thread::yield_now();
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        },
    );
}
