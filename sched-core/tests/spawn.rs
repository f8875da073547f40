//! A goroutine runs once, and its handle gives what it returned or panicked with.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use common::in_both_modes;
use sched_core::{SpawnError, current, yield_now};

#[test]
fn thousands_run_once_each() {
    in_both_modes(2, |scheduler| {
        let goroutines = if scheduler.mode().is_own_tls() { 10_000 } else { 500 };
        let runs = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..goroutines)
            .map(|n| {
                let runs = Arc::clone(&runs);
                let goroutine = move || {
                    runs.fetch_add(1, Ordering::Relaxed);
                    n
                };
                scheduler.spawn(goroutine).expect("the scheduler is open")
            })
            .collect();
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().expect("it does not panic"), n);
        }
        assert_eq!(runs.load(Ordering::Relaxed), goroutines);
        // The last one may just be ending: it counts twice for a moment.
        while scheduler.stats().created != goroutines as u64 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn a_panic_is_the_handles_error() {
    in_both_modes(1, |scheduler| {
        let handle = scheduler.spawn(|| std::panic::resume_unwind(Box::new("why"))).expect("open");
        let outcome: Result<(), _> = handle.join();
        let payload = outcome.unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"why"));
    });
}

#[test]
fn goroutines_start_goroutines() {
    fn tree(depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let scheduler = current().expect("on a goroutine");
        let left = scheduler.spawn(move || tree(depth - 1)).expect("open");
        let right = scheduler.spawn(move || tree(depth - 1)).expect("open");
        left.join().expect("no panic") + right.join().expect("no panic")
    }
    in_both_modes(2, |scheduler| {
        let depth = if scheduler.mode().is_own_tls() { 10 } else { 5 };
        let root = scheduler.spawn(move || tree(depth)).expect("open");
        assert_eq!(root.join().expect("no panic"), 1 << depth);
    });
}

#[test]
fn a_detached_goroutine_drops_its_own_result() {
    struct Tell(mpsc::Sender<bool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(current().is_some()).expect("the test listens");
        }
    }
    in_both_modes(1, |scheduler| {
        let (sender, receiver) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let goroutine = move || {
            // The handle is gone when this returns.
            wait.recv().expect("the test says when");
            Tell(sender)
        };
        drop(scheduler.spawn(goroutine).expect("open"));
        go.send(()).expect("the goroutine waits");
        assert!(receiver.recv().expect("the result is dropped"), "by the goroutine itself");
    });
}

#[test]
fn a_handle_that_is_dropped_late_drops_the_result() {
    in_both_modes(1, |scheduler| {
        let witness = Arc::new(());
        let kept = Arc::clone(&witness);
        let handle = scheduler.spawn(move || kept).expect("open");
        while !handle.is_finished() {
            std::thread::yield_now();
        }
        assert_eq!(Arc::strong_count(&witness), 2);
        drop(handle);
        assert_eq!(Arc::strong_count(&witness), 1);
    });
}

#[test]
fn a_join_waits_for_thread_local_destructors() {
    struct OnDrop(Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            for _ in 0..10 {
                yield_now();
            }
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local!(static LATE: std::cell::OnceCell<OnDrop> = const { std::cell::OnceCell::new() });
    in_both_modes(2, |scheduler| {
        let dropped = Arc::new(AtomicUsize::new(0));
        for round in 1..=20 {
            let mine = OnDrop(Arc::clone(&dropped));
            let goroutine = move || LATE.with(|late| late.set(mine).is_ok());
            let first = scheduler.spawn(goroutine).expect("open").join().expect("no panic");
            assert!(first, "a goroutine's thread-locals are its own");
            assert_eq!(dropped.load(Ordering::Relaxed), round);
        }
    });
}

#[test]
fn a_closed_scheduler_refuses() {
    in_both_modes(1, |scheduler| {
        assert_eq!(scheduler.shutdown(None).left, []);
        assert_eq!(scheduler.spawn(|| ()).map(|_| ()).unwrap_err(), SpawnError::ShutDown);
    });
}
