//! Weak pointers and news of deaths: once dead, dead for everybody; never a word too early.

mod common;

use common::checked;
use gc_core::{
    CleanupQueue, Collector, GcCell, Heap, HeapError, Root, Slice, Trace, Weak, pacer::Every,
    space::blocks::Blocks, world::threads::Threads,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

#[test]
fn a_weak_pointer_lies_in_the_heap_like_any_other() {
    gc_core::tag! { struct Lies; }

    #[derive(Trace)]
    #[trace(heap = Lies)]
    struct Child<'g> {
        name: u64,
        parent: GcCell<'g, Weak<'g, Parent<'g>, Lies>, Lies>,
    }

    #[derive(Trace)]
    #[trace(heap = Lies)]
    struct Parent<'g> {
        name: u64,
        child: GcCell<'g, Child<'g>, Lies>,
    }

    let heap = Heap::<Lies>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let (parent, child) = {
        let guard = heap.enter();
        let child = guard.alloc(Child { name: 2, parent: GcCell::null() });
        let parent = guard.alloc(Parent { name: 1, child: GcCell::new(Some(child)) });
        child.parent.set(&guard, Some(guard.downgrade(parent)));
        (guard.root(parent), guard.root(child))
    };
    for _ in 0..3 {
        heap.collect().unwrap();
        let guard = heap.enter();
        let parent = child.get(&guard).parent.load().unwrap().upgrade(&guard).unwrap();
        assert_eq!((parent.name, parent.child.load().unwrap().name), (1, 2));
    }
    drop(parent);
    heap.collect().unwrap();
    let guard = heap.enter();
    assert!(child.get(&guard).parent.load().unwrap().upgrade(&guard).is_none());
}

#[test]
fn an_upgrade_keeps_what_nothing_else_does() {
    gc_core::tag! { struct Keeps; }
    let heap = Heap::<Keeps>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let weak = {
        let guard = heap.enter();
        let inner = guard.alloc(5u64);
        let outer = guard.alloc(GcCell::<u64, Keeps>::new(Some(inner)));
        guard.root(guard.downgrade(outer))
    };
    let kept = {
        let guard = heap.enter();
        guard.root(weak.get(&guard).upgrade(&guard).expect("no cycle has run"))
    };
    heap.collect().unwrap();
    let guard = heap.enter();
    assert_eq!(kept.get(&guard).load().as_deref(), Some(&5));
    assert!(weak.get(&guard).upgrade(&guard) == Some(kept.get(&guard)));
}

/// The driver gives way while it empties many slots, and goes through those of the dead only.
#[test]
fn many_weak_pointers_are_dealt_with_in_pieces() {
    gc_core::tag! { struct Many; }
    const TARGETS: usize = 10_000;
    let heap: Heap<Many> = Heap::builder()
        .slice(usize::MAX)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let (kept, known) = {
        let guard = heap.enter();
        let targets: Vec<_> = (0..TARGETS).map(|n| guard.alloc(n)).collect();
        let known = guard.alloc_slice(targets.iter().map(|&target| guard.downgrade(target)));
        let kept = guard.alloc_slice(targets.into_iter().step_by(2));
        (guard.root(kept), guard.root(known))
    };
    let pauses_of_a_collection = || {
        let mut pauses = 0;
        heap.collect_with(|_| pauses += 1).unwrap();
        pauses
    };
    let with_deaths = pauses_of_a_collection();
    let without = pauses_of_a_collection();
    assert!(with_deaths >= without + TARGETS / 2 / 1024, "{with_deaths} and {without} pauses");
    let guard = heap.enter();
    for (n, weak) in known.get(&guard).as_slice().iter().enumerate() {
        assert_eq!(weak.get().upgrade(&guard).as_deref().copied(), (n % 2 == 0).then_some(n));
    }
    assert_eq!(kept.get(&guard).len(), TARGETS / 2);
}

