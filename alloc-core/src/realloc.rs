//! Resizing a block: where it lies if its class or the pages behind it allow, else by moving it.
//!
//! "The pages behind it" are free ones, those of a large block that was just freed, and those that the heap
//! has not committed yet. A block of megabytes that must move takes its pages with it, if the source can do
//! that ([`PageSource::relocate`]): a vector that doubles up to half a gigabyte is neither copied nor faulted
//! in again.

use core::{alloc::Layout, ptr, ptr::NonNull};

use crate::{
    Cache, Error,
    harden::Wait,
    pages::PageSource,
    size_class::class_for,
    span::{Kind, SpanPtr},
};

impl<S: PageSource> Cache<'_, S> {
    /// Changes the size of a block, in place if its class or its pages allow.
    ///
    /// The first `min(old, new)` bytes are kept. The alignment stays that of `layout`.
    ///
    /// # Errors
    ///
    /// As [`Cache::alloc`]; the old block is then as it was.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`]; `layout` is the one that the block was allocated or last resized with.
    pub unsafe fn realloc(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Result<NonNull<u8>, Error> {
        // SAFETY: passed on.
        let resized = unsafe { self.realloc_if_known(block, layout, new_size) };
        resized.unwrap_or_else(|| {
            self.heap().free_odd(None, block, Wait::Briefly);
            Err(Error::OutOfMemory)
        })
    }

    /// As [`Cache::realloc`], but leaves a block of another heap alone and returns `None`.
    ///
    /// # Safety
    ///
    /// As [`Cache::realloc`], if the block is of this heap.
    pub(crate) unsafe fn realloc_if_known(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<Result<NonNull<u8>, Error>> {
        let span = self.heap().map.get(block.as_ptr() as usize)?;
        let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else {
            return Some(Err(Error::TooLarge));
        };
        if self.fits_in_place(span, wanted) {
            return Some(Ok(block));
        }
        let moved = match self.alloc(wanted) {
            Ok(moved) => moved,
            Err(error) => return Some(Err(error)),
        };
        let kept = layout.size().min(new_size);
        if self.heap().relocate(span, moved, kept) {
            return Some(Ok(moved));
        }
        // SAFETY: both blocks are live and distinct, and have at least that many bytes.
        unsafe {
            ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), kept);
            self.free(block);
        }
        Some(Ok(moved))
    }

    /// True if the block of that span now serves `wanted` where it lies.
    ///
    /// A cell stays only while it is of the class that `wanted` has: by that, [`Cache::free_sized`]
    /// will know which magazine it belongs to.
    fn fits_in_place(&mut self, span: SpanPtr, wanted: Layout) -> bool {
        match (span.kind(), class_for(wanted.size(), wanted.align())) {
            (Kind::Small, Some(class)) => span.class() == class,
            (Kind::Large, None) => self.resize_large(span, wanted.size()),
            _ => false,
        }
    }
}
