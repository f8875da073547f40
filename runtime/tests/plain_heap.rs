//! gc-core's heap of plain threads, used from goroutines: to it a goroutine is a thread, so what it
//! promises to threads holds for goroutines that are preempted anywhere and go on elsewhere.

use std::time::Duration;

use gc_core::{
    Collector, Gc, GcCell, Guard, Heap, Plain, Root, Slice, Trace, pacer::Every,
    space::blocks::Blocks, world::threads::Threads,
};
use runtime::Builder;

/// A name and the record that holds it: two objects, two classes, made under one guard.
#[derive(Trace)]
struct Entry<'g> {
    name: Gc<'g, Slice<u8>>,
    number: u64,
}

type Shelf = Root<Slice<GcCell<'static, Entry<'static>>>>;

const GOROUTINES: u64 = 16;
const ENTRIES: u64 = 4_000;
const PLACES: usize = 64;

/// Bytes that tell the entry; lengths of many classes, so that blocks empty and change their class.
fn name(number: u64) -> impl Iterator<Item = u8> + Clone {
    let length = 8 + number as usize * 37 % 400;
    number.to_le_bytes().into_iter().cycle().take(length)
}

fn entry<'g>(guard: &'g Guard<'_>, number: u64) -> Gc<'g, Entry<'g>> {
    let name = guard.alloc_slice(name(number));
    guard.alloc(Entry { name, number })
}

fn check(entry: Gc<'_, Entry<'_>>) {
    let entry = entry.get();
    assert!(entry.name.as_slice().iter().copied().eq(name(entry.number)), "a name was overwritten");
}

/// Puts entries into places of the shelf in turn, and looks at those it finds there.
fn fill(heap: &Heap, shelf: &Shelf, first: u64) {
    for number in first..first + ENTRIES {
        let guard = heap.enter();
        let place = &shelf.get(&guard).as_slice()[number as usize * 31 % PLACES];
        let former = place.swap(&guard, Some(entry(&guard, number)));
        former.into_iter().for_each(check);
    }
}

#[test]
fn goroutines_that_are_preempted_anywhere_are_threads_to_it() {
    let runtime =
        Builder::new().procs(2).preempt_after(Duration::from_micros(200)).build().unwrap();
    // A cycle per 256 KiB, each of which marks again and compares.
    let builder = Heap::<Plain>::builder().pacer(Every(256 << 10)).checkmark(true);
    let heap = builder.build(Blocks::new(), Threads::new()).unwrap();
    let collector = Collector::start(&heap).unwrap();
    let shelf: Shelf = {
        let guard = heap.enter();
        guard.root(guard.alloc_slice((0..PLACES).map(|_| GcCell::<Entry>::null())))
    };
    runtime.scope(|scope| {
        for goroutine in 0..GOROUTINES {
            let (heap, shelf) = (&heap, &shelf);
            scope.go(move || fill(heap, shelf, goroutine * ENTRIES));
        }
    });
    drop(collector);
    assert!(heap.stats().cycles > 3, "{:?}", heap.stats());
    let guard = heap.enter();
    shelf.get(&guard).as_slice().iter().filter_map(GcCell::load).for_each(check);
}