/// Threads look up and drop what a cache keeps weakly, while cycles run one after the other.
#[test]
fn upgrades_race_with_the_end_of_marking() {
    gc_core::tag! { struct Races; }
    const SEAL: u64 = 0x0dd_ba11;
    const SLOTS: usize = 16;
    const CYCLES: u64 = 60;

    /// Tells when it is dead.
    struct Flag(Arc<AtomicBool>);

    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[derive(Trace)]
    #[trace(heap = Races)]
    struct Value<'g> {
        seal: u64,
        next: GcCell<'g, Value<'g>, Races>,
        #[leaf]
        flag: Flag,
    }

    impl Value<'_> {
        fn new() -> Self {
            Value { seal: SEAL, next: GcCell::null(), flag: Flag(Arc::default()) }
        }

        fn check(&self) {
            assert_eq!(self.seal, SEAL, "a dead object was seen");
            assert!(!self.flag.0.load(Ordering::Relaxed), "an object is dropped, and there");
        }
    }

    type Table = Slice<GcCell<'static, Weak<'static, Value<'static>, Races>, Races>>;

    let heap: Heap<Races> = Heap::builder()
        .pacer(Every(16 << 10))
        .slice(8)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let table: Root<Table, Races> = {
        let guard = heap.enter();
        let empty = |_| GcCell::<Weak<'_, Value<'_>, Races>, Races>::null();
        guard.root(guard.alloc_slice((0..SLOTS).map(empty)))
    };
    let collector = Collector::start(&heap).unwrap();
    let (hits, misses) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 1..=3usize {
            let (heap, table, hits, misses) = (&heap, &table, &hits, &misses);
            scope.spawn(move || {
                let mut kept: Vec<Root<Value<'static>, Races>> = Vec::new();
                let mut turn = 0;
                // Until many have died, and been missed, and some were found.
                while heap.stats().cycles < CYCLES
                    || misses.load(Ordering::Relaxed) < 4 * SLOTS
                    || hits.load(Ordering::Relaxed) == 0
                {
                    turn += 1;
                    heap.request();
                    let guard = heap.enter();
                    let slot = &table.get(&guard).as_slice()[(turn * (2 * seed + 1)) % SLOTS];
                    let found = slot.load().and_then(|weak| weak.upgrade(&guard));
                    let value = match found {
                        Some(value) => {
                            hits.fetch_add(1, Ordering::Relaxed);
                            value.check();
                            value
                        }
                        None => {
                            misses.fetch_add(1, Ordering::Relaxed);
                            let value = guard.alloc(Value::new());
                            value.next.set(&guard, Some(guard.alloc(Value::new())));
                            slot.set(&guard, Some(guard.downgrade(value)));
                            value
                        }
                    };
                    value.next.load().unwrap().check();
                    if turn % 3 == 0 {
                        kept.push(guard.root(value));
                    }
                    if kept.len() > 2 {
                        kept.swap_remove(turn % 2);
                    }
                    kept.iter().for_each(|root| root.get(&guard).check());
                }
            });
        }
    });
    drop(collector);
    drop(table);
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0);
}

#[test]
fn tokens_come_once_after_the_death_of_their_objects() {
    gc_core::tag! { struct News; }
    let heap = checked::<News>();
    let queue = CleanupQueue::new(&heap);
    let kept = {
        let guard = heap.enter();
        for n in 0..100u64 {
            queue.register(&guard, guard.alloc(n), n);
        }
        let kept = guard.alloc(1_000u64);
        queue.register(&guard, kept, 1_000);
        queue.register(&guard, kept, 1_001);
        guard.root(kept)
    };
    assert_eq!((queue.try_take(), queue.watched()), (None, 102));
    heap.collect().unwrap();
    let mut seen: Vec<u64> = std::iter::from_fn(|| queue.try_take()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    drop(kept);
    heap.collect().unwrap();
    heap.collect().unwrap();
    let mut seen: Vec<u64> = std::iter::from_fn(|| queue.try_take()).collect();
    seen.sort_unstable();
    assert_eq!((seen, queue.watched()), (vec![1_000, 1_001], 0));
}

#[test]
fn a_taker_waits_and_is_woken() {
    gc_core::tag! { struct Wakes; }
    let heap = checked::<Wakes>();
    let queue = CleanupQueue::new(&heap);
    {
        let guard = heap.enter();
        assert_eq!(queue.take(), Err(HeapError::InsideGuard));
        for n in 0..4u64 {
            queue.register(&guard, guard.alloc(n), n);
        }
    }
    let sum: u64 = thread::scope(|scope| {
        let takers: Vec<_> = (0..4).map(|_| scope.spawn(|| queue.take().unwrap())).collect();
        heap.collect().unwrap();
        takers.into_iter().map(|taker| taker.join().unwrap()).sum()
    });
    assert_eq!(sum, 6);
}

/// A token's destructor is the user's, and may do anything: also end the heap.
#[test]
fn tokens_that_nobody_took_are_dropped_with_their_queue() {
    gc_core::tag! { struct Left; }

    struct Token(#[expect(dead_code, reason = "keeps the heap")] Heap<Left>, Arc<AtomicUsize>);

    impl Drop for Token {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    let heap = checked::<Left>();
    let queue = CleanupQueue::new(&heap);
    let dropped = Arc::new(AtomicUsize::new(0));
    let kept = {
        let guard = heap.enter();
        let (dies, lives) = (guard.alloc(1u64), guard.alloc(2u64));
        queue.register(&guard, dies, Token(heap.clone(), dropped.clone()));
        queue.register(&guard, lives, Token(heap.clone(), dropped.clone()));
        guard.root(lives)
    };
    heap.collect().unwrap();
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop((heap, kept));
    drop(queue);
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert!(Heap::<Left>::new().is_ok(), "the heap is gone");
}
