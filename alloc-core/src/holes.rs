//! Holes: pages of a live span that hold free cells only, and have no memory any more.
//!
//! # Problem
//!
//! One live cell keeps its whole span, and most programs keep a few of everything: of a million blocks
//! of which nine in ten are freed at random, hardly a span of 64 KiB becomes empty. But a good third of
//! the *machine's* pages in them do, and those the kernel takes back one by one.
//!
//! # How
//!
//! ```text
//!   cells   │ a │   │   │   │   │   │   │   │   │ b │         a, b in use
//!   pages   │     0     │     1     │     2     │  3          1 and 2 are vacant
//!   away            │ x │ x │ x │ x │ x │                    free cells that touch a hole
//! ```
//!
//! A page is *vacant* if all cells that touch it are free. Cells that others freed count as used until the
//! owner has collected them. [`discard`] tells the source that vacant pages are not needed and makes them *holes*. The free
//! cells that touch one are *away*: their bits are taken out of the span, so the path that hands cells
//! out knows nothing of all this, and prefers by itself what has memory. When nothing else is left,
//! [`recall`] puts the bits of the lowest holes back; the memory comes with the first touch.
//!
//! Which cells are away follows from the holes, so no second bitmap is needed.
//!
//! Both functions are for who holds the span alone: its owner, or the scavenger while it has the span
//! out of its central (see `scavenge/spans.rs`).
//!
//! # Rejected
//!
//! * *Spans of one page of the machine*: eight times as many records, and few of them empty at random.
//! * *A list through free cells* cannot have holes: the links lie in them (decision 13).
//! * *To know that a recalled cell reads as zero.* Magazines do not say where a cell comes from.

use core::ops::Range;

use crate::{
    Error,
    owned::{clear_free, collect, set_free},
    size_class::PAGE,
    span::SpanPtr,
};

/// Pages that [`recall`] takes back at once, where it can: the account of them is behind a lock.
const RECALLED: u32 = 4;

/// How cells and pages of a span overlap. Pages are bits of a word: a span has at most 20.
#[derive(Clone, Copy)]
struct Grid {
    cell: usize,
    /// Logarithm of the bytes of a page.
    shift: u32,
}

impl Grid {
    fn of(span: SpanPtr, shift: u32) -> Self {
        Grid { cell: span.cell(), shift }
    }

    /// The pages that a cell touches.
    fn pages(self, cell: usize) -> u32 {
        let (from, to) = (cell * self.cell, (cell + 1) * self.cell - 1);
        ((2_u64 << (to >> self.shift)) - (1_u64 << (from >> self.shift))) as u32
    }

    /// The cells that touch one of these pages, or lie between two of them.
    fn cells(self, pages: u32, span: SpanPtr) -> Range<usize> {
        let from = (pages.trailing_zeros() as usize) << self.shift;
        let end = ((u32::BITS - pages.leading_zeros()) as usize) << self.shift;
        let last = span.index(span.base() + end - 1);
        span.index(span.base() + from)..(last + 1).min(span.capacity() as usize)
    }
}

/// The pages that hold free cells only, and still have memory.
fn vacant(span: SpanPtr, grid: Grid) -> u32 {
    let (holes, cells) = (span.holes.get(), span.capacity() as usize);
    let all = grid.pages(cells - 1);
    let all = all | (all & all.wrapping_neg()).wrapping_sub(1);
    let mut busy = holes;
    for (number, word) in span.free.iter().enumerate().take(cells.div_ceil(64)) {
        let here = (cells - number * 64).min(64);
        let mut taken = !word.get() & (!0 >> (64 - here));
        while taken != 0 {
            let pages = grid.pages(number * 64 + taken.trailing_zeros() as usize);
            taken &= taken - 1;
            // Who touches a hole is away, and free.
            busy |= if pages & holes == 0 { pages } else { 0 };
        }
        if busy & all == all {
            return 0;
        }
    }
    all & !busy
}

/// Gives the vacant pages of a span back, of `1 << shift` bytes each; returns how many bytes.
///
/// `decommit` says whether the source took the memory of a range of addresses. Of a span without a cell
/// in use nothing is given back: it goes as a whole.
///
/// The caller holds the span alone.
pub(crate) fn discard(
    span: SpanPtr,
    shift: u32,
    mut decommit: impl FnMut(Range<usize>) -> bool,
) -> usize {
    collect(span);
    if (1 << shift) > PAGE || span.used.get() == 0 {
        return 0;
    }
    let grid = Grid::of(span, shift);
    let mut left = vacant(span, grid);
    let before = span.holes.get();
    while left != 0 {
        let from = left.trailing_zeros();
        let len = (left >> from).trailing_ones();
        let run = ((1_u64 << (from + len)) - (1_u64 << from)) as u32;
        left &= !run;
        let start = span.base() + ((from as usize) << shift);
        if decommit(start..start + ((len as usize) << shift)) {
            span.holes.set(span.holes.get() | run);
            let gone = grid.cells(run, span).filter(|&cell| clear_free(span, cell)).count();
            span.away.set(span.away.get() + gone as u32);
        }
    }
    bytes(span.holes.get() & !before, shift)
}

/// Makes free cells that are away available again, if there are any; `true` if there were.
///
/// `allow` is asked first whether so many bytes may have memory again.
///
/// The caller holds the span alone.
pub(crate) fn recall(
    span: SpanPtr,
    shift: u32,
    allow: impl FnOnce(usize) -> Result<(), Error>,
) -> Result<bool, Error> {
    let holes = span.holes.get();
    if holes == 0 {
        return Ok(false);
    }
    let grid = Grid::of(span, shift);
    let from = holes.trailing_zeros();
    // All pages of one cell at least, so that it is of use.
    let first = span.index(span.base() + ((from as usize) << shift));
    let wanted = holes & (grid.pages(first) | ((1 << RECALLED) - 1) << from);
    allow(bytes(wanted, shift))?;
    let rest = holes & !wanted;
    span.holes.set(rest);
    for cell in grid.cells(wanted, span) {
        let pages = grid.pages(cell);
        if pages & wanted != 0 && pages & rest == 0 {
            set_free(span, cell);
            span.away.set(span.away.get() - 1);
        }
    }
    Ok(true)
}

/// Forgets the holes of a span that is given back whole; returns how many bytes they were.
pub(crate) fn forget(span: SpanPtr, shift: u32) -> usize {
    span.away.set(0);
    bytes(span.holes.replace(0), shift)
}

fn bytes(pages: u32, shift: u32) -> usize {
    (pages.count_ones() as usize) << shift
}
