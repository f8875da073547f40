//! A lock-free ordered map, a skip list, without reclamation code: plain threads, gc-core alone.
//!
//! ```text
//! cargo run --release -p gc-core --example ordered_map
//! ```
//!
//! # Algorithm
//!
//! ```text
//!   index 2   ───────────────► c ──────────────►
//!   index 1   ──────► b ─────► c ──────────────►
//!   nodes     ► a ──► b ─────► c ──► (marker) ─► d
//! ```
//!
//! The nodes are a sorted list; it alone says what is in the map. A node is taken away in three steps:
//! its value is emptied (that is the moment), a *marker* is put behind it so that nobody inserts there any
//! more, and it is unlinked together with its marker; whoever meets a node that is half away finishes
//! that. The index is a hint: lists of shortcuts, in each of which a quarter of the nodes of the one below
//! appear, and from which nodes that are away are dropped in passing.
//!
//! Source: Doug Lea's ConcurrentSkipListMap (2004), after T. L. Harris, "A pragmatic implementation of
//! non-blocking linked lists", 2001. Markers instead of a bit in the pointer, because a pointer of the
//! heap has no bits to spare; they also were garbage that somebody must free, and are not here.

use gc_core::{Collector, Gc, GcCell, Guard, Heap, Plain, Root, Trace, pacer::Every};
use std::thread;

type Pointer<'g, T> = Option<Gc<'g, T>>;

#[derive(Trace)]
struct Node<'g> {
    /// `None`: a marker, or the node before all.
    key: Option<u64>,
    /// Empty: a marker, the node before all, or one that is being taken away.
    value: GcCell<'g, u64>,
    next: GcCell<'g, Node<'g>>,
    marker: bool,
}

#[derive(Trace)]
struct Index<'g> {
    node: Gc<'g, Node<'g>>,
    down: Pointer<'g, Index<'g>>,
    right: GcCell<'g, Index<'g>>,
}

#[derive(Trace)]
pub(crate) struct Map<'g> {
    /// The first of the highest list of shortcuts.
    top: Gc<'g, Index<'g>>,
}

const LEVELS: u32 = 8;

impl<'g> Map<'g> {
    pub(crate) fn new(guard: &'g Guard<'_>) -> Gc<'g, Self> {
        let node = Node::alloc(guard, None, GcCell::null(), None, false);
        let index = |down| guard.alloc(Index { node, down, right: GcCell::null() });
        let top = (1..LEVELS).fold(index(None), |below, _| index(Some(below)));
        guard.alloc(Self { top })
    }

    /// The last node before `key` that has a shortcut, and is not away; drops shortcuts to those that
    /// are. `visit` sees where each list was left, the highest first.
    fn before(
        &self,
        guard: &'g Guard<'_>,
        key: u64,
        mut visit: impl FnMut(Gc<'g, Index<'g>>, Pointer<'g, Index<'g>>),
    ) -> Gc<'g, Node<'g>> {
        let mut at = self.top;
        loop {
            let mut right = at.get().right.load();
            while let Some(next) = right {
                let node = next.get().node.get();
                if node.value.load().is_none() {
                    let behind = next.get().right.load();
                    let _ = at.get().right.compare_exchange(guard, right, behind);
                } else if node.key < Some(key) {
                    at = next;
                } else {
                    break;
                }
                right = at.get().right.load();
            }
            visit(at, right);
            match at.get().down {
                Some(down) => at = down,
                None => return at.get().node,
            }
        }
    }

    /// The node of `key`, if there is one, and the one before it. Finishes what is half away.
    fn find(
        &self,
        guard: &'g Guard<'_>,
        key: u64,
    ) -> (Gc<'g, Node<'g>>, Pointer<'g, Node<'g>>, bool) {
        'again: loop {
            let mut before = self.before(guard, key, |_, _| ());
            loop {
                let Some(node) = before.get().next.load() else { return (before, None, false) };
                if node.marker {
                    // The one before has been taken away since.
                    continue 'again;
                }
                if node.value.load().is_none() {
                    if !Node::unlink(guard, before, node) {
                        continue 'again;
                    }
                } else if node.key < Some(key) {
                    before = node;
                } else {
                    return (before, Some(node), node.key == Some(key));
                }
            }
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, guard: &'g Guard<'_>, key: u64) -> Option<u64> {
        let (_, node, found) = self.find(guard, key);
        node.filter(|_| found).and_then(|node| node.get().value.load()).map(|value| *value)
    }

    /// Puts a value under a key; returns the former one.
    pub(crate) fn insert(&self, guard: &'g Guard<'_>, key: u64, value: u64) -> Option<u64> {
        let value = Some(guard.alloc(value));
        loop {
            let (before, after, found) = self.find(guard, key);
            if let (Some(node), true) = (after, found) {
                let former = node.get().value.load();
                // Empty: it is being taken away, and the key is free.
                if former.is_some() && node.value.compare_exchange(guard, former, value).is_ok() {
                    return former.map(|value| *value);
                }
                continue;
            }
            let node = Node::alloc(guard, Some(key), GcCell::new(value), after, false);
            if before.next.compare_exchange(guard, after, Some(node)).is_ok() {
                self.add_shortcuts(guard, key, node);
                return None;
            }
        }
    }

    fn add_shortcuts(&self, guard: &'g Guard<'_>, key: u64, node: Gc<'g, Node<'g>>) {
        // A quarter of the keys at each level, by a hash of the key.
        let levels = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15).leading_zeros() / 2).min(LEVELS);
        let mut places = Vec::new();
        self.before(guard, key, |at, right| places.push((at, right)));
        let mut down = None;
        for (at, right) in places.into_iter().rev().take(levels as usize) {
            let index = Some(guard.alloc(Index { node, down, right: GcCell::new(right) }));
            // A shortcut fewer is no loss.
            if at.get().right.compare_exchange(guard, right, index).is_err() {
                return;
            }
            down = index;
        }
    }

    /// Takes a key out; returns its value.
    pub(crate) fn remove(&self, guard: &'g Guard<'_>, key: u64) -> Option<u64> {
        loop {
            let (before, node, found) = self.find(guard, key);
            let node = node.filter(|_| found)?;
            let value = node.value.load()?;
            if node.value.compare_exchange(guard, Some(value), None).is_ok() {
                // If it does not go at once, the next one who comes by sees to it.
                Node::unlink(guard, before, node);
                return Some(*value);
            }
        }
    }

    /// Calls `each` for all entries from `from` on, in order.
    fn range(&self, guard: &'g Guard<'_>, from: u64, mut each: impl FnMut(u64, u64)) {
        let (_, mut at, _) = self.find(guard, from);
        while let Some(node) = at {
            if let (Some(key), Some(value)) = (node.get().key, node.get().value.load()) {
                each(key, *value);
            }
            at = node.get().next.load();
        }
    }
}

