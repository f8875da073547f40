//! A hint to the processor: this memory will be written to soon.

use core::ptr::NonNull;

/// Asks for the line of the processor's caches at `at`, and waits for nothing. The address need not be valid.
#[inline(always)]
pub(crate) fn for_writing(at: NonNull<u8>) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint neither faults nor changes memory; without the instruction for writing the compiler takes
        // the one for reading, which all have.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
