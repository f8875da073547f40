//! The gate before outermost guards, which a collection that stops the world shuts.
//!
//! ```text
//!   open ──► closing ──► shut ──► open
//!      step 1       hand 2    end of sweep
//! ```
//!
//! While it is *closing*, there are guards from before, and whoever holds one may wait for a lock of a
//! task that waits here: so that one waits for a moment only, and then goes on under the barrier. Once
//! it is *shut*, hand 2 is over and the driver waits for nobody, so waiting for the driver ends.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const SHUT: u8 = 2;

/// How long a task waits while the gate is closing.
const MOMENT: Duration = Duration::from_millis(10);

// Relaxed, throughout: the gate orders nothing. Who does not see it yet enters as if there were none.

/// Whether tasks may enter outermost guards.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU8);

impl Gate {
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OPEN
    }

    /// Whether a task that has waited for so long waits on.
    pub(crate) fn holds_up(&self, waited: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            OPEN => false,
            CLOSING => waited < MOMENT,
            _ => true,
        }
    }

    /// Begins to close. It opens when the value is dropped.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.0.store(CLOSING, Ordering::Relaxed);
        Closed(self)
    }
}

/// A gate that is closing or shut.
#[derive(Debug)]
pub(crate) struct Closed<'a>(&'a Gate);

impl Closed<'_> {
    /// No guard from before is left.
    pub(crate) fn shut(&self) {
        self.0.0.store(SHUT, Ordering::Relaxed);
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.0.store(OPEN, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_gate_holds_up_for_a_moment_and_a_shut_one_until_it_opens() {
        let gate = Gate::default();
        assert!(gate.is_open() && !gate.holds_up(Duration::ZERO));
        let closed = gate.close();
        assert!(gate.holds_up(Duration::ZERO) && !gate.holds_up(MOMENT));
        closed.shut();
        assert!(gate.holds_up(MOMENT * 1000));
        drop(closed);
        assert!(gate.is_open());
    }
}
