//! Notices that all tasks wait for each other.
//!
//! An idle machine whose tasks all wait, with no deadline among them, goes on only if somebody from
//! outside wakes one. Whether there is such a somebody is for the machine to find out, and takes long;
//! so it is asked in two steps, and the second one at most once while the machine is idle: when it has
//! just become so. Nothing inside can change the answer after that. (Go's `checkdead`.)

use crate::machine::Machine;

/// The duty that notices deadlocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asleep {
    told: bool,
}

impl Asleep {
    /// Tells the machine if all its tasks sleep, once until something runs again.
    pub fn look(&mut self, idle: bool, machine: &mut impl Machine) {
        if !idle {
            self.told = false;
        } else if !self.told && machine.all_asleep() {
            self.told = true;
            machine.report_asleep();
        }
    }
}
