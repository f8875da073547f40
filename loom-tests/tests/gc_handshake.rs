//! A handshake ends when every guard from before it is gone, wherever it was entered and left.
//!
//! The model's memory is one object. Readers enter a guard, look whether it was withdrawn, and if
//! not, read it. The collector withdraws it, shakes hands, and destroys it; loom objects if that
//! can meet a read.
//!
//! On "one counter per epoch": a counter that goes up and down is right as long as a guard that
//! backs out does so where it entered, which `Epoch::enter` does; so it is no fault that could be
//! planted there. What goes wrong without that is shown by `one_counter_needs_one_place`, on a protocol
//! of its own: a guard that backs out elsewhere cancels the entry of one that is held. What remains in
//! production's protocol is an order: a sum of entries that is taken *before* that of exits can be
//! balanced by the exit of a guard whose entry it missed. `sums_in_the_wrong_order.fault` plants that.
#![cfg(loom)]

use gc_core::handshake::{Counters, Epoch};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;
use loom_tests::model;

struct World {
    epoch: Epoch,
    locals: [Counters; 2],
    withdrawn: AtomicUsize,
    object: UnsafeCell<u32>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Epoch::default(),
            locals: [Counters::default(), Counters::default()],
            withdrawn: AtomicUsize::new(0),
            object: UnsafeCell::new(7),
        })
    }

    /// A guard that is entered on one local state and left on another.
    fn read(&self, enter: usize, leave: usize) {
        let pin = self.epoch.enter(&self.locals[enter], || fence(Ordering::SeqCst));
        self.look();
        // SAFETY: entered above, left once.
        unsafe { self.epoch.leave(&self.locals[leave], pin) };
    }

    fn look(&self) {
        if self.withdrawn.load(Ordering::Relaxed) == 0 {
            // SAFETY: the guard was entered before the object was withdrawn, as far as the phase
            // can tell; loom checks that the handshake waited for it.
            self.object.with(|object| assert_eq!(unsafe { *object }, 7));
        }
    }

    fn handshake(&self) {
        let handshake = self.epoch.raise(|| fence(Ordering::SeqCst));
        while !handshake.is_complete(|each| self.locals.iter().for_each(each)) {
            thread::yield_now();
        }
    }

    /// An operation that acts on what it reads.
    fn operate(&self) {
        let counters = &self.locals[0];
        let begun = counters.begin_operation(|| fence(Ordering::SeqCst));
        self.look();
        counters.end_operation(begun);
    }

    fn destroy_after_operations(&self) {
        self.withdrawn.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.locals.iter().for_each(Counters::look);
        while !self.locals.iter().all(Counters::is_over) {
            thread::yield_now();
        }
        // SAFETY: as in `destroy`.
        self.object.with_mut(|object| unsafe { *object = 0 });
    }

    fn destroy(&self) {
        self.withdrawn.store(1, Ordering::Relaxed);
        self.handshake();
        // SAFETY: what this model is about; loom checks that nobody reads.
        self.object.with_mut(|object| unsafe { *object = 0 });
    }
}

#[test]
fn a_guard_is_waited_for() {
    model("a guard is waited for", 3, || {
        let world = World::new();
        let reader = thread::spawn({
            let world = world.clone();
            move || world.read(0, 1)
        });
        world.destroy();
        reader.join().unwrap();
    });
}

#[test]
fn a_late_guard_does_not_stand_for_an_early_one() {
    model("a late guard does not stand for an early one", 3, || {
        let world = World::new();
        // Held from before everything, left on the other local state at the end.
        let held = world.epoch.enter(&world.locals[0], || fence(Ordering::SeqCst));
        let holder = thread::spawn({
            let world = world.clone();
            move || {
                world.look();
                // SAFETY: entered above, left once.
                unsafe { world.epoch.leave(&world.locals[0], held) };
            }
        });
        let late = thread::spawn({
            let world = world.clone();
            move || world.read(1, 1)
        });
        world.destroy();
        holder.join().unwrap();
        late.join().unwrap();
    });
}

#[test]
fn two_handshakes_in_a_row() {
    model("two handshakes in a row", 2, || {
        let world = World::new();
        let reader = thread::spawn({
            let world = world.clone();
            move || world.read(0, 1)
        });
        world.handshake();
        world.destroy();
        reader.join().unwrap();
    });
}

/// One counter per epoch and place, up and down. The epoch turned between the two looks of a late
/// guard, which has meanwhile moved: it backs out in the other place. The sum, which was past the first
/// place when the guard counted there, takes the held guard's entry and the late one's exit for a pair.
#[test]
#[should_panic(expected = "a guard is held")]
fn one_counter_needs_one_place() {
    model("one counter needs one place", 2, || {
        let counters = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        // Held all the time.
        counters[1].fetch_add(1, Ordering::Relaxed);
        let late = thread::spawn({
            let counters = counters.clone();
            move || {
                counters[0].fetch_add(1, Ordering::SeqCst);
                counters[1].fetch_sub(1, Ordering::SeqCst);
            }
        });
        let sum = counters
            .iter()
            .fold(0usize, |sum, counter| sum.wrapping_add(counter.load(Ordering::SeqCst)));
        assert_ne!(sum, 0, "a guard is held");
        late.join().unwrap();
    });
}

#[test]
fn an_operation_is_waited_for() {
    model("an operation is waited for", 3, || {
        let world = World::new();
        let mutator = thread::spawn({
            let world = world.clone();
            move || world.operate()
        });
        world.destroy_after_operations();
        mutator.join().unwrap();
    });
}
