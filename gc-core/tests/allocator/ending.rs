//! Destructors, and the end of a heap with destructors that have not run.

use crate::{Poor, heap, refusing::without, turn};
use gc_core::{Heap, Trace, cycle::Pause};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

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

/// A cycle that unwinds in its n-th slice.
fn unwinds(heap: &Heap<Poor>, n: usize) {
    let mut slices = 0;
    let pause = |pause| {
        slices += usize::from(pause == Pause::Slice);
        assert!(slices < n, "no patience");
    };
    assert!(catch_unwind(AssertUnwindSafe(|| heap.cycle(pause))).is_err());
}

/// Objects that are alive, as far as anybody knows: a cycle has not looked at them, has marked them, has left them to
/// be swept, or has unwound in the middle of marking.
#[test]
fn a_heap_whose_objects_live_ends_without_memory() {
    let _turn = turn();
    let cycles: [fn(&Heap<Poor>); 5] = [
        |_| (),
        |heap| assert!(heap.collect().is_ok()),
        |heap| assert!(heap.cycle(|_| ()).is_ok()),
        |heap| unwinds(heap, 1),
        |heap| unwinds(heap, 4),
    ];
    for cycle in cycles {
        let heap = heap();
        let roots: Vec<_> = {
            let guard = heap.enter();
            let of_two = |_| guard.root(guard.alloc_slice([Mortal(Ends), Mortal(Ends)]));
            (0..DEAD / 2).map(of_two).collect()
        };
        cycle(&heap);
        ENDED.store(0, Ordering::Relaxed);
        drop(roots);
        assert_eq!(without(0, 0, || drop(heap)).1, 0);
        assert_eq!(ENDED.load(Ordering::Relaxed), DEAD);
        drop(crate::heap());
    }
}

#[test]
fn a_heap_ends_without_memory() {
    let _turn = turn();
    let heap = doomed();
    assert_eq!(without(0, 0, || drop(heap)).1, 0);
    assert_eq!(ENDED.load(Ordering::Relaxed), DEAD);
}
