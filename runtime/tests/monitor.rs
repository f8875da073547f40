//! The monitor of a runtime: what it counts, that it is called, and that it ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use runtime::Runtime;

/// Goroutines block in the kernel and hold all processors, and nothing waits: the monitor sleeps for long. Then
/// one becomes ready which alone can free them. Its spawn calls the monitor, which takes a processor from one of them.
#[test]
fn what_becomes_ready_behind_blocked_ones_calls_the_monitor() {
    const PROCS: usize = 2;
    const ROUNDS: usize = 1_000;
    let rt = Runtime::builder().procs(PROCS).build().expect("threads and stacks");
    // Whether the monitor was awake just then, or had taken a processor already, is the kernel's choice.
    let called = || {
        let monitor = rt.stats().monitor;
        monitor.calls > 0 && monitor.takes > 0
    };
    for _ in 0..ROUNDS {
        if called() {
            return;
        }
        let arrived = Arc::new(AtomicUsize::new(0));
        let (doors, blocked): (Vec<_>, Vec<_>) = (0..PROCS)
            .map(|_| {
                let (door, closed) = mpsc::channel::<()>();
                let arrived = Arc::clone(&arrived);
                let wait = move || {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    closed.recv().expect_err("nobody sends")
                };
                (door, rt.go(wait))
            })
            .unzip();
        while arrived.load(Ordering::Relaxed) < PROCS {
            thread::yield_now();
        }
        rt.go(move || drop(doors)).join().expect("it only drops");
        for one in blocked {
            one.join().expect("it only waits");
        }
    }
    panic!("in {ROUNDS} rounds nobody called it: {:?}", rt.stats().monitor);
}

/// A monitor that means to sleep for a day and sees the end of its runtime at any moment before. One that
/// sleeps all the same keeps this test for a day.
#[test]
fn no_monitor_sleeps_through_the_end() {
    for _ in 0..200 {
        let rt = Runtime::builder().procs(1).schedtrace(Duration::from_secs(86_400)).build();
        drop(rt.expect("threads and stacks"));
    }
}
