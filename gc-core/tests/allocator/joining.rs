//! A thread that has no part in a heap yet, and no memory for one.

use super::{
    Kept, Poor, ask, check, heap, node,
    refusing::{held, without},
    turn,
};
use gc_core::{CleanupQueue, Heap, HeapError};
use std::thread;

/// Calls `f` in a thread that has no part in any heap.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

/// A thread's first guard, whose n-th request is refused, and all after it; how many were.
fn enter(heap: &Heap<Poor>, n: usize) -> usize {
    let (entered, refused) = without(n, 0, || heap.try_enter().map(drop));
    assert_eq!(entered.err(), (refused != 0).then_some(HeapError::Memory));
    assert_eq!(heap.world().members(), usize::from(refused == 0), "nobody has a part by halves");
    refused
}

#[test]
fn a_first_guard_is_refused_with_a_value() {
    let _turn = turn();
    for n in 0.. {
        let (heap, mut kept) = (heap(), Kept::with_capacity(200));
        let queue = CleanupQueue::new(&heap);
        let refused = elsewhere(|| {
            let refused = enter(&heap, n);
            // Lists keep the room that was made for them; nothing else is kept.
            if refused != 0 && enter(&heap, n) != 0 {
                let before = held();
                assert!(enter(&heap, n) != 0 && held() == before, "something leaks");
            }
            ask(&heap.enter(), &queue, &mut kept);
            assert_eq!(heap.world().members(), 1);
            refused
        });
        check(&heap, &queue, kept);
        if refused == 0 {
            assert!(n > 10, "only {n} requests");
            break;
        }
    }
}

/// A thread that goes on keeps nothing of the heaps that are gone, but for the last one.
#[test]
fn a_heap_that_is_gone_is_forgotten() {
    let _turn = turn();
    elsewhere(|| {
        let uses_one = || {
            drop(heap().enter());
            held()
        };
        let first = uses_one();
        assert!((0..10).all(|_| uses_one() == first), "something is kept of each");
    });
}

#[test]
fn whoever_cannot_join_neither_collects_nor_marks() {
    let _turn = turn();
    let heap = heap();
    elsewhere(|| {
        assert_eq!(without(0, 0, || heap.collect()).0, Err(HeapError::Memory));
        assert!(!without(0, 0, || heap.mark_idle()).0);
    });
    check(&heap, &CleanupQueue::new(&heap), Kept::new());
}

/// A root cannot say so when it ends: it stays.
#[test]
fn a_root_that_ends_where_nobody_can_join_keeps_its_object() {
    let _turn = turn();
    let heap = heap();
    let root = heap.enter().root(heap.enter().alloc(node(None)));
    assert!(elsewhere(|| without(0, 0, || drop(root)).1) > 0);
    assert_eq!((heap.roots(), heap.collect().unwrap().marked_objects), (1, 1));
}
