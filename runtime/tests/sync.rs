//! `Mutex` and `WaitGroup` on threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use runtime::sync::{Mutex, WaitGroup};

#[test]
fn a_mutex_excludes() {
    let value = Mutex::new((0_u64, 0_u64));
    thread::scope(|s| {
        for _ in 0..6 {
            s.spawn(|| {
                for _ in 0..5000 {
                    let mut pair = value.lock();
                    assert_eq!(pair.0, pair.1);
                    pair.0 += 1;
                    std::hint::spin_loop();
                    pair.1 += 1;
                }
            });
        }
    });
    assert_eq!(value.into_inner(), (30_000, 30_000));
}

#[test]
fn a_waiter_gets_its_turn_against_a_greedy_owner() {
    let mutex = Mutex::new(());
    let done = AtomicBool::new(false);
    thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let _guard = mutex.lock();
                thread::sleep(Duration::from_micros(100));
            }
        });
        // Without the hand-over the greedy thread, which locks again at once, nearly always wins.
        (0..20).for_each(|_| drop(mutex.lock()));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_panic_unlocks() {
    let mutex = Arc::new(Mutex::new(1));
    let other = Arc::clone(&mutex);
    let result = thread::spawn(move || {
        *other.lock() = 2;
        let _guard = other.lock();
        panic!("inside");
    });
    assert!(result.join().is_err());
    assert_eq!(*mutex.lock(), 2);
}

#[test]
fn a_group_waits_for_all_and_can_be_used_again() {
    let group = WaitGroup::new();
    let count = Mutex::new(0);
    for round in 1..=200 {
        group.add(4);
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    *count.lock() += 1;
                    group.done();
                });
            }
            for _ in 0..2 {
                s.spawn(|| {
                    group.wait();
                    assert_eq!(*count.lock(), round * 4);
                });
            }
        });
    }
}

#[test]
#[should_panic(expected = "without a matching add")]
fn done_without_add_panics() {
    WaitGroup::new().done();
}
