//! Frees: into a magazine, home to a span, or away as a large block.

use core::{alloc::Layout, ptr::NonNull};

use super::Cache;
use crate::{
    harden::Wait,
    homeward::Homeward,
    page_map::Entry,
    pages::PageSource,
    size_class::class_for,
    span::{Kind, SpanPtr},
};

#[cfg(feature = "global")]
use crate::{Heap, prefetch, size_class::class_at_hand};

impl<'h, S: PageSource> Cache<'h, S> {
    /// Frees a block into the magazine of its layout's class; `false`, and nothing done, if that cannot
    /// take it. Makes no call.
    ///
    /// # Safety
    ///
    /// As [`Cache::free_sized`].
    #[cfg(feature = "global")]
    #[inline(always)]
    pub(crate) unsafe fn free_cached(&mut self, block: NonNull<u8>, layout: Layout) -> bool {
        let class = class_at_hand(layout.size(), layout.align());
        !self.profiled && class.is_some_and(|class| self.magazines[class].push(block))
    }

    /// As [`Cache::free_cached`], with the class by the page map: of any block. `heap` is the cache's, of which the
    /// caller knows without a load where it is.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`], if the block is of this heap.
    #[cfg(feature = "global")]
    #[inline(always)]
    pub(crate) unsafe fn free_found(&mut self, heap: &'h Heap<S>, block: NonNull<u8>) -> bool {
        debug_assert!(core::ptr::eq(heap, self.heap), "a block's class is known to its own heap");
        // Whoever takes the block next writes to it at once, and the stores behind would wait for that one
        // (docs/decisions/0033).
        prefetch::for_writing(block);
        let entry = heap.map.entry(block.as_ptr() as usize);
        !entry.is_others(self.others)
            && entry.class().is_some_and(|class| self.magazines[class].push(block))
    }

    /// Frees a block that came from any cache of this heap.
    ///
    /// Who knows the block's layout uses [`Cache::free_sized`], which is faster.
    ///
    /// # Safety
    ///
    /// `block` was returned by a cache of this heap, was not freed since, and nobody uses it.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        // SAFETY: passed on.
        let known = unsafe { self.free_if_known(block) };
        if !known {
            self.heap.free_odd(None, block, Wait::Briefly);
        }
    }

    /// Frees a block whose layout the caller knows.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    ///
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let layout = Layout::new::<[u64; 4]>();
    /// let block = cache.alloc(layout).unwrap();
    /// // SAFETY: it is ours, of that layout, and freed once.
    /// unsafe { cache.free_sized(block, layout) };
    /// ```
    ///
    /// # Safety
    ///
    /// As [`Cache::free`]; `layout` is the one that the block was allocated or last resized with.
    #[inline(always)]
    pub unsafe fn free_sized(&mut self, block: NonNull<u8>, layout: Layout) {
        match class_for(layout.size(), layout.align()) {
            Some(class) if !self.profiled => {
                if !self.magazines[class].push(block) {
                    // SAFETY: passed on.
                    unsafe { self.free_slow(class, block) }
                }
            }
            // SAFETY: passed on.
            _ => unsafe { self.free_looked_up(block) },
        }
    }

    /// As [`Cache::free`], but leaves a block of another heap alone and returns `false`.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`], if the block is of this heap.
    #[inline(always)]
    pub(crate) unsafe fn free_if_known(&mut self, block: NonNull<u8>) -> bool {
        let entry = self.heap.map.entry(block.as_ptr() as usize);
        if let Some(class) = entry.class() {
            // SAFETY: passed on.
            unsafe { self.free_cell(entry, class, block) }
            return true;
        }
        let Some(span) = entry.span() else { return false };
        self.free_uncached(span, block);
        true
    }

    /// Frees a cell of a page with that entry.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`].
    #[inline(always)]
    unsafe fn free_cell(&mut self, entry: Entry, class: usize, cell: NonNull<u8>) {
        if entry.is_others(self.others) {
            self.send_out(cell);
        } else if !self.magazines[class].push(cell) {
            // SAFETY: passed on.
            unsafe { self.free_slow(class, cell) }
        }
    }

    /// As [`Cache::free_spanned`], for who meets mostly cells.
    #[cold]
    #[inline(never)]
    fn free_uncached(&mut self, span: SpanPtr, block: NonNull<u8>) {
        self.free_spanned(span, block);
    }

    /// Frees a block that has a span of its own, or is none of a cache's.
    #[inline(always)]
    fn free_spanned(&mut self, span: SpanPtr, block: NonNull<u8>) {
        match span.kind() {
            Kind::Large => self.free_large(span),
            _ => self.heap.free_odd(Some(span), block, Wait::Briefly),
        }
    }

    /// Frees a block that is large, or that may be a sample of the profile and then is.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`].
    #[cold]
    #[inline(never)]
    unsafe fn free_looked_up(&mut self, block: NonNull<u8>) {
        let entry = self.heap.map.entry(block.as_ptr() as usize);
        match (entry.class(), entry.span()) {
            // SAFETY: passed on.
            (Some(class), _) => unsafe { self.free_cell(entry, class, block) },
            (None, Some(span)) => self.free_spanned(span, block),
            (None, None) => self.heap.free_stray(None, block, Wait::Briefly),
        }
    }

    /// Frees a cell for which the magazine of its class has no room.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`]; the block is a cell of that class.
    #[cold]
    #[inline(never)]
    unsafe fn free_slow(&mut self, class: usize, block: NonNull<u8>) {
        let magazine = &mut self.magazines[class];
        if magazine.is_short(class) && self.heap.hardened().is_none() {
            magazine.grow(class, self.heap, &mut self.allowance);
        } else {
            magazine.note_full();
            let half = magazine.slots() / 2;
            self.send_home(class, half);
        }
        if !self.magazines[class].push(block) {
            let mut homeward = Homeward::new(self.heap, &mut self.holdings);
            // SAFETY: promised by the caller.
            unsafe { homeward.send(block) };
            homeward.finish();
        }
    }

    /// Frees a cell that shares its line with others of another cache.
    #[inline(never)]
    fn send_out(&mut self, cell: NonNull<u8>) {
        if self.outgoing.put(cell) {
            self.empty_outgoing();
        }
    }
}
