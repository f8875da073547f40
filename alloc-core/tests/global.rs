//! The crate as the allocator of this very test binary: threads that come and go, blocks that
//! outlive them, destructors that allocate at a thread's end, handlers that interrupt an
//! allocation, and children of a fork.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use alloc_core::global::{GlobalAlloc, ThreadBinding, heap};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

/// Tests that look at the account of the process, or fork it, run alone.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Work whose result tells whether memory was mixed up.
fn work(seed: usize) -> usize {
    let mut map = BTreeMap::new();
    for n in 0..200 {
        let key = (n * 7_919 + seed) % 1_000;
        map.insert(key, format!("{key}-{}", "x".repeat(key % 90)));
    }
    for (key, value) in &map {
        assert!(value.starts_with(&format!("{key}-")) && value.len() >= key % 90);
    }
    map.values().map(String::len).sum()
}

#[test]
fn a_storm_of_threads_leaves_nothing_behind() {
    let _alone = alone();
    let storm = || {
        let (to, from) = mpsc::channel();
        let threads: Vec<_> = (0..50)
            .map(|n| {
                let to = to.clone();
                thread::spawn(move || {
                    // What is sent is freed by another thread, perhaps after this one's end.
                    (0..100).for_each(|m| to.send(vec![n as u8; m]).unwrap());
                    work(n)
                })
            })
            .collect();
        drop(to);
        from.into_iter().for_each(|bytes| assert!(bytes.windows(2).all(|w| w[0] == w[1])));
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() > 0));
    };
    storm();
    heap().release();
    let before = heap().stats();
    (0..10).for_each(|_| storm());
    heap().release();
    let after = heap().stats();
    // This thread's magazines keep cells of the others' spans, and by that the spans.
    let spans = |stats: &alloc_core::Stats| stats.small + stats.holes;
    assert!(spans(&after) <= spans(&before) + (4 << 20), "before {before:?}\nafter {after:?}");
    assert_eq!(after.mapped, after.parts().iter().map(|(_, bytes)| bytes).sum::<usize>());
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Allocates when its thread ends.
struct Last(mpsc::Sender<Vec<usize>>);

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.0.send((0..work(3)).collect());
    }
}

extern "C" fn allocate_at_the_very_end(round: *mut libc::c_void) {
    black_box(work(round as usize));
    // Once more after the allocator's own destructor, which comes after this one or before.
    if (round as usize) < 3 {
        // SAFETY: the key was made by the test and is still there.
        unsafe {
            libc::pthread_setspecific(
                KEY.load(Ordering::Relaxed) as u32,
                (round as usize + 1) as *mut _,
            )
        };
    }
}

static KEY: AtomicUsize = AtomicUsize::new(0);

#[test]
fn destructors_of_thread_locals_and_keys_may_allocate() {
    let mut key = 0;
    // SAFETY: the destructor fits the values.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(allocate_at_the_very_end)) }, 0);
    KEY.store(key as usize, Ordering::Relaxed);
    let (to, from) = mpsc::channel();
    for _ in 0..20 {
        let to = to.clone();
        thread::spawn(move || {
            // SAFETY: the key was made above.
            unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance_mut(1)) };
            LAST.with(|last| *last.borrow_mut() = Some(Last(to)));
        })
        .join()
        .unwrap();
    }
    drop(to);
    let sent: Vec<_> = from.into_iter().collect();
    assert_eq!(sent.len(), 20);
    assert!(sent.iter().all(|numbers| numbers.iter().enumerate().all(|(i, &n)| i == n)));
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn allocate_in_handler(_signal: libc::c_int) {
    let count = HANDLED.fetch_add(1, Ordering::Relaxed);
    let block = vec![count as u8; 40 + count % 3_000];
    assert!(black_box(&block).iter().all(|&byte| byte == count as u8));
}

#[test]
fn a_handler_that_interrupts_an_allocation_may_allocate() {
    // SAFETY: a handler that only allocates, which is what the test is about.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = allocate_in_handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (to, from) = mpsc::channel();
        let done = &done;
        scope.spawn(move || {
            // SAFETY: the call has no preconditions.
            to.send(unsafe { libc::pthread_self() }).unwrap();
            let mut seed = 0;
            while !done.load(Ordering::Relaxed) {
                seed += 1;
                black_box(work(seed));
            }
        });
        let target = from.recv().unwrap();
        let before = HANDLED.load(Ordering::Relaxed);
        while HANDLED.load(Ordering::Relaxed) < before + 2_000 {
            // SAFETY: the thread runs until `done`.
            unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_child_of_a_fork_allocates_though_other_threads_were_in_the_middle() {
    let _alone = alone();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..3 {
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    black_box((work(n), vec![0_u8; 300_000]));
                }
            });
        }
        for round in 0..40 {
            // SAFETY: the child allocates, frees and ends, and calls nothing else.
            let child = unsafe { libc::fork() };
            assert!(child >= 0);
            if child == 0 {
                // SAFETY: ends a child that hangs; ends one that does not.
                unsafe {
                    libc::alarm(300);
                    let sum: usize = (0..20).map(|n| work(n + round)).sum();
                    libc::_exit(if sum > 0 { 7 } else { 8 });
                }
            }
            let mut status = 0;
            // SAFETY: waits for our own child.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert!(libc::WIFEXITED(status), "round {round}: status {status:#x}");
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
        done.store(true, Ordering::Relaxed);
    });
}
