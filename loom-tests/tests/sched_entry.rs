//! Entry and retake: a P has one holder, whoever takes it and wherever its goroutine moves, and the goroutine runs
//! on a P or lies where one is looking for it (S8).
#![cfg(loom)]

use core::ptr::from_ref;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::task::Ref;
use sched_core::entry::{Barrier, EntryWords, Fence, Membarrier, Take};
use sched_core::idle::{Host, Idle, Spinning};
use sched_core::lock::Lock;
use sched_core::occupancy::{self, Occupancy};
use sched_core::orders::Order;
use sched_core::parker::Parker;
use sched_core::queue::inject::Inject;
use sched_core::queue::lanes::Lane;
use sched_core::vacate::{self, Crew};

/// What only the holder of the P touches: loom reports a second one.
type Proc = UnsafeCell<usize>;

/// Goroutine 1, the M that it runs on, and the P it holds.
struct World<B> {
    barrier: B,
    taking: Lock<()>,
    /// A goroutine's record is its number.
    machine: Occupancy<Proc, u8, EntryWords>,
    words: EntryWords,
    proc: Proc,
    task: Ref,
    queue: Inject<Ref>,
    idle: Idle,
}

// SAFETY: what is shared of the tasks is checked by loom; the pointers lead into the world.
unsafe impl<B: Send> Send for World<B> {}
// SAFETY: as above.
unsafe impl<B: Sync> Sync for World<B> {}

/// The record of goroutine `number`. Nobody follows it.
fn goroutine(number: usize) -> *mut u8 {
    core::ptr::without_provenance_mut(number)
}

impl<B: Barrier> World<B> {
    fn new(barrier: B) -> Arc<Self> {
        let world = Arc::new(Self {
            barrier,
            taking: Lock::new(()),
            machine: Occupancy::new(),
            words: EntryWords::new(),
            proc: UnsafeCell::new(0),
            task: Ref::new(),
            queue: Inject::new(),
            idle: Idle::new(1, 4),
        });
        world.machine.hold(from_ref(&world.proc).cast_mut());
        world.machine.switch_to(goroutine(1), from_ref(&world.words).cast_mut());
        world
    }

    fn use_proc(&self) {
        // SAFETY: loom checks that no other access is concurrent; that is the promise.
        self.proc.with_mut(|uses| unsafe { *uses += 1 });
    }

    /// A taker that has seen `switches`. True if the P became its own.
    fn take(&self, switches: u64) -> bool {
        // SAFETY: the words of the world.
        let entry = |words: *mut EntryWords| unsafe { words.as_ref() };
        let taken = self.machine.take(&self.taking, &self.barrier, switches, entry).is_some();
        if taken {
            self.use_proc();
        }
        taken
    }

    /// One call into the runtime, with one inside it. False if the goroutine waits for a P.
    fn call(&self) -> bool {
        let outer = self.words.enter(&self.barrier);
        if outer.pending() {
            let _preempt = occupancy::requests(&self.taking, &self.words);
            if self.machine.held().is_null() && !self.recover() {
                return false;
            }
        }
        let inner = self.words.enter(&self.barrier);
        assert!(!inner.pending(), "only the outermost entry gives a P away");
        self.use_proc();
        self.words.exit(inner);
        self.use_proc();
        self.words.exit(outer);
        true
    }

    /// The P is gone: takes an idle one, or queues the goroutine and leaves it.
    fn recover(&self) -> bool {
        if self.idle.take_proc().is_some() {
            self.machine.hold(from_ref(&self.proc).cast_mut());
            return true;
        }
        self.machine.switch_to(goroutine(0), core::ptr::null_mut());
        self.queue.push(self.task, Lane::Woken);
        self.notify();
        false
    }

    /// An M with the P, until it finds nothing to run.
    fn work(&self, mut spinning: Option<Spinning>) {
        loop {
            while let Some(task) = self.queue.pop(false) {
                let _wake = spinning.take().and_then(|spinning| self.idle.found(spinning));
                self.use_proc();
                task.run();
            }
            let Some(order) = vacate::retire(self, (), spinning.take(), || ()) else { return };
            spinning = order.spinning;
        }
    }

    /// All threads of the model are joined: how often the goroutine ran from the queue.
    fn end(&self) -> usize {
        assert!(self.queue.is_empty(), "it lies there while all sleep");
        self.task.end()
    }
}

/// The P is in the hands of the thread that names it, and an order is carried out by whoever gives it.
impl<B: Barrier> Crew for World<B> {
    type Held<'a>
        = ()
    where
        B: 'a;

    fn idle(&self) -> &Idle {
        &self.idle
    }

    fn index(&self, (): ()) -> usize {
        0
    }

    fn work_at_hand(&self, (): ()) -> bool {
        !self.queue.is_empty()
    }

    fn any_work(&self) -> bool {
        !self.queue.is_empty()
    }

    fn evict(&self, (): ()) {}

    fn stand_down(&self, (): ()) {}

    fn host(&self, _: Host, order: Order) {
        self.work(order.spinning);
    }
}

/// The taker hands the P over, to the idle list or to an M; the owner gets it back, or lies in the queue and is
/// run from there.
fn owner_against_one_taker<B: Barrier + Send + Sync + 'static>(barrier: B) {
    let world = World::new(barrier);
    let taker = {
        let world = world.clone();
        thread::spawn(move || {
            if world.take(world.machine.switches()) {
                vacate::hand_over(&*world, ());
            }
        })
    };
    world.words.leave();
    let runs = world.call() && world.call();
    taker.join().unwrap();
    // It may have been taken after the last call: then it is idle.
    let held = !world.machine.held().is_null() || world.idle.idle_procs() == 1;
    assert!(held, "the P has no holder");
    assert_eq!(world.end(), usize::from(!runs), "the goroutine runs on a P");
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
                thread::spawn(move || world.take(world.machine.switches()))
            })
            .collect();
        let kept = world.call();
        // Nobody hands the P over in this model: it stays with the one who took it.
        let taken = takers.into_iter().map(|taker| taker.join().unwrap());
        let taken = taken.filter(|&taken| taken).count();
        assert!(taken <= 1, "both took it");
        assert!(taken == 1 || kept, "the P has no holder");
        assert_eq!(world.queue.pop(false).is_some(), !kept, "who has no P waits for one");
        let _never = world.task.end();
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
            thread::spawn(move || world.take(world.machine.switches()))
        };
        // Inside the runtime: this M switches to goroutine 2 and lets the other M have goroutine 1.
        let others = EntryWords::new();
        world.machine.switch_to(goroutine(2), from_ref(&others).cast_mut());
        moved.unpark();
        world.use_proc();
        other_machine.join().unwrap();
        assert!(!taker.join().unwrap(), "the P is used by goroutine 2");
        let _never = world.task.end();
    });
}

/// The words by themselves: who comes late with an old choice must not hide from the owner that its P is gone.
#[test]
fn a_late_taker_hides_nothing() {
    model("a_late_taker_hides_nothing", 2, || {
        let world = World::new(Fence);
        let gone = Arc::new(Lock::new(false));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let (world, gone) = (world.clone(), gone.clone());
                thread::spawn(move || {
                    let mut gone = gone.lock();
                    if world.words.try_take(&Fence, || !*gone) == Take::Taken {
                        *gone = true;
                        world.use_proc();
                    }
                })
            })
            .collect();
        world.words.leave();
        let entry = world.words.enter(&Fence);
        if !entry.pending() || !*gone.lock() {
            world.use_proc();
        }
        world.words.exit(entry);
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        let _never = world.task.end();
    });
}
