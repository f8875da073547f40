//! Asks for a trace line once per period, as Go's `GODEBUG=schedtrace=…`.
//!
//! A trace keeps its period even when all is idle: it is a tool for looking, and a line that says
//! "nothing runs" is an answer. Without [`Limits::trace`] the duty never wakes anyone.

use std::time::Duration;

use crate::duty::Wish;
use crate::limits::Limits;
use crate::machine::Machine;

/// The duty that asks for trace lines. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    period: Option<Duration>,
    last: Duration,
}

impl Trace {
    /// The rule with these limits; the first line comes one period after the clock's origin.
    pub fn new(limits: Limits) -> Self {
        Self { period: limits.trace, last: Duration::ZERO }
    }

    /// Has a line written if one is due; wishes to be back when the next one is. Lines that were
    /// missed are not made up for.
    pub fn look(&mut self, now: Duration, machine: &mut impl Machine) -> Wish {
        let period = self.period?;
        let passed = now.saturating_sub(self.last);
        if passed < period {
            return Some(period - passed);
        }
        machine.trace();
        self.last = now;
        Some(period)
    }
}
