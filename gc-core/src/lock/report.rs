//! [`Reports`]: interiors that are being reported to the logs, and why marking does not end before.
//!
//! # Problem
//!
//! Reporting an interior is long: it is traced, and its edges are logged by as many operations as it
//! takes. Meanwhile the marker turns away from the lock. If marking ended now, what is in the interior
//! would be lost, unmarked and unlogged.
//!
//! # Protocol
//!
//! ```text
//! holder                                        driver
//!   one operation:                                clear dirty; drain and mark
//!     take the lock exclusively                     (turns away from the lock)
//!     read the phase; if the barrier is on:       hand 3: operations are over
//!       reports += 1                              drain and mark
//!   trace; log all edges                          wait until reports = 0
//!   set dirty; reports −= 1                       CAS(mark, clean → off)
//! ```
//!
//! # Why it is right
//!
//! Let the marker turn away from a lock. Its holder's operation had begun by then. If it read *off*,
//! it was over before hand 1 was, so its guard before step 4; and with it the lock was left, or leaked,
//! and then nobody sees the interior again. Else it counts itself. If the marker came before hand 3,
//! the operation is over after it, and the driver sees the count, or sees it gone and the word dirty,
//! or dirty was set before it was cleared, and then the edges were in the logs that were drained after.
//! If it came later, it came with an object that had just turned from white to marked, and the word is
//! dirty. Model: `loom-tests/tests/gc_lock.rs`.

use super::raw::{RawLock, Want};
use crate::{
    engine::Engine,
    local::Operation,
    phase::Phase,
    space::Space,
    sync::{AtomicU64, AtomicUsize, Ordering},
};

/// How many interiors are being reported. See the [module](self).
#[derive(Debug, Default)]
pub struct Reports(AtomicUsize);

impl Reports {
    /// Whether an interior is being reported. The driver asks after hand 3.
    pub(crate) fn are_pending(&self) -> bool {
        // Acquire: who sees a report gone sees the word dirty, and the logs written; pairs with
        // `reported`.
        self.0.load(Ordering::Acquire) != 0
    }
}

/// When an interior was last reported for good: the cycle in whose step 5 that was. Written by the
/// exclusive holder of its lock.
#[derive(Debug, Default)]
pub struct Reported(AtomicU64);

impl Reported {
    /// Never.
    #[cfg(not(loom))]
    pub const fn never() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Never.
    #[cfg(loom)]
    pub fn never() -> Self {
        Self(AtomicU64::new(0))
    }
}

/// A duty: all edges of the interior are to be logged, before anything in it is changed; then
/// [`Engine::reported`].
#[derive(Debug)]
#[must_use = "marking does not end before the report does"]
pub struct Report {
    /// The cycle, if that is in step 5.
    marking: Option<u64>,
}

impl<S: Space> Engine<S> {
    /// Takes a lock exclusively, if it is free. `Some(Some(_))`: its interior is to be reported.
    pub fn take_exclusive(
        &self,
        _operation: &Operation<'_, S>,
        lock: &RawLock,
        reported: &Reported,
    ) -> Option<Option<Report>> {
        if !lock.try_take(Want::Exclusive) {
            return None;
        }
        let reading = self.phase.read();
        let marking = (reading.phase() == Phase::Mark).then(|| reading.cycle());
        // Relaxed: passing the lock on orders it.
        let done = marking == Some(reported.0.load(Ordering::Relaxed));
        if !reading.barrier() || done {
            return Some(None);
        }
        // Relaxed: the end of the operation, Release, shows it to the driver after hand 3.
        self.reports.0.fetch_add(1, Ordering::Relaxed);
        Some(Some(Report { marking }))
    }

    /// All edges of the interior are in the logs.
    pub fn reported(&self, report: Report, reported: &Reported) {
        if let Some(cycle) = report.marking {
            // Relaxed: as above.
            reported.0.store(cycle, Ordering::Relaxed);
        }
        self.phase.set_dirty();
        // Release: the logs and the dirty word are before; pairs with `are_pending`.
        self.reports.0.fetch_sub(1, Ordering::Release);
    }
}
