//! The allocator where a process is at its edges: before `main`, at exit, in handlers that interrupt
//! handlers, in children of forks. Each test runs alone in a process of its own, which ends by a signal
//! if it hangs.

use std::{
    env,
    hint::black_box,
    process::Command,
    ptr::NonNull,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use alloc_core::global::{GlobalAlloc, ThreadBinding, heap};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

const CHILD: &str = "ALLOC_CORE_TEST";

/// Runs `body` in a new process of this binary, which must succeed; returns what it printed.
fn alone(name: &str, body: fn()) -> String {
    if env::var_os(CHILD).is_some() {
        // SAFETY: the default action of the alarm ends the process.
        unsafe { libc::alarm(120) };
        body();
        return String::new();
    }
    let binary = env::current_exe().unwrap();
    let ran = Command::new(binary).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
    let ran = ran.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{name}: {}\n{out}\n{err}", ran.status);
    out.into_owned()
}

/// A block whose bytes all depend on `seed`, and its check.
fn filled(seed: usize) -> Vec<u8> {
    (0..20 + seed * 37 % 3_000).map(|i| (i + seed) as u8).collect()
}

fn is_whole(block: &[u8], seed: usize) -> bool {
    block.len() == 20 + seed * 37 % 3_000
        && block.iter().enumerate().all(|(i, &byte)| byte == (i + seed) as u8)
}

fn is_from_main_heap(block: &[u8]) -> bool {
    heap().contains(NonNull::from(block).cast())
}

static EARLY: AtomicPtr<Vec<u8>> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn before_main() {
    EARLY.store(Box::into_raw(Box::new(filled(77))), Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

#[test]
fn a_block_from_before_main_is_like_any_other() {
    // SAFETY: made by `Box::into_raw` before `main`, and taken once.
    let early = unsafe { Box::from_raw(EARLY.swap(std::ptr::null_mut(), Ordering::Relaxed)) };
    assert!(is_whole(&early, 77) && is_from_main_heap(&early));
}

struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let block = filled(5);
        println!("thread-local {}", is_whole(&block, 5));
    }
}

thread_local! {
    static AT_THE_END: AtTheEnd = const { AtTheEnd };
}

extern "C" fn at_exit() {
    let block = filled(6);
    println!("atexit {}", is_whole(&block, 6));
}

#[test]
fn exit_handlers_and_thread_locals_allocate_at_exit() {
    let said = alone("exit_handlers_and_thread_locals_allocate_at_exit", || {
        AT_THE_END.with(|_| ());
        // SAFETY: the handler fits.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        std::process::exit(0);
    });
    if env::var_os(CHILD).is_none() {
        assert!(said.contains("thread-local true") && said.contains("atexit true"), "{said}");
    }
}

static KEY: AtomicUsize = AtomicUsize::new(0);

/// Runs in each of the four rounds that libc grants.
extern "C" fn late(round: *mut libc::c_void) {
    let round = round.addr();
    let block = filled(round);
    assert!(is_whole(&block, round));
    // The cache is there until the last round, whatever the order of the keys.
    assert!(round == 4 || is_from_main_heap(&block), "round {round}");
    let key = KEY.load(Ordering::Relaxed) as libc::pthread_key_t;
    // SAFETY: the key is there.
    unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(round + 1)) };
}

#[test]
fn destructors_of_keys_find_the_cache_until_the_last_round() {
    alone("destructors_of_keys_find_the_cache_until_the_last_round", || {
        let mut key = 0;
        // SAFETY: the destructor fits the values.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(late)) }, 0);
        KEY.store(key as usize, Ordering::Relaxed);
        let storm = || {
            for seed in 0..100 {
                let thread = thread::spawn(move || {
                    // SAFETY: the key was made above.
                    unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) };
                    filled(seed)
                });
                assert!(is_whole(&thread.join().unwrap(), seed));
            }
        };
        storm();
        let before = heap().stats();
        (0..5).for_each(|_| storm());
        let after = heap().stats();
        assert!(after.small <= before.small + (1 << 20), "caches were lost: {before:?} {after:?}");
    });
}

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

/// Allocates and checks until told to end.
fn churn(done: &AtomicBool) {
    let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut seed = 0;
    while !done.load(Ordering::Relaxed) {
        seed += 1;
        kept.push((seed, filled(seed)));
        if kept.len() > 200 {
            let (seed, block) = kept.swap_remove(seed * 7_919 % 200);
            assert!(is_whole(&block, seed));
        }
        // Most of the time shall be spent in the allocator: such blocks come from the page heap.
        drop(black_box((5..40).map(|n| Vec::<u8>::with_capacity(n << 14)).collect::<Vec<_>>()));
    }
}

