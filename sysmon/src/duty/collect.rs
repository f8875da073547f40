//! Forces a collection when none happened for two minutes.
//!
//! A program that allocates little never reaches its collector's trigger, and what it once dropped
//! is never finalised nor given back. Go's `forcegcperiod`. Only an active program is nudged: one
//! that is wholly idle neither allocates nor drops, and is not woken for it.

use std::time::Duration;

use crate::duty::Wish;
use crate::limits::Limits;
use crate::machine::Machine;

/// The duty that forces collections. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy)]
pub struct Collect {
    limits: Limits,
    asked: Option<Duration>,
}

impl Collect {
    /// The rule with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, asked: None }
    }

    /// Starts a collection if one is due; wishes to be back when the next one is.
    ///
    /// A request that the machine has not begun to serve is repeated after a whole period only.
    pub fn look(&mut self, now: Duration, machine: &mut impl Machine) -> Wish {
        let age = machine.since_collection()?;
        let unserved = self.asked.map_or(age, |asked| age.min(now.saturating_sub(asked)));
        let left = self.limits.collect_every.saturating_sub(unserved);
        if !left.is_zero() {
            return Some(left);
        }
        machine.collect();
        self.asked = Some(now);
        Some(self.limits.collect_every)
    }
}
