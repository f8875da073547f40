//! The core's end: drops every object that is left and gives all memory back, but for the local states of threads that
//! go on (see [`threads`](crate::world::threads)).
//!
//! If a guard was leaked (`mem::forget`), somebody may still hold what it protected, as far as the counters can tell.
//! Nothing overrules a guard, so then the memory is leaked and the tag stays taken.
//!
//! # How objects end
//!
//! As in a cycle that marks nothing: sweep finds all of them dead, and hands out those that have a destructor. So the
//! end takes no memory, as sweep takes none. A driver that has unwound may have left marks, or spans that were not
//! swept: what it left is swept first, and marks that are found keep their objects for one turn and are gone in the
//! second.
//!
//! Rejected: a list of all objects that are left, to run their destructors outside the space's lock. It is as long as
//! the heap, and there may be no memory for it.

use super::Core;
use crate::{heap::Tag, space::Space, world::World};
use std::mem::ManuallyDrop;

/// Spans that are swept at a time.
const LOT: usize = 64;

impl<H: Tag> Core<H> {
    /// Whether every guard that was entered was left.
    fn is_quiet(&self) -> bool {
        let mut balance = 0usize;
        self.world.each(&mut |local| {
            for parity in 0..2 {
                let counters = &local.counters;
                balance = balance
                    .wrapping_add(counters.entries(parity))
                    .wrapping_sub(counters.exits(parity));
            }
        });
        balance == 0
    }

    /// Ends all objects.
    ///
    /// # Safety
    ///
    /// This is the core's end, and no guard is held.
    unsafe fn end_objects(&self) {
        let (space, cycle) = (&self.engine.space, self.engine.phase.read().cycle());
        // SAFETY: nobody works with any reading any more.
        unsafe { space.permit() };
        self.sweep_out();
        for cycle in [cycle + 1, cycle + 2] {
            // SAFETY: nobody drives a cycle, and all was swept. The word's number is the last that was opened: nothing
            // that unwinds is between the two.
            unsafe { space.open(cycle) };
            // SAFETY: as above.
            unsafe { space.permit() };
            self.sweep_out();
        }
    }

    /// Sweeps all there is to sweep, and runs the destructors of what was found.
    fn sweep_out(&self) {
        while !self.engine.space.sweep(LOT) {}
        while self.run_destructors(usize::MAX) > 0 {}
    }
}

impl<H: Tag> Drop for Core<H> {
    fn drop(&mut self) {
        if !self.is_quiet() {
            return;
        }
        // SAFETY: no pointer to an object is left: guards borrow a handle, roots own one.
        unsafe { self.end_objects() };
        // SAFETY: this is the end, and the objects are dropped.
        unsafe { ManuallyDrop::drop(&mut self.engine) };
        H::claim().release();
    }
}
