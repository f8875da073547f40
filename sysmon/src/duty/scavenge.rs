//! Wakes the scavenger when there is free memory and it sleeps.
//!
//! While free memory grows old, the scavenger wakes itself. Once all has gone back it sleeps without
//! a time limit, and somebody must tell it that memory was freed: not the thread that frees, whose
//! path is short. Memory is freed by running workers, so a monitor that looks while any runs, and
//! once more when the last has stopped, misses none.

use crate::machine::Machine;

/// The duty that wakes the scavenger. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy, Default)]
pub struct Scavenge;

impl Scavenge {
    /// Has free memory given back, if nobody is about to.
    pub fn look(&mut self, machine: &mut impl Machine) {
        if machine.memory_rests() {
            machine.scavenge();
        }
    }
}
