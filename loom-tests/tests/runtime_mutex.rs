//! The mutex: exclusion, nobody sleeps beside a free one, and whoever has waited long is next (R6, R7).
#![cfg(loom)]

use std::mem;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex as Slot};
use loom::thread;
use loom_tests::model;
use runtime::sync::Mutex;
use sched_core::park::{self, Waiter};
use sched_core::sync::set_now;

/// More than a waiter has to wait before it is handed the mutex.
const LONG: u64 = 2_000_000;

/// Locks, and counts.
fn turn(mutex: &Mutex<usize>) {
    *mutex.lock() += 1;
}

/// Three, each of which may find it free, locked, or its waiter on the way.
#[test]
fn one_owner_at_a_time_and_nobody_is_forgotten() {
    model("one_owner_at_a_time_and_nobody_is_forgotten", 2, || {
        set_now(0);
        let mutex = Arc::new(Mutex::new(0));
        let others = [0, 1].map(|_| {
            let mutex = mutex.clone();
            thread::spawn(move || turn(&mutex))
        });
        turn(&mutex);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*mutex.lock(), 3);
    });
}

/// As above, and all are handed over: each has waited long.
#[test]
fn one_owner_at_a_time_when_it_is_handed_over() {
    model("one_owner_at_a_time_when_it_is_handed_over", 2, || {
        set_now(0);
        let mutex = Arc::new(Mutex::new(0));
        let others = [0, 1].map(|_| {
            let mutex = mutex.clone();
            thread::spawn(move || turn(&mutex))
        });
        let mut guard = mutex.lock();
        *guard += 1;
        set_now(LONG);
        drop(guard);
        turn(&mutex);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*mutex.lock(), 4);
    });
}

/// A mutex whose owners leave their numbers.
#[derive(Clone)]
struct Turns {
    mutex: Arc<Mutex<Vec<usize>>>,
    /// Who waits for it, as soon as it says so.
    waiters: Arc<[Slot<Option<Waiter>>; 2]>,
}

impl Turns {
    fn new() -> Self {
        Turns {
            mutex: Arc::new(Mutex::new(Vec::new())),
            waiters: Arc::new([Slot::new(None), Slot::new(None)]),
        }
    }

    /// A thread that locks it as number `number`. Returns when that thread sleeps: the mutex is held.
    fn waiter(&self, number: usize) -> thread::JoinHandle<()> {
        let turns = self.clone();
        let handle = thread::spawn(move || {
            *turns.waiters[number].lock().unwrap() = Some(park::current());
            turns.mutex.lock().push(number);
        });
        let sleeps =
            || self.waiters[number].lock().unwrap().as_ref().is_some_and(Waiter::is_asleep);
        while !sleeps() {
            thread::yield_now();
        }
        handle
    }
}

/// One that has waited long is next, whatever the owner does after its unlock.
#[test]
fn whoever_has_waited_long_is_next() {
    model("whoever_has_waited_long_is_next", 3, || {
        set_now(0);
        let turns = Turns::new();
        let mut guard = turns.mutex.lock();
        let waiter = turns.waiter(0);
        set_now(LONG);
        guard.push(9);
        drop(guard);
        turns.mutex.lock().push(8);
        waiter.join().unwrap();
        assert_eq!(*turns.mutex.lock(), [9, 0, 8]);
    });
}

/// Two that have waited long have it in turn, and nobody else has to come for that.
#[test]
fn each_that_has_waited_long_is_handed_it() {
    model("each_that_has_waited_long_is_handed_it", 2, || {
        set_now(0);
        let turns = Turns::new();
        let guard = turns.mutex.lock();
        let waiters = [turns.waiter(0), turns.waiter(1)];
        set_now(LONG);
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(*turns.mutex.lock(), [0, 1]);
    });
}

/// One that was woken, and found a newcomer in its place, is still the first of those who wait.
#[test]
fn whoever_was_woken_in_vain_stays_first() {
    model("whoever_was_woken_in_vain_stays_first", 2, || {
        set_now(0);
        let turns = Turns::new();
        let guard = turns.mutex.lock();
        let waiters = [turns.waiter(0), turns.waiter(1)];
        drop(guard);
        // A newcomer: the first may be on its way, or back in the list, or through.
        turns.mutex.lock().push(9);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        let mut order = mem::take(&mut *turns.mutex.lock());
        order.retain(|number| *number != 9);
        assert_eq!(order, [0, 1]);
    });
}

/// What an owner did is seen by the next, whichever way the mutex came to it.
#[test]
fn the_next_owner_sees_what_was_done() {
    model("the_next_owner_sees_what_was_done", 3, || {
        set_now(0);
        let shared = Arc::new((Mutex::new(()), UnsafeCell::new(0)));
        let work = |shared: &(Mutex<()>, UnsafeCell<usize>)| {
            let _guard = shared.0.lock();
            // SAFETY: the mutex is held; loom says if another owner is not ordered before.
            shared.1.with_mut(|count| unsafe { *count += 1 });
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || work(&shared))
        };
        work(&shared);
        set_now(LONG);
        work(&shared);
        other.join().unwrap();
    });
}
