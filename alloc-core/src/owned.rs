//! The owner's part of a small span: which of its cells are free.
//!
//! One bit per cell says so, in the span's record. The cells themselves are neither read nor written:
//! a fresh span costs no page of memory before it is used, moving cells between spans and magazines
//! misses no cache, and a page of a span without live cells holds nothing that is needed.
//!
//! Cells are handed out from the lowest address up. So the cells of a batch lie side by side, and the
//! upper pages of a span that was never full stay untouched.
//!
//! So those that were never handed out are the upper ones: from the span's *watermark* on. In a span of
//! pages that read as zero, these cells do, and an allocation of zeroes takes them one by one from there
//! ([`take_fresh`]). The watermark only rises: a cell that was handed out once may have been written to.
//! Go keeps one for each arena (`zeroedBase`) and one bit for each span (`needzero`), which a sweep that
//! freed a cell sets for all of them.
//!
//! All functions are for the span's owner alone. Model of the watermark: `loom-tests/tests/alloc_zeroed.rs`.
//!
//! Rejected: a list through the free cells, which was here before. Batches walk it, and each step waits
//! for a cell to come from memory: a thousand blocks of 1 KiB and then their frees took three times as
//! long.

use core::ptr::NonNull;

use crate::{size_class::MOST_CELLS, span::SpanPtr};

/// Words of free bits in a record.
pub(crate) const WORDS: usize = MOST_CELLS / 64;

/// Cells of a span that its owner can take: known to be free, and touching no hole.
pub(crate) fn free_cells(span: SpanPtr) -> usize {
    (span.capacity() - span.used.get() - span.away.get()) as usize
}

/// True if no cell is free, with memory or without.
pub(crate) fn is_full(span: SpanPtr) -> bool {
    span.used.get() == span.capacity()
}

/// Makes all cells free: a new span, whose pages read as zero or not.
pub(crate) fn free_all(span: SpanPtr, zeroed: bool) {
    let mut left = span.capacity() as usize;
    for word in &span.free {
        let here = left.min(64);
        word.set(if here == 0 { 0 } else { !0 >> (64 - here) });
        left -= here;
    }
    span.lowest.set(0);
    span.fresh.set(if zeroed { 0 } else { span.capacity() });
    span.used.set(0);
    span.holes.set(0);
    span.away.set(0);
}

/// Takes the `count` lowest free cells and writes them to `to`, the lowest last.
///
/// # Safety
///
/// So many cells are free, and `to` has room for them.
pub(crate) unsafe fn take(span: SpanPtr, count: usize, to: *mut NonNull<u8>) {
    debug_assert!(count <= free_cells(span), "{count} of {}", free_cells(span));
    let (base, size) = (span.base(), span.cell());
    let (mut word, mut left, mut end) = (span.lowest.get() as usize, count, 0);
    while left > 0 {
        let mut bits = span.free[word].get();
        while bits != 0 && left > 0 {
            let index = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            left -= 1;
            end = index + 1;
            // SAFETY: an address inside the span, which is not null; `left < count`.
            unsafe { to.add(left).write(NonNull::new_unchecked((base + index * size) as *mut u8)) };
        }
        span.free[word].set(bits);
        word += usize::from(left > 0);
    }
    span.lowest.set(word as u32);
    span.fresh.set(span.fresh.get().max(end as u32));
    span.used.set(span.used.get() + count as u32);
}

/// Takes a cell that was never handed out and reads as zero, if there is one and it is not away.
pub(crate) fn take_fresh(span: SpanPtr) -> Option<NonNull<u8>> {
    let index = span.fresh.get();
    if index >= span.capacity() {
        return None;
    }
    let (word, bit) = (index as usize / 64, 1 << (index % 64));
    let bits = span.free[word].get();
    debug_assert!(bits & bit != 0 || span.away.get() > 0, "cell {index} was handed out");
    if bits & bit == 0 {
        return None;
    }
    span.free[word].set(bits & !bit);
    span.fresh.set(index + 1);
    span.used.set(span.used.get() + 1);
    NonNull::new(span.cell_at(index as usize) as *mut u8)
}

/// Makes cells of a word free; returns how many are in use now.
pub(crate) fn put(span: SpanPtr, word: usize, cells: u64) -> u32 {
    set_all_free(span, word, cells);
    let used = span.used.get() - cells.count_ones();
    span.used.set(used);
    used
}

/// Sets the bit of a cell.
pub(crate) fn set_free(span: SpanPtr, index: usize) {
    set_all_free(span, index / 64, 1 << (index % 64));
}

/// Sets bits of a word.
fn set_all_free(span: SpanPtr, word: usize, cells: u64) {
    let bits = span.free[word].get();
    debug_assert_eq!(bits & cells, 0, "cells of {:#x}, word {word}, freed twice", span.base());
    span.free[word].set(bits | cells);
    span.lowest.set(span.lowest.get().min(word as u32));
}

/// Clears the bit of a cell; `false` if it was clear.
pub(crate) fn clear_free(span: SpanPtr, index: usize) -> bool {
    let (word, bit) = (index / 64, 1 << (index % 64));
    let bits = span.free[word].get();
    span.free[word].set(bits & !bit);
    bits & bit != 0
}

/// Takes the cells that others freed; `false` if there are none.
pub(crate) fn collect(span: SpanPtr) -> bool {
    let count = span.remote.take(|word, cells| set_all_free(span, word, cells));
    span.used.set(span.used.get() - count);
    count > 0
}
