//! Marks: a bit for each cell, in words of 64, set by whoever comes first.
//!
//! Several workers, and mutators that make black objects, mark at once, and cells of one word are
//! neighbours in memory. So two things are promised while the collector marks:
//!
//! * of those who mark one cell, one is told that it was clear, and looks into the object;
//! * no mark is lost beside another one in the same word.
//!
//! A read-modify-write is both. The look before it keeps the line shared where most cells are marked
//! already. The orderings are relaxed: a mark publishes nothing, since objects are found by edges; and
//! sweep, which clears the word, is over before anybody marks (see `sweeping`).
//!
//! Model: `loom-tests/tests/alloc_marks.rs`.

use crate::sync::{AtomicU64, Ordering};

/// Sets the mark of a cell in its word; true if it was clear.
#[inline(always)]
pub fn mark(word: &AtomicU64, cell: usize) -> bool {
    let bit = 1 << (cell % 64);
    // Relaxed, both: see the essay.
    word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0
}

/// Whether the mark of a cell is set in its word.
#[inline(always)]
pub fn is_marked(word: &AtomicU64, cell: usize) -> bool {
    // Relaxed: see the essay.
    word.load(Ordering::Relaxed) & 1 << (cell % 64) != 0
}
