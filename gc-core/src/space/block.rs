//! A block: cells of one kind and one size, with their bits in front.
//!
//! ```text
//!   block, aligned to 32 KiB
//!   ┌────────┬───────────────┬───────┬──────┬──────┬─ ─ ┬──────┐
//!   │ header │ marks │ alloc │ doomed│ cell │ cell │    │ cell │
//!   └────────┴───────────────┴───────┴──────┴──────┴─ ─ ┴──────┘
//!   ▲
//!   └ found from any cell's address by clearing low bits
//! ```
//!
//! A large object has a block to itself, aligned the same way; its one cell begins within the
//! first 32 KiB, so its header is found the same way.
//!
//! Invariant: doomed ⊆ alloc, marks ⊆ alloc, and doomed ∩ marks = ∅.
//!
//! Who writes what: marks by anyone, with a read-modify-write; alloc by the one local cache that
//! has the block, or under the space's lock when none has; doomed under the lock.

use super::Kind;
use crate::sync::{AtomicU64, Ordering};
use core::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{self, AtomicBool},
};

/// Bytes of an ordinary block, and the alignment of all.
pub(super) const BLOCK: usize = 32 << 10;
/// The smallest cell, and the unit that cell sizes are rounded to.
pub(super) const GRAIN: usize = 16;
/// The largest cell in an ordinary block: at least seven fit.
pub(super) const LARGEST: usize = 4 << 10;

/// Words of each bitmap of a block with this many cells.
const fn words(cells: usize) -> usize {
    cells.div_ceil(64)
}

/// The cell size for an object: rounded so that at most a quarter is waste.
#[inline(always)]
pub(super) fn cell_bytes(bytes: usize, align: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(GRAIN);
    bytes.max(1).next_multiple_of(step).next_multiple_of(align.max(GRAIN))
}

/// The shape of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    cells: usize,
    first: usize,
}

/// The header of a block.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: &'static Kind,
    /// Bytes per cell.
    pub(super) cell: usize,
    /// Cells.
    pub(super) cells: usize,
    /// From the start of the block to the first cell.
    first: usize,
    /// The cycle in which cells may be taken from it. Written under the space's lock.
    pub(super) cycle: atomic::AtomicU64,
    /// Whether it waits for destructors. Used under the space's lock.
    pub(super) queued: AtomicBool,
    /// 2³² / cell, rounded up: a multiplication in place of a division. Zero for one cell.
    magic: u64,
    pub(super) layout: Layout,
    bits: NonNull<AtomicU64>,
}

impl Block {
    fn geometry(kind: &Kind, cell: usize, cells: usize) -> (Layout, usize) {
        let bits = Layout::array::<AtomicU64>(3 * words(cells)).expect("bitmaps are small");
        let (head, _) = Layout::new::<Block>().extend(bits).expect("headers are small");
        let first = head.size().next_multiple_of(kind.align.max(GRAIN));
        let whole = Layout::from_size_align(first + cell * cells, BLOCK);
        (whole.expect("object sizes are checked before"), first)
    }

    /// How many cells of this size an ordinary block holds.
    fn fitting(kind: &Kind, cell: usize) -> usize {
        let mut cells = BLOCK / cell;
        while Self::geometry(kind, cell, cells).0.size() > BLOCK {
            cells -= 1;
        }
        cells
    }

    /// The shape of a block for cells of `cell` bytes; `None` if no memory could hold it.
    pub(super) fn plan(kind: &Kind, cell: usize) -> Option<Plan> {
        if cell > isize::MAX as usize / 2 || kind.align > BLOCK / 4 {
            return None;
        }
        let cells = if cell > LARGEST { 1 } else { Self::fitting(kind, cell) };
        let (layout, first) = Self::geometry(kind, cell, cells);
        let size = if cell > LARGEST { layout.size() } else { BLOCK };
        let layout = Layout::from_size_align(size, BLOCK).ok()?;
        Some(Plan { layout, cells, first })
    }

    /// Writes a block's header and empty bitmaps to memory of its [`plan`](Self::plan).
    ///
    /// # Safety
    ///
    /// `start` is memory of that layout that nobody else has.
    pub(super) unsafe fn write(
        start: NonNull<u8>,
        kind: &'static Kind,
        cell: usize,
        plan: Plan,
        cycle: u64,
    ) -> NonNull<Block> {
        let Plan { layout, cells, first } = plan;
        let magic = if cells == 1 { 0 } else { (1u64 << 32).div_ceil(cell as u64) };
        let offset = Layout::new::<Block>().size().next_multiple_of(align_of::<AtomicU64>());
        // SAFETY: `geometry` left room for the header and three bitmaps before the first cell.
        unsafe {
            let bits = start.add(offset).cast::<AtomicU64>();
            for word in 0..3 * words(cells) {
                bits.add(word).write(AtomicU64::new(0));
            }
            let (cycle, queued) = (atomic::AtomicU64::new(cycle), AtomicBool::new(false));
            let block = Block { kind, cell, cells, first, magic, cycle, queued, layout, bits };
            start.cast::<Block>().write(block);
        }
        start.cast()
    }

