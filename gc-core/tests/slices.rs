//! Long arrays are traced in pieces: a slice of marking stays short, and no item is forgotten.

use gc_core::{
    Gc, GcCell, GcMutex, Heap, Slice, Trace, cycle::Pause, space::blocks::Blocks,
    world::threads::Threads,
};

gc_core::tag! { struct Long; }

const ITEMS: usize = 100_000;

#[derive(Trace)]
#[trace(heap = Long)]
struct Table<'g> {
    fixed: Vec<Option<Gc<'g, usize, Long>>>,
    boxed: Box<[[GcCell<'g, usize, Long>; 300]]>,
    slice: Gc<'g, Slice<GcCell<'g, usize, Long>>, Long>,
    locked: GcMutex<Vec<Gc<'g, usize, Long>>, Long>,
}

#[test]
fn a_long_array_is_marked_in_many_slices_and_whole() {
    let heap = Heap::<Long>::builder().checkmark(true).slice(16);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let root = {
        let guard = heap.enter();
        let make = |n| guard.alloc(n);
        let cell = |n| GcCell::<usize, Long>::new(Some(make(n)));
        guard.root(guard.alloc(Table {
            fixed: (0..ITEMS).map(|n| Some(make(n))).collect(),
            boxed: (0..10).map(|row| core::array::from_fn(|n| cell(300 * row + n))).collect(),
            slice: guard.alloc_slice((0..ITEMS).map(cell)),
            locked: GcMutex::new((0..1_000).map(make).collect()),
        }))
    };
    let mut slices = 0;
    let record = heap.collect_with(|pause| slices += usize::from(pause == Pause::Slice)).unwrap();
    assert_eq!(record.marked_objects as usize, 2 * ITEMS + 3_000 + 1_000 + 2);
    assert!(slices > 2 * ITEMS / 16, "{slices} slices of 16 objects");
    let guard = heap.enter();
    let table = root.get(&guard);
    assert!(table.fixed.iter().enumerate().all(|(n, item)| item.is_some_and(|item| *item == n)));
    let cells = table.boxed.iter().flatten().enumerate();
    assert!(cells.clone().count() == 3_000 && cells.clone().all(|(n, c)| *c.load().unwrap() == n));
    assert!(table.slice.as_slice().iter().enumerate().all(|(n, c)| *c.load().unwrap() == n));
    assert!(table.locked.lock(&guard).iter().enumerate().all(|(n, item)| **item == n));
}

/// The longest time between two pauses does not grow with the array: it is traced as an ordinary object
/// is, a piece at a time. (Counted, not measured.)
#[test]
fn pieces_lie_between_pauses() {
    gc_core::tag! { struct Counted; }
    let heap = Heap::<Counted>::builder()
        .checkmark(true)
        .slice(1)
        .build(Blocks::new(), Threads::new())
        .unwrap();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc_slice((0..ITEMS).map(|_| GcCell::<u8, Counted>::null())))
    };
    let mut slices = 0;
    let record = heap.collect_with(|pause| slices += usize::from(pause == Pause::Slice)).unwrap();
    assert_eq!(record.marked_objects, 1);
    assert!(slices > ITEMS / 200, "one array, {slices} slices");
    drop(root);
}
