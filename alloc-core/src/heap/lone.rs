//! Frees by who has no cache, or not the span, and of what is no block of a cache's.
//!
//! A thread without a cache (a signal handler, a thread that is ending) frees as well. Its path takes
//! locks only by `try_lock`; if the page heap is busy, the span goes into a lock-free set that
//! the next holder of the lock empties.

use core::ptr::NonNull;

use super::Heap;
use crate::{
    harden::Wait,
    pages::PageSource,
    profile,
    remote::Freed,
    span::{Kind, SpanPtr},
};

impl<S: PageSource> Heap<S> {
    /// Frees a block without a cache; never waits and may run in a signal handler.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`](crate::Cache::free).
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let block = heap.cache().alloc(Layout::new::<[u8; 5000]>()).unwrap();
    /// // SAFETY: ours, and freed once.
    /// unsafe { heap.free(block) };
    /// assert_eq!(heap.usable_size(block), None);
    /// ```
    pub unsafe fn free(&self, block: NonNull<u8>) {
        let _undisturbed = self.undisturbed();
        // SAFETY: passed on.
        unsafe { self.free_undisturbed(block) }
    }

    /// As [`Heap::free`]. Of the heap of the process the caller is [`Undisturbed`].
    ///
    /// # Safety
    ///
    /// As [`Heap::free`].
    pub(crate) unsafe fn free_undisturbed(&self, block: NonNull<u8>) {
        let Some(span) = self.map.get(block.as_ptr() as usize) else {
            return self.free_odd(None, block, Wait::Never);
        };
        match span.kind() {
            // SAFETY: passed on; the span is the one that the block lies in.
            Kind::Small => unsafe { self.free_remote(span, block) },
            Kind::Large if self.keep_large(span) => {}
            Kind::Large => self.free_span_later(span),
            _ => self.free_odd(Some(span), block, Wait::Never),
        }
    }

    /// Frees a cell of a span that the caller does not own; never waits.
    ///
    /// # Safety
    ///
    /// `cell` is a live cell of `span`, which is small; the caller gives it up.
    unsafe fn free_remote(&self, span: SpanPtr, cell: NonNull<u8>) {
        // Before the free: after it the span may be another's.
        let class = span.class();
        let freed = span.remote.free(span.index(cell.as_ptr() as usize));
        self.after_remote_free(span, class, freed);
    }

    /// Does what remains to be done after cells of `span`, then of `class`, were freed as remote ones; never waits.
    pub(crate) fn after_remote_free(&self, span: SpanPtr, class: usize, freed: Freed) {
        let stirred = &self.counters.stirred;
        if let Some(span) = self.central(class).after_remote_free(span, class, freed, stirred) {
            self.free_span_later(span);
        }
    }

    /// Frees what is no cell of a small span but was given to a cache as one: a block of a heap that
    /// shares the caches' users with this one, or a mistake.
    #[cold]
    pub(crate) fn free_stray(&self, span: Option<SpanPtr>, block: NonNull<u8>, wait: Wait) {
        let free = self.around.map(|around| around.free).filter(|_| span.is_none());
        let known = free.is_some_and(|free| {
            // A handler would find the caller's cache in use, and come to the heap whose locks are taken here.
            let _undisturbed = self.undisturbed();
            // SAFETY: the caller gives the block up, whosever it is.
            unsafe { free(block) }
        });
        if !known {
            self.free_odd(span, block, wait);
        }
    }

    /// As [`Heap::free_span`], but never waits.
    pub(crate) fn free_span_later(&self, span: SpanPtr) {
        profile::leave(span);
        if let Some(mut pages) = self.pages.try_lock() {
            pages.locks += 1;
            self.settle(&mut pages);
            return pages.free(&self.parts(), span);
        }
        if let Some(element) = NonNull::new(span.as_ptr()) {
            // SAFETY: the span was given to us to free, so nobody else stacks its record, and
            // records stay in place.
            unsafe { self.deferred.push(element) };
            self.counters.stirred.note();
        }
    }
}
