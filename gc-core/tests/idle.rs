//! One who has nothing else to do marks what workers have put aside, on nobody's account.

use gc_core::{
    Gc, GcCell, Guard, Heap, Plain, Root, Trace, space::blocks::Blocks, world::threads::Threads,
};

#[derive(Trace)]
struct Node<'g> {
    children: [GcCell<'g, Node<'g>>; 2],
}

const DEPTH: u32 = 16;

fn tree<'g>(guard: &'g Guard<'_>, depth: u32) -> Gc<'g, Node<'g>> {
    let child = || GcCell::new((depth > 0).then(|| tree(guard, depth - 1)));
    guard.alloc(Node { children: [child(), child()] })
}

/// The driver stands still after each slice while all that it has put aside is marked. Nothing is lost,
/// nothing is marked twice, and the time is not the collector's.
#[test]
fn one_who_is_idle_marks_what_the_driver_puts_aside() {
    let heap: Heap<Plain> =
        Heap::builder().checkmark(true).build(Blocks::poisoned(), Threads::new()).unwrap();
    let root: Root<Node<'static>> = {
        let guard = heap.enter();
        guard.root(tree(&guard, DEPTH))
    };
    let mut slices = 0;
    let record = heap
        .collect_with(|_| {
            while heap.mark_idle() {
                slices += 1
            }
        })
        .unwrap();
    assert_eq!(record.marked_objects, (2 << DEPTH) - 1);
    let stats = heap.stats();
    assert!(slices > 100, "{slices} slices, and the tree is 128 of them");
    assert_eq!((stats.idle_slices, stats.idle, stats.assists), (slices, record.idle, 0));
    assert!(!record.idle.is_zero() && !record.work.is_zero(), "{record:?}");
    assert_eq!(stats.time(), stats.work + stats.idle + stats.slow_paths + stats.sweep);
    drop(root);
}
