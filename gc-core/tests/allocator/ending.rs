//! Destructors, and the end of a heap with destructors that have not run.

use crate::{Poor, heap, refusing::without, turn};
use gc_core::{Heap, Trace};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Destructors that have run.
static ENDED: AtomicUsize = AtomicUsize::new(0);

struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Trace)]
#[trace(heap = Poor)]
struct Mortal(#[leaf] Ends);

/// In several blocks.
const DEAD: usize = 10_000;

/// A heap in which all wait for their destructors.
fn doomed() -> Heap<Poor> {
    let heap = heap();
    {
        let guard = heap.enter();
        for _ in 0..DEAD {
            guard.alloc(Mortal(Ends));
        }
    }
    heap.collect().unwrap();
    assert_eq!(heap.usage().doomed, DEAD);
    ENDED.store(0, Ordering::Relaxed);
    heap
}

#[test]
fn destructors_need_no_memory() {
    let _turn = turn();
    let heap = doomed();
    assert_eq!(without(0, 0, || heap.run_destructors(usize::MAX)), (DEAD, 0));
    assert_eq!((ENDED.load(Ordering::Relaxed), heap.usage().doomed), (DEAD, 0));
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0);
}

#[test]
fn a_heap_ends_without_memory() {
    let _turn = turn();
    let heap = doomed();
    assert_eq!(without(0, 0, || drop(heap)).1, 0);
    assert_eq!(ENDED.load(Ordering::Relaxed), DEAD);
}