impl<'g> Node<'g> {
    fn alloc(
        guard: &'g Guard<'_>,
        key: Option<u64>,
        value: GcCell<'g, u64>,
        next: Pointer<'g, Node<'g>>,
        marker: bool,
    ) -> Gc<'g, Self> {
        guard.alloc(Self { key, value, next: GcCell::new(next), marker })
    }

    /// Takes a node whose value is gone out of the list, by its two last steps. False if the one before
    /// it has changed.
    fn unlink(guard: &'g Guard<'_>, before: Gc<'g, Self>, node: Gc<'g, Self>) -> bool {
        let after = loop {
            let after = node.get().next.load();
            if let Some(marker) = after.filter(|after| after.marker) {
                break marker.get().next.load();
            }
            let marker = Self::alloc(guard, None, GcCell::null(), after, true);
            let _ = node.next.compare_exchange(guard, after, Some(marker));
        };
        before.next.compare_exchange(guard, Some(node), after).is_ok()
    }
}

const THREADS: u64 = 4;
const KEYS: u64 = 2_000;
const STEPS: u64 = 20_000;

/// Inserts, removes and looks up keys of its own among those of others, beside a map of its own; the two
/// must agree.
fn work(heap: &Heap, map: &Root<Map<'static>>, number: u64) {
    let mut expected = std::collections::BTreeMap::new();
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for step in 0..STEPS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let key = random % KEYS * THREADS + number;
        // Who makes garbage faster than the collector frees it waits for it.
        while heap.is_outrun() {
            thread::yield_now();
        }
        let guard = heap.enter();
        let map = map.get(&guard).get();
        match random >> 32 & 3 {
            0 | 1 => assert_eq!(map.insert(&guard, key, step), expected.insert(key, step)),
            2 => assert_eq!(map.remove(&guard, key), expected.remove(&key)),
            _ => assert_eq!(map.get(&guard, key), expected.get(&key).copied()),
        }
    }
    let guard = heap.enter();
    let mut mine = Vec::new();
    map.get(&guard).get().range(&guard, 0, |key, value| {
        if key % THREADS == number {
            mine.push((key, value));
        }
    });
    assert!(expected.into_iter().eq(mine), "in order, and all that was left in");
}

pub(crate) fn main() {
    // The map is small: by the usual pacer its garbage would not be worth a collection.
    let heap = Heap::<Plain>::builder()
        .pacer(Every(64 << 10))
        .checkmark(cfg!(debug_assertions))
        .build(Default::default(), Default::default())
        .expect("the only heap of this program");
    let collector = Collector::start(&heap).expect("a thread for the collector");
    let map = {
        let guard = heap.enter();
        guard.root(Map::new(&guard))
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (heap, map) = (&heap, &map);
            scope.spawn(move || work(heap, map, number));
        }
    });
    assert!(heap.stats().cycles > 0, "it was collected while it changed");
    let guard = heap.enter();
    let mut last = None;
    let mut entries = 0;
    map.get(&guard).get().range(&guard, 0, |key, _| {
        assert!(last < Some(key), "in order, and each once");
        last = Some(key);
        entries += 1;
    });
    drop(guard);
    drop(collector);
    let steps = THREADS * STEPS;
    println!("{steps} steps by {THREADS} threads, {entries} entries are left");
    println!("{} collections, {} KiB held", heap.stats().cycles, heap.usage().held_bytes / 1024);
}
