//! What the account says of each part and step. That its parts are what a walk finds: `src/stats/tests.rs`.

use std::alloc::Layout;

use alloc_core::{Heap, managed::ClassSpec, pages::os::Os, size_class::PAGE};

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Slots of a new magazine, and the most that it gets by running empty.
const SLOTS: std::ops::RangeInclusive<usize> = 8..=64;

/// How often a new cache goes to its spans of `cells` cells for `blocks` blocks: each time for half as many
/// as its magazine has slots, which double up to a limit, and for no more than the span has.
fn refills(blocks: usize, cells: usize) -> usize {
    let (mut slots, mut taken, mut refills) = (0, 0, 0);
    while taken < blocks {
        slots = (2 * slots).clamp(*SLOTS.start(), *SLOTS.end());
        taken += (slots / 2).min(cells - taken % cells);
        refills += 1;
    }
    refills
}

#[test]
fn each_step_of_the_path_is_counted_as_often_as_it_is_taken() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    // Blocks of 1 KiB: the first span tells how many it has.
    let cells = {
        cache.alloc(layout(1024)).unwrap();
        heap.stats().small / 1024
    };
    assert!(cells >= 8, "{cells}");
    let spans = 5;
    for _ in 1..spans * cells {
        cache.alloc(layout(1024)).unwrap();
    }
    cache.flush();
    let stats = heap.stats();
    assert_eq!(stats.small, spans * cells * 1024, "full spans, and no others");
    assert_eq!(
        (stats.cached_takes, stats.takes),
        (spans - 1, 1),
        "the first one had the heap grow"
    );
    assert_eq!((stats.refills, stats.claims), (refills(spans * cells, cells), 0));
    assert_eq!((stats.grows, stats.releases), (1, 0), "one commit is enough");

    // One lock for a large block, none for the next of its length, one for the look before.
    let locks = |heap: &Heap<Os>| heap.stats().locks;
    let before = locks(&heap);
    for _ in 0..10 {
        let block = cache.alloc(layout(20 * PAGE)).unwrap();
        // SAFETY: the block is ours and freed once.
        unsafe { cache.free(block) };
    }
    assert_eq!(locks(&heap), before + 2);
    // No lock for pairs of small blocks.
    let block = cache.alloc(layout(64)).unwrap();
    // SAFETY: as above.
    unsafe { cache.free(block) };
    let before = locks(&heap);
    for _ in 0..1_000 {
        let block = cache.alloc(layout(64)).unwrap();
        // SAFETY: as above.
        unsafe { cache.free(block) };
    }
    assert_eq!(locks(&heap), before + 1);

    // Spans with a free cell each are claimed by the next cache.
    let mut other = heap.cache();
    let stats = heap.stats();
    let mut first = heap.cache();
    let blocks: Vec<_> = (0..3 * cells).map(|_| first.alloc(layout(1024)).unwrap()).collect();
    // SAFETY: as above.
    blocks.iter().step_by(cells).for_each(|&block| unsafe { first.free(block) });
    drop(first);
    for _ in 0..3 {
        other.alloc(layout(1024)).unwrap();
    }
    drop(other);
    assert_eq!(heap.stats().claims, stats.claims + 3);

    // A release is one call for each stretch of free pages that have memory, cut at 2 MiB.
    let large = cache.alloc(layout(200 * PAGE)).unwrap();
    let (start, end) = (large.as_ptr() as usize, large.as_ptr() as usize + 200 * PAGE);
    heap.release();
    let stats = heap.stats();
    // SAFETY: as above.
    unsafe { cache.free(large) };
    let stretches = (end - 1) / (2 << 20) - start / (2 << 20) + 1;
    heap.release();
    assert_eq!(heap.stats().releases, stats.releases + stretches);
}

