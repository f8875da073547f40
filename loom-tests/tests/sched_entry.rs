//! Entry and retake: a P has one holder, whoever takes it and wherever its goroutine moves (S8).
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::entry::{Barrier, EntryWords, Fence, Membarrier, Request, Take};
use sched_core::lock::Lock;
use sched_core::parker::Parker;

const NONE: usize = usize::MAX;

/// An M as takers see it.
struct Machine {
    goroutine: AtomicUsize,
    proc: AtomicUsize,
    switches: AtomicUsize,
}

/// What a taker bases its choice on.
type Choice = (usize, usize, usize);

impl Machine {
    /// It runs goroutine 1 on P 0.
    fn new() -> Self {
        Self {
            goroutine: AtomicUsize::new(1),
            proc: AtomicUsize::new(0),
            switches: AtomicUsize::new(0),
        }
    }

    fn look(&self) -> Choice {
        (
            self.goroutine.load(Ordering::Acquire),
            self.proc.load(Ordering::Acquire),
            self.switches.load(Ordering::Acquire),
        )
    }
}

/// A goroutine on an M, and the P it holds.
struct World<B> {
    barrier: B,
    take_lock: Lock<()>,
    machine: Machine,
    words: EntryWords,
    /// What only the holder of P 0 touches: loom reports a second one.
    proc: UnsafeCell<usize>,
}

impl<B: Barrier> World<B> {
    fn new(barrier: B) -> Arc<Self> {
        Arc::new(Self {
            barrier,
            take_lock: Lock::new(()),
            machine: Machine::new(),
            words: EntryWords::new(),
            proc: UnsafeCell::new(0),
        })
    }

    fn use_proc(&self) {
        // SAFETY: loom checks that no other access is concurrent; that is the promise.
        self.proc.with_mut(|uses| unsafe { *uses += 1 });
    }

    /// A taker that made its choice before it had the lock. True if the P became its own.
    fn take(&self) -> bool {
        let chosen = self.machine.look();
        if chosen.0 != 1 || chosen.1 == NONE {
            return false; // Not the goroutine whose words these are, or nothing to take.
        }
        let lock = self.take_lock.lock();
        if self.words.try_take(&self.barrier, || self.machine.look() == chosen) != Take::Taken {
            return false;
        }
        self.machine.proc.store(NONE, Ordering::Release);
        drop(lock);
        self.use_proc();
        true
    }

    /// The slow path of an entry: does the goroutine still have its P?
    fn still_mine(&self) -> bool {
        let _lock = self.take_lock.lock();
        self.words.clear(Request::TAKE);
        self.machine.proc.load(Ordering::Acquire) != NONE
    }

    /// One call into the runtime, with one inside it. False if the P is gone.
    fn call(&self) -> bool {
        let outer = self.words.enter(&self.barrier);
        if outer.pending() && !self.still_mine() {
            return false;
        }
        let inner = self.words.enter(&self.barrier);
        assert!(!inner.pending(), "only the outermost entry gives a P away");
        self.use_proc();
        self.words.exit(inner);
        self.use_proc();
        self.words.exit(outer);
        true
    }
}

fn owner_against_one_taker<B: Barrier + Send + Sync + 'static>(barrier: B) {
    let world = World::new(barrier);
    let taker = {
        let world = world.clone();
        thread::spawn(move || world.take())
    };
    world.words.leave();
    let kept = world.call() && world.call();
    let taken = taker.join().unwrap();
    assert!(taken || kept, "the P has no holder");
}

#[test]
fn a_taker_meets_the_owner_with_full_fences() {
    model("a_taker_meets_the_owner_with_full_fences", 3, || owner_against_one_taker(Fence));
}

#[test]
fn a_taker_meets_the_owner_with_membarrier() {
    model("a_taker_meets_the_owner_with_membarrier", 3, || {
        owner_against_one_taker(Membarrier::register().expect("a model has it"));
    });
}

/// Two takers choose the same P; whoever is second, before or after the owner has noticed, must not
/// take it again, nor hide the first take from the owner.
#[test]
fn two_takers_take_once() {
    model("two_takers_take_once", 2, || {
        let world = World::new(Fence);
        world.words.leave();
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || world.take())
            })
            .collect();
        let kept = world.call();
        let taken = takers.into_iter().map(|taker| taker.join().unwrap());
        let taken = taken.filter(|&taken| taken).count();
        assert!(taken <= 1, "both took it");
        assert!(taken == 1 || kept, "the P has no holder");
    });
}

/// The goroutine switches away, and comes out of the runtime on another M, while its old M goes on
/// with the P that the taker has chosen.
#[test]
fn a_goroutine_that_moved_leaves_its_old_proc_alone() {
    model("a_goroutine_that_moved_leaves_its_old_proc_alone", 2, || {
        let world = World::new(Fence);
        let moved = Arc::new(Parker::new());
        let other_machine = {
            let (world, moved) = (world.clone(), moved.clone());
            thread::spawn(move || {
                moved.park();
                world.words.leave();
            })
        };
        let taker = {
            let world = world.clone();
            thread::spawn(move || world.take())
        };
        // Inside the runtime: this M switches to goroutine 2 and lets the other M have goroutine 1.
        world.machine.switches.store(1, Ordering::Release);
        world.machine.goroutine.store(2, Ordering::Release);
        moved.unpark();
        world.use_proc();
        other_machine.join().unwrap();
        assert!(!taker.join().unwrap(), "P 0 is used by goroutine 2");
    });
}
