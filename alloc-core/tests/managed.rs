//! Collected cells: a cycle frees exactly what was not marked, destructors come before reuse, and
//! takers of the old cycle, of the new one and idle caches do not disturb each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use alloc_core::{
    Error, Heap,
    managed::{CellRef, ClassRef, ClassSpec, ManagedCache},
    pages::os::Os,
};

fn spec(size: usize, drop: bool) -> ClassSpec {
    ClassSpec { size, align: 8, drop, owner: size }
}

/// Takes a cell and writes its own address into it.
fn take<'h>(cache: &mut ManagedCache<'h, Os>, class: ClassRef<'h>, cycle: u64) -> usize {
    // SAFETY: the tests take for the current cycle, or for the one before until they permit sweep.
    let cell = unsafe { cache.take(class, cycle) }.unwrap().cell;
    // SAFETY: cells have at least eight bytes.
    unsafe { cell.cast::<usize>().write(cell.as_ptr() as usize) };
    cell.as_ptr() as usize
}

fn mark(heap: &Heap<Os>, cell: usize) -> bool {
    // SAFETY: the tests mark live cells only.
    unsafe { heap.find(cell) }.unwrap().mark()
}

fn intact(cell: usize) -> bool {
    // SAFETY: the tests look at live cells only.
    unsafe { (cell as *const usize).read() == cell }
}

/// Ends a cycle: everything not marked dies.
fn turn(heap: &Heap<Os>, cycle: u64) {
    // SAFETY: one thread, one cycle after the other, each swept to its end.
    unsafe {
        heap.begin_cycle(cycle);
        heap.permit_sweep();
    }
    while !heap.sweep(7) {}
}

fn live_cells(heap: &Heap<Os>) -> BTreeSet<usize> {
    let mut cells = BTreeSet::new();
    // SAFETY: nobody takes or sweeps meanwhile.
    unsafe { heap.walk(|cell| assert!(cells.insert(cell.start().as_ptr() as usize))) };
    cells
}

/// Among blocks of others, and in spans of several pages and classes.
#[test]
fn a_walk_finds_what_is_marked() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.managed_cache();
    let mut marked = BTreeSet::new();
    for size in [8, 48, 3000, 100 << 10] {
        let class = heap.class(spec(size, false)).unwrap();
        let cells: Vec<_> = (0..300).map(|_| take(&mut cache, class, 0)).collect();
        marked.extend(cells.into_iter().step_by(3).inspect(|&cell| assert!(mark(&heap, cell))));
    }
    let (mut found, mut place, mut spans) = (BTreeSet::new(), 0, 0);
    let mut meet = |cell: CellRef<'_>| assert!(found.insert(cell.start().as_ptr() as usize));
    // SAFETY: nobody sweeps.
    while let Some(next) = unsafe { heap.marked(place, &mut meet) } {
        assert!(next > place);
        (place, spans) = (next, spans + 1);
    }
    assert_eq!((found, spans), (marked, heap.managed_stats().spans));
}

#[test]
fn cells_taken_ahead_of_their_cycle_lie_in_spans_that_it_does_not_sweep() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(3000, false)).unwrap();
    let (mut cache, mut live) = (heap.managed_cache(), BTreeSet::new());
    for cycle in 0..20 {
        let dead: Vec<_> = (0..50).map(|_| take(&mut cache, class, cycle)).collect();
        // The number is out, the heap has not been told: a span and a half.
        live.extend((0..30).map(|_| take(&mut cache, class, cycle + 1)));
        // SAFETY: as in `turn`.
        unsafe { heap.begin_cycle(cycle + 1) };
        // The cache gives the half span up, and takes it again or another.
        cache.flush();
        live.extend((0..30).map(|_| take(&mut cache, class, cycle + 1)));
        // SAFETY: nobody takes for the cycle before any more.
        unsafe { heap.permit_sweep() };
        while !heap.sweep(1) {}
        let found = live_cells(&heap);
        assert!(dead.iter().all(|cell| live.contains(cell) || !found.contains(cell)));
        assert!(found.is_superset(&live), "a cell of the cycle to come was swept");
        assert!(live.iter().all(|&cell| intact(cell) && mark(&heap, cell)));
        assert_eq!(heap.managed_stats().unswept, 0);
    }
}

