//! Free runs of pages in address order, each subtree with the length of its longest run.
//!
//! A treap is a search tree by key (here the address) and a heap by random weight, so its expected
//! depth is logarithmic without any rebalancing rule. The nodes are the span records themselves:
//! freeing pages never needs memory. With the longest run of each subtree at its root, the *first*
//! run that is long enough, the one at the lowest address, is found on one path. First fit by address
//! keeps the heap dense at its low end, so the high end can go back to the system.
//!
//! Recursion is as deep as the tree, some forty small frames for a million runs.
//!
//! Sources: Seidel and Aragon, "Randomized Search Trees" (1996); Go 1.13, `mgclarge.go`.

use crate::{size_class::PAGE, span::SpanPtr};

type Link = Option<SpanPtr>;

/// The tree.
#[derive(Debug, Default)]
pub(crate) struct Treap {
    root: Link,
}

fn longest(link: Link) -> u32 {
    link.map_or(0, |run| run.longest.get())
}

/// Recomputes a node from its children.
fn update(run: SpanPtr) {
    let children = longest(run.prev.get()).max(longest(run.next.get()));
    run.longest.set(children.max(run.pages() as u32));
}

/// A number that looks random, from the address at which a run starts (Knuth's multiplier).
fn weight(base: usize) -> u32 {
    ((base / PAGE) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32) as u32
}

impl Treap {
    pub(crate) const fn new() -> Self {
        Treap { root: None }
    }

    /// Adds a run that overlaps none in the tree.
    pub(crate) fn insert(&mut self, run: SpanPtr) {
        run.weight.set(weight(run.base()));
        self.root = Some(insert(self.root, run));
    }

    /// Takes out a run that is in the tree.
    pub(crate) fn remove(&mut self, run: SpanPtr) {
        self.root = remove(self.root, run);
        run.prev.set(None);
        run.next.set(None);
    }

    /// Repairs the path to a run whose length or start has changed, its order among others not.
    pub(crate) fn refresh(&mut self, run: SpanPtr) {
        refresh(self.root, run);
    }

    /// The run at the lowest address that has `pages` pages or more.
    pub(crate) fn first_fit(&self, pages: usize) -> Option<SpanPtr> {
        let mut at = self.root.filter(|root| root.longest.get() as usize >= pages)?;
        loop {
            match at.prev.get().filter(|left| left.longest.get() as usize >= pages) {
                Some(left) => at = left,
                None if at.pages() >= pages => return Some(at),
                None => at = at.next.get()?,
            }
        }
    }

    /// The run at the lowest address that starts at `address` or above.
    pub(crate) fn first_from(&self, address: usize) -> Option<SpanPtr> {
        let (mut at, mut found) = (self.root, None);
        while let Some(run) = at {
            if run.base() >= address {
                found = Some(run);
                at = run.prev.get();
            } else {
                at = run.next.get();
            }
        }
        found
    }
}

fn insert(link: Link, run: SpanPtr) -> SpanPtr {
    let Some(root) = link else {
        run.prev.set(None);
        run.next.set(None);
        update(run);
        return run;
    };
    if run.weight.get() > root.weight.get() {
        let (left, right) = split(link, run.base());
        run.prev.set(left);
        run.next.set(right);
        update(run);
        return run;
    }
    if run.base() < root.base() {
        root.prev.set(Some(insert(root.prev.get(), run)));
    } else {
        root.next.set(Some(insert(root.next.get(), run)));
    }
    update(root);
    root
}

/// Runs below `address`, and the others.
fn split(link: Link, address: usize) -> (Link, Link) {
    let Some(root) = link else { return (None, None) };
    let halves = if root.base() < address {
        let (left, right) = split(root.next.get(), address);
        root.next.set(left);
        (link, right)
    } else {
        let (left, right) = split(root.prev.get(), address);
        root.prev.set(right);
        (left, link)
    };
    update(root);
    halves
}

/// One tree of two, all runs of `left` below those of `right`.
fn merge(left: Link, right: Link) -> Link {
    let (Some(l), Some(r)) = (left, right) else { return left.or(right) };
    if l.weight.get() > r.weight.get() {
        l.next.set(merge(l.next.get(), right));
        update(l);
        left
    } else {
        r.prev.set(merge(left, r.prev.get()));
        update(r);
        right
    }
}

fn remove(link: Link, run: SpanPtr) -> Link {
    let root = link?;
    if root == run {
        return merge(root.prev.get(), root.next.get());
    }
    if run.base() < root.base() {
        root.prev.set(remove(root.prev.get(), run));
    } else {
        root.next.set(remove(root.next.get(), run));
    }
    update(root);
    link
}

fn refresh(link: Link, run: SpanPtr) {
    let Some(root) = link else { return };
    if root != run {
        let side = if run.base() < root.base() { &root.prev } else { &root.next };
        refresh(side.get(), run);
    }
    update(root);
}
