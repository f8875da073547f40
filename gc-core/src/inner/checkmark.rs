//! Checkmark: marks again from the roots with a set and no barrier, and compares.
//!
//! Between steps 7 and 8, when nothing is swept, everything reachable is marked or newer, and no weak pointer leads to
//! anything else.
//!
//! The set is as large as what is alive. If there is no memory for it, nothing more is compared, and the cycle's
//! record says so: a program that is looked at ends no sooner than one that is not.

use super::Core;
use crate::{
    heap::Tag,
    space::{Exhausted, Space},
    trace::Tracer,
};
use std::{collections::HashSet, ptr::NonNull};

impl<H: Tag> Core<H> {
    /// Compares, in the cycle whose marking has ended, and panics if something was overlooked. Refused if there is no
    /// memory for all of it.
    pub(super) fn check(&self, cycle: u64) -> Result<(), Exhausted> {
        let mut seen = HashSet::new();
        let mut stack = Tracer::losing();
        self.engine.roots.scan(|cell| stack.edge(cell));
        while let Some(cell) = stack.pop() {
            seen.try_reserve(1).map_err(|_| Exhausted)?;
            if seen.insert(cell) {
                // SAFETY: the cell was reached from a root after step 7, and nobody sweeps before step 8 is over.
                unsafe { self.check_object(cell, cycle, &mut stack) };
            }
        }
        for weak in stack.take_weaks().into_iter().flatten() {
            // SAFETY: the slot is of an object just seen; what it holds is not swept yet.
            let fine = unsafe {
                weak.as_ref().load().is_none_or(|cell| self.engine.survives(cell, cycle))
            };
            assert!(fine, "checkmark: a weak pointer at {weak:p} leads to the dead");
        }
        if stack.has_lost() { Err(Exhausted) } else { Ok(()) }
    }

    /// Looks at one that was reached, and into it.
    ///
    /// # Safety
    ///
    /// The cell is an object's, and is not swept meanwhile.
    unsafe fn check_object(&self, cell: NonNull<u8>, cycle: u64, stack: &mut Tracer) {
        // SAFETY: the caller's.
        let (kind, fine) =
            unsafe { (self.engine.space.kind(cell), self.engine.survives(cell, cycle)) };
        assert!(fine, "checkmark: {} at {cell:p} is reachable and white", (kind.name)());
        if let Some(trace) = kind.trace {
            // SAFETY: the object is of the cell's kind.
            unsafe { trace(cell, stack) };
        }
    }
}
