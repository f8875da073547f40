//! Notices that all tasks wait for each other.
//!
//! An idle machine whose tasks all wait, with no deadline among them, goes on only if somebody from
//! outside wakes one. Whether there is such a somebody is for the machine to find out, and takes long;
//! so it is asked when the machine has just become idle, and a few times more, each after twice the
//! pause before: somebody who is on the way to sleep, a main thread that is about to wait for its
//! tasks, is still awake at first. Then it is left alone, as an idle machine shall not be woken.
//! (Go's `checkdead` counts its own threads only, and need not ask twice.)

use std::time::Duration;

use super::Wish;
use crate::machine::Machine;

/// The pause after the first question.
const FIRST: Duration = Duration::from_millis(10);

/// Questions, at most, each time that the machine becomes idle: the last one after 1.3 s.
const QUESTIONS: u32 = 8;

/// The duty that notices deadlocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asleep {
    asked: u32,
    due: Duration,
}

impl Asleep {
    /// Has the machine look, some times until something runs again, if its tasks may wait for ever.
    pub fn look(&mut self, now: Duration, idle: bool, machine: &mut impl Machine) -> Wish {
        if !idle || !machine.may_wait_for_ever() {
            *self = Self::default();
            return None;
        }
        if self.asked == QUESTIONS {
            return None;
        }
        if now >= self.due {
            machine.report_asleep();
            self.due = now + FIRST * (1 << self.asked);
            self.asked += 1;
        }
        (self.asked < QUESTIONS).then(|| self.due - now)
    }
}
