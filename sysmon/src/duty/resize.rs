//! Has the machine look, once a second, whether it may use more or fewer cores than it did.
//!
//! Affinity and quotas change while programs run: a container is resized, an operator pins a process.
//! Nobody is told, so somebody must look; once a second is what Go does. A machine that is idle uses no
//! core at all, and is not woken for it: it looks when it has become busy again.

use std::time::Duration;

use crate::limits::Limits;
use crate::machine::Machine;

/// The duty that follows the number of cores. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy)]
pub struct Resize {
    limits: Limits,
    last: Duration,
}

impl Resize {
    /// The rule with these limits; the first look comes one period after the clock's origin.
    pub fn new(limits: Limits) -> Self {
        Self { limits, last: Duration::ZERO }
    }

    /// Has the machine look if it is busy and has not looked for long.
    pub fn look(&mut self, now: Duration, idle: bool, machine: &mut impl Machine) {
        if !idle && now.saturating_sub(self.last) >= self.limits.resize_every {
            self.last = now;
            machine.resize();
        }
    }
}
