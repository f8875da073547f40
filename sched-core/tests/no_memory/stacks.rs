//! Stacks that their source refuses.

use std::sync::{atomic::Ordering, mpsc};

use sched_core::{
    JoinHandle, Scheduler, Spawn, SpawnError,
    park::{self, WaitReason, Waiter},
    stack::StackError,
};

use crate::{
    alone,
    few::{await_made, scheduler, settled, wait_until},
};

/// Waits until stacks have been refused.
fn await_refusal(scheduler: &Scheduler) {
    wait_until("refused", || scheduler.stats().stack_errors != 0);
}

/// One that has begun, and parks.
struct Parked {
    handle: JoinHandle<()>,
    waiter: Waiter,
}

impl Parked {
    fn start(scheduler: &Scheduler, how: Spawn) -> Result<Self, SpawnError> {
        let (tell, told) = mpsc::channel();
        let parks = move || {
            tell.send(park::current()).expect("its starter listens");
            park::park(WaitReason::Park);
        };
        let handle = scheduler.spawn_with(how, parks)?;
        Ok(Self { handle, waiter: told.recv().expect("it tells") })
    }

    fn end(self) {
        self.waiter.unpark();
        self.handle.join().expect("no panic");
    }
}

/// As many as there are stacks, one at a time: each begins. Then an error, and nobody waits.
fn start_all(scheduler: &Scheduler) -> Vec<Parked> {
    let mut all = Vec::new();
    loop {
        match Parked::start(scheduler, Spawn::new()) {
            Ok(one) => all.push(one),
            Err(refusal) => {
                assert_eq!(refusal, SpawnError::Stacks(StackError::NoGuard));
                return all;
            }
        }
    }
}

#[test]
fn started_one_at_a_time_each_has_a_stack_or_is_an_error() {
    let _alone = alone();
    const STACKS: usize = 5;
    let (scheduler, _) = scheduler(STACKS);
    await_refusal(&scheduler);
    for _ in 0..3 {
        let all = start_all(&scheduler);
        assert_eq!(all.len(), STACKS);
        // A stack is back before its goroutine is joined.
        all.into_iter().for_each(Parked::end);
    }
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// None of them has a stack before it runs, so all are let in while there is one.
#[test]
fn started_all_at_once_they_wait_for_each_others_stacks() {
    let _alone = alone();
    let (scheduler, _) = scheduler(2);
    await_refusal(&scheduler);
    // On the one P none of them runs before their starter has ended.
    let starts = || {
        let one = |_| sched_core::spawn(|| ()).expect("on a goroutine").expect("one is in stock");
        (0..100).map(one).collect::<Vec<_>>()
    };
    let started = scheduler.spawn(starts).expect("there is one").join().expect("no panic");
    started.into_iter().for_each(|one| one.join().expect("no panic"));
    assert_eq!(scheduler.shutdown(None).left, []);
}

#[test]
fn more_are_made_before_there_are_none() {
    let _alone = alone();
    let (scheduler, left) = settled();
    let start = |_| Parked::start(&scheduler, Spawn::new()).expect("there are more");
    let all: Vec<_> = (0..10).map(start).collect();
    await_made(&left, 18);
    all.into_iter().for_each(Parked::end);
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// None is made ahead of need.
#[test]
fn of_a_larger_size_the_first_one_waits_and_the_second_is_an_error() {
    let _alone = alone();
    let (scheduler, left) = scheduler(1);
    let large = Spawn::new().stack_bytes(1 << 20);
    let mut waiting = Vec::new();
    let refusal = loop {
        match scheduler.spawn_with(large, || 7) {
            Ok(one) => waiting.push(one),
            Err(refusal) => break refusal,
        }
        std::thread::yield_now();
    };
    assert_eq!(refusal, SpawnError::Stacks(StackError::NoGuard));
    assert!(!waiting.is_empty(), "nobody waited before the first one");
    assert!(!waiting.iter().any(JoinHandle::is_finished));
    // Relaxed: it waits for nothing else.
    left.store(usize::MAX, Ordering::Relaxed);
    waiting.into_iter().for_each(|one| assert_eq!(one.join().expect("no panic"), 7));
    assert_eq!(scheduler.shutdown(None).left, []);
}
