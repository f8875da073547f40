//! The queues that policies are made of, and the lock under them: each goroutine comes out once (S1–S4).
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use loom_tests::task::{Ref, end_all};
use sched_core::lock::Lock;
use sched_core::queue::Overflow;
use sched_core::queue::deque::{self, Deque, Steal};
use sched_core::queue::inject::Inject;
use sched_core::queue::lanes::Lane;
use sched_core::queue::local::{CAPACITY, LocalQueue, Next};

type Queue = LocalQueue<Ref>;

/// A global queue for models in which nothing overflows.
struct Nowhere;

impl Overflow<Ref> for Nowhere {
    fn take_batch(&self, _: impl Iterator<Item = Ref>) {
        panic!("the ring had room");
    }
}

/// Runs what `victim` gives up in one theft.
fn steal_all(victim: &Queue, next: Next) {
    let mine = Queue::new();
    // SAFETY: the queue is this thread's own.
    let me = unsafe { mine.owner() };
    if let Some(task) = victim.steal_into(&me, next) {
        task.run();
    }
    while let Some((task, _)) = me.pop() {
        task.run();
    }
}

/// S1: the owner puts and takes beside two thieves, over the end of the ring.
#[test]
fn each_goroutine_is_taken_once() {
    model("each_goroutine_is_taken_once", 2, || {
        let queue = Arc::new(Queue::new());
        let tasks: Vec<Ref> = (0..4).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        owner.push_back(tasks[0], &Nowhere);
        owner.push_back(tasks[1], &Nowhere);
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || steal_all(&queue, Next::Leave))
            })
            .collect();
        owner.push_back(tasks[2], &Nowhere);
        owner.pop().into_iter().for_each(|(task, _)| task.run());
        owner.push_back(tasks[3], &Nowhere);
        thieves.into_iter().for_each(|thief| thief.join().unwrap());
        while let Some((task, _)) = owner.pop() {
            task.run();
        }
        end_all(&tasks);
    });
}

/// S1: laps of the ring: the owner overwrites slots that a slow thief has read.
#[test]
fn a_slow_thief_gets_no_slot_of_a_later_lap() {
    model("a_slow_thief_gets_no_slot_of_a_later_lap", 3, || {
        let queue = Arc::new(Queue::new());
        let tasks: Vec<Ref> = (0..CAPACITY + 1).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        owner.push_back(tasks[0], &Nowhere);
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || steal_all(&queue, Next::Leave))
        };
        for task in &tasks[1..] {
            owner.pop().into_iter().for_each(|(task, _)| task.run());
            owner.push_back(*task, &Nowhere);
        }
        thief.join().unwrap();
        while let Some((task, _)) = owner.pop() {
            task.run();
        }
        end_all(&tasks);
    });
}

/// S2: a put on a full ring beside a thief.
#[test]
fn overflow_and_theft_share_the_ring() {
    model("overflow_and_theft_share_the_ring", 3, || {
        let queue = Arc::new(Queue::new());
        let global = Inject::new();
        let tasks: Vec<Ref> = (0..CAPACITY + 1).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        tasks[..CAPACITY].iter().for_each(|task| owner.push_back(*task, &Nowhere));
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || steal_all(&queue, Next::Leave))
        };
        owner.push_back(tasks[CAPACITY], &global);
        thief.join().unwrap();
        while let Some((task, _)) = owner.pop() {
            task.run();
        }
        while let Some(task) = global.pop(false) {
            task.run();
        }
        end_all(&tasks);
    });
}

/// S3: a thief takes runnext while the owner replaces and takes it.
#[test]
fn runnext_has_one_taker() {
    model("runnext_has_one_taker", 3, || {
        let queue = Arc::new(Queue::new());
        let tasks: Vec<Ref> = (0..2).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        owner.push_next(tasks[0], &Nowhere);
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || steal_all(&queue, Next::Take { patience: 0 }))
        };
        owner.push_next(tasks[1], &Nowhere);
        while let Some((task, _)) = owner.pop() {
            task.run();
        }
        thief.join().unwrap();
        end_all(&tasks);
    });
}

/// S3: the owner fills an empty runnext beside a thief, who sees what lies there.
#[test]
fn runnext_is_filled_with_its_content() {
    model("runnext_is_filled_with_its_content", 3, || {
        let queue = Arc::new(Queue::new());
        let thief = {
            let queue = queue.clone();
            thread::spawn(move || steal_all(&queue, Next::Take { patience: 0 }))
        };
        let task = Ref::new();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        owner.push_next(task, &Nowhere);
        owner.pop().into_iter().for_each(|(task, _)| task.run());
        thief.join().unwrap();
        end_all(&[task]);
    });
}

