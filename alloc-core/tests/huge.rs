//! Blocks of many megabytes: they grow where they lie, or take their pages with them, and what they leave
//! behind is as good as new.

use std::{
    alloc::Layout,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use alloc_core::{
    Cache, Heap,
    page_heap::Radix,
    pages::{PageSource, fixed::Fixed, os::Os},
};

const MB: usize = 1 << 20;

/// The kernel's pages, with moves counted, or refused.
struct Counted {
    os: Os,
    moves: AtomicUsize,
    refuse: bool,
}

impl Counted {
    fn new(refuse: bool) -> Self {
        Counted { os: Os::new(), moves: AtomicUsize::new(0), refuse }
    }
}

// SAFETY: every call is the kernel's source's, or refused without effect.
unsafe impl PageSource for Counted {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        self.os.addresses()
    }
    fn arena_bytes(&self) -> usize {
        self.os.arena_bytes()
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.os.reserve(bytes, align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on, as below.
        unsafe { self.os.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe { self.os.decommit(at, bytes) }
    }
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        self.moves.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        !self.refuse && unsafe { self.os.relocate(from, to, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.os.release(at, bytes) }
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// A mark of its own for each page of the machine.
fn mark(at: usize) -> u64 {
    (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Writes marks into a block, and reads them back.
fn write<S: PageSource>(cache: &mut Cache<'_, S>, bytes: usize) -> NonNull<u8> {
    let block = cache.alloc(layout(bytes)).unwrap();
    for at in (0..bytes).step_by(4096) {
        // SAFETY: inside the block, which is ours.
        unsafe { block.add(at).cast::<u64>().write(mark(at)) };
    }
    block
}

fn check(block: NonNull<u8>, bytes: usize) {
    for at in (0..bytes).step_by(4096) {
        // SAFETY: inside the block, which is ours.
        assert_eq!(unsafe { block.add(at).cast::<u64>().read() }, mark(at), "at {at}");
    }
}

/// Grows a block that has a neighbour behind it; the moves that were asked for.
fn grow_past_a_neighbour(refuse: bool) -> usize {
    let heap = Heap::new(Counted::new(refuse));
    let mut cache = heap.cache();
    let block = write(&mut cache, 6 * MB);
    let neighbour = cache.alloc(layout(MB)).unwrap();
    // SAFETY: the block is ours, with that layout; what replaced it is freed once.
    unsafe {
        let moved = cache.realloc(block, layout(6 * MB), 80 * MB).unwrap();
        assert_ne!(moved, block);
        check(moved, 6 * MB);
        let stats = heap.stats();
        assert_eq!(stats.large, 81 * MB);
        assert_eq!(stats.parts().iter().map(|(_, bytes)| bytes).sum::<usize>(), stats.mapped);
        // Where it was lies the next block, and that reads as zero.
        let zeroed = cache.alloc_zeroed(layout(6 * MB)).unwrap();
        assert_eq!(zeroed, block, "first fit");
        let bytes = std::slice::from_raw_parts(zeroed.as_ptr(), 6 * MB);
        assert!(bytes.iter().all(|&byte| byte == 0));
        // Down again, where it lies.
        assert_eq!(cache.realloc(moved, layout(80 * MB), 5 * MB), Ok(moved));
        check(moved, 5 * MB);
        [neighbour, zeroed, moved].into_iter().for_each(|block| cache.free(block));
    }
    assert_eq!(heap.stats().large, 0);
    drop(cache);
    let moves = heap.source().moves.load(Ordering::Relaxed);
    // SAFETY: nothing of the heap is used any more.
    unsafe { heap.destroy() };
    moves
}

#[test]
fn pages_move_and_what_they_leave_reads_as_zero() {
    assert_eq!(grow_past_a_neighbour(false), 1);
}

#[test]
fn a_source_that_moves_nothing_has_them_copied() {
    assert_eq!(grow_past_a_neighbour(true), 1);
}

/// Bytes of a range that the kernel holds in memory.
fn resident(at: NonNull<u8>, bytes: usize) -> usize {
    let mut pages = vec![0_u8; bytes / 4096];
    // SAFETY: the range is mapped and the vector has a byte for each of its pages.
    let failed = unsafe { libc::mincore(at.as_ptr().cast(), bytes, pages.as_mut_ptr()) };
    assert_eq!(failed, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count() * 4096
}

#[test]
fn a_vector_that_doubles_is_resident_once() {
    let heap = Heap::new(Counted::new(false));
    let mut cache = heap.cache();
    let (mut size, mut block) = (8 * MB, write(&mut cache, 8 * MB));
    let mut neighbours = Vec::new();
    while size < 128 * MB {
        // Too long for where the block was before: it lies behind.
        neighbours.push(cache.alloc(layout(size)).unwrap());
        // SAFETY: the block is ours, with that layout.
        let grown = unsafe { cache.realloc(block, layout(size), 2 * size) }.unwrap();
        assert_eq!(resident(grown, 8 * MB), 8 * MB, "moved, not copied on demand");
        assert_ne!(grown, block, "a neighbour lies behind");
        assert_eq!(resident(block, 8 * MB), 0);
        check(grown, 8 * MB);
        (size, block) = (2 * size, grown);
    }
    assert_eq!(heap.source().moves.load(Ordering::Relaxed), 4);
    assert!(heap.stats().free < 16 * MB, "what was left has no memory: {}", heap.stats());
    assert_eq!(neighbours.len(), 4);
}

#[test]
fn a_lone_block_grows_into_what_is_not_committed_yet() {
    let heap = Heap::new(Counted::new(false));
    let mut cache = heap.cache();
    let block = write(&mut cache, 5 * MB);
    for (from, to) in [(5, 9), (9, 30), (30, 60)] {
        // SAFETY: the block is ours, with that layout.
        let grown = unsafe { cache.realloc(block, layout(from * MB), to * MB) };
        assert_eq!(grown, Ok(block), "{from} to {to}");
        assert_eq!(heap.stats().large, to * MB);
    }
    check(block, 5 * MB);
    // Beyond its arena it depends on who lies there; what it holds does not.
    // SAFETY: the block is ours, with that layout, and freed once.
    unsafe {
        let grown = cache.realloc(block, layout(60 * MB), 200 * MB).unwrap();
        check(grown, 5 * MB);
        grown.add(200 * MB - 1).write(1);
        cache.free(grown);
    }
    assert_eq!(heap.stats().large, 0);
}

#[test]
fn a_block_keeps_its_alignment_when_it_grows() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for align in [64, 4096, 2 * MB, 64 * MB, 256 * MB] {
        let of = |size| Layout::from_size_align(size, align).unwrap();
        let (mut size, mut block) = (100, cache.alloc(of(100)).unwrap());
        // SAFETY: the block is ours, with the layouts given, and freed once.
        unsafe {
            block.write_bytes(7, 100);
            for new in [5_000, 50_000, 6 * MB, 70 * MB, 5 * MB, 10] {
                let neighbour = cache.alloc(layout(100_000)).unwrap();
                block = cache.realloc(block, of(size), new).unwrap();
                assert_eq!(block.as_ptr() as usize % align, 0, "{size} to {new} at {align}");
                assert_eq!(std::slice::from_raw_parts(block.as_ptr(), 10), [7; 10]);
                size = new;
                cache.free(neighbour);
            }
            cache.free(block);
        }
    }
}

#[test]
fn a_block_of_no_bytes_grows_and_shrinks_to_none() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for align in [1, 16, 4096, 64 * MB] {
        let of = |size| Layout::from_size_align(size, align).unwrap();
        let (one, other) = (cache.alloc(of(0)).unwrap(), cache.alloc(of(0)).unwrap());
        assert_ne!(one, other, "each has a place of its own");
        // SAFETY: the blocks are ours, with the layouts given, and freed once.
        unsafe {
            let grown = cache.realloc(one, of(0), 9 * MB).unwrap();
            grown.write_bytes(1, 9 * MB);
            let empty = cache.realloc(grown, of(9 * MB), 0).unwrap();
            cache.free_sized(empty, of(0));
            cache.free(other);
        }
    }
}

#[test]
fn a_region_without_page_tables_copies() {
    let mut region = vec![std::mem::MaybeUninit::<u8>::uninit(); 48 * MB];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();
    let block = write(&mut cache, 6 * MB);
    let neighbour = cache.alloc(layout(MB)).unwrap();
    // SAFETY: the block is ours, with that layout; both are freed once.
    unsafe {
        let moved = cache.realloc(block, layout(6 * MB), 12 * MB).unwrap();
        assert_ne!(moved, block);
        check(moved, 6 * MB);
        cache.free(moved);
        cache.free(neighbour);
    }
}
