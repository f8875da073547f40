//! A cheap clock for the length of slices.
//!
//! A P notes when its slice began, so that the timer thread can tell which P has run longest. The
//! system's clock costs some 25 ns, as much as a switch. The processor's time stamp counter costs a
//! third of that, but counts in a unit of its own. [`Clock`] learns the unit from the two points it
//! knows: its own birth, and now. No calibration, no sleep; the longer it lives, the better it
//! knows. It need not be exact: it is compared with bounds of 100 µs and 10 ms.
//!
//! Where there is no such counter the unit is the nanosecond.

use crate::sync::now;

/// A point in time, in the processor's unit.
#[inline]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction, and Linux leaves it to user code.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        now()
    }
}

/// Turns ticks into nanoseconds.
#[derive(Debug)]
pub(crate) struct Clock {
    ticks: u64,
    nanos: u64,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn new() -> Self {
        Self { ticks: ticks(), nanos: now() }
    }

    /// The nanoseconds that have passed since `start`; 0 if it lies in the future.
    pub(crate) fn since(&self, start: u64) -> u64 {
        let at = ticks();
        let lived = at.saturating_sub(self.ticks).max(1);
        let nanos = now().saturating_sub(self.nanos);
        let passed = u128::from(at.saturating_sub(start));
        u64::try_from(passed * u128::from(nanos) / u128::from(lived)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheap_clock_agrees_with_the_dear_one() {
        // Anew if this thread lost its core between two readings that should be of one instant.
        while !agrees() {}
    }

    /// Compares the two over two milliseconds. False if they were not read at the same instants.
    fn agrees() -> bool {
        let born = now();
        let (clock, start) = (Clock::new(), ticks());
        let before = now();
        while now() - before < 2_000_000 {
            core::hint::spin_loop();
        }
        let least = now() - before;
        let measured = clock.since(start);
        let most = now() - born;
        if most - least > 10_000 {
            return false;
        }
        assert!(measured >= least - least / 100, "{measured} < {least}");
        assert!(measured <= most + most / 100, "{measured} > {most}");
        true
    }
}
