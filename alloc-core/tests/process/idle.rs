//! Caches of threads that do nothing, or ended, and a scavenger that asks for those of threads that do.

use std::{
    sync::{atomic::AtomicBool, mpsc},
    time::Duration,
};

use alloc_core::scavenge::{ByAge, Eager};

use super::*;

/// Bytes of spans of small blocks.
fn spans() -> usize {
    let stats = heap().stats();
    stats.small + stats.holes
}

/// Allocates blocks of all sizes, and frees them.
fn burst() {
    for size in (16..3_000).step_by(40) {
        let blocks: Vec<Vec<u8>> = (0..100).map(|_| Vec::with_capacity(size)).collect();
        drop(black_box(blocks));
    }
}

#[test]
fn a_thread_that_does_nothing_keeps_nothing() {
    alone("idle::a_thread_that_does_nothing_keeps_nothing", || {
        let (ready, is_ready) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let idle = thread::spawn(move || {
            let kept = filled(5);
            burst();
            ready.send(()).unwrap();
            may_go.recv().unwrap();
            // Its cache serves it again.
            burst();
            assert!(is_from_main_heap(&filled(6)) && is_whole(&kept, 5));
        });
        is_ready.recv().unwrap();
        let before = spans();
        let mut scavenger = heap().scavenger(ByAge::default()).unwrap();
        for step in 0..20 {
            scavenger.step(step * Duration::from_millis(200));
        }
        // Its spans were of some forty classes, and this thread has a few.
        assert!(before > 1 << 20 && spans() < before / 2, "{before}, then {}", spans());
        go.send(()).unwrap();
        idle.join().unwrap();
    });
}

/// A thread that allocates a few blocks of each size, frees them, and ends.
fn short_life() {
    let life = || {
        for size in (16..2_000).step_by(40) {
            let blocks: Vec<Vec<u8>> = (0..5).map(|_| Vec::with_capacity(size)).collect();
            drop(black_box(blocks));
        }
    };
    thread::spawn(life).join().unwrap();
}

#[test]
fn a_thread_begins_with_what_the_last_one_left() {
    alone("idle::a_thread_begins_with_what_the_last_one_left", || {
        let taken = || {
            let stats = heap().stats();
            stats.takes + stats.cached_takes + stats.claims
        };
        short_life();
        let first = taken();
        for _ in 0..100 {
            short_life();
        }
        // Of some thirty classes. This thread may need spans of its own for what it says to the others.
        let others = taken() - first;
        assert!(others < 10, "{others} more spans were taken");
    });
}

#[test]
fn what_ended_threads_left_goes_back() {
    alone("idle::what_ended_threads_left_goes_back", || {
        let before = spans();
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(burst)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let left = spans();
        assert!(left > before + (1 << 20), "{before}, then {left}: some keep what they had");
        assert!(heap().has_resting_memory(), "somebody should look");
        let mut scavenger = heap().scavenger(ByAge::default()).unwrap();
        let (mut steps, mut now) = (0, Duration::ZERO);
        // Called as it asks to be.
        while let Some(pause) = scavenger.step(now) {
            now += pause;
            steps += 1;
            assert!(steps < 20, "{}", heap().stats());
        }
        assert!(spans() < before + (left - before) / 8, "{before}, {left}, then {}", spans());
    });
}

#[test]
fn release_empties_the_caches_of_all_threads_that_wait() {
    alone("idle::release_empties_the_caches_of_all_threads_that_wait", || {
        let (ready, is_ready) = mpsc::channel();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (go, may_go) = mpsc::channel::<()>();
                let ready = ready.clone();
                let thread = thread::spawn(move || {
                    burst();
                    ready.send(()).unwrap();
                    may_go.recv().unwrap();
                });
                (go, thread)
            })
            .collect();
        is_ready.iter().take(4).for_each(drop);
        let before = spans();
        // A thread that has said so may not wait yet.
        while spans() >= before / 3 {
            heap().release();
        }
        for (go, thread) in threads {
            go.send(()).unwrap();
            thread.join().unwrap();
        }
    });
}

#[test]
fn threads_whose_caches_are_asked_for_lose_nothing() {
    alone("idle::threads_whose_caches_are_asked_for_lose_nothing", || {
        static DONE: AtomicBool = AtomicBool::new(false);
        let workers: Vec<_> = (0..3)
            .map(|seed: usize| {
                thread::spawn(move || {
                    for round in 0..4 {
                        // A new thread each time: caches come and go as well.
                        let life = move || {
                            let mut blocks = Vec::new();
                            for n in 0..2_000 {
                                blocks.push((n + round + seed, filled(n + round + seed)));
                                if blocks.len() > 60 {
                                    let (seed, block) = blocks.swap_remove(n % 60);
                                    assert!(is_whole(&block, seed));
                                }
                            }
                            blocks.iter().for_each(|(seed, block)| assert!(is_whole(block, *seed)));
                        };
                        thread::spawn(life).join().unwrap();
                    }
                })
            })
            .collect();
        let releasing = thread::spawn(|| {
            // Relaxed: a flag that says no more than itself.
            while !DONE.load(Ordering::Relaxed) {
                heap().release();
            }
        });
        let mut scavenger = heap().scavenger(Eager).unwrap();
        while !workers.iter().all(|worker| worker.is_finished()) {
            scavenger.step(Duration::ZERO);
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        // Relaxed: as above.
        DONE.store(true, Ordering::Relaxed);
        releasing.join().unwrap();
    });
}

#[test]
fn a_fork_beside_a_scavenger_has_whole_caches() {
    alone("idle::a_fork_beside_a_scavenger_has_whole_caches", || {
        static DONE: AtomicBool = AtomicBool::new(false);
        let (ready, is_ready) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            burst();
            ready.send(()).unwrap();
            thread::park();
        });
        is_ready.recv().unwrap();
        let releasing = thread::spawn(|| {
            // Relaxed: as above.
            while !DONE.load(Ordering::Relaxed) {
                burst();
                heap().release();
            }
        });
        for round in 0..20 {
            // SAFETY: the child allocates, as the heap lets it, and ends at once.
            match unsafe { libc::fork() } {
                0 => {
                    burst();
                    heap().release();
                    let whole = is_whole(&black_box(filled(round)), round);
                    // SAFETY: ends the child without the parent's exit handlers.
                    unsafe { libc::_exit(i32::from(!whole)) }
                }
                child => {
                    let mut status = 0;
                    // SAFETY: our child, and a place for its status.
                    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                    assert_eq!(status, 0, "of round {round}");
                }
            }
        }
        // Relaxed: as above.
        DONE.store(true, Ordering::Relaxed);
        releasing.join().unwrap();
        sleeper.thread().unpark();
        sleeper.join().unwrap();
    });
}
