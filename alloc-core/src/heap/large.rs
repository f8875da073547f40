//! Blocks with pages of their own: they are kept for a while when they are freed, and move with their pages.

use core::ptr::NonNull;

use super::Heap;
use crate::{
    Error, large_cache,
    page_heap::pages::Taken,
    pages::{PageSource, is_whole},
    profile,
    size_class::PAGE,
    span::{Kind, SpanPtr},
};

/// Blocks of so many bytes take their pages with them when they move. To copy a megabyte takes about 50 µs
/// if nothing is touched for the first time, and ten times as long else; to move it, 5 µs, and a mapping or
/// two, of which the kernel gives a process some 65,000.
const RELOCATE: usize = 4 << 20;

impl<S: PageSource> Heap<S> {
    /// A block with new pages of its own. `align` is in bytes; also tells whether it reads as zero.
    pub(crate) fn alloc_large(
        &self,
        size: usize,
        align: usize,
    ) -> Result<(NonNull<u8>, bool), Error> {
        if size > isize::MAX as usize {
            return Err(Error::TooLarge);
        }
        let pages = size.div_ceil(PAGE).max(1);
        if pages >= u32::MAX as usize {
            return Err(Error::TooLarge);
        }
        if let Some(hardened) = self.hardened() {
            return self.hardened_large(hardened, size, align);
        }
        let Taken { span, zeroed } = self.large_span(pages, align.div_ceil(PAGE))?;
        span.set_kind(Kind::Large);
        let at = NonNull::new(span.base() as *mut u8).ok_or(Error::OutOfMemory)?;
        Ok((at, zeroed))
    }

    /// Whether each large block has to be looked at: the heap is hardened, or profiled.
    #[inline(always)]
    pub(crate) fn is_watched(&self) -> bool {
        self.profiled().is_some() || self.hardened().is_some()
    }

    /// The span of a large block that was just freed, for so many pages, the beginning of a bucket.
    pub(crate) fn take_kept(&self, served: usize) -> Option<SpanPtr> {
        // SAFETY: the cache holds records of this heap.
        let span = self.larges.take(served).map(|span| unsafe { SpanPtr::from_raw(span) });
        span.inspect(|span| span.set_kind(Kind::Large))
    }

    /// A new span for a large block, still *dead*.
    fn large_span(&self, pages: usize, align: usize) -> Result<Taken, Error> {
        let served = large_cache::serve(pages);
        let taken =
            self.take(served, align, Kind::Large).or_else(|error| match served == pages {
                true => Err(error),
                false => self.take(pages, align, Kind::Large),
            })?;
        taken.span.set_owner(0);
        Ok(taken)
    }

    /// Frees a large block.
    pub(crate) fn free_large(&self, span: SpanPtr) {
        if !self.keep_large(span) {
            self.free_span(span);
        }
    }

    /// Keeps the span of a large block that is freed for the next, if there is room. Never waits.
    pub(super) fn keep_large(&self, span: SpanPtr) -> bool {
        profile::leave(span);
        // Whoever frees the block again finds none.
        span.set_kind(Kind::Dead);
        let kept =
            NonNull::new(span.as_ptr()).is_some_and(|record| self.larges.put(span.pages(), record));
        if !kept {
            span.set_kind(Kind::Large);
        }
        kept
    }

    /// Gives the spans of large blocks that were just freed back to the page heap.
    pub(crate) fn free_kept_spans(&self) {
        self.pages().reclaim(&self.parts());
    }

    /// Makes a large block `size` bytes long where it lies; `false` if it must move.
    ///
    /// It stays as it is if that leaves no more than an eighth over.
    pub(crate) fn resize_large(&self, span: SpanPtr, size: usize) -> bool {
        let (pages, now) = (size.div_ceil(PAGE).max(1), span.pages());
        let fits = pages <= now && now - pages <= now / 8;
        fits || self.pages().resize_in_place(&self.parts(), span, pages).is_ok()
    }

    /// Moves `bytes` bytes of a large block to another large block with their pages, and frees the old one;
    /// `false`, and nothing done, if they must be copied.
    pub(crate) fn relocate(&self, from: SpanPtr, to: NonNull<u8>, bytes: usize) -> bool {
        let pages = bytes.div_ceil(PAGE);
        let holds = |span: SpanPtr| span.kind() == Kind::Large && span.pages() >= pages;
        let other = self.map.get(to.as_ptr() as usize);
        if bytes < RELOCATE || !holds(from) || !other.is_some_and(holds) {
            return false;
        }
        let Some(at) = NonNull::new(from.base() as *mut u8) else { return false };
        let whole = |at: NonNull<u8>| is_whole(&self.source, at.as_ptr() as usize, pages * PAGE);
        if !whole(at) || !whole(to) {
            return false;
        }
        // SAFETY: both blocks are the caller's, live and distinct, have so many pages each, which are
        // committed and whole ones of the machine, and begin with their spans.
        if !unsafe { self.source.relocate(at, to, pages * PAGE) } {
            return false;
        }
        profile::leave(from);
        self.pages().free_moved(&self.parts(), from, pages);
        true
    }
}
