//! Out of memory at any allocation is a value, and leaves a usable heap.

use gc_core::{GcCell, Heap, Slice, Trace, space::blocks::Blocks, world::threads::Threads};

gc_core::tag! {
    struct Small;
}

#[derive(Debug, Trace)]
#[trace(heap = Small)]
struct Node<'g> {
    words: [u64; 16],
    next: GcCell<'g, Node<'g>, Small>,
}

const LIMIT: usize = 4 << 20;

#[test]
fn a_full_heap_refuses_and_goes_on_after_a_collection() {
    let heap = Heap::<Small>::builder().build(Blocks::with_limit(LIMIT), Threads::new()).unwrap();
    let kept = {
        let guard = heap.enter();
        let mut last = guard.alloc(Node { words: [1; 16], next: GcCell::null() });
        let refused = loop {
            match guard.try_alloc(Node { words: [2; 16], next: GcCell::new(Some(last)) }) {
                Ok(node) => last = node,
                Err(refused) => break refused.into_inner(),
            }
        };
        assert_eq!(refused.words, [2; 16], "the value comes back");
        assert!(guard.try_alloc_slice(vec![0u8; 1 << 20]).is_err(), "a large object as well");
        guard.root(last)
    };
    assert!(heap.is_requested(), "a refusal asks for a collection");
    assert!(heap.usage().held_bytes <= LIMIT);

    heap.collect().unwrap();
    {
        let guard = heap.enter();
        assert!(guard.try_alloc(Node { words: [3; 16], next: GcCell::null() }).is_err());
        assert_eq!(kept.get(&guard).words, [2; 16]);
    }
    drop(kept);
    heap.collect().unwrap();
    let guard = heap.enter();
    for _ in 0..1000 {
        guard.alloc(Node { words: [3; 16], next: GcCell::null() });
    }
}

#[test]
fn a_limit_at_any_block_leaves_a_usable_heap() {
    gc_core::tag! { struct Varied; }
    for limit in (0..3 << 20).step_by(100_003) {
        let space = Blocks::with_limit(limit);
        let heap = Heap::<Varied>::builder().checkmark(true).build(space, Threads::new()).unwrap();
        {
            let guard = heap.enter();
            for size in 0..40 {
                // Whichever of these is refused, the others go on.
                let _ = guard.try_alloc_slice(vec![1u8; 1 << (size % 18)]);
                let _ = guard.try_alloc([size; 4]);
            }
        }
        heap.collect().unwrap();
        heap.space().set_limit(usize::MAX);
        let guard = heap.enter();
        assert_eq!(*guard.alloc(5u8), 5);
    }
}

#[test]
fn a_slice_longer_than_memory_is_refused() {
    gc_core::tag! { struct Long; }
    let heap = Heap::<Long>::new().unwrap();
    let guard = heap.enter();
    let units = guard.alloc_slice(vec![(); 1_000_000]);
    assert_eq!(units.len(), 1_000_000);
    let empty: gc_core::Gc<'_, Slice<u64>, Long> = guard.alloc_slice([]);
    assert!(empty.is_empty() && empty.as_slice().is_empty());
}

#[test]
fn large_objects_come_and_go() {
    gc_core::tag! { struct Large; }
    let heap = Heap::<Large>::new().unwrap();
    for _ in 0..20 {
        let guard = heap.enter();
        let big = guard.alloc_slice(vec![7u8; 3 << 20]);
        assert!(big.as_slice().iter().all(|byte| *byte == 7));
        drop(guard);
        heap.collect().unwrap();
        assert_eq!(heap.usage().held_bytes, 0);
    }
}
