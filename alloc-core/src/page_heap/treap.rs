//! Free runs in address order, each subtree with the length of its longest run: Go's design up to 1.13.
//!
//! A treap is a search tree by key (here the address) and a heap by random weight, so its expected
//! depth is logarithmic without any rebalancing rule. With the longest run of each subtree at its
//! root, the *first* run that is long enough is found on one path.
//!
//! Each page has a *slot*. The slot of a run's last page is its node in the tree, the slot of its
//! first page says how long it is (*reach*); so both neighbours of a freed run are found by one
//! look-up each, and nothing ever needs memory after the slots are made:
//!
//! ```text
//!   slots   │ · │ reach 4 │ · │ · │ node, 4 pages │ · │ · │ node, 1 page, reach 1 │ · │
//!                └──────── run of four ────────┘           └─ run of one ─┘
//! ```
//!
//! The node is at the *end* of the run because most requests cut a run at its start, and then the node
//! stays where it is. Slots cost 40 bytes per page of address space, of which only those at the ends
//! of runs are touched.
//!
//! Recursion is as deep as the tree, some forty small frames for a million runs.
//!
//! Sources: Seidel and Aragon, "Randomized Search Trees" (1996); Go 1.13, `mgclarge.go`; boundary
//! tags: Knuth, "The Art of Computer Programming" 1, 2.5.

use core::{
    cell::Cell,
    ops::{Deref, Range},
    ptr::NonNull,
};

use super::{
    CHUNK_PAGES, PageHeap, Room,
    chunks::{Chunks, Zeroed},
};
use crate::Error;

/// Free runs as a tree. See the file's essay.
#[derive(Debug)]
pub struct Treap {
    root: Link,
    slots: Chunks<Slots>,
}

// SAFETY: links lead to slots, which belong to the tree.
unsafe impl Send for Treap {}

/// The slots of a chunk.
#[repr(transparent)]
struct Slots([Slot; CHUNK_PAGES]);

// SAFETY: all fields are numbers and `Option<NonNull>`, which zeroes make empty.
unsafe impl Zeroed for Slots {}

/// What is known of one page.
struct Slot {
    left: Cell<Link>,
    right: Cell<Link>,
    /// Number of this page. Only nodes have it.
    last: Cell<usize>,
    /// Pages of the run that ends here; 0 if none does.
    pages: Cell<u32>,
    /// Pages of the longest run in this subtree.
    longest: Cell<u32>,
    /// Pages of the run that begins here; 0 if none does.
    reach: Cell<u32>,
}

type Link = Option<Node>;

/// A slot of the tree that holds this pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node(NonNull<Slot>);

impl Deref for Node {
    type Target = Slot;
    fn deref(&self) -> &Slot {
        // SAFETY: nodes come from `Treap::slot` and stay inside the tree; slots live as long as it, and
        // are only ever borrowed shared.
        unsafe { self.0.as_ref() }
    }
}

impl Slot {
    fn len(&self) -> usize {
        self.pages.get() as usize
    }

    fn first(&self) -> usize {
        self.last.get() + 1 - self.len()
    }

    fn range(&self) -> Range<usize> {
        self.first()..self.last.get() + 1
    }

    /// Recomputes what depends on the children.
    fn update(&self) {
        let children = longest(self.left.get()).max(longest(self.right.get()));
        self.longest.set(children.max(self.pages.get()));
    }

    /// A number that looks random, from the page at which the run ends (Knuth's multiplier).
    fn weight(&self) -> u64 {
        (self.last.get() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_right(32)
    }
}

fn longest(link: Link) -> u32 {
    link.map_or(0, |run| run.longest.get())
}

impl Treap {
    fn slot(&self, page: usize) -> Link {
        let slots = self.slots.get(page)?.cast::<Slot>();
        // SAFETY: a chunk has a slot for each of its pages.
        Some(Node(unsafe { slots.add(page % CHUNK_PAGES) }))
    }

    /// The run that ends with `page`.
    fn ending_at(&self, page: usize) -> Link {
        self.slot(page).filter(|slot| slot.pages.get() > 0)
    }

    /// The run that begins with `page`.
    fn beginning_at(&self, page: usize) -> Link {
        let reach = self.slot(page)?.reach.get() as usize;
        if reach > 0 { self.slot(page + reach - 1) } else { None }
    }

    fn add(&mut self, pages: Range<usize>) {
        let len = pages.len() as u32;
        let (Some(first), Some(node)) = (self.slot(pages.start), self.slot(pages.end - 1)) else {
            return debug_assert!(false, "{pages:?} was not prepared");
        };
        first.reach.set(len);
        node.pages.set(len);
        node.last.set(pages.end - 1);
        self.root = Some(insert(self.root, node));
    }

    fn remove(&mut self, run: Node) {
        if let Some(first) = self.slot(run.first()) {
            first.reach.set(0);
        }
        self.root = remove(self.root, run);
        run.pages.set(0);
    }

