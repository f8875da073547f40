//! The functions: what C, POSIX and glibc promise of each.
//!
//! * Every block is aligned to 16 bytes, as the ABI's largest type asks for, whatever its size.
//! * Memory that is short is a null and `ENOMEM`. So is a size above `PTRDIFF_MAX`: the difference
//!   of two pointers into such a block would not fit. A call that succeeds leaves `errno` alone, and
//!   so does `free`.
//! * A size of zero gets a block of its own, which must be freed.
//! * `realloc(block, 0)` frees and returns null, as glibc does; `realloc(null, size)` is `malloc`.
//! * Where glibc's functions differ in what they do with an alignment that is no power of two, so do these:
//!   `memalign` rounds up, `aligned_alloc` and `posix_memalign` refuse.
//! * A pointer that was never given out here ends the program with a message. To ignore it would
//!   hide the error, to pass it on would need the allocator that this one replaces.
//!
//! Sources: C23 7.24.3, POSIX.1-2024, malloc(3), glibc 2.41 `malloc.c`.

use core::{
    alloc::{GlobalAlloc as _, Layout},
    ffi::{c_int, c_void},
    ptr::{self, NonNull},
};

use alloc_core::size_class::MAX_SMALL;

use crate::{ALLOCATOR, ATTENDANT, report};

/// Alignment of what was asked for without one: that of `max_align_t`.
const ALIGN: usize = 16;

/// Allocates `size` bytes.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    if size <= MAX_SMALL {
        // SAFETY: far below an `isize`, and 16 is a power of two.
        let layout = unsafe { Layout::from_size_align_unchecked(size, ALIGN) };
        if let Some(block) = ALLOCATOR.alloc_cached(layout) {
            return block.as_ptr().cast();
        }
    }
    malloc_slow(size)
}

/// What no cache has at hand. By a jump: `malloc` has no stack frame.
#[cold]
#[inline(never)]
extern "C" fn malloc_slow(size: usize) -> *mut c_void {
    or_no_memory(layout(size, ALIGN).and_then(allocate_slow))
}

/// Allocates `count` times `size` bytes that read as zero.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let layout = count.checked_mul(size).and_then(|bytes| layout(bytes, ALIGN));
    // SAFETY: the allocator takes a size of zero as well.
    let block = layout.and_then(|layout| NonNull::new(unsafe { ALLOCATOR.alloc_zeroed(layout) }));
    ATTENDANT.look();
    or_no_memory(block)
}

/// Frees a block, if `block` is not null.
///
/// # Safety
///
/// `block` came from this family, and nobody uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(block: *mut c_void) {
    if let Some(block) = NonNull::new(block.cast()) {
        // SAFETY: the caller gives the block up.
        if !unsafe { ALLOCATOR.free_cached(block) } {
            // SAFETY: as above; it was not freed yet.
            unsafe { free_slow(block) }
        }
    }
}

/// What no cache takes at once. By a jump, as in `malloc`.
///
/// # Safety
///
/// As [`free`].
#[cold]
#[inline(never)]
unsafe extern "C" fn free_slow(block: NonNull<u8>) {
    // SAFETY: passed on.
    if !unsafe { ALLOCATOR.free(block) } {
        report::foreign(block);
    }
}

/// Changes a block's size, where it lies or by moving it.
///
/// # Safety
///
/// As [`free`], if the result is not null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let Some(old) = NonNull::new(block.cast::<u8>()) else {
        return or_no_memory(allocate(size, ALIGN));
    };
    if size == 0 {
        // SAFETY: the caller gives the block up.
        unsafe { free(block) };
        return ptr::null_mut();
    }
    let Some(wanted) = layout(size, ALIGN) else { return or_no_memory(None) };
    let Some(usable) = ALLOCATOR.usable_size(old) else { report::foreign(old) };
    // SAFETY: no block is longer than an `isize` can tell, and 16 is a power of two.
    let has = unsafe { Layout::from_size_align_unchecked(usable, ALIGN) };
    // SAFETY: the block is live, as long as `has` says, and aligned to 16 at least.
    let block = NonNull::new(unsafe { ALLOCATOR.realloc(old.as_ptr(), has, wanted.size()) });
    ATTENDANT.look();
    or_no_memory(block)
}

/// As [`realloc`] to `count` times `size` bytes.
///
/// # Safety
///
/// As [`realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(
    block: *mut c_void,
    count: usize,
    size: usize,
) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: passed on.
        Some(bytes) => unsafe { realloc(block, bytes) },
        None => or_no_memory(None),
    }
}

/// Allocates `size` bytes at a multiple of `align` and stores where; returns 0 or an error's number.
///
/// # Safety
///
/// `block` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    block: *mut *mut c_void,
    align: usize,
    size: usize,
) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let Some(new) = allocate(size, align) else { return libc::ENOMEM };
    // SAFETY: promised by the caller.
    unsafe { block.write(new.as_ptr().cast()) };
    0
}

/// Allocates `size` bytes at a multiple of `align`, a power of two.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { or_no_memory(allocate(size, align)) } else { invalid() }
}

/// Allocates `size` bytes at a multiple of `align`, rounded up to a power of two.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => or_no_memory(allocate(size, align)),
        None => invalid(),
    }
}

/// Allocates `size` bytes at the start of a page.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    or_no_memory(allocate(size, page()))
}

/// Allocates whole pages, `size` bytes at least.
///
/// # Safety
///
/// None; the signature is C's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page();
    or_no_memory(size.checked_next_multiple_of(page).and_then(|bytes| allocate(bytes, page)))
}

/// Bytes of a block that may be used; 0 for null.
///
/// # Safety
///
/// `block` is null or a live block of this family.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    let Some(block) = NonNull::new(block.cast()) else { return 0 };
    ALLOCATOR.usable_size(block).unwrap_or_else(|| report::foreign(block))
}

/// As [`free`]; the size that it was asked for with is not needed.
///
/// # Safety
///
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(block: *mut c_void, _size: usize) {
    // SAFETY: passed on.
    unsafe { free(block) }
}

/// As [`free`]; the layout that it was asked for with is not needed.
///
/// # Safety
///
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(block: *mut c_void, _align: usize, _size: usize) {
    // SAFETY: passed on.
    unsafe { free(block) }
}

/// A block at a multiple of `align`, and of 16; `align` is a power of two.
#[inline(always)]
fn allocate(size: usize, align: usize) -> Option<NonNull<u8>> {
    let layout = layout(size, align.max(ALIGN))?;
    ALLOCATOR.alloc_cached(layout).or_else(|| allocate_slow(layout))
}

/// What no cache has at hand.
#[cold]
#[inline(never)]
fn allocate_slow(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: the allocator takes a size of zero as well.
    let block = NonNull::new(unsafe { ALLOCATOR.alloc(layout) });
    ATTENDANT.look();
    block
}

/// `None` if the size exceeds what the difference of two pointers can tell.
#[inline(always)]
fn layout(size: usize, align: usize) -> Option<Layout> {
    Layout::from_size_align(size, align).ok()
}

#[inline(always)]
fn or_no_memory(block: Option<NonNull<u8>>) -> *mut c_void {
    match block {
        Some(block) => block.as_ptr().cast(),
        None => fail(libc::ENOMEM),
    }
}

fn invalid() -> *mut c_void {
    fail(libc::EINVAL)
}

#[cold]
fn fail(error: c_int) -> *mut c_void {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() = error };
    ptr::null_mut()
}

/// Bytes of a page of the kernel's.
fn page() -> usize {
    // SAFETY: the call has no preconditions; it answers with a positive number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
