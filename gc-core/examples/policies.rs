//! The same program under each policy: who runs while the collector marks, and what stores log.
//!
//! ```text
//! cargo run --release -p gc-core --example policies
//! ```
//!
//! Two threads move nodes about in a table that lives. The column to look at is the longest wait: what
//! a guard costs when a collection is under way.
//!
//! And each keeps its word. Where there are collections, some came while the program ran, and after a last
//! one there is what the table leads to, and nothing else. Where there are none, nothing is given back.
//!
//! What tells one from another is seen without a clock: a hybrid barrier logs what stores put in as well,
//! twice as much; a collection that stops the world has swept when it is over; and a limit is kept, by
//! collections that nothing else would have asked for.

use gc_core::{
    Collector, GcCell, Heap, HeapError, Plain, Root, Slice, Trace,
    cycle::Pause,
    pacer::Gogc,
    policy::{Collection, WriteBarrier},
};
use std::{
    thread,
    time::{Duration, Instant},
};

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
    words: [u64; 6],
}

type Table = Root<Slice<GcCell<'static, Node<'static>>>>;

const SLOTS: usize = 100_000;
const STEPS: usize = 60_000;

fn table(heap: &Heap<Plain>) -> Table {
    let guard = heap.enter();
    let node = || guard.alloc(Node { next: GcCell::null(), words: [0; 6] });
    guard.root(guard.alloc_slice((0..SLOTS).map(|_| GcCell::new(Some(node())))))
}

/// Replaces nodes, and hangs the old ones below the new; returns the longest wait for a guard.
fn mutate(heap: &Heap<Plain>, table: &Table, mut random: u64) -> Duration {
    let mut longest = Duration::ZERO;
    for step in 0..STEPS {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let began = Instant::now();
        let guard = heap.enter();
        longest = longest.max(began.elapsed());
        let slots = table.get(&guard).as_slice();
        let slot = &slots[(random >> 33) as usize % SLOTS];
        let new = guard.alloc(Node { next: GcCell::null(), words: [step as u64; 6] });
        if let Some(old) = slot.swap(&guard, Some(new)) {
            // What hung below the old one is garbage now.
            old.next.set(&guard, None);
            new.next.set(&guard, Some(old));
        }
    }
    longest
}

/// Objects that the table leads to, itself included.
fn reachable(heap: &Heap<Plain>, table: &Table) -> u64 {
    let guard = heap.enter();
    let mut count = 1;
    for slot in table.get(&guard).as_slice() {
        let mut at = slot.load();
        while let Some(node) = at {
            count += 1;
            at = node.next.load();
        }
    }
    count
}

