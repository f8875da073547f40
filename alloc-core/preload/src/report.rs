//! What the library tells: its account in glibc's terms, and errors that it cannot survive.

use core::{
    ffi::{c_int, c_void},
    ptr::NonNull,
};

use alloc_core::global::heap;

/// Gives the memory of free pages back; 1 if there was any. glibc's `keep`, the bytes to keep at the top of
/// its heap, has no meaning here.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_trim(_keep: usize) -> c_int {
    (heap().release() > 0).into()
}

/// The account of the heap, as far as glibc's terms fit.
///
/// `hblkhd` holds blocks with pages of their own, `uordblks` these and the spans of small blocks, `fordblks` free
/// pages that have memory; `arena` is the sum of both and of the allocator's records.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallinfo2() -> libc::mallinfo2 {
    let stats = heap().stats();
    libc::mallinfo2 {
        arena: stats.small + stats.large + stats.free + stats.metadata,
        ordblks: 0,
        smblks: 0,
        hblks: 0,
        hblkhd: stats.large,
        usmblks: 0,
        fsmblks: 0,
        uordblks: stats.small + stats.large,
        fordblks: stats.free,
        keepcost: 0,
    }
}

/// As [`mallinfo2`], for older programs: what a C integer cannot tell is the most that it can.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mallinfo() -> libc::mallinfo {
    // SAFETY: as this function.
    let exact = unsafe { mallinfo2() };
    let told = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    libc::mallinfo {
        arena: told(exact.arena),
        ordblks: 0,
        smblks: 0,
        hblks: 0,
        hblkhd: told(exact.hblkhd),
        usmblks: 0,
        fsmblks: 0,
        uordblks: told(exact.uordblks),
        fordblks: told(exact.fordblks),
        keepcost: 0,
    }
}

/// Ends the program: `block` was never given out by this library.
#[cold]
pub(crate) fn foreign(block: NonNull<u8>) -> ! {
    let mut line = *b"alloc_preload: 0x................ is not a block of this allocator\n";
    let digits = line.iter_mut().filter(|byte| **byte == b'.');
    let address = block.as_ptr() as usize;
    for (place, digit) in digits.enumerate() {
        *digit = b"0123456789abcdef"[address >> (60 - 4 * place) & 15];
    }
    // SAFETY: the line is readable for its length. Nothing else can be done if it cannot be written.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast::<c_void>(), line.len());
        libc::abort()
    }
}
