//! Locks in the heap: mutual exclusion for tasks, and no edge lost to the marker.

mod common;

use common::checked;
use gc_core::{
    Collector, Gc, GcMutex, GcOnce, GcRwLock, Heap, Root, Trace, cycle::Pause, pacer::Every,
    space::blocks::Blocks, world::threads::Threads,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

#[test]
fn a_mutex_has_one_holder_and_nobody_is_forgotten() {
    gc_core::tag! { struct One; }
    let heap = checked::<One>();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc(GcMutex::<u64, One>::new(0)))
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let guard = heap.enter();
                    let count = root.get(&guard);
                    let mut held = count.get().lock(&guard);
                    let before = *held;
                    // Somebody else gets his turn in between, and must not get in.
                    thread::yield_now();
                    *held = before + 1;
                }
            });
        }
    });
    let guard = heap.enter();
    assert_eq!(*root.get(&guard).lock(&guard), 8_000);
}

#[test]
fn readers_share_and_writers_do_not() {
    gc_core::tag! { struct Many; }
    let heap = checked::<Many>();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc(GcRwLock::<(u64, u64), Many>::new((0, 0))))
    };
    let together = Barrier::new(2);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let guard = heap.enter();
                let pair = root.get(&guard);
                let reader = pair.read(&guard);
                together.wait();
                assert_eq!(*reader, (0, 0), "two read at once");
            });
        }
    });
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let guard = heap.enter();
                    let pair = root.get(&guard);
                    let mut writer = pair.get().write(&guard);
                    writer.0 += 1;
                    thread::yield_now();
                    writer.1 += 1;
                }
            });
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let guard = heap.enter();
                    let pair = root.get(&guard);
                    let reader = pair.read(&guard);
                    assert_eq!(reader.0, reader.1, "a reader sees no half of a change");
                }
            });
        }
    });
    let guard = heap.enter();
    assert_eq!(*root.get(&guard).read(&guard), (4_000, 4_000));
}

#[test]
fn a_once_is_made_once_and_waited_for() {
    gc_core::tag! { struct Made; }
    let heap = checked::<Made>();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc(GcOnce::<Gc<'_, usize, Made>, Made>::new()))
    };
    let made = AtomicUsize::new(0);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let guard = heap.enter();
        root.get(&guard).get_or_init(&guard, || panic!("not today"));
    }));
    assert!(outcome.is_err());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let guard = heap.enter();
                let once = root.get(&guard);
                let value = once.get().get_or_init(&guard, || {
                    thread::yield_now();
                    guard.alloc(made.fetch_add(1, Ordering::Relaxed) + 7)
                });
                assert_eq!(**value, 7);
            });
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 1);
    heap.collect().unwrap();
    let guard = heap.enter();
    assert_eq!(root.get(&guard).get().get().map(|value| **value), Some(7));
}

#[test]
fn a_panic_unlocks() {
    gc_core::tag! { struct Panics; }
    let heap = checked::<Panics>();
    let guard = heap.enter();
    let list = guard.alloc(GcMutex::<Vec<u64>, Panics>::new(vec![1]));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut held = list.lock(&guard);
        held.push(2);
        panic!("in the middle");
    }));
    assert!(outcome.is_err());
    assert_eq!(*list.lock(&guard), [1, 2]);
}

#[test]
fn a_leaked_lock_guard_leaves_a_lock_that_nobody_gets_and_a_heap_that_works() {
    gc_core::tag! { struct Leaks; }
    let heap = Heap::<Leaks>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let root = {
        let guard = heap.enter();
        let inner = guard.alloc(5u64);
        let locked = guard.alloc(GcMutex::<_, Leaks>::new(vec![inner]));
        std::mem::forget(locked.get().lock(&guard));
        guard.root(locked)
    };
    for _ in 0..3 {
        heap.collect().unwrap();
        let guard = heap.enter();
        assert!(root.get(&guard).try_lock(&guard).is_none());
        guard.alloc(6u64);
    }
}

