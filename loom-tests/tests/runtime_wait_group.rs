//! The wait group: nobody sleeps beside a count of zero, and what was done is seen (R6, R8).
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use runtime::sync::WaitGroup;

/// Two that are waited for.
#[test]
fn what_was_done_is_seen_after_the_wait() {
    model("what_was_done_is_seen_after_the_wait", 3, || {
        let world = Arc::new((WaitGroup::new(), [UnsafeCell::new(0), UnsafeCell::new(0)]));
        world.0.add(2);
        let workers = [0, 1].map(|number| {
            let world = world.clone();
            thread::spawn(move || {
                // SAFETY: the cell is the worker's until it is done; loom says if that is not so.
                world.1[number].with_mut(|cell| unsafe { *cell = 1 });
                world.0.done();
            })
        });
        world.0.wait();
        for cell in &world.1 {
            // SAFETY: all workers are done.
            assert_eq!(cell.with(|cell| unsafe { *cell }), 1);
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// Two that wait: both are told.
#[test]
fn all_who_wait_are_told() {
    model("all_who_wait_are_told", 3, || {
        let group = Arc::new(WaitGroup::new());
        group.add(1);
        let waiters = [0, 1].map(|_| {
            let group = group.clone();
            thread::spawn(move || group.wait())
        });
        group.done();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(group.count(), 0);
    });
}