/// Is inside of the allocator most of the time: such blocks take the lock of the page heap.
fn churn_large(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let blocks: Vec<_> = (5..40).map(|n| Vec::<u8>::with_capacity(n << 14)).collect();
        drop(black_box(blocks));
    }
}

#[test]
fn handlers_that_interrupt_handlers_in_the_allocator_are_served() {
    alone("handlers_that_interrupt_handlers_in_the_allocator_are_served", || {
        let signals = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGRTMIN()];
        signals.into_iter().for_each(|signal| install(signal, allocate));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (to, from) = mpsc::channel();
            let done = &done;
            scope.spawn(move || {
                // SAFETY: the call has no preconditions.
                to.send(unsafe { libc::pthread_self() }).unwrap();
                churn_large(done);
            });
            scope.spawn(|| churn(done));
            let target = from.recv().unwrap();
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
            libc::alarm(20);
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
    alone("a_handler_that_interrupts_the_allocator_may_fork", || {
        install(libc::SIGUSR1, fork_in_handler);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let (to, from) = mpsc::channel();
            let done = &done;
            scope.spawn(move || {
                // SAFETY: the call has no preconditions.
                to.send(unsafe { libc::pthread_self() }).unwrap();
                churn_large(done);
            });
            let target = from.recv().unwrap();
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

/// Handlers that ran, and those that interrupted a fork.
static SERVED_IN_FORKS: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// Allocates and frees, if there is memory: null is what a handler gets that interrupts a fork.
extern "C" fn allocate_if_possible(_signal: libc::c_int) {
    // Such a block takes the lock of the page heap.
    let layout = std::alloc::Layout::new::<[u8; 100_000]>();
    // SAFETY: the block is used within its length, and freed once.
    unsafe {
        let block = std::alloc::alloc(layout);
        if block.is_null() {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        } else {
            block.write_bytes(7, 3_000);
            std::alloc::dealloc(block, layout);
        }
    }
    SERVED_IN_FORKS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_that_interrupts_a_fork_does_not_wait_for_it() {
    alone("a_handler_that_interrupts_a_fork_does_not_wait_for_it", || {
        install(libc::SIGUSR1, allocate_if_possible);
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
            while forks < 100 || REFUSED.load(Ordering::Relaxed) < 5 {
                fork_and_check(|| is_whole(&filled(3), 3));
                forks += 1;
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// Runs `body` in a child of this process, which must say `true`.
fn fork_and_check(body: impl FnOnce() -> bool) {
    // SAFETY: the child runs `body` and ends without exit handlers.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::alarm(30);
            libc::_exit(if body() { 7 } else { 8 });
        }
        let mut status = 0;
        // A handler without `SA_RESTART` would interrupt it; ours have that.
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "status {status:#x}");
    }
}

#[test]
fn the_child_of_a_fork_takes_back_the_caches_of_the_threads_it_lost() {
    alone("the_child_of_a_fork_takes_back_the_caches_of_the_threads_it_lost", || {
        let (ready, over) = (Barrier::new(9), Barrier::new(9));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let blocks: Vec<_> = (0..1_000).map(|_| vec![1_u8; 500]).collect();
                    drop(black_box(blocks));
                    ready.wait();
                    over.wait();
                });
            }
            ready.wait();
            let parent = heap().stats().small;
            fork_and_check(|| heap().stats().small + (2 << 20) <= parent);
            over.wait();
        });
    });
}

#[test]
fn children_of_forks_start_threads_and_fork_again() {
    alone("children_of_forks_start_threads_and_fork_again", || {
        let done = AtomicBool::new(false);
        let kept = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| churn(&done));
            }
            for round in 0..30 {
                kept.lock().unwrap().push(filled(round));
                let kept = kept.lock().unwrap();
                fork_and_check(|| {
                    // libc's thread creation is safe here: no thread of this process is inside it.
                    let threads: Vec<_> =
                        (0..4).map(|n| thread::spawn(move || is_whole(&filled(n), n))).collect();
                    let good = threads.into_iter().all(|thread| thread.join().unwrap());
                    fork_and_check(|| is_whole(&filled(round), round));
                    good && kept.iter().enumerate().all(|(seed, block)| is_whole(block, seed))
                });
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}
