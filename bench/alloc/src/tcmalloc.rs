//! gperftools' tcmalloc by its C functions, from Debian's library.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

unsafe extern "C" {
    fn tc_malloc(size: usize) -> *mut c_void;
    fn tc_memalign(align: usize, size: usize) -> *mut c_void;
    fn tc_calloc(count: usize, size: usize) -> *mut c_void;
    fn tc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn tc_free_sized(block: *mut c_void, size: usize);
    fn tc_free(block: *mut c_void);
    fn MallocExtension_ReleaseFreeMemory();
}

/// What its own `malloc` aligns to.
const ALIGN: usize = 16;

struct TcMalloc;

// SAFETY: C's functions, with what they ask for: blocks of at least the layout's size and alignment, of
// one family.
unsafe impl GlobalAlloc for TcMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: `tc_memalign` gets a power of two.
        unsafe {
            match layout.align() {
                ..=ALIGN => tc_malloc(layout.size()).cast(),
                align => tc_memalign(align, layout.size()).cast(),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives the block up. The size is what it was asked for with, which an aligned
        // block's class does not follow from.
        unsafe {
            match layout.align() {
                ..=ALIGN => tc_free_sized(block.cast(), layout.size()),
                _ => tc_free(block.cast()),
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGN {
            // SAFETY: no precondition.
            return unsafe { tc_calloc(1, layout.size()).cast() };
        }
        // SAFETY: the block has so many bytes, if there is one.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGN {
            // SAFETY: the caller gives the block up.
            return unsafe { tc_realloc(block.cast(), size).cast() };
        }
        // SAFETY: the new layout is valid, says the caller; both blocks have the bytes that are copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[global_allocator]
static ALLOCATOR: TcMalloc = TcMalloc;

fn main() {
    // SAFETY: the call has no preconditions.
    bench_alloc::main("tcmalloc", Some(|| unsafe { MallocExtension_ReleaseFreeMemory() }));
}
