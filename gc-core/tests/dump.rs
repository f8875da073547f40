//! A dump tells who is there, and why.

use gc_core::{
    Gc, GcCell, GcMutex, Heap, Trace,
    policy::Collection,
    space::blocks::Blocks,
    stats::{Actions, Histogram, Times},
    world::threads::Threads,
};
use std::time::{Duration, Instant};

gc_core::tag! { struct Dumped; }

#[derive(Trace)]
#[trace(heap = Dumped)]
struct Owner<'g> {
    next: GcCell<'g, Owner<'g>, Dumped>,
    things: GcMutex<Vec<Gc<'g, [u64; 8], Dumped>>, Dumped>,
}

#[test]
fn a_dump_counts_what_is_reachable_and_names_a_shortest_path() {
    let heap = Heap::<Dumped>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let guard = heap.enter();
    let owner =
        |next, things| guard.alloc(Owner { next: GcCell::new(next), things: GcMutex::new(things) });
    let thing = guard.alloc([7u64; 8]);
    // Three owners in a ring; the thing belongs to the second and the third.
    let third = owner(None, vec![thing]);
    let second = owner(Some(third), vec![thing, guard.alloc([8; 8])]);
    let first = owner(Some(second), Vec::new());
    third.next.set(&guard, Some(first));
    guard.alloc([9u64; 8]);
    let roots = [guard.root(first), guard.root(first)];

    let dump = guard.dump();
    assert_eq!((dump.roots(), dump.objects().len()), (2, 5));
    let types = dump.types();
    let counted: Vec<_> = types.iter().map(|population| population.objects).collect();
    assert_eq!(counted.iter().sum::<usize>(), 5);
    assert!(types[0].bytes >= types[1].bytes && types[1].bytes >= 2 * 64);
    assert!(types.iter().any(|population| population.name.contains("Owner")));

    let why = dump.why(thing).expect("it is reachable");
    let path: Vec<_> = why.objects().iter().map(|object| object.address).collect();
    assert_eq!(path, [first.as_ptr().addr(), second.as_ptr().addr(), thing.as_ptr().addr()]);
    assert_eq!(why.objects()[1].edges, 3, "its next and two things");
    assert!(
        why.to_string().contains("Owner")
            && why.to_string().ends_with(&format!("{thing:p}", thing = thing.as_ptr()))
    );
    assert!(dump.to_string().starts_with("2 roots, 5 objects, "));

    // A lock that is held is not looked into, and nobody waits.
    let held = (second.get().things.lock(&guard), third.get().things.lock(&guard));
    assert!(guard.dump().why(thing).is_none());
    drop(held);
    drop(roots);
    assert!(guard.dump().objects().is_empty());
}

#[test]
fn delays_and_waits_are_counted() {
    gc_core::tag! { struct Timed; }
    let heap = Heap::<Timed>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    for n in 0..1_500usize {
        heap.enter().alloc_slice((0..256).map(|m| n + m));
    }
    heap.collect().unwrap();
    heap.collect().unwrap();
    let stats = heap.stats();
    assert_eq!(stats.waits.count(), 2, "one of each cycle");
    let Times { wall, processor } = stats.actions.refills;
    assert!(wall.count() > 64, "an allocation in some blocks took the slow path");
    assert!(wall.percentile(100.0) >= stats.longest_delay.min(Duration::from_secs(4)));
    if cfg!(target_os = "linux") {
        assert!((1..wall.count()).contains(&processor.count()), "one in some: {processor}");
    }
    assert_eq!(stats.actions.all(), stats.actions.refills, "nobody marked, and no log was full");
    let mut both = Histogram::default();
    both.add(&wall);
    both.add(&stats.waits);
    assert_eq!(both.count(), wall.count() + 2);
}

/// One thread does everything, so no stretch is counted twice if the sum is no more than what passed.
#[test]
fn the_time_of_collection_is_the_sum_of_its_parts() {
    gc_core::tag! { struct Clocked; }
    for collection in [Collection::Concurrent, Collection::StopTheWorld] {
        let began = Instant::now();
        let heap = Heap::<Clocked>::builder().collection(collection).checkmark(true);
        let heap = heap.build(Blocks::new(), Threads::new()).unwrap();
        let guard = heap.enter();
        let kept: Vec<_> = (0..10_000u64).map(|n| guard.root(guard.alloc([n; 8]))).collect();
        (0..10_000u64).for_each(|n| _ = guard.alloc([n; 8]));
        drop(guard);
        let before = heap.stats();
        assert!(!before.slow_paths.is_zero(), "{before:?}");
        assert_eq!((before.work, before.sweep), (Duration::ZERO, Duration::ZERO));
        let records = [heap.collect().unwrap(), heap.collect().unwrap()];
        let (after, passed) = (heap.stats(), began.elapsed());
        assert!(records.iter().all(|record| !record.work.is_zero()), "{records:?}");
        assert!(after.slow_paths >= after.longest_delay, "{after:?}");
        assert_eq!(after.work, records[0].work + records[1].work);
        assert!(after.sweep > records[0].sweep + records[1].sweep, "{after:?}");
        assert_eq!(after.time(), after.work + after.slow_paths + after.sweep);
        assert!(after.idle.is_zero(), "nobody was idle");
        assert!(after.time() <= passed, "{after:?} in {passed:?}");
        let actions = after.actions.since(&before.actions);
        assert_eq!(actions, Actions::default(), "nobody was held up");
        drop(kept);
    }
}