    /// Moves the start of a run, which stays behind the same runs and before the same.
    fn restart(&mut self, run: Node, first: usize) {
        let len = (run.last.get() + 1 - first) as u32;
        if let (Some(old), Some(new)) = (self.slot(run.first()), self.slot(first)) {
            old.reach.set(0);
            new.reach.set(len);
        }
        run.pages.set(len);
        refresh(self.root, run);
    }

    /// Cuts pages out of the run that they lie in.
    fn cut(&mut self, run: Node, pages: Range<usize>) {
        let all = run.range();
        if pages.end < all.end {
            self.restart(run, pages.end);
        } else {
            self.remove(run);
        }
        if all.start < pages.start {
            self.add(all.start..pages.start);
        }
    }

    /// The run at the lowest address that has `pages` pages or more.
    fn first_fit(&self, pages: usize) -> Link {
        let fits = |run: &Node| run.longest.get() as usize >= pages;
        let mut at = self.root.filter(fits)?;
        loop {
            match at.left.get().filter(fits) {
                Some(left) => at = left,
                None if at.len() >= pages => return Some(at),
                None => at = at.right.get()?,
            }
        }
    }

    /// The run at the lowest address that ends at `page` or behind.
    fn first_to(&self, page: usize) -> Link {
        let (mut at, mut found) = (self.root, None);
        while let Some(run) = at {
            if run.last.get() >= page {
                found = Some(run);
                at = run.left.get();
            } else {
                at = run.right.get();
            }
        }
        found
    }
}

// SAFETY: the tree has the runs that were inserted, joined with their neighbours; `cut` takes out of a run what it is
// told, and a run is told only what lies in it (1, 2, 4). What is found is a part of a run (3). The slots that a run needs
// were prepared with its pages (5).
unsafe impl PageHeap for Treap {
    const EMPTY: Self = Treap { root: None, slots: Chunks::EMPTY };

    fn prepare(&mut self, room: &impl Room, pages: Range<usize>) -> Result<(), Error> {
        self.slots.prepare(room, &pages)
    }

    fn insert(&mut self, pages: Range<usize>) {
        debug_assert!(self.first_to(pages.start).is_none_or(|run| run.first() >= pages.end));
        let before = pages.start.checked_sub(1).and_then(|page| self.ending_at(page));
        let first = before.map_or(pages.start, |run| run.first());
        if let Some(before) = before {
            self.remove(before);
        }
        match self.beginning_at(pages.end) {
            Some(behind) => self.restart(behind, first),
            None => self.add(first..pages.end),
        }
    }

    fn take(&mut self, pages: usize, align: usize) -> Option<usize> {
        let run = self.first_fit(pages.checked_add(align - 1)?)?;
        let at = run.first().next_multiple_of(align);
        self.cut(run, at..at + pages);
        Some(at)
    }

    fn take_at(&mut self, pages: Range<usize>) -> bool {
        let run = self.first_to(pages.start);
        let around =
            run.filter(|run| run.first() <= pages.start && run.last.get() + 1 >= pages.end);
        around.inspect(|&run| self.cut(run, pages)).is_some()
    }

    fn next_free(&mut self, from: usize) -> Option<Range<usize>> {
        self.first_to(from).map(|run| run.first().max(from)..run.last.get() + 1)
    }
}

fn insert(link: Link, run: Node) -> Node {
    let Some(root) = link else {
        run.left.set(None);
        run.right.set(None);
        run.update();
        return run;
    };
    if run.weight() > root.weight() {
        let (left, right) = split(link, run.last.get());
        run.left.set(left);
        run.right.set(right);
        run.update();
        return run;
    }
    let side = if run.last.get() < root.last.get() { &root.left } else { &root.right };
    side.set(Some(insert(side.get(), run)));
    root.update();
    root
}

/// Runs that end before `page`, and the others.
fn split(link: Link, page: usize) -> (Link, Link) {
    let Some(root) = link else { return (None, None) };
    let halves = if root.last.get() < page {
        let (left, right) = split(root.right.get(), page);
        root.right.set(left);
        (link, right)
    } else {
        let (left, right) = split(root.left.get(), page);
        root.left.set(right);
        (left, link)
    };
    root.update();
    halves
}

/// One tree of two, all runs of `left` below those of `right`.
fn merge(left: Link, right: Link) -> Link {
    let (Some(l), Some(r)) = (left, right) else { return left.or(right) };
    if l.weight() > r.weight() {
        l.right.set(merge(l.right.get(), right));
        l.update();
        left
    } else {
        r.left.set(merge(left, r.left.get()));
        r.update();
        right
    }
}

fn remove(link: Link, run: Node) -> Link {
    let root = link?;
    if root == run {
        return merge(root.left.get(), root.right.get());
    }
    let side = if run.last.get() < root.last.get() { &root.left } else { &root.right };
    side.set(remove(side.get(), run));
    root.update();
    link
}

/// Repairs the path to a run whose length has changed.
fn refresh(link: Link, run: Node) {
    let Some(root) = link else { return };
    if root != run {
        let side = if run.last.get() < root.last.get() { &root.left } else { &root.right };
        refresh(side.get(), run);
    }
    root.update();
}
