//! What AddressSanitizer is told of cells: a block is one piece of memory to it, of which it would
//! see nothing but the end.
//!
//! A cell that is freed is hidden until it is taken again or its block goes back, so that whoever reads or writes it
//! is reported at the access. Only in builds with `--cfg asan`, which `.ci/steps/sanitize.sh` makes: the compiler's
//! own `cfg(sanitize)` is unstable. In all others there is nothing here.

use core::ptr::NonNull;

#[cfg(asan)]
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const core::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const core::ffi::c_void, bytes: usize);
}

/// Nobody may touch this memory, until it is [shown](show).
#[inline(always)]
pub(super) fn hide(start: NonNull<u8>, bytes: usize) {
    #[cfg(asan)]
    // SAFETY: the sanitizer notes it beside the memory, which need not even be there.
    unsafe {
        __asan_poison_memory_region(start.as_ptr().cast(), bytes);
    }
    let _ = (start, bytes);
}

/// It is to be used again.
#[inline(always)]
pub(super) fn show(start: NonNull<u8>, bytes: usize) {
    #[cfg(asan)]
    // SAFETY: as in `hide`.
    unsafe {
        __asan_unpoison_memory_region(start.as_ptr().cast(), bytes);
    }
    let _ = (start, bytes);
}
