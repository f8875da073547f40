//! Reports a guard that keeps a collection waiting for more than a second.
//!
//! A guard held for long (a goroutine that reads a file under it, say) stops no mutator, but the
//! collection cannot pass its handshake and memory grows. Nothing else would show the cause. Each
//! guard is reported once.
//!
//! The question walks the machine's tasks, so it is not asked at each look: four times per limit
//! while the machine is busy, and before an idle sleep, since the holder may sleep as well.

use std::time::Duration;

use crate::duty::Wish;
use crate::limits::Limits;
use crate::machine::Machine;

/// The duty that finds holders of old guards. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy)]
pub struct GuardWatch {
    limits: Limits,
    next: Duration,
    reported: Option<u64>,
}

impl GuardWatch {
    /// The rule with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, next: Duration::ZERO, reported: None }
    }

    /// Reports the oldest guard if it is too old and new to us; wishes to be back when it will be.
    pub fn look(&mut self, now: Duration, idle: bool, machine: &mut impl Machine) -> Wish {
        if now < self.next && !idle {
            return None;
        }
        self.next = now + self.limits.guard / 4;
        let guard = machine.oldest_guard().filter(|guard| self.reported != Some(guard.id))?;
        let left = self.limits.guard.saturating_sub(guard.age);
        if !left.is_zero() {
            self.next = self.next.min(now + left);
            return Some(left);
        }
        self.reported = Some(guard.id);
        machine.report_guard(guard);
        None
    }
}
