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

use gc_core::{
    Collector, GcCell, Heap, HeapError, Plain, Root, Slice, Trace,
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

pub(crate) fn main() {
    println!("{:>14} {:>10}  time, ms  wait, ms  cycles  held, MiB", "collection", "barrier");
    for (collection, barrier) in [
        (Collection::Concurrent, WriteBarrier::Deletion),
        (Collection::Concurrent, WriteBarrier::Hybrid),
        (Collection::StopTheWorld, WriteBarrier::Deletion),
        (Collection::Never, WriteBarrier::Deletion),
    ] {
        let heap = Heap::<Plain>::builder()
            .collection(collection)
            .write_barrier(barrier)
            .build(Default::default(), Default::default())
            .expect("one heap at a time");
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
