//! What a spawn asks the global allocator for: the box of a closure or a future, and records of goroutines.

use std::sync::Arc;

use sched_core::{JoinHandle, SpawnError, spawn, spawn_future, stack::StackError};

use crate::{
    alone,
    few::settled,
    refusing::{after, blocks, without_records},
};

/// More than there are records in a chunk.
const MANY: usize = 100;

type Started = Result<JoinHandle<usize>, SpawnError>;

/// Starts `MANY`, of which each is refused its first request, then its second, until it gets all that it asks for.
/// Each refusal is an error, leaves nothing behind, and does no harm to the next attempt. How many there were.
fn sweep(start: impl Fn(Arc<()>) -> Started) -> usize {
    let witness = Arc::new(());
    let (mut handles, mut refusals) = (Vec::with_capacity(MANY), 0);
    while handles.len() < MANY {
        let handle = (0..).find_map(|requests| {
            let (given, before) = (Arc::clone(&witness), blocks());
            let (started, refused) = after(requests, || start(given));
            assert_eq!(started.is_err(), refused != 0, "{started:?} with {refused} refused");
            refusals += refused;
            let refusal = match started {
                Ok(handle) => return Some(handle),
                Err(refusal) => refusal,
            };
            assert_eq!(refusal, SpawnError::NoMemory);
            assert_eq!(blocks(), before, "it gave all back that it had got");
            None
        });
        handles.extend(handle);
    }
    let sum: usize = handles.into_iter().map(|handle| handle.join().expect("no panic")).sum();
    assert_eq!(sum, MANY);
    assert_eq!(Arc::strong_count(&witness), 1, "what was not let in is dropped");
    refusals
}

#[test]
fn each_request_of_a_spawn_may_be_refused() {
    let _alone = alone();
    let (scheduler, _) = settled();
    let counts = |given: Arc<()>| move || Arc::strong_count(&given).min(1);
    // A box each, and a chunk for every so many of them.
    assert!(sweep(|given| scheduler.spawn(counts(given))) > MANY);
    let inside = move || sweep(|given| spawn(counts(given)).expect("on a goroutine"));
    let inside = scheduler.spawn(inside).expect("there is memory").join().expect("no panic");
    assert!(inside >= MANY, "{inside}");
    assert!(sweep(|given| scheduler.spawn_servant(counts(given))) >= MANY);
    assert_eq!(scheduler.shutdown(None).left, [], "who was refused does not hold the end up");
}

#[test]
fn each_request_of_a_future_may_be_refused() {
    let _alone = alone();
    let (scheduler, _) = settled();
    let counts = |given: Arc<()>| async move { Arc::strong_count(&given).min(1) };
    assert_eq!(sweep(|given| scheduler.spawn_future(counts(given))), MANY);
    let inside = move || sweep(|given| spawn_future(counts(given)).expect("on a goroutine"));
    assert_eq!(scheduler.spawn(inside).expect("there is memory").join().expect("no panic"), MANY);
    let end = scheduler.shutdown(None);
    assert!(end.left.is_empty() && end.futures == 0, "{end}");
}

/// A future is polled by a goroutine, whose record the service thread makes. It tries until it can.
#[test]
fn futures_wait_for_records() {
    let _alone = alone();
    let (scheduler, _) = settled();
    // Each keeps a record until its handle goes.
    let mut kept = Vec::with_capacity(1_000);
    kept.push(scheduler.spawn(|| ()).expect("there is memory"));
    let future = without_records(|| {
        let refusal = loop {
            match scheduler.spawn(|| ()) {
                Ok(handle) => kept.push(handle),
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, SpawnError::NoMemory);
        let future = scheduler.spawn_future(async { 7 }).expect("it is small");
        // Until it waits, and the service thread has tried.
        let behind = || scheduler.spawn(|| ()).map(drop).expect_err("there is no record");
        while behind() != SpawnError::Stacks(StackError::NoMemory) {
            std::thread::yield_now();
        }
        assert!(!future.is_finished());
        future
    });
    assert_eq!(future.join().expect("no panic"), 7);
    drop(kept);
    assert_eq!(scheduler.shutdown(None).left, []);
}
