//! Wakes a monitor that sleeps because nothing moves.
//!
//! # Problem
//!
//! A monitor looks around every few milliseconds. While every P is idle there is nothing to see, and
//! a process that sleeps should not wake (golang/go#18236, #25471). So the monitor then sleeps
//! without a limit, and whoever sets something in motion, a P above all, must wake it; at the price
//! of one load while the monitor is awake.
//!
//! # Algorithm
//!
//! ```text
//! monitor                          ringer
//!   M1  armed = true                 R1  takes the P from the idle list
//!   M2  fence                        R2  fence
//!   M3  looks whether all is idle    R3  reads armed
//! ```
//!
//! Either M2 comes before R2, and then R3 sees the bell armed and rings. Or R2 comes before M2, and
//! then M3 sees that a P is gone: the monitor does not sleep. A ring leaves a permit, so it counts
//! also between M3 and the sleep.
//!
//! Model: `loom-tests/tests/sched_bell.rs`.

use core::time::Duration;

use crate::{
    parker::{Parker, Woken},
    sync::{AtomicBool, Ordering, const_unless_loom, fence, now},
};

/// Why a sleep of the monitor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roused {
    /// Its time is up, and nobody has woken it; all was idle when it began.
    Due,
    /// Somebody has woken it, or something moved before it slept.
    Woken,
    /// Something is queued, and nobody looks for it: [`watch`](crate::monitor::Monitor::watch).
    Called,
}

/// A bell with one sleeper, the monitor, and any number of ringers.
///
/// ```
/// use sched_core::bell::Bell;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let (bell, idle) = (Bell::new(), AtomicBool::new(true));
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         idle.store(false, Ordering::Relaxed);
///         bell.ring();
///     });
///     bell.wait(None, || idle.load(Ordering::Relaxed));
/// });
/// ```
#[derive(Debug)]
pub struct Bell {
    /// Set by the monitor, cleared by whoever rings and by the monitor.
    armed: AtomicBool,
    parker: Parker,
}

impl Bell {
    const_unless_loom! {
        /// Nobody sleeps.
        pub const fn new() -> Self {
            Self { armed: AtomicBool::new(false), parker: Parker::new() }
        }
    }

    /// Something has begun to move: call it after that can be seen.
    pub fn ring(&self) {
        // SeqCst: (R2) the P was taken before this looks at the bell; partner: the fence in `wait`.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        if self.armed.load(Ordering::Relaxed) {
            // Relaxed: the parker publishes.
            self.armed.store(false, Ordering::Relaxed);
            self.parker.unpark();
        }
    }

    /// Ends a [`wait`](Self::wait) unconditionally, now or when it is called.
    pub fn wake(&self) {
        self.parker.unpark();
    }

    /// Sleeps until a ring, or for `limit`. Without a limit it sleeps only if `idle` says that
    /// nothing moves; `idle` is asked after the bell is armed. One thread at a time.
    pub fn wait(&self, limit: Option<Duration>, idle: impl FnOnce() -> bool) -> Roused {
        // Relaxed: ordered by the fence.
        self.armed.store(true, Ordering::Relaxed);
        // SeqCst: (M2) the bell is armed before this looks around; partner: the fence in `ring`.
        fence(Ordering::SeqCst);
        let idle = idle();
        if !idle {
            // Relaxed: a ring that comes before this is harmless.
            self.armed.store(false, Ordering::Relaxed);
        }
        match limit {
            Some(limit) => {
                let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                match self.parker.park_until(now().saturating_add(nanos)) {
                    Woken::Timeout if idle => Roused::Due,
                    // What moved before has not rung, and may have come to rest meanwhile.
                    _ => Roused::Woken,
                }
            }
            None => {
                if idle {
                    self.parker.park();
                }
                Roused::Woken
            }
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_with_something_to_watch_does_not_sleep_for_ever() {
        let bell = Bell::new();
        bell.wait(None, || false);
        assert_eq!(bell.wait(Some(Duration::from_micros(10)), || false), Roused::Woken);
        assert_eq!(bell.wait(Some(Duration::from_micros(10)), || true), Roused::Due);
    }

    #[test]
    fn a_wake_ends_the_next_wait() {
        let bell = Bell::new();
        bell.wake();
        bell.wait(None, || true);
    }
}
