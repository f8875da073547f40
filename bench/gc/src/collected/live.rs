//! The live tree: nodes of 64 bytes, an operation under one guard.

use bench_gc::live::{Account, Live, SUBTREE};

use super::Collected;
use crate::library::{Gc, GcCell, Guard, Root, Trace};

#[derive(Trace)]
pub(crate) struct Node<'g> {
    children: [GcCell<'g, Node<'g>>; 2],
    words: [u64; 6],
}

impl<'g> Node<'g> {
    fn build(guard: &'g Guard<'_>, depth: u32) -> Gc<'g, Self> {
        let child = || GcCell::new((depth > 0).then(|| Self::build(guard, depth - 1)));
        guard.alloc(Self { children: [child(), child()], words: [depth.into(); 6] })
    }

    /// As `build`, with a guard for each subtree only.
    fn grow(heap: &Collected, height: u32) -> Root<Node<'static>> {
        if height == 0 {
            let guard = heap.heap.enter();
            return guard.root(Node::build(&guard, SUBTREE));
        }
        let children = [Self::grow(heap, height - 1), Self::grow(heap, height - 1)];
        let guard = heap.heap.enter();
        let children = children.each_ref().map(|child| GcCell::new(Some(child.get(&guard))));
        guard.root(guard.alloc(Node { children, words: [height.into(); 6] }))
    }
}

impl Live for Collected {
    type Tree = Root<Node<'static>>;

    fn grow(&self, height: u32) -> Self::Tree {
        Node::grow(self, height)
    }

    fn replace(&self, tree: &Self::Tree, height: u32, path: u64) {
        let guard = self.heap.enter();
        let mut at = tree.get(&guard);
        for level in 0..height - 1 {
            let child = at.children[(path >> level & 1) as usize].load();
            at = child.expect("an inner node has both children");
        }
        let place = &at.children[(path >> (height - 1) & 1) as usize];
        place.set(&guard, Some(Node::build(&guard, SUBTREE)));
    }

    fn collect(&self) -> bool {
        crate::collect(&self.heap);
        true
    }

    fn collections(&self) -> Option<u64> {
        Some(self.heap.stats().cycles)
    }

    fn account(&self) -> Option<Account> {
        let stats = self.heap.stats();
        Some(Account { time: crate::time(&stats), actions: stats.actions })
    }
}
