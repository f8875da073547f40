//! A runtime that was left with a goroutine in it ends when the goroutine has: no thread stays. A test on its
//! own, as it counts the threads of the process.

use std::time::Duration;

use runtime::{Runtime, chan};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn until_there_are(count: usize) {
    while threads() != count {
        std::thread::yield_now();
    }
}

fn left_to_a_goroutine_that_waits() {
    let rt = Runtime::new().unwrap();
    let (tx, rx) = chan::rendezvous::<()>();
    let waits = rt.go(move || rx.recv().is_err());
    let end = rt.shutdown(Some(Duration::from_millis(1)));
    assert_eq!(end.left.len(), 1, "{end}");
    drop(tx);
    assert!(waits.join().unwrap());
}

fn shut_down_by_its_own_goroutine() {
    let rt = Runtime::new().unwrap();
    let (give, take) = std::sync::mpsc::channel::<Runtime>();
    let shuts = rt.go(move || take.recv().unwrap().shutdown(None).left.len());
    give.send(rt).unwrap();
    assert_eq!(shuts.join().unwrap(), 1, "the caller");
}

#[test]
fn a_runtime_that_was_left_ends_after_its_last_goroutine() {
    let before = threads();
    for left in [left_to_a_goroutine_that_waits, shut_down_by_its_own_goroutine] {
        left();
        until_there_are(before);
    }
}
