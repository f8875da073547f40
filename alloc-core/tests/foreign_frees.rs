//! One side allocates, the other frees and never allocates: memory comes back to where it is needed,
//! and the process does not grow (the case of mimalloc#1364).

use std::{alloc::Layout, ptr::NonNull, sync::mpsc, thread};

use alloc_core::{Heap, pages::os::Os};

/// A block on its way to the thread that frees it.
struct Sent(NonNull<u8>);

// SAFETY: the block belongs to whoever holds the value.
unsafe impl Send for Sent {}

const BLOCKS: usize = 40_000;

fn layout() -> Layout {
    Layout::from_size_align(64, 8).unwrap()
}

/// Allocates in rounds; `free` gets each round's blocks.
fn rounds(heap: &Heap<Os>, rounds: usize, free: impl Fn(&Heap<Os>, Vec<Sent>) + Send + Sync) {
    let (to, from) = mpsc::sync_channel::<Vec<Sent>>(1);
    thread::scope(|scope| {
        scope.spawn(|| from.into_iter().for_each(|blocks| free(heap, blocks)));
        let mut cache = heap.cache();
        for _ in 0..rounds {
            to.send((0..BLOCKS).map(|_| Sent(cache.alloc(layout()).unwrap())).collect()).unwrap();
        }
        drop(to);
    });
}

/// At most: one round being made, one in the channel, one being freed, and some spans in between.
fn assert_bounded(heap: &Heap<Os>) {
    let stats = heap.stats();
    let round = BLOCKS * 64;
    assert!(stats.mapped - stats.metadata - stats.tables < 5 * round + (4 << 20), "{stats:?}");
}

#[test]
fn a_thread_with_a_cache_that_only_frees() {
    let heap = Heap::new(Os::new());
    rounds(&heap, 60, |heap, blocks| {
        let mut cache = heap.cache();
        // SAFETY: the blocks are ours and freed once.
        blocks.into_iter().for_each(|block| unsafe { cache.free(block.0) });
    });
    assert_bounded(&heap);
    // A last free that found the central's lock taken has left its span there.
    heap.release();
    assert_eq!(heap.stats().small, 0);
}

#[test]
fn a_thread_without_a_cache() {
    let heap = Heap::new(Os::new());
    rounds(&heap, 60, |heap, blocks| {
        // SAFETY: the blocks are ours and freed once.
        blocks.into_iter().for_each(|block| unsafe { heap.free(block.0) });
    });
    assert_bounded(&heap);
    heap.release();
    assert_eq!(heap.stats().small, 0);
}

#[test]
fn one_half_survives_at_random_and_the_other_is_used_again() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let blocks: Vec<_> = (0..BLOCKS).map(|_| Sent(cache.alloc(layout()).unwrap())).collect();
    let mapped = heap.stats().mapped;
    let (mut kept, freed): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut cache = heap.cache();
            // SAFETY: the blocks are ours and freed once.
            freed.into_iter().for_each(|(_, block)| unsafe { cache.free(block.0) });
        });
    });
    kept.extend((0..BLOCKS / 2).map(|n| (n, Sent(cache.alloc(layout()).unwrap()))));
    assert!(heap.stats().mapped <= mapped + (1 << 20), "{:?}", heap.stats());
    kept.sort_by_key(|(_, block)| block.0);
    assert!(kept.windows(2).all(|pair| pair[0].1.0 != pair[1].1.0), "a live block came twice");
    // SAFETY: the blocks are ours and freed once.
    kept.into_iter().for_each(|(_, block)| unsafe { cache.free(block.0) });
}