#[test]
fn cells_are_refused_at_the_limit_and_served_again_after_a_cycle() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(3000, false)).unwrap();
    let mut cache = heap.managed_cache();
    let limit = 4 << 20;
    heap.set_limit(limit);
    let mut taken = Vec::new();
    for cycle in 0..3 {
        let before = taken.len();
        let refused = loop {
            // SAFETY: for the current cycle.
            match unsafe { cache.take(class, cycle) } {
                Ok(taking) => taken.push(taking.cell.as_ptr() as usize),
                Err(error) => break error,
            }
        };
        assert_eq!(refused, Error::Limit);
        let bytes = taken.len() * 3000;
        assert!(bytes < limit && bytes > limit / 2, "{bytes}: records are the rest");
        assert!(heap.stats().resident_at_most() <= limit, "{}", heap.stats());
        assert!(taken.len() - before > taken.len() / 2, "cells of the last cycle came again");
        // Each tenth lives.
        let live: Vec<_> = taken.drain(..).step_by(10).collect();
        // SAFETY: one thread, one cycle after the other, each swept to its end.
        unsafe {
            heap.begin_cycle(cycle + 1);
            assert!(live.iter().all(|&cell| mark(&heap, cell)));
            heap.permit_sweep();
        }
        while !heap.sweep(7) {}
        taken = live;
    }
}

#[test]
fn a_cycle_frees_exactly_what_is_not_marked() {
    let heap = Heap::new(Os::new());
    let classes =
        [8, 24, 40, 512, 3000, 32768, 100_000].map(|n| heap.class(spec(n, false)).unwrap());
    let (mut cache, mut live, mut seed) = (heap.managed_cache(), BTreeSet::new(), 1_u64);
    for cycle in 0..12 {
        for n in 0..4_000 {
            let class = classes[n % if n % 50 == 0 { 7 } else { 4 }];
            assert!(live.insert(take(&mut cache, class, cycle)), "a live cell was given out again");
        }
        assert_eq!(live_cells(&heap), live);
        live.retain(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 62 != 0
        });
        for &cell in &live {
            assert!(intact(cell) && mark(&heap, cell) && !mark(&heap, cell));
        }
        turn(&heap, cycle + 1);
        assert_eq!(live_cells(&heap), live);
    }
    turn(&heap, 13);
    assert_eq!(heap.managed_stats().spans, 0);
    assert_eq!(heap.stats().managed, 0);
}

#[test]
fn cells_of_a_few_bytes_live_and_die_alone() {
    let heap = Heap::new(Os::new());
    let small = |size, align| ClassSpec { size, align, drop: false, owner: 0 };
    let classes = [(1, 1), (2, 2), (3, 1), (4, 4), (5, 1), (7, 1)];
    let classes = classes.map(|(size, align)| heap.class(small(size, align)).unwrap());
    assert_eq!(classes.map(|class| class.cell_bytes()), [2, 2, 4, 4, 6, 8]);
    let (mut cache, mut live) = (heap.managed_cache(), BTreeMap::new());
    for cycle in 0..4 {
        for n in 0..60_000 {
            let class = classes[n % classes.len()];
            // SAFETY: the class is the heap's, and the cycle is the current one.
            let cell = unsafe { cache.take(class, cycle) }.unwrap().cell;
            assert_eq!(cell.addr().get() % class.spec().align, 0);
            // SAFETY: the cell has that many bytes.
            unsafe { cell.write_bytes(n as u8, class.spec().size) };
            assert_eq!(live.insert(cell.as_ptr() as usize, (class, n as u8)), None);
        }
        // Ends of neighbours: a cell was not written through another.
        for (&cell, &(class, fill)) in &live {
            // SAFETY: the cell is live and has that many bytes, all written.
            let bytes = unsafe { std::slice::from_raw_parts(cell as *const u8, class.spec().size) };
            assert!(bytes.iter().all(|&byte| byte == fill));
        }
        let mut n = 0;
        live.retain(|&cell, _| {
            n += 1;
            n % 10 == 3 && mark(&heap, cell)
        });
        turn(&heap, cycle + 1);
        assert_eq!(live_cells(&heap), live.keys().copied().collect());
    }
}

