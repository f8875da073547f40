//! Weak pointers: an upgrade gives an object that lives, or none; and none once is none for ever.
//!
//! `A` is a weak object, a root, and points to `B`, which nothing else leads to. A mutator upgrades it
//! at any moment from the start of marking to the sweep, puts what it got behind `C`, and looks at it
//! when all is over.
#![cfg(loom)]

use gc_core::mark::Marker;
use loom_tests::model;
use loom_tests::tiny::{A, C, Heap, look_behind_c, mark_and_sweep, mutate, root};

/// Runs a cycle from the start of marking on, beside one who upgrades, twice.
fn upgrade_beside_the_end() {
    let heap = Heap::weak(1);
    root(&heap);
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    cycle.start(false);
    cycle.shade_roots();
    let upgrader = mutate(&heap, 0, |me| {
        me.guard(|_| {
            let first = me.upgrade(me.heap.cell(A));
            if let Some(object) = first {
                me.look(object);
                me.swap(me.heap.cell(C), first);
            }
            let second = me.upgrade(me.heap.cell(A));
            assert!(second == first, "what was dead lives, or what we hold is dead");
        });
    });
    mark_and_sweep(&mut cycle, &heap);
    upgrader.join().unwrap();
    look_behind_c(&heap);
}

#[test]
fn an_upgrade_beside_the_end_of_marking() {
    model("an upgrade beside the end of marking", 2, upgrade_beside_the_end);
}

/// Two who upgrade agree: if one got the object, and holds it, the other finds it too, or came first.
#[test]
fn two_upgrades_agree() {
    model("two upgrades agree", 2, || {
        let heap = Heap::weak(2);
        root(&heap);
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        let one = mutate(&heap, 0, |me| {
            me.guard(|_| {
                if let Some(object) = me.upgrade(me.heap.cell(A)) {
                    me.look(object);
                    // The second, scripted: whatever the word says by now, the first holds it.
                    let heap = me.heap;
                    let other = loom_tests::tiny::Mutator { heap, local: &heap.world.0[1] };
                    other.guard(|_| {
                        assert!(other.upgrade(heap.cell(A)) == Some(object), "held, and dead");
                    });
                }
            });
        });
        mark_and_sweep(&mut cycle, &heap);
        one.join().unwrap();
    });
}
