//! Destructors run once, outside sweep, and a panic in one is nobody else's.

mod common;

use common::checked;
use gc_core::{
    GcCell, Heap, Trace,
    pacer::{Every, Facts, Pacer, Target},
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[derive(Debug)]
struct Count(Arc<AtomicUsize>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_destructor_runs_once_and_not_in_sweep() {
    gc_core::tag! { struct Once; }
    let heap = checked::<Once>();
    let count = Arc::new(AtomicUsize::new(0));

    #[derive(Trace)]
    #[trace(heap = Once)]
    struct Leaf(
        #[leaf]
        #[expect(dead_code, reason = "dropped")]
        Count,
    );

    {
        let guard = heap.enter();
        for _ in 0..1000 {
            guard.alloc(Leaf(Count(count.clone())));
        }
    }
    heap.collect().unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0, "sweep runs no destructor");
    assert_eq!(heap.usage().doomed, 1000);
    heap.collect().unwrap();
    assert_eq!(heap.usage().doomed, 1000, "the doomed are not doomed twice");
    assert_eq!(heap.run_destructors(usize::MAX), 1000);
    assert_eq!(heap.run_destructors(usize::MAX), 0);
    assert_eq!((count.load(Ordering::Relaxed), heap.usage().doomed), (1000, 0));
    assert_eq!(heap.stats().destructed, 1000);
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0);
}

#[test]
fn a_zero_sized_type_with_a_destructor_takes_a_cell() {
    gc_core::tag! { struct Zero; }
    static DROPS: AtomicUsize = AtomicUsize::new(0);

    #[derive(Trace)]
    #[trace(heap = Zero)]
    struct Nothing;

    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    let heap = checked::<Zero>();
    {
        let guard = heap.enter();
        let (one, two) = (guard.alloc(Nothing), guard.alloc(Nothing));
        assert!(one != two);
    }
    heap.collect().unwrap();
    assert_eq!(heap.run_destructors(usize::MAX), 2);
    assert_eq!(DROPS.load(Ordering::Relaxed), 2);
}

#[test]
fn a_panic_in_a_destructor_is_counted_and_the_others_run() {
    gc_core::tag! { struct Panics; }

    #[derive(Trace)]
    #[trace(heap = Panics)]
    struct Bomb(#[leaf] Count, bool);

    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.1, "a bomb in {:?}", self.0);
        }
    }

    let heap = checked::<Panics>();
    let count = Arc::new(AtomicUsize::new(0));
    {
        let guard = heap.enter();
        for n in 0..10 {
            guard.alloc(Bomb(Count(count.clone()), n == 5));
        }
    }
    heap.collect().unwrap();
    assert_eq!(heap.run_destructors(usize::MAX), 10);
    assert_eq!((heap.stats().panics, count.load(Ordering::Relaxed)), (1, 10));
}

#[test]
fn a_destructor_may_use_the_heap() {
    gc_core::tag! { struct Busy; }

    #[derive(Trace)]
    #[trace(heap = Busy)]
    struct Maker(#[leaf] Heap<Busy>, #[leaf] Arc<AtomicUsize>);

    impl Drop for Maker {
        fn drop(&mut self) {
            let guard = self.0.enter();
            self.1.store(*guard.alloc(7usize), Ordering::Relaxed);
        }
    }

    let heap = checked::<Busy>();
    let seen = Arc::new(AtomicUsize::new(0));
    {
        let guard = heap.enter();
        guard.alloc(Maker(heap.clone(), seen.clone()));
    }
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    assert_eq!(seen.load(Ordering::Relaxed), 7);
}

#[test]
fn the_end_of_the_heap_drops_what_is_left() {
    gc_core::tag! { struct End; }

    #[derive(Trace)]
    #[trace(heap = End)]
    struct Node<'g> {
        next: GcCell<'g, Node<'g>, End>,
        #[leaf]
        #[expect(dead_code, reason = "dropped")]
        count: Count,
    }

    let count = Arc::new(AtomicUsize::new(0));
    let heap = checked::<End>();
    let root = {
        let guard = heap.enter();
        let made: Vec<_> = (0..100)
            .map(|_| guard.alloc(Node { next: GcCell::null(), count: Count(count.clone()) }))
            .collect();
        for pair in made.windows(2) {
            pair[0].next.set(&guard, Some(pair[1]));
        }
        guard.root(made[0])
    };
    drop(heap);
    assert_eq!(count.load(Ordering::Relaxed), 0, "a root keeps the heap");
    assert!(Heap::<End>::new().is_err());
    drop(root);
    assert_eq!(count.load(Ordering::Relaxed), 100);
    assert!(Heap::<End>::new().is_ok());
}

#[test]
fn a_leaked_guard_leaks_the_heap() {
    gc_core::tag! { struct Leaked; }
    let count = Arc::new(AtomicUsize::new(0));

    #[derive(Trace)]
    #[trace(heap = Leaked)]
    struct Leaf(
        #[leaf]
        #[expect(dead_code, reason = "dropped")]
        Count,
    );

    let heap = checked::<Leaked>();
    let guard = heap.enter();
    guard.alloc(Leaf(Count(count.clone())));
    std::mem::forget(guard);
    drop(heap);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    assert!(Heap::<Leaked>::new().is_err(), "nothing overrules a guard");
}

#[test]
fn a_waker_that_unwinds_out_of_an_allocation_does_not_double_a_destructor() {
    use gc_core::pacer::Every;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    gc_core::tag! { struct Wakes; }

    #[derive(Trace)]
    #[trace(heap = Wakes)]
    struct Leaf(
        #[leaf]
        #[expect(dead_code, reason = "dropped")]
        Count,
    );

    let heap = checked::<Wakes>();
    heap.set_pacer(Every(1));
    heap.set_waker(|| panic!("not now"));
    let count = Arc::new(AtomicUsize::new(0));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let guard = heap.enter();
        guard.alloc_slice((0..10).map(|_| Leaf(Count(count.clone()))));
    }));
    assert!(outcome.is_err());
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    assert_eq!(count.load(Ordering::Relaxed), 10, "each item was dropped once");
}

/// The destructor of a pacer is a user's, and may ask the heap for anything but a cycle.
#[test]
fn a_pacer_that_is_replaced_may_bring_another() {
    gc_core::tag! { struct Paced; }
    struct Resigns(Heap<Paced>, Every);
    impl Pacer for Resigns {
        fn first(&self) -> Target {
            self.1.first()
        }

        fn next(&mut self, facts: Facts) -> Target {
            self.1.next(facts)
        }
    }
    impl Drop for Resigns {
        fn drop(&mut self) {
            self.0.set_pacer(Every(7));
        }
    }
    let heap = checked::<Paced>();
    let resigns = || Resigns(heap.clone(), Every(5));
    heap.set_pacer(resigns());
    heap.set_pacer(resigns()); // the first goes, and brings one; that takes the place of the second
    assert_eq!(heap.collect().unwrap().trigger, 7);
    heap.set_pacer(resigns());
    assert_eq!(heap.collect().unwrap().trigger, 5);
    heap.set_pacer(Every(6));
    assert_eq!(heap.collect().unwrap().trigger, 6, "which takes over from the one that goes");
    assert_eq!(heap.collect().unwrap().trigger, 7);
}
