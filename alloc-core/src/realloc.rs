//! Resizing a block: where it lies if its class or the pages behind it allow, else by moving it.

use core::{alloc::Layout, ptr, ptr::NonNull};

use crate::{
    Cache, Error,
    pages::PageSource,
    size_class::{TABLE, class_for},
    span::Kind,
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
        let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else {
            return Err(Error::TooLarge);
        };
        if self.fits_in_place(block, wanted) {
            return Ok(block);
        }
        let moved = self.alloc(wanted)?;
        // SAFETY: both blocks are live and distinct, and have at least that many bytes.
        unsafe {
            ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), layout.size().min(new_size));
            self.free(block);
        }
        Ok(moved)
    }

    /// True if the block now serves `wanted` where it lies.
    fn fits_in_place(&self, block: NonNull<u8>, wanted: Layout) -> bool {
        let Some(span) = self.heap().map.get(block.as_ptr() as usize) else { return false };
        let class = class_for(wanted.size(), wanted.align());
        match (span.kind(), class) {
            // Up to a quarter less stays: moving costs more than the rest of the cell.
            (Kind::Small, Some(class)) => {
                let (cell, new) = (span.cell(), TABLE[class].size as usize);
                new == cell || (new < cell && new >= cell - cell / 4)
            }
            (Kind::Large, None) => self.heap().resize_large(span, wanted.size()),
            _ => false,
        }
    }
}
