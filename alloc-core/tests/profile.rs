//! The sampled profile tells which callers hold how much, within what chance allows, and counts the
//! frees of other threads.

use std::{alloc::Layout, cell::Cell, collections::BTreeMap, ptr::NonNull, thread};

use alloc_core::{
    Cache, Heap,
    pages::os::Os,
    profile::{Profiling, Sample},
};

thread_local! {
    /// Which of the test's callers allocates.
    static CALLER: Cell<usize> = const { Cell::new(0) };
}

fn frames(frames: &mut [usize]) -> usize {
    frames[..2].copy_from_slice(&[CALLER.get(), 0xb00]);
    2
}

fn allocate(
    cache: &mut Cache<'_, Os>,
    caller: usize,
    size: usize,
    bytes: usize,
) -> Vec<NonNull<u8>> {
    CALLER.set(caller);
    let layout = Layout::from_size_align(size, 8).unwrap();
    (0..bytes / size).map(|_| cache.alloc(layout).unwrap()).collect()
}

/// Bytes that a count of samples stands for.
fn bytes(sample: &Sample<'_>, count: usize) -> f64 {
    let (size, every) = (sample.size as f64, sample.every as f64);
    count as f64 * size / (1.0 - (-size / every).exp())
}

/// Bytes in use by caller.
fn in_use(heap: &Heap<Os>) -> BTreeMap<usize, f64> {
    let mut callers = BTreeMap::new();
    heap.samples(|sample| {
        assert!(sample.frames[1] == 0xb00 && sample.freed <= sample.allocated);
        let bytes = bytes(&sample, sample.allocated - sample.freed);
        *callers.entry(sample.frames[0]).or_insert(0.0) += bytes;
    });
    callers
}

#[test]
fn it_tells_who_holds_how_much_and_what_was_freed_by_whom_ever() {
    let heap = Heap::new(Os::new());
    heap.profile(Profiling::new(frames).every(64 << 10)).unwrap();
    let mut cache = heap.cache();
    // What each caller holds, in blocks of these sizes: classes, as samples count cells.
    let held = [(1, 48, 40 << 20), (2, 1_000, 80 << 20), (3, 300_000, 100 << 20)];
    let gone = [(4, 200, 60 << 20), (5, 50_000, 60 << 20)];
    for (caller, size, bytes) in held {
        allocate(&mut cache, caller, size, bytes);
    }
    let blocks: Vec<_> = gone
        .into_iter()
        .flat_map(|(caller, size, bytes)| allocate(&mut cache, caller, size, bytes))
        .map(|block| block.as_ptr() as usize)
        .collect();
    let before = in_use(&heap);
    for (caller, _, bytes) in held.into_iter().chain(gone) {
        let ratio = before[&caller] / bytes as f64;
        assert!((0.8..1.25).contains(&ratio), "caller {caller}: {ratio} of the truth");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut cache = heap.cache();
            for block in blocks {
                // SAFETY: ours, and freed once.
                unsafe { cache.free(NonNull::new(block as *mut u8).unwrap()) };
            }
        });
    });
    let after = in_use(&heap);
    assert_eq!((after[&4], after[&5]), (0.0, 0.0));
    assert!((1..=3).all(|caller| after[&caller] == before[&caller]));
}

#[test]
fn a_large_block_that_lies_ready_is_sampled_as_any_other() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let pair = |cache: &mut Cache<'_, Os>| {
        let block = allocate(cache, 1, 100_000, 100_000)[0];
        // SAFETY: ours, and freed once.
        unsafe { cache.free(block) };
    };
    pair(&mut cache);
    heap.profile(Profiling::new(frames).every(1)).unwrap();
    (0..10).for_each(|_| pair(&mut cache));
    let mut taken = (0, 0);
    heap.samples(|sample| taken = (taken.0 + sample.allocated, taken.1 + sample.freed));
    assert_eq!(taken, (10, 10));
}

#[test]
fn two_callers_that_take_turns_are_told_apart() {
    let heap = Heap::new(Os::new());
    heap.profile(Profiling::new(frames).every(64 << 10)).unwrap();
    let mut cache = heap.cache();
    for n in 0..800_000 {
        allocate(&mut cache, 1 + n % 2, 64, 64);
    }
    let found = in_use(&heap);
    let share = found[&1] / (found[&1] + found[&2]);
    assert!((0.4..0.6).contains(&share), "{share} of the bytes for half of them");
}

#[test]
fn many_threads_sample_into_the_same_buckets() {
    let heap = Heap::new(Os::new());
    heap.profile(Profiling::new(frames).every(64 << 10)).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut cache = heap.cache();
                for round in 0..50 {
                    let blocks = allocate(&mut cache, round % 7 + 1, 500, 1 << 20);
                    // SAFETY: ours, and freed once.
                    blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
                }
            });
        }
    });
    assert!(in_use(&heap).values().all(|&bytes| bytes == 0.0));
}
