//! Ps that are not wanted.
//!
//! When there shall be fewer Ps, idle ones are *retired*: taken off the list and kept aside. If there
//! are not enough, the rest is the *surplus*: the next Ps that are released are retired in place of
//! becoming idle. A spinner that retires with its P still looks once more, and without an idle P to
//! go on with it leaves *need*. *surplus > 0 ⇒ idle = 0*, under the lock.

use super::{Idle, Lists, counts::Counts};
use crate::sync::Ordering;

/// Where one P more comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Recall {
    /// One that was to be retired stays.
    Stays,
    /// This one was retired, and is the caller's to give.
    Back(usize),
    /// There is none: it must be made.
    None,
}

impl Idle {
    /// There shall be `count` Ps fewer: retires idle ones, and of the others the next to be released.
    pub fn retire_procs(&self, count: usize) {
        let mut lists = self.lists.lock();
        for _ in 0..count {
            match lists.procs.pop() {
                Some(proc) => {
                    self.update(Counts::minus_idle);
                    lists.retired.push(proc);
                }
                // Relaxed: written under the lock.
                None => self.surplus.store(self.surplus() + 1, Ordering::Relaxed),
            }
        }
    }

    /// There shall be one P more.
    pub fn recall_proc(&self) -> Recall {
        let mut lists = self.lists.lock();
        let surplus = self.surplus();
        if surplus > 0 {
            // Relaxed: written under the lock.
            self.surplus.store(surplus - 1, Ordering::Relaxed);
            return Recall::Stays;
        }
        lists.retired.pop().map_or(Recall::None, Recall::Back)
    }

    /// How many Ps must still be retired. A hint, but under the lock.
    pub fn surplus(&self) -> usize {
        // Relaxed: see above.
        self.surplus.load(Ordering::Relaxed)
    }

    /// Keeps `proc` aside if there is a P too many.
    pub(super) fn retire_surplus(&self, lists: &mut Lists, proc: usize) -> bool {
        let surplus = self.surplus();
        if surplus > 0 {
            // Relaxed: written under the lock.
            self.surplus.store(surplus - 1, Ordering::Relaxed);
            lists.retired.push(proc);
        }
        surplus > 0
    }
}