/// What a policy promises about the heap that the mutators have left behind.
fn check(heap: &Heap<Plain>, table: &Table, collection: Collection) {
    let made = SLOTS + 2 * STEPS;
    let reachable = reachable(heap, table);
    assert!(reachable < made as u64, "there is garbage");
    if collection == Collection::Never {
        assert_eq!(heap.collect().unwrap_err(), HeapError::Disabled);
        assert_eq!(heap.stats().cycles, 0);
        assert!(heap.usage().held_bytes >= made * size_of::<Node<'_>>(), "all that was made");
        return;
    }
    let before = heap.stats().cycles;
    assert!(before > 0, "the collector ran beside the mutators");
    let last = heap.collect().expect("nobody holds a guard");
    assert_eq!((last.cycle, last.marked_objects), (before + 1, reachable), "no more and no less");
    assert_eq!(heap.live_bytes(), last.marked_bytes);
}

/// A heap for one thread, without a collector of its own.
fn heap(collection: Collection, barrier: WriteBarrier, pacer: Gogc) -> Heap<Plain> {
    Heap::builder()
        .checkmark(cfg!(debug_assertions))
        .collection(collection)
        .write_barrier(barrier)
        .pacer(pacer)
        .build(Default::default(), Default::default())
        .expect("one heap at a time")
}

/// Pieces of a log that stores fill while a cycle begins, every other one of an empty cell.
fn pieces_logged(barrier: WriteBarrier) -> u64 {
    let heap = heap(Collection::Concurrent, barrier, Gogc::new(100));
    let mut stored = false;
    let store = |pause| {
        if stored || pause != Pause::Slice {
            return;
        }
        stored = true;
        let guard = heap.enter();
        let old = guard.alloc(Node { next: GcCell::null(), words: [0; 6] });
        for _ in 0..STEPS / 10 {
            old.next.set(&guard, Some(old));
            old.next.set(&guard, None);
        }
    };
    heap.collect_with(store).expect("nobody holds a guard");
    heap.stats().actions.logs.wall.count()
}

/// Spans of garbage that are left when a cycle is over.
fn spans_to_sweep(collection: Collection) -> usize {
    let heap = heap(collection, WriteBarrier::Deletion, Gogc::new(100));
    drop(table(&heap));
    heap.cycle(|_| thread::yield_now()).expect("nobody holds a guard");
    heap.usage().spans
}

/// Cycles of a program that leaves only garbage behind, and the most that its heap held.
fn under(pacer: Gogc) -> (u64, usize) {
    let heap = heap(Collection::Concurrent, WriteBarrier::Deletion, pacer);
    let mut most = 0;
    for _ in 0..50 {
        let guard = heap.enter();
        (0..STEPS / 10).for_each(|_| _ = guard.alloc([0u64; 7]));
        drop(guard);
        most = most.max(heap.usage().held_bytes);
        if heap.is_requested() {
            heap.collect().expect("nobody holds a guard");
        }
    }
    (heap.stats().cycles, most)
}

/// What a policy does and its neighbour does not.
fn differ() {
    let logged = [WriteBarrier::Deletion, WriteBarrier::Hybrid].map(pieces_logged);
    println!("pieces logged: deletion {}, hybrid {}", logged[0], logged[1]);
    assert!(logged[0] < logged[1], "the hybrid barrier logs both ends of a store");

    let left = [Collection::Concurrent, Collection::StopTheWorld].map(spans_to_sweep);
    println!("spans to sweep after a cycle: concurrent {}, stop-the-world {}", left[0], left[1]);
    assert!(left[0] > 0 && left[1] == 0, "a stopped world begins with all that is free");

    const LIMIT: u64 = 8 << 20;
    let (free, limited) = (under(Gogc::off()), under(Gogc::off().limit(LIMIT)));
    println!("cycles, bytes held: no limit {free:?}, {LIMIT} bytes {limited:?}");
    assert!(free.0 == 0 && free.1 as u64 > LIMIT, "nobody asks for a collection");
    assert!(limited.0 > 0 && limited.1 as u64 <= LIMIT, "the limit does");
}

pub(crate) fn main() {
    differ();
    println!("{:>14} {:>10}  time, ms  wait, ms  cycles  held, MiB", "collection", "barrier");
    for (collection, barrier) in [
        (Collection::Concurrent, WriteBarrier::Deletion),
        (Collection::Concurrent, WriteBarrier::Hybrid),
        (Collection::StopTheWorld, WriteBarrier::Deletion),
        (Collection::Never, WriteBarrier::Deletion),
    ] {
        let heap = heap(collection, barrier, Gogc::new(100));
        let collector = Collector::start(&heap).expect("a thread for the collector");
        let table = table(&heap);
        let began = Instant::now();
        let longest = thread::scope(|scope| {
            let (heap, table) = (&heap, &table);
            let threads = [1, 2].map(|seed| scope.spawn(move || mutate(heap, table, seed)));
            threads.map(|thread| thread.join().expect("no mutator panics")).into_iter().max()
        });
        let time = began.elapsed();
        while heap.is_requested() {
            thread::yield_now();
        }
        drop(collector);
        let cycles = heap.stats().cycles;
        println!(
            "{:>14} {:>10}  {:8}  {:8.2}  {cycles:6}  {:9}",
            format!("{collection:?}"),
            format!("{barrier:?}"),
            time.as_millis(),
            longest.unwrap_or_default().as_secs_f64() * 1e3,
            heap.usage().held_bytes >> 20,
        );
        check(&heap, &table, collection);
    }
}
