//! Weak pointers: an upgrade gives an object that lives, or none; and none once is none for ever.
//!
//! `A` is a weak object, a root, and points to `B`, which nothing else leads to. A mutator upgrades it
//! at any moment from the start of marking to the sweep, puts what it got behind `C`, and looks at it
//! when all is over. Nobody keeps a list of weak objects: whoever marks one notes it, and one that is
//! black from birth needs no note.
#![cfg(loom)]

use gc_core::mark::Marker;
use loom_tests::model;
use loom_tests::tiny::{A, C, Heap, Mutator, assists, look_behind_c, mark_and_sweep, mutate, root};

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
                    let other = Mutator { heap, local: &heap.world.0[1] };
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

/// A weak object is made while marking begins or ends, and its target's last edge is cut: the target
/// outlives this cycle, or the weak object is emptied.
fn made_beside_a_cycle(from_the_start: bool) {
    let heap = Heap::to_be_known(1);
    root(&heap);
    let maker = |me: Mutator<'_>| {
        me.guard(|pin| {
            let Some(b) = me.swap(me.heap.cell(A), None) else { unreachable!("it leads there") };
            me.set(me.heap.cell(C), Some(me.downgrade(pin, b)));
        });
    };
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    let early = from_the_start.then(|| mutate(&heap, 0, maker));
    cycle.start(false);
    cycle.shade_roots();
    let maker = early.unwrap_or_else(|| mutate(&heap, 0, maker));
    mark_and_sweep(&mut cycle, &heap);
    maker.join().unwrap();
    let me = Mutator { heap: &heap, local: &heap.world.0[0] };
    me.guard(|_| {
        let weak = me.load(heap.cell(C)).expect("put there");
        me.upgrade(weak).into_iter().for_each(|target| me.look(target));
    });
}

#[test]
fn a_weak_object_that_is_made_while_marking_begins() {
    model("a weak object, made while marking begins", 1, || made_beside_a_cycle(true));
}

#[test]
fn a_weak_object_that_is_made_while_marking_ends() {
    model("a weak object, made while marking ends", 2, || made_beside_a_cycle(false));
}

/// A weak object that a mutator has marked, who assists, is emptied like any other.
#[test]
fn a_weak_object_that_an_assist_has_met() {
    model("a weak object that an assist has met", 2, || {
        let heap = Heap::weak(1);
        // As in `gc_cycle`'s `marking_together`: the driver looks into `C` and shares `A`; it shares nothing
        // when it has one left, so there are two roots of `C`.
        for index in [A, C, C] {
            heap.engine.roots.add(heap.cell(index)).unwrap();
        }
        let mut marker = Marker::default();
        let mut cycle = heap.cycle_in_slices(1, &mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        let mutator = assists(&heap);
        mark_and_sweep(&mut cycle, &heap);
        mutator.join().unwrap();
        let me = Mutator { heap: &heap, local: &heap.world.0[0] };
        me.guard(|_| assert!(me.upgrade(heap.cell(A)).is_none(), "nothing else led to it"));
    });
}
