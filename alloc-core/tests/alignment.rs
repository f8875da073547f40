//! Blocks that are aligned beyond arenas: each has an arena of its own at first, and what is freed is found again.

use std::{
    alloc::Layout,
    mem::MaybeUninit,
    ops::Range,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use alloc_core::{
    Cache, Error, Heap,
    page_heap::Radix,
    pages::{PageSource, fixed::Fixed, os::Os},
    size_class::PAGE,
};

const MB: usize = 1 << 20;

/// An alignment that no arena of the kernel's has by chance.
const FAR: usize = 1 << 40;

/// The kernel's pages, with reservations counted; memory can be refused.
struct Counted {
    os: Os,
    reserved: AtomicUsize,
    refuses: AtomicBool,
}

// Relaxed throughout: the tests have one thread.
impl Counted {
    fn new() -> Self {
        Counted { os: Os::new(), reserved: AtomicUsize::new(0), refuses: AtomicBool::new(false) }
    }

    fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
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
        let at = self.os.reserve(bytes, align)?;
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Some(at)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on, as below.
        !self.refuses.load(Ordering::Relaxed) && unsafe { self.os.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe { self.os.decommit(at, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        self.reserved.fetch_sub(bytes, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { self.os.release(at, bytes) }
    }
}

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).unwrap()
}

/// Allocates and frees blocks of this layout, again and again.
fn pairs<S: PageSource>(cache: &mut Cache<'_, S>, layout: Layout) {
    for _ in 0..1_000 {
        let block = cache.alloc(layout).unwrap();
        assert_eq!(block.as_ptr() as usize % layout.align(), 0);
        // SAFETY: ours, and freed once.
        unsafe { cache.free(block) };
    }
}

#[test]
fn what_was_freed_serves_the_next() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    // Those of the second length wait for the next of it, which is not aligned.
    for bytes in [PAGE, 100 * PAGE, 1_000 * PAGE] {
        let far = layout(bytes, FAR);
        pairs(&mut cache, far);
        let before = heap.stats().reserves;
        pairs(&mut cache, far);
        assert_eq!(heap.stats().reserves, before, "{bytes}");
    }
}

#[test]
fn a_region_serves_them_as_often_as_they_are_freed() {
    let mut region = vec![MaybeUninit::<u8>::uninit(); 8 * MB];
    let heap = Heap::new(Fixed::new(&mut region));
    pairs(&mut heap.cache(), layout(PAGE, 256 << 10));
}

#[test]
fn a_refusal_leaves_nothing_reserved() {
    let heap = Heap::new(Counted::new());
    let mut cache = heap.cache();
    // What the heap needs for itself.
    pairs(&mut cache, layout(PAGE, PAGE));
    let before = heap.source().reserved();
    heap.set_limit(32 * MB);
    assert_eq!(cache.alloc(layout(64 * MB, FAR)), Err(Error::Limit));
    assert_eq!(heap.source().reserved(), before, "at the limit");
    heap.set_limit(usize::MAX);
    heap.source().refuses.store(true, Ordering::Relaxed);
    assert_eq!(cache.alloc(layout(PAGE, FAR)), Err(Error::OutOfMemory));
    assert_eq!(heap.source().reserved(), before, "without memory");
    heap.source().refuses.store(false, Ordering::Relaxed);
    pairs(&mut cache, layout(PAGE, FAR));
}
