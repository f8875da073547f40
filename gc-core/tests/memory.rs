//! Memory that the heap has no more use for goes back to the allocator.

use gc_core::{Gc, GcCell, Guard, Heap, Trace, space::blocks::Blocks, world::threads::Threads};

gc_core::tag! {
    struct Peak;
}

#[derive(Trace)]
#[trace(heap = Peak)]
struct Node<'g> {
    words: [u64; 14],
    next: GcCell<'g, Node<'g>, Peak>,
}

fn chain<'g>(guard: &'g Guard<'_, Peak>, nodes: usize) -> Gc<'g, Node<'g>, Peak> {
    let mut next = None;
    for _ in 0..nodes.max(1) {
        next = Some(guard.alloc(Node { words: [7; 14], next: GcCell::new(next) }));
    }
    next.expect("at least one")
}

#[test]
fn a_peak_is_given_back() {
    let heap: Heap<Peak> =
        Heap::builder().checkmark(true).build(Blocks::poisoned(), Threads::new()).unwrap();
    let collect = || {
        heap.collect().unwrap();
        while !heap.sweep(usize::MAX) {}
        heap.usage().held_bytes >> 20
    };
    let small = {
        let guard = heap.enter();
        guard.root(chain(&guard, 40_000))
    };
    let alone = collect();
    let large = {
        let guard = heap.enter();
        guard.root(chain(&guard, 400_000))
    };
    let peak = collect();
    assert!(peak >= 48, "{peak} MiB for 400,000 nodes of 128 bytes");
    drop(large);
    let after = collect();
    assert!(after <= 2 * alone + 1, "{after} MiB are held, {alone} MiB were before");
    let guard = heap.enter();
    let (mut at, mut count) = (Some(small.get(&guard)), 0);
    while let Some(node) = at {
        assert_eq!(node.words, [7; 14]);
        (at, count) = (node.next.load(), count + 1);
    }
    assert_eq!(count, 40_000);
    drop(guard);
    drop(small);
    assert_eq!(collect(), 0);
}
