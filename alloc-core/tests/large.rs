//! Large and aligned blocks: they are aligned as asked, grow and shrink in place where pages are
//! free, join when freed, and their memory goes back.

use std::{alloc::Layout, time::Duration};

use alloc_core::{Heap, pages::os::Os, scavenge::ByAge, size_class::PAGE};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn every_alignment_holds() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for shift in 0..=30 {
        let align = 1_usize << shift;
        let blocks: Vec<_> = [0, 1, 8, 4_000, 50_000]
            .into_iter()
            .map(|size| {
                let block = cache.alloc(layout(size, align)).unwrap();
                assert_eq!(block.as_ptr() as usize % align, 0, "{size} at {align}");
                // SAFETY: the block is ours and has that many bytes.
                unsafe { block.write_bytes(1, size) };
                block
            })
            .collect();
        // SAFETY: each is freed once.
        blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
    }
    cache.flush();
    assert_eq!((heap.stats().small, heap.stats().large), (0, 0));
}

#[test]
fn a_large_block_grows_and_shrinks_where_it_lies() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let mut size = 5 * PAGE;
    let block = cache.alloc(layout(size, 8)).unwrap();
    // SAFETY: the block is ours and live, with the layouts given.
    unsafe {
        block.write_bytes(7, size);
        for new in [9 * PAGE, 300 * PAGE, 10 * PAGE, 5 * PAGE, 400 * PAGE] {
            assert_eq!(cache.realloc(block, layout(size, 8), new), Ok(block), "to {new}");
            assert_eq!(heap.stats().large, new);
            size = new;
        }
        let bytes = std::slice::from_raw_parts(block.as_ptr(), 5 * PAGE);
        assert!(bytes.iter().all(|&byte| byte == 7));
        // With a neighbour behind it, it must move.
        let neighbour = cache.alloc(layout(5 * PAGE, 8)).unwrap();
        let moved = cache.realloc(block, layout(size, 8), 600 * PAGE).unwrap();
        assert_ne!(moved, block);
        assert_eq!(moved.read(), 7);
        cache.free(moved);
        cache.free(neighbour);
    }
    cache.flush();
    assert_eq!(heap.stats().large, 0);
}

#[test]
fn a_large_block_that_is_kept_makes_room_for_small_ones() {
    let heap = Heap::new(Os::new());
    heap.set_limit(4 << 20);
    let mut cache = heap.cache();
    let small = |cache: &mut alloc_core::Cache<'_, Os>| {
        std::iter::from_fn(|| cache.alloc(layout(8192, 8)).ok()).count()
    };
    let block = cache.alloc(layout(60 * PAGE, 8)).unwrap();
    let without = small(&mut cache);
    // SAFETY: ours, and freed once.
    unsafe { cache.free(block) };
    let more = small(&mut cache);
    assert!(without > 100 && more >= 40, "{without} blocks, then {more} in place of the large one");
}

#[test]
fn a_large_block_stays_as_it_is_for_an_eighth_less() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = cache.alloc(layout(16 * PAGE, 8)).unwrap();
    // SAFETY: the block is ours, with the layouts given.
    unsafe {
        assert_eq!(cache.realloc(block, layout(16 * PAGE, 8), 14 * PAGE), Ok(block));
        assert_eq!((heap.usable_size(block), heap.stats().large), (Some(16 * PAGE), 16 * PAGE));
        assert_eq!(cache.realloc(block, layout(14 * PAGE, 8), 13 * PAGE), Ok(block));
        assert_eq!((heap.usable_size(block), heap.stats().large), (Some(13 * PAGE), 13 * PAGE));
        cache.free(block);
    }
}

#[test]
fn a_freed_large_block_serves_the_next_of_its_length_in_any_cache() {
    let heap = Heap::new(Os::new());
    let (mut one, mut other) = (heap.cache(), heap.cache());
    let size = layout(100_000, 8);
    let block = one.alloc(size).unwrap();
    let takes = heap.stats().takes;
    for turn in 0..4 {
        let (from, to) =
            if turn % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
        // SAFETY: the block is ours and freed once; nobody uses it then.
        unsafe { from.free(block) };
        assert_eq!(heap.usable_size(block), None, "a free block has no size");
        assert_eq!(from.alloc(size), Ok(block), "it lies in the cache's own slot");
        // SAFETY: as above.
        unsafe { from.free(block) };
        from.flush();
        let stats = heap.stats();
        assert_eq!((stats.large, stats.free), (0, 0));
        assert!(stats.cached >= 100_000);
        assert_eq!(stats.parts().iter().map(|(_, bytes)| bytes).sum::<usize>(), stats.mapped);
        assert_eq!(to.alloc(size), Ok(block));
        assert!(heap.usable_size(block).unwrap() >= 100_000);
    }
    assert_eq!(heap.stats().takes, takes, "the page heap was not asked");
    // SAFETY: freed once.
    unsafe { one.free(block) };
    one.flush();
    let mut scavenger = heap.scavenger(ByAge::default()).unwrap();
    assert!(heap.has_resting_memory() && scavenger.step(Duration::ZERO).is_some());
    let stats = heap.stats();
    assert_eq!(stats.cached, 0, "a step gives it to the page heap");
    assert!(stats.free >= 100_000);
}

