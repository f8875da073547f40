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

/// Blocks that a region loses at most to a second window: 70 KiB of tables, which come in whole chunks of
/// records, and the rest of a span.
const SECOND_WINDOW: usize = 160 << 10;

/// Addresses that begin at a border of the page map's windows, with memory where they are touched.
struct Windows(NonNull<u8>);

const WINDOW: usize = 64 << 20;

impl Windows {
    fn new() -> Self {
        // SAFETY: a fresh mapping.
        let at = unsafe {
            let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            let flags = flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), 3 * WINDOW, rights, flags, -1, 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        Windows(NonNull::new(at.cast()).unwrap())
    }

    /// A region that begins so many bytes behind a border; negative: it ends behind it.
    fn region(&mut self, behind: isize) -> &mut [MaybeUninit<u8>] {
        let border = (self.0.as_ptr() as usize + WINDOW).next_multiple_of(WINDOW);
        let offset = border.wrapping_add_signed(behind) - self.0.as_ptr() as usize;
        // SAFETY: inside the mapping, which nobody else uses; such bytes need not be initialised.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset).as_ptr().cast(), BYTES) }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), 3 * WINDOW) };
    }
}

#[test]
fn a_region_serves_as_much_wherever_it_lies_but_for_the_tables_of_another_window() {
    let mut windows = Windows::new();
    let mut served = [0, 5 << 12, -(1 << 20), -(8 << 10), -((2 << 20) - (8 << 10))].map(|behind| {
        let heap = Heap::new(Fixed::new(windows.region(behind)));
        fill(&mut heap.cache(), Layout::new::<[u64; 8]>()).len() * 64
    });
    served.sort_unstable();
    assert!(served[4] > 1_700_000, "{served:?}");
    assert!(served[4] - served[0] <= SECOND_WINDOW, "{served:?}");
}

#[test]
fn a_region_fills_up_and_is_reused() {
    let mut windows = Windows::new();
    let region = windows.region(0);
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
