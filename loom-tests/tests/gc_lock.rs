//! Locks in the heap: one holder at a time, who waits is woken, and no edge is lost under a lock; a place
//! that is set once is set by one, before anybody sees it.
#![cfg(loom)]

use gc_core::lock::raw::{RawLock, Want};
use gc_core::lock::{Lot, RawOnce};
use gc_core::mark::Marker;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Notify};
use loom::thread;
use loom_tests::model;
use loom_tests::tiny::{A, C, Hands, Heap, Mutator, Tiny, mark_and_sweep, mutate, root};

/// A value under a lock, and who waits for it.
struct Locked {
    lock: RawLock,
    lot: Lot<thread::Thread>,
    world: Hands,
    value: UnsafeCell<usize>,
}

// SAFETY: whether threads exclude each other on the value is what loom checks.
unsafe impl Send for Locked {}
// SAFETY: as above.
unsafe impl Sync for Locked {}

impl Locked {
    fn new() -> Arc<Self> {
        let (lock, lot) = (RawLock::new(), Lot::default());
        Arc::new(Self { lock, lot, world: Hands(Vec::new()), value: UnsafeCell::new(0) })
    }

    fn under<R>(&self, want: Want, f: impl FnOnce(&UnsafeCell<usize>) -> R) -> R {
        let mut late = false;
        while !self.lock.try_take(want) {
            self.lot.wait::<Tiny>(&self.world, &self.lock, want, late);
            late = true;
        }
        let result = f(&self.value);
        if self.lock.leave(want) {
            self.lot.wake::<Tiny>(&self.world, &self.lock);
        }
        result
    }

    fn add(&self) {
        // SAFETY: the lock is held exclusively; loom checks it.
        self.under(Want::Exclusive, |value| value.with_mut(|value| unsafe { *value += 1 }));
    }

    fn read(&self) -> usize {
        // SAFETY: the lock is held; loom checks it.
        self.under(Want::Shared, |value| value.with(|value| unsafe { *value }))
    }
}

#[test]
fn writers_take_turns_and_are_woken() {
    model("writers take turns", 3, || {
        let locked = Locked::new();
        let other = thread::spawn({
            let locked = locked.clone();
            move || (0..2).for_each(|_| locked.add())
        });
        locked.add();
        other.join().unwrap();
        assert_eq!(locked.read(), 3);
    });
}

#[test]
fn readers_and_a_writer_are_woken() {
    model("readers and a writer", 2, || {
        let locked = Locked::new();
        let reader = thread::spawn({
            let locked = locked.clone();
            move || (locked.read(), locked.read())
        });
        locked.add();
        locked.add();
        let (first, second) = reader.join().unwrap();
        assert!(first <= second && second <= 2);
    });
}

#[test]
fn a_tracer_excludes_and_is_excluded_by_a_writer() {
    model("a tracer and a writer", 3, || {
        let locked = Locked::new();
        let tracer = thread::spawn({
            let locked = locked.clone();
            move || {
                let look = |value: *const usize| {
                    // SAFETY: the tracer is inside; loom checks it.
                    assert!(unsafe { *value } < 2);
                };
                locked.lock.trace(|| locked.value.with(look))
            }
        });
        assert!(locked.lock.try_take(Want::Exclusive), "tracers keep nobody out");
        while locked.lock.is_traced() {
            thread::yield_now();
        }
        // SAFETY: the lock is held exclusively; loom checks it.
        locked.value.with_mut(|value| unsafe { *value += 1 });
        assert!(!locked.lock.leave(Want::Exclusive));
        tracer.join().unwrap();
    });
}

/// The end of marking: `C` is black, `A` is not yet, and a mutator moves `B` from one to the other,
/// both times under a lock.
#[test]
fn a_move_under_locks() {
    model("a move under locks", 2, || {
        let heap = Heap::locked(1);
        root(&heap);
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        cycle.mark_slice(1);
        let begun = Arc::new(Notify::new());
        let mover = mutate(&heap, 0, {
            let begun = begun.clone();
            move |me| {
                begun.notify();
                me.guard(|_| {
                    let b = me.exchange(me.heap.cell(A), None);
                    me.exchange(me.heap.cell(C), b);
                });
            }
        });
        // The switch to the mover is no involuntary one, so it does not count.
        begun.wait();
        mark_and_sweep(&mut cycle, &heap);
        mover.join().unwrap();
        let mutator = Mutator { heap: &heap, local: &heap.world.0[0] };
        mutator.guard(|_| mutator.look(mutator.peek(heap.cell(C)).expect("moved there")));
    });
}

/// Two ask for a value and one of them makes it, while a marker looks whether it is there.
#[test]
fn a_once_is_made_once_and_seen_whole() {
    model("a once", 2, || {
        let place = Arc::new((RawOnce::new(), Lot::default(), Hands(Vec::new())));
        let ask = |place: &(RawOnce<usize>, Lot<thread::Thread>, Hands), mine| {
            let (once, lot, world) = place;
            match once.get() {
                Some(value) => *value,
                None => *once.make::<Tiny, _>(lot, world, || mine),
            }
        };
        let other = thread::spawn({
            let place = place.clone();
            move || ask(&place, 1)
        });
        let marker = thread::spawn({
            let place = place.clone();
            move || place.0.get().copied()
        });
        let mine = ask(&place, 2);
        assert_eq!(other.join().unwrap(), mine, "there is one value");
        assert!(marker.join().unwrap().is_none_or(|seen| seen == mine));
    });
}
