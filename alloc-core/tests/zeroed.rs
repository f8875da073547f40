//! Blocks of zeroes: never-touched memory stays untouched, and what was written to is cleared.

use std::{alloc::Layout, ptr::NonNull};

use alloc_core::{Cache, Heap, pages::os::Os};

const OS_PAGE: usize = 4096;

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Whether the system page that `at` lies in is in memory.
fn is_resident(at: NonNull<u8>) -> bool {
    let page = at.as_ptr().map_addr(|address| address / OS_PAGE * OS_PAGE);
    let mut answer = 0;
    // SAFETY: the page is mapped, and the answer has a byte for it.
    assert_eq!(unsafe { libc::mincore(page.cast(), OS_PAGE, &raw mut answer) }, 0);
    answer & 1 == 1
}

fn is_zero(at: NonNull<u8>, size: usize) -> bool {
    // SAFETY: the caller has a block of that size whose bytes were all written, or are the system's.
    unsafe { std::slice::from_raw_parts(at.as_ptr(), size) }.iter().all(|&byte| byte == 0)
}

fn zeroed(cache: &mut Cache<'_, Os>, size: usize) -> NonNull<u8> {
    cache.alloc_zeroed(layout(size)).unwrap()
}

#[test]
fn zeroes_of_a_new_heap_have_no_memory_before_they_are_touched() {
    for size in [256, 1_000, 4_096, 32_768, 100_000] {
        let heap = Heap::new(Os::new());
        let mut cache = heap.cache();
        let blocks: Vec<_> = (0..300).map(|_| zeroed(&mut cache, size)).collect();
        assert!(blocks.iter().all(|&block| !is_resident(block)), "{size}");
        assert!(blocks.iter().all(|&block| is_zero(block, size)), "{size}");
    }
}

#[test]
fn a_cell_that_was_handed_out_is_cleared_wherever_it_waited() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for round in 0..20 {
        // Some from a batch, some alone, in the same spans.
        let mut blocks: Vec<_> = (0..300)
            .map(|n| match (n + round) % 3 {
                0 => cache.alloc(layout(1_000)).unwrap(),
                _ => zeroed(&mut cache, 1_000),
            })
            .collect();
        // SAFETY: the blocks are ours, of that size, and each is freed once.
        unsafe {
            blocks.iter().for_each(|block| block.write_bytes(0xff, 1_000));
            for block in blocks.drain(100 * (round % 3)..) {
                if round % 2 == 0 { cache.free(block) } else { heap.free(block) }
            }
        }
        if round % 4 == 3 {
            cache.flush();
        }
        for _ in 0..100 {
            let block = zeroed(&mut cache, 1_000);
            assert!(is_zero(block, 1_000), "round {round}");
            // SAFETY: as above.
            unsafe { block.write_bytes(0xff, 1_000) };
            blocks.push(block);
        }
        // SAFETY: as above.
        blocks.drain(..).for_each(|block| unsafe { cache.free(block) });
    }
}

#[test]
fn spans_on_pages_that_were_given_back_are_fresh_again() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let blocks: Vec<_> = (0..500).map(|_| cache.alloc(layout(2_000)).unwrap()).collect();
    // SAFETY: the blocks are ours, of that size, and each is freed once.
    unsafe {
        blocks.iter().for_each(|block| block.write_bytes(0xff, 2_000));
        blocks.into_iter().for_each(|block| cache.free(block));
    }
    cache.flush();
    heap.release();
    let blocks: Vec<_> = (0..500).map(|_| zeroed(&mut cache, 2_000)).collect();
    assert!(blocks.iter().all(|&block| !is_resident(block)));
    assert!(blocks.iter().all(|&block| is_zero(block, 2_000)));
}