#[test]
fn inner_pointers_and_owners_words_are_found() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.managed_cache();
    for class in [heap.class(spec(48, false)).unwrap(), heap.class(spec(70_000, false)).unwrap()] {
        for _ in 0..300 {
            let cell = take(&mut cache, class, 0);
            for inner in [0, 1, 47, class.cell_bytes() - 1] {
                // SAFETY: the cell is live.
                let found = unsafe { heap.find(cell + inner) }.unwrap();
                assert_eq!(found.start().as_ptr() as usize, cell);
                assert_eq!(found.class().spec().owner, class.spec().owner);
                assert!(found.is_of_cycle(0) && !found.is_of_cycle(1));
            }
        }
    }
    // SAFETY: nothing is swept.
    assert!(unsafe { heap.find(&raw const heap as usize) }.is_none());
}

#[test]
fn a_doomed_cell_is_reported_once_and_reused_only_after_its_destructor() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(64, true)).unwrap();
    let mut cache = heap.managed_cache();
    let first: BTreeSet<usize> = (0..1_000).map(|_| take(&mut cache, class, 0)).collect();
    turn(&heap, 1);
    assert_eq!(heap.managed_stats().doomed, 1_000);
    // Two more cycles pass before anyone runs destructors: no cell is reported twice or reused.
    turn(&heap, 2);
    turn(&heap, 3);
    let second: BTreeSet<usize> = (0..1_000).map(|_| take(&mut cache, class, 3)).collect();
    assert!(first.is_disjoint(&second));
    let mut seen = BTreeSet::new();
    while let Some(doomed) = heap.doomed() {
        assert_eq!(doomed.class(), class);
        doomed.for_each(|cell| {
            assert!(seen.insert(cell.as_ptr() as usize) && intact(cell.as_ptr() as usize))
        });
        // SAFETY: nobody uses the dead cells.
        unsafe { doomed.free() };
    }
    assert_eq!(seen, first);
    assert_eq!(heap.managed_stats().doomed, 0);
    let before = heap.managed_stats().spans;
    let third: BTreeSet<usize> = (0..900).map(|_| take(&mut cache, class, 3)).collect();
    assert!(third.intersection(&first).count() > 600, "freed cells are found again");
    assert!(third.is_disjoint(&second) && heap.managed_stats().spans <= before + 2);
}

#[test]
fn cells_doomed_while_others_of_their_span_are_being_destroyed_come_later() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(64, true)).unwrap();
    let mut cache = heap.managed_cache();
    let cells: Vec<usize> = (0..20).map(|_| take(&mut cache, class, 0)).collect();
    cells[10..].iter().for_each(|&cell| assert!(mark(&heap, cell)));
    turn(&heap, 1);
    let first = heap.doomed().unwrap();
    assert_eq!(first.len(), 10);
    // The destructors take long: a whole cycle goes by, and the rest of the span dies.
    turn(&heap, 2);
    assert!(heap.doomed().is_none(), "the span is being served");
    // SAFETY: nobody uses the dead cells, here and below.
    unsafe { first.free() };
    let second = heap.doomed().unwrap();
    let mut seen = BTreeSet::new();
    second.for_each(|cell| assert!(seen.insert(cell.as_ptr() as usize)));
    assert_eq!(seen, cells[10..].iter().copied().collect());
    // SAFETY: as above.
    unsafe { second.free() };
    assert!(heap.doomed().is_none());
    turn(&heap, 3);
    assert_eq!(heap.managed_stats().spans, 0);
}

