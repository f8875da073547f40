//! Pages from one region that the program already has: the system is asked for no memory.
//!
//! For a static buffer, a huge page, or shared memory. The region is handed out from its start to its end and
//! never taken back; the heap above reuses what it got. The crate still needs an operating system, Linux: its locks
//! sleep by a futex, and a scavenger asks for its processor time, all by libc.
//!
//! The heap keeps its records in the region too. The largest are tables for each 64 MiB of addresses that the
//! region touches, some 70 KiB: a small region that is aligned to its size touches one piece, another may
//! touch two.

use core::{marker::PhantomData, mem::MaybeUninit, ops::Range, ptr::NonNull};

use super::PageSource;
use crate::{
    page_heap::Radix,
    size_class::PAGE,
    sync::{AtomicUsize, Ordering},
};

/// One region as a source of pages.
///
/// ```
/// use std::alloc::Layout;
/// use alloc_core::{Error, Heap, pages::fixed::Fixed};
/// let mut region = vec![std::mem::MaybeUninit::uninit(); 1 << 20];
/// let heap = Heap::new(Fixed::new(&mut region));
/// let mut cache = heap.cache();
/// assert!(cache.alloc(Layout::new::<[u8; 1000]>()).is_ok());
/// assert_eq!(cache.alloc(Layout::new::<[u8; 2 << 20]>()), Err(Error::OutOfMemory));
/// ```
#[derive(Debug)]
pub struct Fixed<'a> {
    start: NonNull<u8>,
    bytes: usize,
    /// Offset of the first byte not handed out yet. Any thread adds to it.
    used: AtomicUsize,
    region: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

// SAFETY: the region is borrowed for ourselves alone, and `used` is atomic.
unsafe impl Send for Fixed<'_> {}
// SAFETY: as above; ranges are handed out once.
unsafe impl Sync for Fixed<'_> {}

impl<'a> Fixed<'a> {
    /// A source of all whole pages of `region`.
    pub fn new(region: &'a mut [MaybeUninit<u8>]) -> Self {
        let start = NonNull::from(&mut *region).cast::<u8>();
        Fixed { start, bytes: region.len(), used: AtomicUsize::new(0), region: PhantomData }
    }
}

// SAFETY: `reserve` moves `used` past each range before it returns it (1); the region is readable
// and writable, `commit` writes zeroes (2); `decommit` changes nothing and says `false` (3); there
// is no call that could allocate or unwind (4); the figures never change (5).
unsafe impl PageSource for Fixed<'_> {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        let start = self.start.as_ptr() as usize;
        start..start + self.bytes
    }

    fn arena_bytes(&self) -> usize {
        8 * PAGE
    }

    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let start = self.start.as_ptr() as usize;
        let range = |used: usize| {
            let from = start.checked_add(used)?.checked_next_multiple_of(align)? - start;
            let to = from.checked_add(bytes)?;
            (to <= self.bytes).then_some((from, to))
        };
        // Relaxed: the word is all that threads share; who hands a range on, synchronises.
        let used = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(range(used)?.1))
            .ok()?;
        let (from, _) = range(used)?;
        // SAFETY: `from + bytes <= self.bytes`, so the pointer stays inside the region.
        Some(unsafe { self.start.add(from) })
    }

    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range is part of the region and belongs to the caller.
        unsafe { at.write_bytes(0, bytes) };
        true
    }

    unsafe fn decommit(&self, _at: NonNull<u8>, _bytes: usize) -> bool {
        false
    }

    unsafe fn release(&self, _at: NonNull<u8>, _bytes: usize) {}
}
