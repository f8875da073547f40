//! Allocation pays for marking: a mutator that outruns the collector marks as it allocates, under its
//! guard, and the collector need not run for it.

use gc_core::{
    Gc, GcCell, Guard, Heap, Root, Trace,
    cycle::Pause,
    pacer::{Every, Facts, Pacer, Target},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

gc_core::tag! { struct Paying; }

#[derive(Trace)]
#[trace(heap = Paying)]
struct Node<'g> {
    children: [GcCell<'g, Node<'g>, Paying>; 2],
}

fn tree<'g>(guard: &'g Guard<'_, Paying>, depth: u32) -> Gc<'g, Node<'g>, Paying> {
    let child = || GcCell::new((depth > 0).then(|| tree(guard, depth - 1)));
    guard.alloc(Node { children: [child(), child()] })
}

fn count(node: &Node<'_>) -> usize {
    1 + node.children.iter().filter_map(GcCell::load).map(|child| count(child.get())).sum::<usize>()
}

const DEPTH: u32 = 16;
const STEP: u64 = 1 << 20;

/// A pacer that asks nobody to pay.
struct Mild(Every);

impl Pacer for Mild {
    fn first(&self) -> Target {
        self.0.first()
    }

    fn next(&mut self, facts: Facts) -> Target {
        self.0.next(facts)
    }

    fn relents(&mut self, _: Facts) -> bool {
        true
    }
}

#[test]
fn a_mutator_under_a_guard_marks_while_the_driver_does_nothing() {
    let assists = assists_beside_a_driver_that_stops(Every(STEP));
    // Some two megabytes are 64 blocks of 32 KiB, and each that is taken is a reason.
    assert!(assists >= 16, "{assists} assists");
    assert_eq!(assists_beside_a_driver_that_stops(Mild(Every(STEP))), 0, "the pacer relents");
}

/// The driver marks a slice and stops. Meanwhile the heap grows to its goal: then all that could be had
/// is marked, if anybody has to.
fn assists_beside_a_driver_that_stops(pacer: impl Pacer + 'static) -> u64 {
    let heap: Heap<Paying> = Heap::builder()
        .pacer(pacer)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let root: Root<Node<'static>, Paying> = {
        let guard = heap.enter();
        guard.root(tree(&guard, DEPTH))
    };
    // For the pacer to know what lives.
    heap.collect().unwrap();
    let before = heap.stats().assists;
    // 0: the driver is on its way; 1: it has marked a slice and waits; 2: it may go on.
    let stage = AtomicU32::new(0);
    let mut slices = 0;
    thread::scope(|scope| {
        let driver = scope.spawn(|| {
            heap.cycle(|pause| {
                // The first slice is the end of the handshakes.
                slices += u32::from(pause == Pause::Slice);
                if slices == 2 && stage.load(Ordering::Acquire) == 0 {
                    stage.store(1, Ordering::Release);
                    while stage.load(Ordering::Acquire) == 1 {
                        thread::yield_now();
                    }
                }
            })
        });
        while stage.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let guard = heap.enter();
        let begun = heap.live_bytes();
        while heap.live_bytes() < begun + 2 * STEP {
            tree(&guard, 4);
        }
        stage.store(2, Ordering::Release);
        drop(guard);
        let record = driver.join().unwrap().unwrap();
        assert!(record.marked_objects >= (2 << DEPTH) - 1, "{record}");
    });
    let guard = heap.enter();
    assert_eq!(count(root.get(&guard).get()), (2 << DEPTH) - 1);
    heap.stats().assists - before
}
