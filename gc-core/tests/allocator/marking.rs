//! Marking, without room on any stack.

use crate::{Poor, refusing::without, turn};
use gc_core::{
    Gc, GcCell, Guard, Heap, Root, Slice, Trace, Weak, space::blocks::Blocks,
    world::threads::Threads,
};
use std::cell::Cell;

/// Edges of all shapes: more of them in one object than a stack has room for, in slices and elsewhere.
#[derive(Trace)]
#[trace(heap = Poor)]
struct Wide<'g> {
    next: GcCell<'g, Wide<'g>, Poor>,
    all: Vec<Gc<'g, Wide<'g>, Poor>>,
    table: Option<Gc<'g, Slice<Gc<'g, Wide<'g>, Poor>>, Poor>>,
    weak: GcCell<'g, Weak<'g, Wide<'g>, Poor>, Poor>,
    /// What poison is not.
    seven: u64,
}

type GcWide<'g> = Gc<'g, Wide<'g>, Poor>;

fn wide<'g>(
    guard: &'g Guard<'_, Poor>,
    next: Option<GcWide<'g>>,
    all: &[GcWide<'g>],
    table: Option<Gc<'g, Slice<GcWide<'g>>, Poor>>,
) -> GcWide<'g> {
    let (next, all) = (GcCell::new(next), all.to_vec());
    let made = guard.alloc(Wide { next, all, table, weak: GcCell::null(), seven: 7 });
    made.weak.set(guard, Some(guard.downgrade(made)));
    made
}

/// A list, a tree, and a table of objects with something behind them that nothing else leads to.
fn graph(heap: &Heap<Poor>) -> Root<Wide<'static>, Poor> {
    let guard = heap.enter();
    let list = (0..2_000).fold(None, |next, _| Some(wide(&guard, next, &[], None)));
    let leaves: Vec<_> = (0..4_096).map(|_| wide(&guard, None, &[], None)).collect();
    let mut level = leaves.clone();
    while level.len() > 1 {
        level = level.chunks(8).map(|children| wide(&guard, None, children, None)).collect();
    }
    let pair = |_| wide(&guard, Some(wide(&guard, None, &[], None)), &[], None);
    let table = guard.alloc_slice((0..3_000).map(pair).collect::<Vec<_>>());
    guard.root(wide(&guard, list, &[leaves, level].concat(), Some(table)))
}

/// Objects that die at once, and who knows them weakly.
const DEAD: usize = 100;

/// What a mark stack, the batches between workers and the news of weak objects want is refused from the n-th time on,
/// for every small n and some of the others. Whoever marks beside the driver has no room at all.
#[test]
fn marking_without_memory_marks_what_is_alive() {
    let _turn = turn();
    let heap = Heap::<Poor>::builder().slice(64).checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let root = graph(&heap);
    let alive = heap.collect().unwrap().marked_objects + DEAD as u64 + 1;
    let mut rescans = 0;
    let mut n = 0;
    loop {
        heap.set_checkmark(false);
        let known = {
            let guard = heap.enter();
            let weak = |_| guard.downgrade(wide(&guard, None, &[], None));
            guard.root(guard.alloc_slice((0..DEAD).map(weak).collect::<Vec<_>>()))
        };
        let helped = Cell::new(false);
        let pause = |_| helped.set(heap.mark_idle() || helped.get());
        let (record, refused) = without(n, 0, || heap.collect_with(pause).unwrap());
        // One that could not be noted keeps its target, and that is known weakly by itself.
        let kept =
            record.marked_objects.checked_sub(alive).expect("not all that is alive is marked");
        assert!(kept <= 2 * DEAD as u64 && (kept == 0 || refused > 0), "{kept} too many");
        assert!(helped.get() || n == 0, "nobody marked beside the driver");
        rescans += record.rescans;
        while !heap.sweep(64) {}
        heap.run_destructors(usize::MAX);
        let all_are = |fine: fn(Option<u64>) -> bool| {
            let guard = heap.enter();
            let known = known.get(&guard);
            let mut found = known.as_slice().iter().map(|weak| weak.upgrade(&guard));
            found.all(|found| fine(found.map(|wide| wide.seven)))
        };
        assert!(all_are(|seven| seven.is_none_or(|seven| seven == 7)), "a weak pointer dangles");
        heap.set_checkmark(true);
        heap.collect().unwrap();
        assert!(all_are(|seven| seven.is_none()));
        if refused == 0 {
            assert_eq!(record.rescans, 0);
            break;
        }
        n += 1 + n / 4;
    }
    assert!(rescans > 10 && heap.stats().rescans == u64::from(rescans), "{rescans} rescans");
    drop(root);
    heap.collect().unwrap();
    heap.collect().unwrap();
    assert_eq!(heap.live_bytes(), 0);
}