/// It is as long as the interior is, and that is to be seen.
#[test]
fn the_report_of_an_interior_is_an_action() {
    gc_core::tag! { struct Reported; }
    let heap = checked::<Reported>();
    type Held<'g> = GcMutex<Vec<Gc<'g, u64, Reported>>, Reported>;
    let root: Root<Held<'static>, Reported> = {
        let guard = heap.enter();
        let edges: Vec<_> = (0..1_000u64).map(|n| guard.alloc(n)).collect();
        guard.root(guard.alloc(GcMutex::new(edges)))
    };
    let reports = || heap.stats().actions.reports.wall.count();
    let lock = || root.get(&heap.enter()).lock(&heap.enter()).len();
    assert_eq!((lock(), reports()), (1_000, 0), "no cycle runs");
    heap.collect_with(|pause| {
        if pause == Pause::Slice && reports() == 0 {
            lock();
        }
    })
    .unwrap();
    assert_eq!(reports(), 1);
}

/// Nodes whose edges lie under a lock, moved about by threads while the collector runs.
#[test]
fn no_edge_is_lost_under_a_lock() {
    const SEAL: u64 = 0x5eed_0000_5eed_0000;
    const CYCLES: u64 = 40;
    gc_core::tag! { struct Moved; }
    let heap = Heap::<Moved>::builder().pacer(Every(32 << 10)).slice(16).checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();

    #[derive(Trace)]
    #[trace(heap = Moved)]
    struct Node<'g> {
        seal: u64,
        children: GcMutex<Vec<Gc<'g, Node<'g>, Moved>>, Moved>,
        table: GcRwLock<[Option<Gc<'g, Node<'g>, Moved>>; 3], Moved>,
        first: GcOnce<Gc<'g, Node<'g>, Moved>, Moved>,
    }

    impl Node<'_> {
        fn new() -> Self {
            let (children, table) = (GcMutex::default(), GcRwLock::default());
            Node { seal: SEAL, children, table, first: GcOnce::new() }
        }
    }

    let roots: Vec<Root<Node<'static>, Moved>> = {
        let guard = heap.enter();
        (0..4).map(|_| guard.root(guard.alloc(Node::new()))).collect()
    };
    let collector = Collector::start(&heap).unwrap();
    thread::scope(|scope| {
        for seed in 1..=3usize {
            let (heap, roots) = (&heap, &roots);
            scope.spawn(move || {
                let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let mut random = move |below: usize| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 8) % below
                };
                while heap.stats().cycles < CYCLES {
                    heap.request();
                    let guard = heap.enter();
                    let (from, to) = (roots[random(4)].get(&guard), roots[random(4)].get(&guard));
                    let taken = match random(4) {
                        0 => from.children.lock(&guard).pop(),
                        1 => from.table.write(&guard)[random(3)].take(),
                        2 => from.table.read(&guard)[random(3)],
                        _ => None,
                    };
                    let node = taken.unwrap_or_else(|| guard.alloc(Node::new()));
                    assert_eq!(node.seal, SEAL, "a dead object was seen");
                    let first = node.first.get_or_init(&guard, || guard.alloc(Node::new()));
                    assert_eq!(first.seal, SEAL, "a dead object was seen");
                    if random(2) == 0 {
                        let mut children = to.children.lock(&guard);
                        children.push(node);
                        children.truncate(8);
                    } else {
                        to.table.write(&guard)[random(3)] = Some(node);
                    }
                }
            });
        }
    });
    drop(collector);
    drop(roots);
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0, "nothing is left");
}

#[test]
fn a_ring_of_onces_can_be_shown() {
    gc_core::tag! { struct Ring; }
    #[derive(Debug, Trace)]
    #[trace(heap = Ring)]
    struct Node<'g> {
        next: GcOnce<Gc<'g, Node<'g>, Ring>, Ring>,
    }
    let heap = checked::<Ring>();
    let guard = heap.enter();
    let node = guard.alloc(Node { next: GcOnce::new() });
    assert!(node.next.set(&guard, node).is_ok());
    assert_eq!(format!("{node:?}"), "Node { next: GcOnce { set: true, .. } }");
}
