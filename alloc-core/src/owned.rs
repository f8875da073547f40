//! The owner's part of a small span: its free cells.
//!
//! Free cells form a list through their first words. Cells beyond `untouched` were never handed out and
//! are on no list, so a fresh span costs no write, and a page of it has no memory until it is used.
//! All functions are for the span's owner alone.

use core::ptr::NonNull;

use crate::span::SpanPtr;

/// Takes a free cell of a span that the caller owns; also tells whether it reads as zero.
#[inline(always)]
pub(crate) fn pop(span: SpanPtr) -> Option<(NonNull<u8>, bool)> {
    if let Some(cell) = NonNull::new(span.local.get()) {
        // SAFETY: a free cell begins with a pointer to the next, written when it was freed.
        span.local.set(unsafe { cell.cast::<*mut u8>().read() });
        span.used.set(span.used.get() + 1);
        return Some((cell, false));
    }
    let untouched = span.untouched.get();
    if untouched == span.capacity() {
        return None;
    }
    span.untouched.set(untouched + 1);
    span.used.set(span.used.get() + 1);
    let cell = NonNull::new(span.cell_at(untouched as usize) as *mut u8)?;
    Some((cell, span.zeroed.get()))
}

/// True if the owner's part of a span has a free cell.
pub(crate) fn has_local(span: SpanPtr) -> bool {
    !span.local.get().is_null() || span.untouched.get() < span.capacity()
}

/// Takes the cells that others freed into a span without local ones; `false` if there are none.
pub(crate) fn collect(span: SpanPtr) -> bool {
    debug_assert!(span.local.get().is_null(), "the list would be lost");
    let Some(list) = span.remote.take() else { return false };
    let Some(head) = list.head() else { return false };
    span.local.set(span.cell_at(head as usize) as *mut u8);
    span.used.set(span.used.get() - list.count());
    true
}
