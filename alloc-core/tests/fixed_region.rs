//! A heap in one buffer of the program, with no call to the system: it fills up, says so, and what
//! is freed can be had again, in other sizes.

use std::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};

use alloc_core::{Cache, Error, Heap, pages::fixed::Fixed};

fn fill(cache: &mut Cache<'_, Fixed<'_>>, layout: Layout) -> Vec<NonNull<u8>> {
    let mut blocks = Vec::new();
    loop {
        match cache.alloc(layout) {
            Ok(block) => blocks.push(block),
            Err(error) => {
                assert_eq!(error, Error::OutOfMemory);
                return blocks;
            }
        }
    }
}

const BYTES: usize = 2 << 20;

/// Aligned, so that it lies in one window of the page map: a second one costs 64 KiB more of it, and
/// where they lie decides how many large blocks fit.
#[repr(align(0x20_0000))]
struct Region([MaybeUninit<u8>; BYTES]);

#[test]
fn a_region_fills_up_and_is_reused() {
    let mut region = Box::<Region>::new_uninit();
    // SAFETY: bytes that need not be initialised.
    let region = unsafe { &mut region.assume_init_mut().0 };
    let range = region.as_ptr_range();
    let range = range.start as usize..range.end as usize;
    let heap = Heap::new(Fixed::new(region));
    let mut cache = heap.cache();
    let mut most = 0;
    for size in [64, 1_000, 30_000, 200_000, 64] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let blocks = fill(&mut cache, layout);
        for &block in &blocks {
            let start = block.as_ptr() as usize;
            assert!(range.contains(&start) && range.contains(&(start + size - 1)));
        }
        let bytes = blocks.len() * size;
        assert!(bytes > 1_000_000, "{bytes} bytes in blocks of {size}");
        most = most.max(bytes);
        // SAFETY: all blocks are ours and freed once.
        blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
        cache.flush();
        assert_eq!((heap.stats().small, heap.stats().large), (0, 0));
    }
    assert!(most > 1_700_000, "{most}");
}

#[test]
fn zeroed_blocks_are_zeroed_though_the_region_was_not() {
    let mut region = vec![MaybeUninit::new(0xa5_u8); 1 << 20];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();
    for size in [8, 500, 9_000, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        for _ in 0..3 {
            let block = cache.alloc_zeroed(layout).unwrap();
            // SAFETY: the block is ours and has that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), size) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0x5a);
            // SAFETY: freed once.
            unsafe { cache.free(block) };
        }
    }
}
