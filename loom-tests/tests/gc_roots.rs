//! The table of roots, read while a root is cloned and its original dropped: what a root keeps is there.
//!
//! A clone is made without a guard, of a root that may be gone a moment later; and it may get a slot that the
//! driver has read already, or one in a chunk that there was not yet when it began to read. The loom build has
//! chunks of two slots.
#![cfg(loom)]

use gc_core::mark::Marker;
use gc_core::roots::RootSlot;
use loom_tests::model;
use loom_tests::tiny::{B, C, Heap, Mutator, mark_and_sweep, mutate};

/// Runs a cycle.
fn collect(heap: &Heap) {
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    cycle.start(false);
    cycle.shade_roots();
    mark_and_sweep(&mut cycle, heap);
}

/// A root of one of the heap's cells.
fn root(heap: &Heap, cell: usize) -> RootSlot {
    heap.engine.roots.add(heap.cell(cell)).expect("there is memory")
}

/// The root of `B` is cloned and dropped, by one who holds no guard. Roots that were made before it: `others`.
fn cloned_and_dropped(others: usize) {
    let heap = Heap::new(false, 0, 1);
    for _ in 0..others {
        root(&heap, C);
    }
    let original = root(&heap, B);
    let cloner = mutate(&heap, 0, move |me| {
        let clone = root(me.heap, B);
        me.unroot_unguarded(original);
        // SAFETY: the table is the heap's.
        assert!(unsafe { clone.slot() }.load() == Some(me.heap.cell(B)));
    });
    collect(&heap);
    cloner.join().unwrap();
    let me = Mutator { heap: &heap, local: &heap.world.0[0] };
    me.guard(|_| me.look(heap.cell(B)));
}

/// Slots are handed out from the end of a chunk, and read from its beginning.
#[test]
fn a_clone_in_a_slot_that_was_read() {
    model("a clone in a slot that was read", 2, || cloned_and_dropped(0));
}

#[test]
fn a_clone_in_a_chunk_that_is_new() {
    model("a clone in a chunk that is new", 2, || cloned_and_dropped(1));
}