#[test]
fn between_begin_and_permit_cells_come_from_fresh_spans() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(32, false)).unwrap();
    let (mut old, mut new) = (heap.managed_cache(), heap.managed_cache());
    let white = take(&mut old, class, 0);
    // SAFETY: the first cycle; nothing needs a sweep.
    unsafe { heap.begin_cycle(1) };
    // A thread that still acts on cycle 0 goes on in its span, another one takes for cycle 1.
    let late = take(&mut old, class, 0);
    let fresh = take(&mut new, class, 1);
    // SAFETY: the three cells are live.
    let of = |cell| unsafe { heap.find(cell) }.unwrap();
    assert!(!of(late).is_of_cycle(1) && of(fresh).is_of_cycle(1));
    assert!(!heap.sweep(100), "sweep is not permitted yet, and something waits");
    // A dry taker of the old cycle gets a fresh span too, which is stale at birth.
    let mut dry = heap.managed_cache();
    let stale = take(&mut dry, class, 0);
    assert!(!of(stale).is_of_cycle(1));
    mark(&heap, late);
    mark(&heap, stale);
    // SAFETY: nobody takes for cycle 0 any more.
    unsafe { heap.permit_sweep() };
    // The cache sleeps; its span is swept all the same.
    while !heap.sweep(1) {}
    assert_eq!(live_cells(&heap), BTreeSet::from([late, fresh, stale]));
    let again: BTreeSet<usize> = (0..600).map(|_| take(&mut old, class, 1)).collect();
    assert!(again.contains(&white), "the cell that died is free");
    assert!([late, fresh, stale].iter().all(|cell| !again.contains(cell)));
}

#[test]
fn takers_sweep_what_they_need() {
    let heap = Heap::new(Os::new());
    let class = heap.class(spec(128, false)).unwrap();
    let mut cache = heap.managed_cache();
    for cycle in 0..50 {
        for _ in 0..2_000 {
            take(&mut cache, class, cycle);
        }
        while !heap.sweep(10) {}
        // SAFETY: swept; nobody takes for the old cycle.
        unsafe {
            heap.begin_cycle(cycle + 1);
            heap.permit_sweep();
        }
    }
    let bytes = 2_000 * class.cell_bytes();
    assert!(heap.stats().managed < 3 * bytes, "{:?}", heap.stats());
}

#[test]
fn threads_take_sweep_and_destroy_side_by_side() {
    let heap = Heap::new(Os::new());
    let classes = [heap.class(spec(16, false)).unwrap(), heap.class(spec(48, true)).unwrap()];
    let dropped = AtomicUsize::new(0);
    let mut kept: BTreeMap<usize, usize> = BTreeMap::new();
    for cycle in 0..20 {
        for &cell in kept.keys() {
            assert!(intact(cell));
            mark(&heap, cell);
        }
        // SAFETY: the cycle before was swept, and its takers have been joined.
        unsafe {
            heap.begin_cycle(cycle + 1);
            heap.permit_sweep();
        }
        let taken: Vec<Vec<usize>> = thread::scope(|scope| {
            let takers: Vec<_> = (0..3)
                .map(|n| {
                    let (heap, class) = (&heap, classes[n % 2]);
                    scope.spawn(move || {
                        let mut cache = heap.managed_cache();
                        (0..3_000).map(|_| take(&mut cache, class, cycle + 1)).collect()
                    })
                })
                .collect();
            scope.spawn(|| while !heap.sweep(3) {});
            scope.spawn(|| {
                while let Some(doomed) = heap.doomed() {
                    dropped.fetch_add(doomed.len(), Ordering::Relaxed);
                    // SAFETY: dead cells, whose destructor is this line.
                    unsafe { doomed.free() };
                }
            });
            takers.into_iter().map(|taker| taker.join().unwrap()).collect()
        });
        for cell in taken.into_iter().flatten() {
            assert_eq!(kept.insert(cell, cell), None, "a live cell was given out again");
        }
        kept.retain(|&cell, _| cell / 64 % 3 == 0);
    }
    assert!(dropped.load(Ordering::Relaxed) > 10_000);
}

#[test]
fn no_memory_is_an_error_for_collected_cells_too() {
    use alloc_core::{Error, pages::fail::Fail};
    let heap = Heap::new(Fail::after(Os::new(), 1_000));
    let class = heap.class(spec(64, false)).unwrap();
    let mut cache = heap.managed_cache();
    heap.source().allow(0);
    let refused = loop {
        // SAFETY: the only cycle.
        match unsafe { cache.take(class, 0) } {
            Ok(taken) => assert_ne!(taken.cell, NonNull::dangling()),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::OutOfMemory);
    heap.source().allow(10);
    // SAFETY: as above.
    assert!(unsafe { cache.take(class, 0) }.is_ok());
}
