//! A doubly linked list, and a graph with cycles: the structures that ownership makes hard.
//!
//! ```text
//! cargo run --release -p gc-core --example doubly_linked_list
//! ```
//!
//! Nodes point both ways, and nobody owns anybody. A node that is unlinked can go on being read by
//! whoever stands on it; a part of the graph that is cut off goes away as a whole, cycles and all.

use gc_core::{Gc, GcCell, Guard, Heap, Plain, Trace};

#[derive(Trace)]
struct List<'g> {
    first: GcCell<'g, Item<'g>>,
    last: GcCell<'g, Item<'g>>,
}

#[derive(Trace)]
struct Item<'g> {
    value: u64,
    before: GcCell<'g, Item<'g>>,
    after: GcCell<'g, Item<'g>>,
}

impl<'g> List<'g> {
    fn push(&self, guard: &'g Guard<'_>, value: u64) -> Gc<'g, Item<'g>> {
        let last = self.last.load();
        let item = guard.alloc(Item { value, before: GcCell::new(last), after: GcCell::null() });
        match last {
            Some(last) => last.after.set(guard, Some(item)),
            None => self.first.set(guard, Some(item)),
        }
        self.last.set(guard, Some(item));
        item
    }

    /// Takes an item out, from wherever it is, in constant time.
    fn unlink(&self, guard: &'g Guard<'_>, item: Gc<'g, Item<'g>>) {
        let (before, after) = (item.get().before.load(), item.get().after.load());
        before.map_or(&self.first, |before| &before.get().after).set(guard, after);
        after.map_or(&self.last, |after| &after.get().before).set(guard, before);
    }

    fn values(&self) -> impl Iterator<Item = u64> {
        let after = |item: &Gc<'g, Item<'g>>| item.get().after.load();
        std::iter::successors(self.first.load(), after).map(|item| item.value)
    }

    fn backwards(&self) -> impl Iterator<Item = u64> {
        let before = |item: &Gc<'g, Item<'g>>| item.get().before.load();
        std::iter::successors(self.last.load(), before).map(|item| item.value)
    }
}

fn list(heap: &Heap<Plain>) {
    let guard = heap.enter();
    let list = guard.alloc(List { first: GcCell::null(), last: GcCell::null() });
    let items: Vec<_> = (0..1_000).map(|value| list.push(&guard, value)).collect();
    // Every third goes, from the middle as from the ends.
    items.iter().step_by(3).for_each(|item| list.unlink(&guard, *item));
    let left = || (0..1_000).filter(|value| value % 3 != 0);
    assert!(list.values().eq(left()));
    assert!(list.backwards().eq(left().rev()));
    // Whoever stands on an item that was taken out goes on from there.
    assert_eq!(items[3].after.load().map(|item| item.value), Some(4));
    let kept = guard.root(list);
    drop(guard);
    let marked = heap.collect().expect("no guard is held").marked_objects;
    assert_eq!(marked, 1 + 666, "what was taken out is gone, though it points into the list");
    drop(kept);
}

/// A town, and those that it has roads to.
#[derive(Trace)]
struct Town<'g> {
    #[leaf]
    name: &'static str,
    roads: [GcCell<'g, Town<'g>>; 3],
}

impl<'g> Town<'g> {
    fn new(guard: &'g Guard<'_>, name: &'static str) -> Gc<'g, Self> {
        guard.alloc(Self { name, roads: Default::default() })
    }

    /// A road, to and fro.
    fn connect(guard: &'g Guard<'_>, one: Gc<'g, Self>, other: Gc<'g, Self>) {
        for (from, to) in [(one, other), (other, one)] {
            let free = from.get().roads.iter().find(|road| road.load().is_none());
            free.expect("three roads at most").set(guard, Some(to));
        }
    }

    fn disconnect(guard: &'g Guard<'_>, one: Gc<'g, Self>, other: Gc<'g, Self>) {
        for (from, to) in [(one, other), (other, one)] {
            let road = from.get().roads.iter().find(|road| road.load() == Some(to));
            road.expect("they are connected").set(guard, None);
        }
    }

    fn reachable(from: Gc<'g, Self>) -> Vec<&'static str> {
        let (mut seen, mut next) = (vec![from], 0);
        while let Some(town) = seen.get(next).copied() {
            for road in town.get().roads.iter().filter_map(GcCell::load) {
                if !seen.contains(&road) {
                    seen.push(road);
                }
            }
            next += 1;
        }
        seen.into_iter().map(|town| town.name).collect()
    }
}

fn graph(heap: &Heap<Plain>) {
    let guard = heap.enter();
    let [a, b, c, d, e] = ["Ayr", "Bath", "Cork", "Deal", "Ely"].map(|n| Town::new(&guard, n));
    for (one, other) in [(a, b), (b, c), (c, a), (c, d), (d, e)] {
        Town::connect(&guard, one, other);
    }
    assert_eq!(Town::reachable(a), ["Ayr", "Bath", "Cork", "Deal", "Ely"]);
    Town::disconnect(&guard, c, d);
    let kept = guard.root(a);
    drop(guard);
    // Deal and Ely still have roads to each other, and nobody has one to them.
    assert_eq!(heap.collect().expect("no guard is held").marked_objects, 3);
    let guard = heap.enter();
    assert_eq!(Town::reachable(kept.get(&guard)), ["Ayr", "Bath", "Cork"]);
}

pub(crate) fn main() {
    let heap = Heap::<Plain>::builder()
        .checkmark(cfg!(debug_assertions))
        .build(Default::default(), Default::default())
        .expect("the only heap of this program");
    list(&heap);
    graph(&heap);
    println!("{} collections, {} spans held", heap.stats().cycles, heap.usage().spans);
}
