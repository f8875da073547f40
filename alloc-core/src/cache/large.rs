//! Blocks with pages of their own, of which the last one freed lies in the cache.

use core::{alloc::Layout, ptr::NonNull};

use super::Cache;
use crate::{
    Error, large_cache::serve, pages::PageSource, profile, size_class::PAGE, span::SpanPtr,
};

impl<S: PageSource> Cache<'_, S> {
    /// The large block that was freed here last, if it serves `layout` and nobody wants to know of it. Makes no call.
    #[inline(always)]
    pub(super) fn take_own(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.align() > PAGE || self.heap.is_watched() {
            return None;
        }
        let span = self.kept.take(layout.size())?;
        NonNull::new(span.base() as *mut u8)
    }

    /// A large block from wherever there is one, first of all from here; also tells whether it reads as zero.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_large(&mut self, layout: Layout) -> Result<(NonNull<u8>, bool), Error> {
        let large = match self.take_kept(layout) {
            Some(block) => (block, false),
            None => {
                self.give_up_kept();
                self.heap.alloc_large(layout.size(), layout.align())?
            }
        };
        self.sample_large(large.0, layout.size());
        Ok(large)
    }

    /// A large block out of a slot: our own, or the heap's.
    fn take_kept(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.align() > PAGE || self.heap.hardened().is_some() {
            return None;
        }
        let span = self.kept.take(layout.size()).or_else(|| {
            let span = self.heap.take_kept(serve(layout.size().div_ceil(PAGE)))?;
            self.kept.count();
            Some(span)
        })?;
        NonNull::new(span.base() as *mut u8)
    }

    /// Frees a large block.
    #[inline]
    pub(super) fn free_large(&mut self, span: SpanPtr) {
        profile::leave(span);
        if let Some(other) = self.kept.put(span) {
            self.heap.free_large(other);
        }
    }

    /// Leaves the large block that was freed last to the heap.
    pub(crate) fn give_up_kept(&mut self) {
        let takes = self.kept.report();
        if takes > 0 {
            self.heap.counters.slot_takes.add(takes);
        }
        if let Some(span) = self.kept.give_up() {
            self.heap.free_large(span);
        }
    }

    /// Makes a large block `size` bytes long where it lies; `false` if it must move.
    pub(crate) fn resize_large(&mut self, span: SpanPtr, size: usize) -> bool {
        if self.kept.is_at(span.end()) {
            self.give_up_kept();
        }
        self.heap.resize_large(span, size)
    }
}
