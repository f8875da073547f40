//! Memory for the tables of a page index in a model.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    sync::Mutex,
};

use alloc_core::page_heap::Room;

/// Zeroed blocks, given back when it is dropped.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Vec<(usize, Layout)>>);

// SAFETY: fresh zeroed memory, freed when the model's world ends. The tables hold no atomics.
unsafe impl Room for Memory {
    fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: no table is empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let mut blocks = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        blocks.push((block.as_ptr() as usize, layout));
        Some(block)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let blocks = self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (block, layout) in blocks.drain(..) {
            // SAFETY: allocated above with that layout, and freed once.
            unsafe { dealloc(block as *mut u8, layout) };
        }
    }
}
