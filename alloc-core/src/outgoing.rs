//! Cells that are on their way to another cache, because it has others in the same line.
//!
//! A free does not ask whose the cell is: the magazine takes all (see `cache`). But a thread that hands out a word of
//! eight bytes beside another thread's shares that line with it for as long as both live, and each write of the one
//! takes the line from the other: 50 ns instead of one (docs/decisions/0034). So a free that looks into the page map
//! anyway, and finds that cells share lines there and are another cache's, puts the cell here. It goes home with the
//! others when there is no room.

use core::{mem::MaybeUninit, ptr::NonNull};

/// So many go home at once.
const ROOM: usize = 32;

/// A few cells of other caches' spans.
pub(crate) struct Outgoing {
    cells: [MaybeUninit<NonNull<u8>>; ROOM],
    len: usize,
}

impl Outgoing {
    pub(crate) const fn new() -> Self {
        Outgoing { cells: [MaybeUninit::uninit(); ROOM], len: 0 }
    }

    /// Puts one in; `true` if there is no room for another.
    pub(crate) fn put(&mut self, cell: NonNull<u8>) -> bool {
        self.cells[self.len].write(cell);
        self.len += 1;
        self.len == ROOM
    }

    /// Hands all of them out.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(NonNull<u8>)) {
        for cell in &self.cells[..core::mem::take(&mut self.len)] {
            // SAFETY: `put` wrote those below the length.
            each(unsafe { cell.assume_init() });
        }
    }
}
