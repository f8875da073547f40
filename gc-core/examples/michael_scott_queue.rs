//! A Michael–Scott queue without reclamation code: plain threads, gc-core alone.
//!
//! ```text
//! cargo run --release -p gc-core --example michael_scott_queue
//! ```
//!
//! M. M. Michael, M. L. Scott, "Simple, fast, and practical non-blocking and blocking concurrent queue
//! algorithms", 1996. The original counts modifications in each pointer and keeps nodes on a free list
//! for ever; here a node that somebody still looks at is not used again, and one that nobody does goes.

use gc_core::{Collector, Gc, GcCell, Guard, Heap, Plain, Root, Trace, pacer::Every};
use std::thread;

/// `head` leads to a node whose value was taken, and from there to the first; `tail` to the last node
/// or the one before.
#[derive(Trace)]
struct Queue<'g> {
    head: GcCell<'g, Node<'g>>,
    tail: GcCell<'g, Node<'g>>,
}

#[derive(Trace)]
struct Node<'g> {
    value: u64,
    next: GcCell<'g, Node<'g>>,
}

impl<'g> Queue<'g> {
    fn new(guard: &'g Guard<'_>) -> Gc<'g, Self> {
        let taken = Some(guard.alloc(Node { value: 0, next: GcCell::null() }));
        guard.alloc(Self { head: GcCell::new(taken), tail: GcCell::new(taken) })
    }

    fn put(&self, guard: &'g Guard<'_>, value: u64) {
        let node = Some(guard.alloc(Node { value, next: GcCell::null() }));
        loop {
            let tail = self.tail.load();
            let next = &tail.expect("there is always a node").get().next;
            let behind = next.compare_exchange(guard, None, node);
            // Somebody's node is behind the tail now. Whoever does not move the tail was helped.
            let last = behind.map_or_else(|found| found, |_| node);
            let _ = self.tail.compare_exchange(guard, tail, last);
            if behind.is_ok() {
                return;
            }
        }
    }

    fn take(&self, guard: &'g Guard<'_>) -> Option<u64> {
        loop {
            let head = self.head.load();
            let first = head.expect("there is always a node").get().next.load();
            let value = first?.value;
            if self.tail.load() == head {
                // It must not fall behind the head.
                let _ = self.tail.compare_exchange(guard, head, first);
            }
            if self.head.compare_exchange(guard, head, first).is_ok() {
                return Some(value);
            }
        }
    }
}

const PRODUCERS: u64 = 2;
const CONSUMERS: u64 = 2;
const EACH: u64 = 50_000;

/// Takes until everybody's share is done. Returns the sum of what was taken, which of one producer comes
/// in order.
fn consume(heap: &Heap, queue: &Root<Queue<'static>>) -> u64 {
    let (mut sum, mut taken) = (0, 0);
    let mut last = [None; PRODUCERS as usize];
    while taken < PRODUCERS * EACH / CONSUMERS {
        let guard = heap.enter();
        let Some(value) = queue.get(&guard).get().take(&guard) else {
            drop(guard);
            thread::yield_now();
            continue;
        };
        let producer = &mut last[(value / EACH) as usize];
        assert!(*producer < Some(value), "first in, first out");
        *producer = Some(value);
        sum += value;
        taken += 1;
    }
    sum
}

pub(crate) fn main() {
    // The queue is small: by the usual pacer its garbage would not be worth a collection.
    let heap = Heap::<Plain>::builder()
        .pacer(Every(64 << 10))
        .checkmark(cfg!(debug_assertions))
        .build(Default::default(), Default::default())
        .expect("the only heap of this program");
    let collector = Collector::start(&heap).expect("a thread for the collector");
    let queue = {
        let guard = heap.enter();
        guard.root(Queue::new(&guard))
    };

    let sum: u64 = thread::scope(|scope| {
        let (heap, queue) = (&heap, &queue);
        for producer in 0..PRODUCERS {
            scope.spawn(move || {
                for value in producer * EACH..(producer + 1) * EACH {
                    let guard = heap.enter();
                    queue.get(&guard).get().put(&guard, value);
                }
            });
        }
        let consumers = [(); CONSUMERS as usize].map(|()| scope.spawn(|| consume(heap, queue)));
        consumers.into_iter().map(|thread| thread.join().expect("no consumer panics")).sum()
    });

    let all = PRODUCERS * EACH;
    assert_eq!(sum, all * (all - 1) / 2, "everything that was put in was taken once");
    drop(collector);
    assert!(heap.stats().cycles > 0, "it was collected while it changed");
    println!("{all} values through the queue, {} collections", heap.stats().cycles);
    println!("held at the end: {} KiB", heap.usage().held_bytes / 1024);
}