    /// The block of a cell.
    #[inline(always)]
    pub(super) fn of(cell: NonNull<u8>) -> NonNull<Block> {
        let offset = cell.as_ptr().addr() & (BLOCK - 1);
        // SAFETY: every cell lies in the first `BLOCK` bytes of a block aligned to as much, so
        // this is the block's start.
        unsafe { cell.sub(offset) }.cast()
    }

    /// Words per bitmap.
    #[inline(always)]
    pub(super) fn words(&self) -> usize {
        words(self.cells)
    }

    #[inline(always)]
    fn word(&self, map: usize, word: usize) -> &AtomicU64 {
        debug_assert!(word < self.words());
        // SAFETY: `make` wrote three bitmaps of that many words.
        unsafe { self.bits.add(map * self.words() + word).as_ref() }
    }

    /// A word of the mark bits.
    #[inline(always)]
    pub(super) fn marks(&self, word: usize) -> &AtomicU64 {
        self.word(0, word)
    }

    /// A word of the bits that say which cells are allocated.
    #[inline(always)]
    pub(super) fn alloc(&self, word: usize) -> &AtomicU64 {
        self.word(1, word)
    }

    /// A word of the bits that say which cells wait for their destructor.
    #[inline(always)]
    pub(super) fn doomed(&self, word: usize) -> &AtomicU64 {
        self.word(2, word)
    }

    /// The first word with cells that wait for their destructor, and their bits.
    pub(super) fn next_doomed(&self) -> Option<(usize, u64)> {
        // Relaxed: changed under the space's lock alone, as it is read.
        let bits = |word| self.doomed(word).load(Ordering::Relaxed);
        (0..self.words()).map(|word| (word, bits(word))).find(|&(_, bits)| bits != 0)
    }

    /// Bits of cells that exist in a word.
    #[inline(always)]
    pub(super) fn existing(&self, word: usize) -> u64 {
        match self.cells - word * 64 {
            64.. => u64::MAX,
            cells => (1 << cells) - 1,
        }
    }

    /// Bits of free cells in a word.
    pub(super) fn free_bits(&self, word: usize) -> u64 {
        // Relaxed: asked by whoever may write it.
        self.existing(word) & !self.alloc(word).load(Ordering::Relaxed)
    }

    /// Whether there is a free cell.
    pub(super) fn has_room(&self) -> bool {
        (0..self.words()).any(|word| self.free_bits(word) != 0)
    }

    /// Whether no cell is allocated.
    pub(super) fn is_empty(&self) -> bool {
        (0..self.words()).all(|word| self.free_bits(word) == self.existing(word))
    }

    /// The address of a cell.
    #[inline(always)]
    pub(super) fn cell(block: NonNull<Block>, index: usize) -> NonNull<u8> {
        // SAFETY: a block in use has its header, and the index is of one of its cells.
        unsafe {
            let (first, bytes) = (block.as_ref().first, block.as_ref().cell);
            block.cast::<u8>().add(first + index * bytes)
        }
    }

    /// The index of a cell.
    #[inline(always)]
    pub(super) fn index(&self, cell: NonNull<u8>) -> usize {
        let start = (&raw const *self).addr() + self.first;
        // Exact: the offset is a multiple of the cell size, and below 2¹⁵ unless magic is zero.
        (((cell.as_ptr().addr() - start) as u64).wrapping_mul(self.magic) >> 32) as usize
    }
}

/// Calls `each` for the index of every set bit.
pub(super) fn each_bit(word: usize, mut bits: u64, mut each: impl FnMut(usize)) {
    while bits != 0 {
        each(word * 64 + bits.trailing_zeros() as usize);
        bits &= bits - 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::alloc::{alloc, dealloc};

    const BYTES: Kind = Kind { name: || "bytes", align: 1, trace: None, drop: None };

    #[test]
    fn cell_sizes_waste_at_most_a_quarter_beyond_the_grain() {
        for bytes in 1..3 * LARGEST {
            let cell = cell_bytes(bytes, 8);
            assert!(cell >= bytes && cell.is_multiple_of(GRAIN));
            assert!(cell - bytes < GRAIN.max(bytes / 4 + 1), "{bytes} in {cell}");
        }
    }

    #[test]
    fn cells_lie_inside_their_block_and_know_their_index() {
        for bytes in (1..LARGEST).step_by(37).chain([LARGEST]) {
            let cell = cell_bytes(bytes, 1);
            let plan = Block::plan(&BYTES, cell).unwrap();
            // SAFETY: the layout is not empty.
            let start = NonNull::new(unsafe { alloc(plan.layout) }).unwrap();
            // SAFETY: the memory is new and has the plan's layout.
            let block = unsafe { Block::write(start, &BYTES, cell, plan, 1) };
            // SAFETY: just made.
            let header = unsafe { block.as_ref() };
            assert!(header.cells >= 7, "{bytes} bytes: {} cells", header.cells);
            for index in 0..header.cells {
                let cell = Block::cell(block, index);
                assert_eq!((Block::of(cell), header.index(cell)), (block, index));
                assert!(cell.addr().get() + header.cell <= block.addr().get() + BLOCK);
            }
            // SAFETY: nobody else has it.
            unsafe { dealloc(start.as_ptr(), plan.layout) };
        }
    }

    #[test]
    fn what_no_memory_can_hold_is_refused() {
        assert!(Block::plan(&BYTES, isize::MAX as usize).is_none());
    }
}
