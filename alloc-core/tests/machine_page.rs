//! A machine whose pages are longer than the heap's: what is given back, or moved, is nobody else's.

use std::{
    alloc::Layout,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

use alloc_core::{
    Heap,
    page_heap::Radix,
    pages::{PageSource, os::Os},
    size_class::PAGE,
};

const MACHINE: usize = 8 * PAGE;

/// The kernel's pages, eight of the heap's each: as the kernel of such a machine, it refuses what does not begin with
/// one, and takes the whole of the last.
struct Coarse {
    os: Os,
    /// Calls that did not end with one.
    longer: AtomicUsize,
}

impl Coarse {
    fn new() -> Self {
        Coarse { os: Os::new(), longer: AtomicUsize::new(0) }
    }

    /// What the kernel takes; `None` if it refuses.
    fn whole(&self, at: NonNull<u8>, bytes: usize) -> Option<usize> {
        // Relaxed: the tests have one thread.
        self.longer.fetch_add(usize::from(!bytes.is_multiple_of(MACHINE)), Ordering::Relaxed);
        (at.as_ptr() as usize).is_multiple_of(MACHINE).then(|| bytes.next_multiple_of(MACHINE))
    }
}

// SAFETY: every call is the kernel's source's, for a range that is longer if the heap did not ask for whole pages, as it
// promises.
unsafe impl PageSource for Coarse {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        self.os.addresses()
    }
    fn arena_bytes(&self) -> usize {
        self.os.arena_bytes()
    }
    fn machine_page(&self) -> usize {
        MACHINE
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.os.reserve(bytes.next_multiple_of(MACHINE), align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on, as below.
        self.whole(at, bytes).is_some_and(|bytes| unsafe { self.os.commit(at, bytes) })
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        self.whole(at, bytes).is_some_and(|bytes| unsafe { self.os.decommit(at, bytes) })
    }
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        self.whole(from, bytes).and(self.whole(to, bytes)).is_some_and(|bytes| {
            // SAFETY: passed on.
            unsafe { self.os.relocate(from, to, bytes) }
        })
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.os.release(at, bytes.next_multiple_of(MACHINE)) }
    }
}

fn layout(pages: usize) -> Layout {
    Layout::from_size_align(pages * PAGE, 8).unwrap()
}

fn fill(block: NonNull<u8>, pages: usize) {
    // SAFETY: the block is ours and has so many pages.
    unsafe { block.write_bytes(pages as u8, pages * PAGE) };
}

fn is_whole(block: NonNull<u8>, pages: usize) -> bool {
    // SAFETY: as in `fill`.
    let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), pages * PAGE) };
    bytes.iter().all(|&byte| byte == pages as u8)
}

#[test]
fn the_neighbours_of_what_is_given_back_stay_as_they_are() {
    let heap = Heap::new(Coarse::new());
    let mut cache = heap.cache();
    let mut blocks: Vec<_> = (0..600)
        .map(|n| {
            let pages = 1 + n * 7 % 23;
            let block = cache.alloc(layout(pages)).unwrap();
            fill(block, pages);
            (block, pages)
        })
        .collect();
    // The small ones leave spans with few blocks in them, the others runs of any length.
    let mut n = 0;
    blocks.retain(|&(block, _)| {
        n += 1;
        let kept = n % 3 == 0;
        if !kept {
            // SAFETY: ours, and freed once.
            unsafe { cache.free(block) };
        }
        kept
    });
    cache.flush();
    assert!(heap.release() > 8 << 20, "{}", heap.stats());
    assert!(blocks.iter().all(|&(block, pages)| is_whole(block, pages)));
    // Relaxed: as above.
    assert_eq!(heap.source().longer.load(Ordering::Relaxed), 0);
}

#[test]
fn a_block_moves_without_its_neighbour() {
    let heap = Heap::new(Coarse::new());
    let mut cache = heap.cache();
    let pages = (4 << 20) / PAGE + 1;
    // What comes behind both begins with a page of the machine.
    let beside = MACHINE / PAGE - 1;
    let [block, neighbour] = [pages, beside].map(|pages| {
        let block = cache.alloc(layout(pages)).unwrap();
        fill(block, pages);
        block
    });
    // SAFETY: ours, with that layout.
    let moved = unsafe { cache.realloc(block, layout(pages), 2 * pages * PAGE) }.unwrap();
    assert_ne!(moved, block);
    assert!(is_whole(moved, pages) && is_whole(neighbour, beside));
}