#[test]
fn sweeps_and_reservations_are_counted() {
    let heap = Heap::new(Os::new());
    assert_eq!(heap.stats().reserves, 0);
    let spec = ClassSpec { size: 64, align: 8, drop: false, owner: 0 };
    let class = heap.class(spec).unwrap();
    let mut managed = heap.managed_cache();
    for _ in 0..3 * PAGE / 64 {
        // SAFETY: the class is the heap's, and the cycle is the current one.
        unsafe { managed.take(class, 0) }.unwrap();
    }
    let stats = heap.stats();
    assert_eq!((stats.managed, stats.takes, stats.sweeps), (3 * PAGE, 3, 0));
    // SAFETY: one thread, which takes for the new cycle from here on.
    unsafe {
        heap.begin_cycle(1);
        heap.permit_sweep();
    }
    assert!(!heap.sweep(2) && heap.sweep(2));
    assert_eq!(heap.stats().sweeps, 3);
    // A block beyond an arena is one reservation more.
    let before = heap.stats().reserves;
    let mut cache = heap.cache();
    let block = cache.alloc(layout(100 << 20)).unwrap();
    assert_eq!(heap.stats().reserves, before + 1);
    // SAFETY: the block is ours and freed once.
    unsafe { cache.free(block) };
}

#[test]
fn text_and_json_tell_every_number() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = cache.alloc(layout(50 * PAGE)).unwrap();
    let stats = heap.stats();
    let (text, json) = (stats.to_string(), stats.to_json().to_string());
    for (name, number) in stats.parts().into_iter().chain(stats.steps()) {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(&*number.to_string()), "{line}");
    }
    let numbers = |numbers: &[(&'static str, usize)]| -> serde_json::Map<_, _> {
        numbers.iter().map(|&(name, number)| (name.into(), number.into())).collect()
    };
    let sums = [("mapped", stats.mapped), ("resident_at_most", stats.resident_at_most())];
    let bytes = numbers(&[&sums[..], &stats.parts()].concat());
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read, serde_json::json!({ "bytes": bytes, "times": numbers(&stats.steps()) }));
    // SAFETY: freed once.
    unsafe { cache.free(block) };
}

#[test]
fn takes_of_large_blocks_out_of_slots_are_counted() {
    let heap = Heap::new(Os::new());
    let (mut cache, mut other) = (heap.cache(), heap.cache());
    let pair = |cache: &mut alloc_core::Cache<'_, Os>| {
        let block = cache.alloc(layout(100_000)).unwrap();
        // SAFETY: ours, and freed once.
        unsafe { cache.free(block) };
    };
    (0..10).for_each(|_| pair(&mut cache));
    assert_eq!(heap.stats().slot_takes, 0, "the cache has not reported them");
    cache.flush();
    let stats = heap.stats();
    assert_eq!((stats.slot_takes, stats.takes), (9, 1), "all but the first: {stats}");
    // Out of the heap's slot to the other cache's.
    (0..3).for_each(|_| pair(&mut other));
    other.flush();
    let stats = heap.stats();
    assert_eq!((stats.slot_takes, stats.takes), (12, 1), "{stats}");
    // What the other cache keeps is neither in the heap's slots nor of that length.
    pair(&mut other);
    let block = cache.alloc(layout(100_000)).unwrap();
    let longer = other.alloc(layout(200_000)).unwrap();
    let stats = heap.stats();
    assert_eq!((stats.slot_takes, stats.takes), (13, 3), "reported on the way to the page heap");
    // SAFETY: as above.
    unsafe {
        cache.free(block);
        other.free(longer);
    }
}

#[test]
fn a_cache_keeps_one_large_block_and_the_heap_grows_not_beside_it() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = cache.alloc(layout(64 * PAGE)).unwrap();
    // SAFETY: ours, and freed once.
    unsafe { cache.free(block) };
    assert_eq!(heap.stats().large, 64 * PAGE, "as what lies in magazines");
    let longest = (4 << 20) - layout(1).size();
    let large = cache.alloc(layout(longest)).unwrap();
    assert_eq!(heap.stats().grows, 1, "its pages served the next");
    // SAFETY: as above.
    unsafe { cache.free(large) };
    assert_eq!(heap.stats().large, 0, "too long to be kept");
}
