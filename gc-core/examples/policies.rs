//! The same program under each policy: who runs while the collector marks, and what stores log.
//!
//! ```text
//! cargo run --release -p gc-core --example policies
//! ```
//!
//! Two threads move nodes about in a table that lives. The column to look at is the longest wait: what
//! a guard costs when a collection is under way.

use gc_core::{
    Collector, GcCell, Heap, Plain, Root, Slice, Trace,
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
        drop(collector);
        let cycles = heap.stats().cycles;
        assert_eq!(cycles == 0, collection == Collection::Never);
        println!(
            "{:>14} {:>10}  {:8}  {:8.2}  {cycles:6}  {:9}",
            format!("{collection:?}"),
            format!("{barrier:?}"),
            time.as_millis(),
            longest.unwrap_or_default().as_secs_f64() * 1e3,
            heap.usage().held_bytes >> 20,
        );
    }
}
