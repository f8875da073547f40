//! Notices that all tasks wait for each other.
//!
//! An idle machine whose tasks all wait, with no deadline among them, goes on only if somebody from
//! outside wakes one. Whether there is such a somebody is for the machine to find out, and takes long: it
//! looks at every thread, and at every task. So it is asked when the lull has lasted, since most are over by
//! then, and a few times more, each after twice the pause before: somebody who is on the way to sleep, a main
//! thread that is about to wait for its tasks, is still awake at first. Then it is left alone, as an idle
//! machine shall not be woken. If somebody wakes the monitor after that, what made the answer uncertain may have changed:
//! the questions begin anew. They do not at a look that was due for another duty, as for a trace line. (Go's
//! `checkdead` counts its own threads only: it is asked at once, and once.)

use std::time::Duration;

use super::Wish;
use crate::machine::Machine;

/// The pause before the first question.
const FIRST: Duration = Duration::from_millis(10);

/// Questions, at most, each time that the machine becomes idle, or the monitor is woken after that: the last one after
/// 1.3 s.
const QUESTIONS: u32 = 7;

/// The duty that notices deadlocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asleep {
    asked: u32,
    /// When the next question is due, while the machine is idle.
    due: Option<Duration>,
}

impl Asleep {
    /// Has the machine look, some times until something runs again or somebody has `woken` the monitor, if its tasks may
    /// wait for ever.
    pub fn look(
        &mut self,
        now: Duration,
        idle: bool,
        woken: bool,
        machine: &mut impl Machine,
    ) -> Wish {
        let may_wait = idle && machine.may_wait_for_ever();
        let all_asked = self.asked == QUESTIONS;
        if !may_wait || (all_asked && woken) {
            *self = Self::default();
        }
        if !may_wait || (all_asked && !woken) {
            return None;
        }
        let due = *self.due.get_or_insert(now + FIRST);
        if now >= due {
            machine.report_asleep();
            self.asked += 1;
            self.due = Some(now + FIRST * (1 << self.asked));
        }
        let due = self.due.filter(|_| self.asked < QUESTIONS)?;
        Some(due - now)
    }
}
