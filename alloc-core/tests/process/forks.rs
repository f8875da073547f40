//! Children of forks of a process with many threads.

use std::{
    hint::black_box,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use alloc_core::{
    global::heap,
    scavenge::{ByAge, background},
};

use super::{ALLOCATOR, alone, churn, filled, is_whole};

/// Runs `body` in a child of this process, which must say `true`.
pub(super) fn fork_and_check(body: impl FnOnce() -> bool) {
    // SAFETY: the child runs `body` and ends without exit handlers.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::alarm(300);
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
    alone("forks::the_child_of_a_fork_takes_back_the_caches_of_the_threads_it_lost", || {
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
    alone("forks::children_of_forks_start_threads_and_fork_again", || {
        let done = AtomicBool::new(false);
        let kept = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| churn(&done));
            }
            for round in 0..12 {
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

/// Bytes of the heap that are neither given back nor, as far as the account can tell, on their way.
fn held() -> usize {
    ALLOCATOR.release();
    let stats = heap().stats();
    stats.small + stats.holes + stats.large + stats.free
}

#[test]
fn nothing_is_in_a_scavengers_hands_in_the_child() {
    alone("forks::nothing_is_in_a_scavengers_hands_in_the_child", || {
        let (begin, done) = (Barrier::new(2), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                begin.wait();
                // Empties the other thread's cache whenever it is out of it, and makes holes in its spans.
                while !done.load(Ordering::Relaxed) {
                    heap().release();
                    thread::yield_now();
                }
            });
            // The other thread has what it needs before that is measured.
            begin.wait();
            let before = held();
            begin.wait();
            let mut kept: Vec<(usize, Vec<u8>)> = Vec::with_capacity(40_000);
            for round in 0..12 {
                let blocks: Vec<_> = (0..300).map(|n| (n, filled(n))).collect();
                kept.extend(blocks.into_iter().filter(|(n, _)| (n + round) % 5 == 0));
                let (blocks, pages) = (&mut kept, large(round));
                fork_and_check(|| {
                    let whole = blocks.iter().all(|(seed, block)| is_whole(block, *seed));
                    drop((std::mem::take(blocks), pages));
                    whole && held() <= before
                });
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// Large blocks, so that the other thread gives pages back too.
fn large(round: usize) -> Vec<Vec<u8>> {
    drop(black_box((0..20).map(|n| vec![1_u8; (n + 5) << 14]).collect::<Vec<_>>()));
    vec![vec![round as u8; 100_000]]
}

#[test]
fn a_child_has_no_scavenger_and_starts_its_own() {
    alone("forks::a_child_has_no_scavenger_and_starts_its_own", || {
        let start = || background(heap(), ByAge::default());
        let mut scavenger = Some(start().unwrap());
        fork_and_check(|| {
            let own = start();
            // Its thread is the parent's, and it leaves the child's alone.
            drop(scavenger.take());
            own.is_ok() && start().is_err()
        });
        assert!(start().is_err(), "the parent's goes on");
        drop(scavenger);
        assert!(start().is_ok());
    });
}
