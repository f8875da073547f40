//! Marking without room on the stack: what is marked and not looked into is walked over before marking ends.
#![cfg(loom)]

use gc_core::mark::Marker;
use loom_tests::model;
use loom_tests::tiny::scarcity::{self, Scarce};
use loom_tests::tiny::{A, C, Heap, Mutator, assists, look_behind_c, mark_and_sweep, mutate, root};

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

/// `A → B → end`, and no edge finds room: not in the driver's hands, nor in those of a mutator that takes what the
/// driver has shared.
#[test]
fn an_overflow_is_walked_over() {
    model("an overflow is walked over", 2, || {
        let heap = Heap::new(true, 0, 1);
        // As in `gc_weak`: the driver looks into `C` and shares `A`.
        for index in [A, C, C] {
            heap.engine.roots.add(heap.cell(index)).unwrap();
        }
        let mut marker = Marker::default();
        let mut cycle = heap.cycle_in_slices(1, &mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        scarcity::begin();
        let mutator = assists(&heap);
        mark_and_sweep(&mut cycle, &heap);
        mutator.join().unwrap();
        scarcity::end();
        look_behind_a(&heap);
    });
}

/// There is no room for roots, either; and `B` and what is behind it overflow in a walk, which has passed `B` then.
#[test]
fn an_overflow_in_a_walk_is_walked_over() {
    model("an overflow in a walk is walked over", 2, || {
        let heap = Heap::new(true, 0, 1);
        heap.engine.roots.add(heap.cell(A)).unwrap();
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |_| ());
        cycle.start(false);
        scarcity::without(|| cycle.shade_roots());
        scarcity::begin();
        mark_and_sweep(&mut cycle, &heap);
        scarcity::end();
        assert_eq!(cycle.rescans(), 3, "for A, for B, and for the end");
        look_behind_a(&heap);
    });
}

/// `C` is black, `A` is not yet, and a mutator moves `B` from one to the other, without a log: `B` is marked, and what is
/// behind it is found in a walk.
#[test]
fn a_store_without_a_log_is_walked_after() {
    model("a store without a log", 2, || {
        let heap = Heap::new(true, 0, 1);
        root(&heap);
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        cycle.mark_slice(1);
        let mover = mutate(&heap, 0, |me| {
            me.guard(|_| {
                let b = me.swap_unlogged(me.heap.cell(A), None);
                me.swap_unlogged(me.heap.cell(C), b);
            });
        });
        mark_and_sweep(&mut cycle, &heap);
        mover.join().unwrap();
        look_behind_c(&heap);
    });
}

/// Whatever is reachable from `A` is alive.
fn look_behind_a(heap: &Heap) {
    let mutator = Mutator { heap, local: &heap.world.0[0] };
    mutator.guard(|_| {
        let mut at = Some(heap.cell(A));
        while let Some(address) = at {
            mutator.look(address);
            at = mutator.load(address);
        }
    });
}
