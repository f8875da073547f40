//! Caches of the allocator belong to Ps: what one goroutine frees the next one on its P gets, and goroutines do not
//! bring caches of their own, however many there are.

use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;

use alloc_core::size_class::{PAGE, TABLE, class_for};
use runtime::chan;
use runtime::sync::WaitGroup;

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

/// Of a class that nothing else here uses: its spans tell how many caches own one.
const SIZE: usize = 8_000;

/// The bytes of a span of that class.
fn span() -> usize {
    let class = class_for(SIZE, 1).expect("it is small");
    usize::from(TABLE[class].manual_pages) * PAGE
}

/// Where a block lies that is freed at once.
fn place() -> usize {
    let block = Vec::<u8>::with_capacity(SIZE);
    std::hint::black_box(&block).as_ptr().addr()
}

/// The heap is the process's, and so are its spans: tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn spans() -> usize {
    let stats = alloc_core::global::heap().stats();
    stats.small + stats.holes
}

#[test]
fn what_a_goroutine_frees_the_next_on_its_processor_gets() {
    let _alone = alone();
    const ROUNDS: usize = 100;
    let rt = runtime::Builder::new().procs(1).build().unwrap();
    let (there, places) = chan::rendezvous();
    let (back, turns) = chan::rendezvous();
    let same = rt.run(|| {
        let other = runtime::go(move || {
            // Both live at once: else the second might begin with the cache that the first has left.
            while turns.recv().is_ok() {
                there.send(place()).unwrap();
            }
        });
        let same = (0..ROUNDS).filter(|_| {
            let mine = place();
            back.send(()).unwrap();
            places.recv().unwrap() == mine
        });
        let same = same.count();
        drop(back);
        other.join().unwrap();
        same
    });
    // The scavenger may empty the cache of a P that stood still for long.
    assert!(same > ROUNDS / 2, "{same} of {ROUNDS}");
}

#[test]
fn there_are_no_more_caches_than_processors_and_threads() {
    let _alone = alone();
    const GOROUTINES: usize = 200;
    const PROCS: usize = 2;
    const THREADS: usize = 3;
    let rt = runtime::Builder::new().procs(PROCS).build().unwrap();
    let before = rt.run(spans);
    let (all, barrier) = (WaitGroup::new(), Barrier::new(THREADS + 1));
    let caches = thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                place();
                barrier.wait();
                barrier.wait();
            });
        }
        barrier.wait();
        let caches = rt.scope(|scope| {
            let all = &all;
            all.add(GOROUTINES);
            let (gone, wait) = chan::rendezvous::<()>();
            for _ in 0..GOROUTINES {
                let wait = wait.clone();
                scope.go(move || {
                    place();
                    all.done();
                    let _ = wait.recv();
                });
            }
            all.wait();
            let caches = spans().saturating_sub(before).div_ceil(span());
            drop(gone);
            caches
        });
        barrier.wait();
        caches
    });
    // Some for records of goroutines, and the harness.
    assert!(caches <= 2 * (PROCS + THREADS + 2), "{caches}, with {GOROUTINES} goroutines");
}