/// S4: while the owner moves one from runnext to the tail, the queue is never seen empty.
#[test]
fn a_queue_with_one_in_it_is_not_empty() {
    model("a_queue_with_one_in_it_is_not_empty", 3, || {
        let queue = Arc::new(Queue::new());
        let tasks: Vec<Ref> = (0..2).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { queue.owner() };
        owner.push_next(tasks[0], &Nowhere);
        let looker = {
            let queue = queue.clone();
            thread::spawn(move || assert!(!queue.is_empty(), "it holds one all the time"))
        };
        owner.push_next(tasks[1], &Nowhere);
        owner.pop().into_iter().for_each(|(task, _)| task.run());
        looker.join().unwrap();
        owner.pop().into_iter().for_each(|(task, _)| task.run());
        end_all(&tasks);
    });
}

/// Takes from the top until there is nothing.
fn steal_from(deque: &Deque<Ref>) {
    loop {
        match deque.steal() {
            Steal::Success(task) => task.run(),
            Steal::Empty => return,
            Steal::Retry => {}
        }
    }
}

/// S1 of the deque: the owner puts and takes at the bottom, down to the last one, beside two thieves.
#[test]
fn the_last_of_a_deque_has_one_taker() {
    model("the_last_of_a_deque_has_one_taker", 2, || {
        let deque = Arc::new(Deque::new());
        let tasks: Vec<Ref> = (0..3).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { deque.owner() };
        assert!(owner.push(tasks[0]).is_ok() && owner.push(tasks[1]).is_ok());
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let deque = deque.clone();
                thread::spawn(move || steal_from(&deque))
            })
            .collect();
        owner.take().into_iter().for_each(Ref::run);
        assert!(owner.push(tasks[2]).is_ok());
        while let Some(task) = owner.take() {
            task.run();
        }
        thieves.into_iter().for_each(|thief| thief.join().unwrap());
        assert!(deque.is_empty());
        end_all(&tasks);
    });
}

/// S1 of the deque, laps: the owner overwrites slots that a slow thief has read.
#[test]
fn a_deque_goes_round_under_a_thief() {
    model("a_deque_goes_round_under_a_thief", 3, || {
        let deque = Arc::new(Deque::new());
        let tasks: Vec<Ref> = (0..deque::CAPACITY + 1).map(|_| Ref::new()).collect();
        // SAFETY: this thread alone is the owner.
        let owner = unsafe { deque.owner() };
        assert!(owner.push(tasks[0]).is_ok());
        let thief = {
            let deque = deque.clone();
            thread::spawn(move || steal_from(&deque))
        };
        for task in &tasks[1..] {
            owner.take_oldest().into_iter().for_each(Ref::run);
            assert!(owner.push(*task).is_ok());
        }
        thief.join().unwrap();
        while let Some(task) = owner.take() {
            task.run();
        }
        end_all(&tasks);
    });
}

/// The global queue: two submitters of different lanes and one taker.
#[test]
fn the_global_queue_loses_nothing() {
    model("the_global_queue_loses_nothing", 2, || {
        let global = Arc::new(Inject::new());
        let tasks: Vec<Ref> = (0..2).map(|_| Ref::new()).collect();
        let submitters: Vec<_> = [Lane::Woken, Lane::Plain]
            .into_iter()
            .zip(tasks.clone())
            .map(|(lane, task)| {
                let global = global.clone();
                thread::spawn(move || global.push(task, lane))
            })
            .collect();
        global.take(1, 4, false).for_each(Ref::run);
        submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
        assert!(global.len() <= 2);
        while let Some(task) = global.pop(false) {
            task.run();
        }
        assert!(global.is_empty());
        end_all(&tasks);
    });
}

/// The lock: exclusion, and the last one to wait is woken (else loom reports a deadlock).
#[test]
fn the_lock_excludes_and_wakes() {
    model("the_lock_excludes_and_wakes", 2, || {
        let lock = Arc::new(Lock::new(0));
        let entered = Arc::new(AtomicUsize::new(0));
        let enter = move |lock: &Lock<usize>, entered: &AtomicUsize| {
            let mut total = lock.lock();
            assert_eq!(entered.fetch_add(1, Ordering::Relaxed), 0, "two inside");
            *total += 1;
            entered.fetch_sub(1, Ordering::Relaxed);
        };
        let others: Vec<_> = (0..2)
            .map(|_| {
                let (lock, entered) = (lock.clone(), entered.clone());
                thread::spawn(move || enter(&lock, &entered))
            })
            .collect();
        enter(&lock, &entered);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(*lock.lock(), 3);
    });
}
