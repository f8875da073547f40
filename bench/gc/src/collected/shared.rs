//! A Treiber stack and a Michael–Scott queue: the algorithms, and nothing about memory.

use bench_gc::shared::Shared;

use super::Collected;
use crate::library::{Gc, GcCell, Guard, Root, Trace};

#[derive(Trace)]
pub(crate) struct Stack<'g> {
    top: GcCell<'g, Below<'g>>,
}

#[derive(Trace)]
struct Below<'g> {
    value: u64,
    below: Option<Gc<'g, Below<'g>>>,
}

impl Stack<'_> {
    pub(crate) fn root(guard: &Guard<'_>) -> Root<Stack<'static>> {
        guard.root(guard.alloc(Stack { top: GcCell::null() }))
    }
}

/// `head` leads to a node whose value was taken; `tail` to the last or the one before.
#[derive(Trace)]
pub(crate) struct Queue<'g> {
    head: GcCell<'g, Behind<'g>>,
    tail: GcCell<'g, Behind<'g>>,
}

#[derive(Trace)]
struct Behind<'g> {
    value: u64,
    next: GcCell<'g, Behind<'g>>,
}

impl Queue<'_> {
    pub(crate) fn root(guard: &Guard<'_>) -> Root<Queue<'static>> {
        let taken = Some(guard.alloc(Behind { value: 0, next: GcCell::null() }));
        guard.root(guard.alloc(Queue { head: GcCell::new(taken), tail: GcCell::new(taken) }))
    }
}

impl Shared for Collected {
    fn push(&self, value: u64) {
        let guard = self.heap.enter();
        let stack = self.stack.get(&guard).get();
        let mut below = stack.top.load();
        while let Err(found) = {
            let node = guard.alloc(Below { value, below });
            stack.top.compare_exchange(&guard, below, Some(node))
        } {
            below = found;
        }
    }

    fn pop(&self) -> Option<u64> {
        let guard = self.heap.enter();
        let stack = self.stack.get(&guard).get();
        let mut top = stack.top.load();
        while let Some(node) = top {
            match stack.top.compare_exchange(&guard, top, node.below) {
                Ok(_) => return Some(node.value),
                Err(found) => top = found,
            }
        }
        None
    }

    fn put(&self, value: u64) {
        let guard = self.heap.enter();
        let queue = self.queue.get(&guard).get();
        let node = Some(guard.alloc(Behind { value, next: GcCell::null() }));
        loop {
            let tail = queue.tail.load();
            let next = &tail.expect("the tail is never empty").get().next;
            match next.compare_exchange(&guard, None, node) {
                Ok(_) => {
                    // Whoever fails has been helped.
                    let _ = queue.tail.compare_exchange(&guard, tail, node);
                    return;
                }
                Err(behind) => {
                    let _ = queue.tail.compare_exchange(&guard, tail, behind);
                }
            }
        }
    }

    fn take(&self) -> Option<u64> {
        let guard = self.heap.enter();
        let queue = self.queue.get(&guard).get();
        loop {
            let head = queue.head.load();
            let first = head.expect("the head is never empty").next.load();
            let value = first?.value;
            if queue.tail.load() == head {
                let _ = queue.tail.compare_exchange(&guard, head, first);
            }
            if queue.head.compare_exchange(&guard, head, first).is_ok() {
                return Some(value);
            }
        }
    }
}