#[test]
fn a_heap_that_is_short_of_memory_joins_what_was_just_freed() {
    let heap = Heap::new(Os::new());
    heap.set_limit(8 << 20);
    let mut cache = heap.cache();
    let quarters: Vec<_> = (0..3).map(|_| cache.alloc(layout(2 << 20, 8)).unwrap()).collect();
    // SAFETY: each is freed once.
    quarters.into_iter().for_each(|block| unsafe { cache.free(block) });
    assert!(heap.stats().cached > 0);
    let whole = cache.alloc(layout(7 << 20, 8)).unwrap();
    assert_eq!(heap.stats().cached, 0);
    // SAFETY: freed once.
    unsafe { cache.free(whole) };
}

#[test]
fn a_run_that_is_missing_is_made_of_few_of_the_spans_that_wait() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    // As many pages as the heap begins with.
    let blocks = [96, 96, 40, 40, 240].map(|pages| cache.alloc(layout(pages * PAGE, 8)).unwrap());
    let [long, _, _, _, last] = blocks;
    let waiting = |heap: &Heap<Os>| heap.stats().cached / PAGE;
    // SAFETY: each is freed once.
    blocks[..4].iter().for_each(|&block| unsafe { cache.free(block) });
    cache.flush();
    assert_eq!((waiting(&heap), heap.stats().free), (2 * 96 + 2 * 40, 0));
    assert_eq!(cache.alloc(layout(72 * PAGE, 8)), Ok(long), "a longer one is broken up");
    assert_eq!((waiting(&heap), heap.stats().free), (96 + 2 * 40, 24 * PAGE), "and no other");
    // SAFETY: as above.
    unsafe { cache.free(long) };
    cache.flush();
    assert_eq!(cache.alloc(layout(144 * PAGE, 8)), Ok(long), "none is longer, two long ones join");
    assert_eq!((waiting(&heap), heap.stats().grows), (2 * 40, 1), "and the short ones still wait");
    // SAFETY: as above.
    [long, last].into_iter().for_each(|block| unsafe { cache.free(block) });
}

#[test]
fn zeroed_large_blocks_are_zero_again_after_use() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let size = layout(60_000, 8);
    for _ in 0..3 {
        let block = cache.alloc_zeroed(size).unwrap();
        // SAFETY: the block is ours, of that size, and freed once.
        unsafe {
            let bytes = std::slice::from_raw_parts_mut(block.as_ptr(), 60_000);
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(1);
            cache.free(block);
        }
    }
}

#[test]
fn freed_neighbours_join_and_serve_larger_blocks() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let blocks: Vec<_> = (0..100).map(|_| cache.alloc(layout(10 * PAGE, 8)).unwrap()).collect();
    let mapped = heap.stats().mapped;
    let lowest = *blocks.iter().min().unwrap();
    // Every other one first, so that each of the rest joins two runs.
    for block in blocks.iter().step_by(2).chain(blocks.iter().skip(1).step_by(2)) {
        // SAFETY: freed once.
        unsafe { cache.free(*block) };
    }
    let all = cache.alloc(layout(1_000 * PAGE, 8)).unwrap();
    assert_eq!((all, heap.stats().mapped), (lowest, mapped), "first fit, and no growth");
    // SAFETY: freed once.
    unsafe { cache.free(all) };
}

#[test]
fn a_released_page_reads_as_zero_and_is_counted() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let (block, size) = (cache.alloc(layout(64 * PAGE, 8)).unwrap(), 64 * PAGE);
    // SAFETY: the block is ours; it is freed once, and `again` once.
    unsafe {
        block.write_bytes(9, size);
        cache.free(block);
        cache.flush();
        assert_eq!(heap.stats().cached, size);
        assert_eq!(heap.release(), size);
        assert_eq!(heap.stats().free, 0);
        let again = cache.alloc_zeroed(layout(size, 8)).unwrap();
        assert_eq!(again, block);
        let bytes = std::slice::from_raw_parts(again.as_ptr(), size);
        assert!(bytes.iter().all(|&byte| byte == 0));
        cache.free(again);
    }
}

#[test]
fn a_cell_stays_while_its_class_is_that_of_the_size() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = cache.alloc(layout(100, 8)).unwrap();
    // SAFETY: the block is ours with these layouts, and what replaced it is freed once.
    unsafe {
        assert_eq!(cache.realloc(block, layout(100, 8), 112), Ok(block));
        assert_eq!(cache.realloc(block, layout(112, 8), 97), Ok(block));
        block.write_bytes(3, 97);
        let moved = cache.realloc(block, layout(97, 8), 96).unwrap();
        assert_ne!(moved, block, "its layout would lead `free_sized` to another class");
        assert_eq!(std::slice::from_raw_parts(moved.as_ptr(), 16), [3; 16]);
        cache.free(moved);
    }
}

/// All of its length, longer and shorter ones: a block is long enough, and its own length finds it where it lay.
#[test]
fn the_block_that_was_freed_last_serves_what_it_is_long_enough_for() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for kept in 5..=66 {
        for wanted in 5..=80 {
            let block = cache.alloc(layout(kept * PAGE, 8)).unwrap();
            // SAFETY: each is ours, and freed once.
            unsafe { cache.free(block) };
            let next = cache.alloc(layout(wanted * PAGE, 8)).unwrap();
            let room = heap.usable_size(next).unwrap() / PAGE;
            assert!(room >= wanted && room <= wanted * 3 / 2, "{room} for {wanted} after {kept}");
            assert!(kept != wanted || kept > 64 || next == block, "{kept}");
            // SAFETY: as above.
            unsafe { cache.free(next) };
        }
    }
}
