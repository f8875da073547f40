//! What mutators do when the log has no room and there is no memory for more: mark at once what they would log.
//!
//! # Problem
//!
//! A store has nobody to return an error to. What it takes out is logged, or an object of the snapshot is lost; and
//! a log grows with what is stored while a cycle runs, which is when there is least memory.
//!
//! # Way out
//!
//! As for an edge without room on a mark stack ([`mark`](crate::mark)): the cell is marked and not looked into, and
//! the phase word says that there is such a cell. The driver walks over all that is marked before marking ends. All
//! in the operation that else would log:
//!
//! ```text
//!   exchange; is the old value white? then
//!     set dirty: what did the word say?     off: marking is over; nothing more
//!     mark the cell
//!     set overflowed
//! ```
//!
//! # Why it is right
//!
//! *The word said on or mark*, so it is dirty before the end of marking, which needs another round. That clears *dirty*
//! after this operation began, so its third handshake waits for the operation; and the driver asks for *overflowed*
//! after that, as it drains the logs after that.
//!
//! *It said off*: as with a log entry that is late, the cell was marked when marking ended, or is newer
//! ([`cycle`](crate::cycle)).
//!
//! Dirty comes before the mark. Others do not log what they see marked, and may be waited for when this operation is
//! not: then marking would end with a mark that nobody has told of. The search finds that run
//! (`loom-tests/src/search`, `Fault::MarkedByReading`). Model: `loom-tests/tests/gc_overflow.rs`.
//!
//! A mark of steps 1 to 4 is walked over from step 5 on, for the bit stays, also if step 1 is taken back. Only what was
//! white makes the word dirty, so stores do not keep marking from ending. What is marked here is not in the counts of
//! the cycle.

use super::{Engine, Link, Slot};
use crate::{local::Operation, phase::Phase, space::Space};
use core::ptr::NonNull;

impl<S: Space> Engine<S> {
    /// As [`swap`](Self::swap), without the log.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    pub unsafe fn swap_unlogged(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        new: Link,
    ) -> Link {
        let barrier = self.phase.read().barrier();
        let old = slot.swap(new);
        if let (true, Some(old)) = (barrier, old) {
            // SAFETY: the caller's guard keeps `old` alive.
            unsafe { self.mark_unlogged(operation, old) };
        }
        old
    }

    /// As [`compare_exchange`](Self::compare_exchange), without the log.
    ///
    /// # Errors
    ///
    /// What the slot holds, if that is not `current`.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    pub unsafe fn compare_exchange_unlogged(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        current: Link,
        new: Link,
    ) -> Result<Link, Link> {
        let barrier = self.phase.read().barrier();
        let outcome = slot.compare_exchange(current, new);
        if let (true, Ok(Some(old))) = (barrier, outcome) {
            // SAFETY: the caller's guard keeps `old` alive.
            unsafe { self.mark_unlogged(operation, old) };
        }
        outcome
    }

    /// As [`clear_root`](Self::clear_root), without the log.
    ///
    /// # Safety
    ///
    /// As [`clear_root`](Self::clear_root).
    pub unsafe fn clear_root_unlogged(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        light: impl Fn(),
    ) {
        let pin = self.epoch.enter(&operation.counters, light);
        // SAFETY: the caller's, and the guard just entered.
        unsafe { self.swap_unlogged(operation, slot, None) };
        // SAFETY: entered above, left once.
        unsafe { self.epoch.leave(&operation.counters, pin) };
    }

    /// What is there in place of the log entry for a cell, if the barrier was on when the operation read the phase.
    ///
    /// # Safety
    ///
    /// The operation is of a local state of the same world; the caller's guard keeps the cell alive.
    pub unsafe fn mark_unlogged(&self, _: &Operation<'_, S>, cell: NonNull<u8>) {
        // SAFETY: the caller's.
        let white = || !unsafe { self.space.is_marked(cell) };
        // SAFETY: the caller's.
        let mark = || unsafe { self.space.mark(cell) }.is_some();
        if white() && self.phase.set_dirty().phase() != Phase::Off && mark() {
            self.phase.set_overflowed();
        }
    }
}
