//! When free memory goes back, and how much of it: arithmetic over what a step sees.
//!
//! No policy reads a clock or a heap: they are given a [`Sight`] and answer with a [`Plan`], so they
//! are tested by simulation.

use core::time::Duration;

/// The greatest age of a free page, in steps.
const OLDEST: u8 = 3;

/// What a step of the scavenger sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Time since a moment that stays the same.
    pub now: Duration,
    /// Bytes of free pages that may have memory.
    pub free: usize,
    /// Bytes of all other pages.
    pub in_use: usize,
    /// Bytes that the last step gave back.
    pub released: usize,
    /// Processor time that the last step took.
    pub spent: Duration,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pages that have been free for at least so many steps go back; 3 at most.
    pub age: u8,
    /// At most about so many bytes go back.
    pub bytes: usize,
    /// The next step is due after this time, if any free page has memory; `None`: never.
    pub again: Option<Duration>,
}

/// Decides what goes back.
pub trait ScavengePolicy {
    /// What to do now.
    fn plan(&mut self, sight: &Sight) -> Plan;
}

/// Gives back what was free for about a certain time: the default.
///
/// ```
/// use alloc_core::scavenge::{ByAge, ScavengePolicy, Sight};
/// use std::time::Duration;
/// let plan = ByAge::default().plan(&Sight::default());
/// assert_eq!((plan.age, plan.again), (3, Some(Duration::from_millis(200))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByAge {
    step: Duration,
}

impl ByAge {
    /// After three to four fifths of `age`, so that all is done by then.
    pub const fn new(age: Duration) -> Self {
        // A page is freed between two steps; each step makes it older by one, and the one after it
        // has become oldest gives it back: the fourth. A fifth is left for the work.
        ByAge { step: Duration::from_nanos((age.as_nanos() / (OLDEST as u128 + 2)) as u64) }
    }
}

impl Default for ByAge {
    /// After a second.
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl ScavengePolicy for ByAge {
    fn plan(&mut self, _sight: &Sight) -> Plan {
        Plan { age: OLDEST, bytes: usize::MAX, again: Some(self.step) }
    }
}

/// Keeps a tenth of what is in use as free memory and gives the rest back, for a share of one
/// processor's time: Go's background scavenger without its controller.
///
/// After each slice it rests for so many times as long as the step before took, so that over many steps the share is
/// kept, whatever a page costs on this machine.
///
/// ```
/// use alloc_core::scavenge::{CpuShare, ScavengePolicy, Sight};
/// let mut policy = CpuShare::GO;
/// let plan = policy.plan(&Sight { in_use: 100 << 20, free: 10 << 20, ..Sight::default() });
/// assert_eq!(plan.bytes, 0, "a tenth stays");
/// let plan = policy.plan(&Sight { in_use: 100 << 20, free: 500 << 20, ..Sight::default() });
/// assert_eq!(plan.bytes, CpuShare::GO.slice);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuShare {
    /// Free bytes that stay for each hundred in use.
    pub keep_percent: usize,
    /// One part in so many of the time goes into giving back.
    pub one_in: u32,
    /// Bytes for each step.
    pub slice: usize,
}

impl CpuShare {
    /// A tenth stays; one per cent; steps of 2 MiB (some 0.25 ms).
    pub const GO: Self = CpuShare { keep_percent: 10, one_in: 100, slice: 2 << 20 };
    /// The pause while nothing is beyond the goal.
    const QUIET: Duration = Duration::from_millis(100);
    /// The pause at least: after the first step, and where no clock tells what it took.
    const LEAST: Duration = Duration::from_millis(1);
}

impl ScavengePolicy for CpuShare {
    fn plan(&mut self, sight: &Sight) -> Plan {
        let keep = sight.in_use / 100 * self.keep_percent;
        let bytes = sight.free.saturating_sub(keep).min(self.slice);
        let share = (sight.spent * self.one_in).max(Self::LEAST);
        let again = if bytes == 0 { share.max(Self::QUIET) } else { share };
        Plan { age: 0, bytes, again: Some(again) }
    }
}

/// Gives everything back that is free, every ten milliseconds.
///
/// ```
/// use alloc_core::scavenge::{Eager, ScavengePolicy, Sight};
/// assert_eq!(Eager.plan(&Sight::default()).age, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Eager;

impl ScavengePolicy for Eager {
    fn plan(&mut self, _sight: &Sight) -> Plan {
        Plan { age: 0, bytes: usize::MAX, again: Some(Duration::from_millis(10)) }
    }
}

/// Gives nothing back.
///
/// ```
/// use alloc_core::scavenge::{Never, ScavengePolicy, Sight};
/// assert_eq!(Never.plan(&Sight::default()).again, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Never;

impl ScavengePolicy for Never {
    fn plan(&mut self, _sight: &Sight) -> Plan {
        Plan { age: OLDEST, bytes: 0, again: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_per_cent_of_a_processor_gives_eight_hundred_megabytes_back_in_ten_seconds() {
        let mut policy = CpuShare::GO;
        let mut sight = Sight { free: 800 << 20, ..Sight::default() };
        let mut busy = Duration::ZERO;
        while sight.free > 0 {
            let plan = policy.plan(&sight);
            sight.spent = Duration::from_micros(125) * (plan.bytes >> 20) as u32;
            busy += sight.spent;
            sight.now += plan.again.unwrap();
            sight.free -= plan.bytes;
        }
        assert_eq!(busy, Duration::from_millis(100));
        // But for the last step's, which the next pause is to pay.
        let paid = busy - sight.spent;
        assert_eq!(sight.now, 100 * paid + CpuShare::LEAST);
    }

    #[test]
    fn a_page_goes_back_after_three_to_four_fifths_of_its_age() {
        let step = ByAge::new(Duration::from_secs(2)).plan(&Sight::default());
        assert_eq!((step.again, step.age), (Some(Duration::from_millis(400)), 3));
    }
}
