//! The set of spans that were put back: whatever is pushed is taken exactly once, with all that
//! its pusher wrote before (A1). An element may be pushed again after it was taken.
#![cfg(loom)]

use std::ptr::NonNull;

use alloc_core::{
    span_set::{Linked, SpanSet},
    sync::AtomicPtr,
};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::model;

/// An element with something that only its holder touches: loom reports two at once.
struct Node {
    link: AtomicPtr<Node>,
    turns: UnsafeCell<usize>,
}

impl Linked for Node {
    fn link(&self) -> &AtomicPtr<Node> {
        &self.link
    }
}

impl Node {
    fn new() -> Self {
        Node { link: AtomicPtr::new(std::ptr::null_mut()), turns: UnsafeCell::new(0) }
    }

    /// What a holder does.
    fn touch(&self) -> usize {
        self.turns.with_mut(|turns| {
            // SAFETY: the caller holds the element; loom checks that nobody else does.
            unsafe {
                *turns += 1;
                *turns
            }
        })
    }
}

struct World {
    set: SpanSet<Node>,
    nodes: [Node; 2],
}

// SAFETY: the set hands each node to one thread at a time, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn push(&self, node: usize) {
        self.nodes[node].touch();
        // SAFETY: the caller holds the node, which lives as long as the world.
        unsafe { self.set.push(NonNull::from(&self.nodes[node])) };
    }

    /// Takes all and returns the sum of their turns.
    fn take(&self) -> usize {
        // SAFETY: nodes live as long as the world.
        self.set.take_all().map(|node| unsafe { node.as_ref() }.touch()).sum()
    }
}

#[test]
fn each_element_is_taken_once_with_what_was_written_before() {
    model("set", 2, || {
        let world = Arc::new(World { set: SpanSet::new(), nodes: [Node::new(), Node::new()] });
        let pushers: Vec<_> = (0..2)
            .map(|node| {
                let world = world.clone();
                thread::spawn(move || world.push(node))
            })
            .collect();
        let taker = {
            let world = world.clone();
            thread::spawn(move || world.take())
        };
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        let first = taker.join().unwrap();
        assert_eq!(first + world.take(), 4, "each node: one turn by its pusher, one by a taker");
    });
}

#[test]
fn an_element_comes_back_after_it_was_taken() {
    model("set, again", 2, || {
        let world = Arc::new(World { set: SpanSet::new(), nodes: [Node::new(), Node::new()] });
        world.push(0);
        let other = {
            let world = world.clone();
            thread::spawn(move || world.push(1))
        };
        // Takes element 0, perhaps 1 as well, and pushes 0 again: the other's exchange may see the
        // head that it read before, on another stack.
        let again = {
            let world = world.clone();
            thread::spawn(move || {
                let sum = world.take();
                world.push(0);
                sum
            })
        };
        other.join().unwrap();
        let sum = again.join().unwrap() + world.take();
        // Node 0: turns 1 (push), 2 (take), 3 (push), 4 (take). Node 1: 1, 2.
        assert_eq!(sum, 2 + 4 + 2);
    });
}
