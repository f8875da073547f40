//! [`Overflow`]: what becomes of grey cells for which a stack has no room.
//!
//! # Problem
//!
//! A mark stack grows with the heap, and when it has to, there may be no memory. It must not end the program,
//! and no grey cell may be lost: what a log or a root said is said nowhere else.
//!
//! # Way out
//!
//! A cell that does not fit is marked at once, and not looked into. *Overflowed*, in the phase word, says that
//! there is such a cell. Marking does not end while it is set:
//!
//! ```text
//! who marks                                  driver, when nothing is grey
//!   mark the cell                              overflowed? clear it, set dirty
//!   … at the end of the slice:                 walk over all that is marked:
//!   set overflowed and dirty                     look into each again
//! ```
//!
//! Both are read-modify-writes of one word. Who sets it before the driver clears it has marked before the walk
//! begins, which finds the cell; who sets it after makes the driver walk once more. That it is set late, at
//! the end of a slice, is no harm: who marks is busy until then ([`crew`](super::crew)), or is the driver itself.
//!
//! To look into an object twice is to find the same edges, or those that others logged or made meanwhile. In a
//! walk only those that lead to white cells go onto the stack, so a small one is enough: the driver's has some
//! room from the start ([`ROOM`]). Each walk but the last follows a cell that turned from white to marked, so
//! they end; a walk costs what it costs to mark the heap once, by one worker, and there are few: one to
//! find what was left, as far as the small stack goes, and another for what did not fit on that.
//!
//! A walk meets objects that nobody pushed: those that are black from birth. Whoever marks an object has
//! written it, and a mark that is seen brings it ([`Space::marked`]).
//!
//! Who reports the interior of a lock without memory does the same (`guard::store`): he is not in the
//! crew, and marking does not end before his report does ([`report`](crate::lock::report)).
//!
//! # Weak pointers and arrays
//!
//! A weak object that there is no room to note keeps its target in this cycle: that is an edge like others. Of an
//! array that cannot be left for later, all is looked into now.
//!
//! # Rejected
//!
//! - To link grey objects through a word in each (as a list of segments would be without memory): objects have no
//!   header, and the smallest cell is 16 bytes for two edges.
//! - To drop an edge, and look for the white behind what is marked: right for edges, and wrong for roots and logs.
//!   The search finds it (`Fault::OverflowUnmarked`).
//! - To give the collector a part of the memory limit from the start: a list that is a stack's worst case takes
//!   as much as half the heap.
//!
//! Sources: H.-J. Boehm and M. Weiser, "Garbage collection in an uncooperative environment", 1988; the
//! `mark_stack_too_small` of their collector. Models: `loom-tests/tests/gc_overflow.rs`, and the state search.

use super::Counts;
use crate::space::{Marked, Space};
use core::{fmt, ptr::NonNull};

/// Edges that the driver has room for, whatever happens.
pub(super) const ROOM: usize = 1 << 10;

/// A space, to mark cells in that are not put on a stack. See the [module](self).
pub(crate) struct Overflow {
    space: NonNull<()>,
    mark: unsafe fn(NonNull<()>, NonNull<u8>) -> Option<Marked>,
    /// What was marked so.
    counts: Counts,
    happened: bool,
}

impl Overflow {
    /// # Safety
    ///
    /// The space outlives the value, and what is to be marked are allocated cells of it.
    pub(crate) unsafe fn into<S: Space>(space: &S) -> Self {
        let space = NonNull::from(space).cast();
        Self { space, mark: mark::<S>, counts: Counts::default(), happened: false }
    }

    /// Whether there was a cell without room, marked before or not.
    pub(crate) fn has_happened(&self) -> bool {
        self.happened
    }

    /// There is no room for a cell.
    pub(crate) fn mark(&mut self, cell: NonNull<u8>) {
        self.happened = true;
        // SAFETY: the space is of the function's type, and the rest was promised in `into`.
        if let Some(marked) = unsafe { (self.mark)(self.space, cell) } {
            self.counts.objects += 1;
            self.counts.bytes += marked.bytes as u64;
        }
    }

    /// What was marked, if anything was.
    pub(crate) fn counts(self) -> Option<Counts> {
        (self.counts.objects != 0).then_some(self.counts)
    }
}

/// # Safety
///
/// `space` is a shared space of this type, and the cell an allocated one of it.
unsafe fn mark<S: Space>(space: NonNull<()>, cell: NonNull<u8>) -> Option<Marked> {
    // SAFETY: the caller's.
    unsafe { space.cast::<S>().as_ref().mark(cell) }
}

impl fmt::Debug for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").field("counts", &self.counts).finish_non_exhaustive()
    }
}
