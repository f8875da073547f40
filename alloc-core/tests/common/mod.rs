//! What several test files need: memory for an index of pages.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    cell::RefCell,
    ptr::NonNull,
};

use alloc_core::page_heap::Room;

/// Memory for records, given back when it is dropped.
#[derive(Default)]
pub(crate) struct Memory {
    blocks: RefCell<Vec<(NonNull<u8>, Layout)>>,
}

// SAFETY: fresh zeroed memory, freed when the room ends; the tests drop it last.
unsafe impl Room for Memory {
    fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: no table is empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        self.blocks.borrow_mut().push((block, layout));
        Some(block)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (block, layout) in self.blocks.get_mut().drain(..) {
            // SAFETY: allocated above with that layout, and freed once.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
    }
}
