//! Checkmark finds what the marker has overlooked, names it, and nothing is freed.

mod common;

use common::checked;
use gc_core::{Gc, Heap, HeapError, Rebind, Root, Trace, trace::Tracer};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

gc_core::tag! { struct Overlooks; }

/// Whether the next look at an edge is in vain.
static BLIND: AtomicBool = AtomicBool::new(false);

#[derive(Trace)]
#[trace(heap = Overlooks)]
struct Leaf(u64);

/// An edge that can be overlooked, once.
struct Edge<'g>(Gc<'g, Leaf, Overlooks>);

// SAFETY: the edge is traced, but for the marker of the last cycle, which checkmark ends before anything is freed.
unsafe impl Trace<Overlooks> for Edge<'_> {
    fn trace(&self, tracer: &mut Tracer) {
        if !BLIND.swap(false, Ordering::Relaxed) {
            self.0.trace(tracer);
        }
    }
}

// SAFETY: the same type with another lifetime, and its only one.
unsafe impl Rebind for Edge<'_> {
    type At<'a> = Edge<'a>;
    const EDGES: bool = true;
}

#[test]
fn what_the_marker_overlooks_is_named_and_not_freed() {
    let heap: Heap<Overlooks> = checked();
    let root: Root<Edge<'static>, Overlooks> = {
        let guard = heap.enter();
        guard.root(guard.alloc(Edge(guard.alloc(Leaf(7)))))
    };
    assert!(heap.collect().unwrap().checked);
    BLIND.store(true, Ordering::Relaxed);
    let found =
        catch_unwind(AssertUnwindSafe(|| heap.collect())).expect_err("an edge is overlooked");
    let said = found.downcast_ref::<String>().expect("a message");
    assert!(said.starts_with("checkmark: checkmark::Leaf at 0x"), "{said}");
    assert!(said.ends_with(" is reachable and white"), "{said}");
    assert_eq!(heap.collect(), Err(HeapError::Broken), "that was the last cycle");
    assert!(heap.sweep(usize::MAX), "nothing waits for its end");
    assert_eq!(root.get(&heap.enter()).get().0.get().0, 7);
}
