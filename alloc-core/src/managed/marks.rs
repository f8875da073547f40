//! Marks: a bit for each cell, in words of 64, set by whoever comes first.
//!
//! Several workers, and mutators that make black objects, mark at once, and cells of one word are
//! neighbours in memory. So two things are promised while the collector marks:
//!
//! * of those who mark one cell, one is told that it was clear, and looks into the object;
//! * no mark is lost beside another one in the same word.
//!
//! A read-modify-write is both. The look before it keeps the line shared where most cells are marked
//! already. Sweep, which clears the word, is over before anybody marks (see `sweeping`).
//!
//! Objects are found by edges. Only who walks over what is marked ([`Heap::marked`](crate::Heap::marked)) finds
//! one by its mark, and must find it whole: so a mark is set with Release, and the walk reads with Acquire.
//!
//! Model: `loom-tests/tests/alloc_marks.rs`.

use crate::sync::{AtomicU64, Ordering};

/// Sets the mark of a cell in its word; true if it was clear.
#[inline(always)]
pub fn mark(word: &AtomicU64, cell: usize) -> bool {
    let bit = 1 << (cell % 64);
    // Relaxed: who finds it set leaves it. Release: pairs with `all`.
    word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Release) & bit == 0
}

/// Whether the mark of a cell is set in its word.
#[inline(always)]
pub fn is_marked(word: &AtomicU64, cell: usize) -> bool {
    // Relaxed: who asks has the object by other means.
    word.load(Ordering::Relaxed) & 1 << (cell % 64) != 0
}

/// The marks of a word, for one who looks into what is marked.
#[inline]
pub fn all(word: &AtomicU64) -> u64 {
    // Acquire: brings what was written before each mark; pairs with `mark`.
    word.load(Ordering::Acquire)
}
