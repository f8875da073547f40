//! The memory limit: what it bounds, what is given back for it, and that a refusal costs nothing.

use std::{alloc::Layout, ops::Range, ptr::NonNull};

use alloc_core::{
    Cache, Error, Heap,
    page_heap::Radix,
    pages::{PageSource, fail::Fail, os::Os},
    size_class::PAGE,
};

const MB: usize = 1 << 20;

/// Far more than any limit here.
const HUGE: usize = 64 << 30;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// A block whose pages all have memory.
fn filled<S: PageSource>(cache: &mut Cache<'_, S>, bytes: usize) -> NonNull<u8> {
    let block = cache.alloc(layout(bytes)).unwrap();
    // SAFETY: the block is ours and has that many bytes.
    unsafe { block.write_bytes(0xa5, bytes) };
    block
}

fn free<S: PageSource>(cache: &mut Cache<'_, S>, block: NonNull<u8>) {
    // SAFETY: the tests free each block once.
    unsafe { cache.free(block) }
}

#[test]
fn the_limit_bounds_what_is_ready_and_gives_free_memory_back_first() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    heap.set_limit(20 * MB);
    let blocks: Vec<_> = (0..17).map(|_| filled(&mut cache, MB)).collect();
    assert_eq!(cache.alloc(layout(4 * MB)), Err(Error::Limit));
    for &block in blocks.iter().step_by(2) {
        free(&mut cache, block);
    }
    // Nine holes of 1 MiB, none of which is large enough: their memory goes elsewhere.
    let large = filled(&mut cache, 4 * MB);
    let stats = heap.stats();
    assert!(stats.mapped - stats.released - stats.tables <= 20 * MB, "{stats:?}");
    assert_eq!(cache.alloc(layout(30 * MB)), Err(Error::Limit));
    heap.set_limit(usize::MAX);
    let more = filled(&mut cache, 30 * MB);
    for block in blocks.into_iter().skip(1).step_by(2).chain([large, more]) {
        free(&mut cache, block);
    }
}

#[test]
fn for_what_can_never_be_nothing_is_given_back() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    heap.set_limit(20 * MB);
    let block = filled(&mut cache, 4 * MB);
    free(&mut cache, block);
    let before = heap.stats().released;
    assert_eq!(cache.alloc(layout(21 * MB)), Err(Error::Limit));
    assert_eq!(heap.stats().released, before);
}

#[test]
fn a_limit_below_what_is_free_leaves_room_for_what_is_under_it() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let blocks: Vec<_> = (0..100).map(|_| filled(&mut cache, MB)).collect();
    for &block in blocks.iter().step_by(2) {
        free(&mut cache, block);
    }
    heap.set_limit(60 * MB);
    // None of the holes is large enough; what rests in all of them is more than the block's size.
    let large = filled(&mut cache, 4 * MB);
    assert_eq!(cache.alloc(layout(8 * MB)), Err(Error::Limit));
    for block in blocks.into_iter().skip(1).step_by(2).chain([large]) {
        free(&mut cache, block);
    }
}

#[test]
fn small_blocks_stop_at_the_limit_too() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    heap.set_limit(8 * MB);
    let mut blocks = Vec::new();
    let error = loop {
        match cache.alloc(layout(500)) {
            Ok(block) => blocks.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Limit);
    assert!((8_000..=8 * MB / 500).contains(&blocks.len()), "{}", blocks.len());
    blocks.into_iter().for_each(|block| free(&mut cache, block));
    assert!(cache.alloc(layout(500)).is_ok());
}

/// A heap that has grown, and will have to grow for 32 MiB.
fn grown() -> (&'static Heap<Os>, Cache<'static, Os>, Layout) {
    let heap: &Heap<Os> = Box::leak(Box::new(Heap::new(Os::new())));
    let mut cache = heap.cache();
    filled(&mut cache, MB);
    (heap, cache, layout(32 * MB))
}

#[test]
fn a_growth_for_which_there_are_tables_needs_room_for_no_more() {
    let (heap, mut cache, large) = grown();
    cache.alloc(large).unwrap();
    let stats = heap.stats();
    let need = stats.resident_at_most() - stats.free;

    let (heap, mut cache, large) = grown();
    heap.set_limit(need);
    assert!(cache.alloc(large).is_ok(), "{need} bytes: {stats}");

    let (heap, mut cache, large) = grown();
    heap.set_limit(need - PAGE);
    assert_eq!(cache.alloc(large), Err(Error::Limit));
}

#[test]
fn what_cannot_be_had_costs_nothing() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    heap.set_limit(64 * MB);
    let block = filled(&mut cache, MB);
    let before = heap.stats();
    assert_eq!(cache.alloc(layout(HUGE)), Err(Error::Limit));
    // SAFETY: the block is ours, of that layout.
    let grown = unsafe { cache.realloc(block, layout(MB), HUGE) };
    assert_eq!(grown, Err(Error::Limit));
    let after = heap.stats();
    assert_eq!((after.metadata, after.reserves), (before.metadata, before.reserves), "{after}");
    let blocks: Vec<_> = (0..50).map(|_| filled(&mut cache, MB)).collect();
    blocks.into_iter().chain([block]).for_each(|block| free(&mut cache, block));
}

/// A machine with little memory, and all of its addresses.
struct Poor(Os);

// SAFETY: every call is the kernel's source's, or refused without effect.
unsafe impl PageSource for Poor {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        self.0.addresses()
    }
    fn arena_bytes(&self) -> usize {
        self.0.arena_bytes()
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.0.reserve(bytes, align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on, as below.
        bytes < HUGE && unsafe { self.0.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe { self.0.decommit(at, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.0.release(at, bytes) }
    }
}

#[test]
fn memory_that_is_refused_costs_no_tables() {
    let heap = Heap::new(Poor(Os::new()));
    let mut cache = heap.cache();
    let block = filled(&mut cache, MB);
    let before = heap.stats().metadata;
    assert_eq!(cache.alloc(layout(HUGE)), Err(Error::OutOfMemory));
    assert_eq!(heap.stats().metadata, before);
    free(&mut cache, block);
}

#[test]
fn addresses_that_are_refused_cost_no_records() {
    let heap = Heap::new(Fail::after(Os::new(), usize::MAX));
    let mut cache = heap.cache();
    let block = filled(&mut cache, MB);
    let before = heap.stats().metadata;
    heap.source().allow(0);
    for _ in 0..50_000 {
        assert_eq!(cache.alloc(layout(HUGE)), Err(Error::OutOfMemory));
    }
    heap.source().allow(usize::MAX);
    let more = filled(&mut cache, 100 * MB);
    assert_eq!(heap.stats().metadata, before, "the records of a chunk would have been used up");
    [block, more].into_iter().for_each(|block| free(&mut cache, block));
}
