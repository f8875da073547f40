//! A Treiber stack without reclamation code: plain threads, gc-core alone.
//!
//! ```text
//! cargo run --release -p gc-core --example treiber_stack
//! ```
//!
//! R. K. Treiber, "Systems programming: coping with parallelism", 1986. The two hard parts of the
//! original are not here: nobody decides when a popped node may be freed, and there is no ABA,
//! since a node that somebody still looks at is not used again.

use gc_core::{Collector, Gc, GcCell, Guard, Heap, Plain, Root, Trace, pacer::Every};
use std::thread;

#[derive(Trace)]
struct Stack<'g> {
    top: GcCell<'g, Node<'g>>,
}

#[derive(Trace)]
struct Node<'g> {
    value: u64,
    below: Option<Gc<'g, Node<'g>>>,
}

impl<'g> Stack<'g> {
    fn push(&self, guard: &'g Guard<'_>, value: u64) {
        let mut below = self.top.load();
        loop {
            let node = guard.alloc(Node { value, below });
            match self.top.compare_exchange(guard, below, Some(node)) {
                Ok(_) => return,
                Err(found) => below = found,
            }
        }
    }

    fn pop(&self, guard: &'g Guard<'_>) -> Option<u64> {
        let mut top = self.top.load();
        while let Some(node) = top {
            match self.top.compare_exchange(guard, top, node.below) {
                Ok(_) => return Some(node.value),
                Err(found) => top = found,
            }
        }
        None
    }
}

const THREADS: u64 = 4;
const EACH: u64 = 100_000;

/// Pushes and pops by turns; returns the sum of what was popped.
fn work(heap: &Heap, stack: &Root<Stack<'static>>, first: u64) -> u64 {
    let mut sum = 0;
    for value in first..first + EACH {
        let guard = heap.enter();
        let stack = stack.get(&guard).get();
        stack.push(&guard, value);
        sum += stack.pop(&guard).unwrap_or(0);
    }
    sum
}

pub(crate) fn main() {
    // The stack is small: by the usual pacer its garbage would not be worth a collection.
    let heap = Heap::<Plain>::builder()
        .pacer(Every(64 << 10))
        .checkmark(cfg!(debug_assertions))
        .build(Default::default(), Default::default())
        .expect("the only heap of this program");
    let collector = Collector::start(&heap).expect("a thread for the collector");
    let stack = {
        let guard = heap.enter();
        guard.root(guard.alloc(Stack { top: GcCell::null() }))
    };

    let sum: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn({
                    let (heap, stack) = (&heap, &stack);
                    move || work(heap, stack, number * EACH)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no worker panics")).sum()
    });

    let all = THREADS * EACH;
    assert_eq!(sum, all * (all - 1) / 2, "everything that was pushed was popped once");
    drop(collector);
    let stats = heap.stats();
    assert!(stats.cycles > 0, "it was collected while it changed");
    println!("{all} pushes and pops by {THREADS} threads, {} collections", stats.cycles);
    println!("held at the end: {} KiB", heap.usage().held_bytes / 1024);
}
