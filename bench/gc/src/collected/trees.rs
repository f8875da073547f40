//! Trees, built and counted under one guard per tree.

use bench_gc::trees::Trees;

use super::Collected;
use crate::library::{Gc, Guard, Root, Trace};

/// Both links or none, as in the other peers.
#[derive(Trace)]
pub(crate) struct Node<'g> {
    left: Option<Gc<'g, Node<'g>>>,
    right: Option<Gc<'g, Node<'g>>>,
}

impl<'g> Node<'g> {
    fn build(guard: &'g Guard<'_>, depth: u32) -> Gc<'g, Self> {
        let child = || (depth > 0).then(|| Self::build(guard, depth - 1));
        guard.alloc(Self { left: child(), right: child() })
    }

    fn count(&self) -> usize {
        match (self.left, self.right) {
            (Some(left), Some(right)) => left.get().count() + right.get().count() + 1,
            _ => 1,
        }
    }
}

impl Trees for Collected {
    type Kept = Root<Node<'static>>;

    fn build_and_count(&self, depth: u32) -> usize {
        let guard = self.heap.enter();
        Node::build(&guard, depth).count()
    }

    fn keep(&self, depth: u32) -> Self::Kept {
        let guard = self.heap.enter();
        guard.root(Node::build(&guard, depth))
    }

    fn count(&self, kept: &Self::Kept) -> usize {
        let guard = self.heap.enter();
        kept.get(&guard).count()
    }
}
