//! When free memory goes back to the system, and how to choose another rule.
//!
//! The runtime's attendant gives free memory back, step by step; a [`ScavengePolicy`] says what goes back, and when
//! the next step is due. [`Builder::scavenger`] takes any: one of those here, or one's own.
//!
//! | policy | gives back |
//! |---|---|
//! | [`ByAge`], the default | what was free for about a second |
//! | [`CpuShare`] | what is beyond 1.1 × the heap in use, for 1 % of one processor |
//! | [`Eager`] | everything that is free, at each step |
//! | [`Never`] | nothing; [`Alloc::release`](crate::Alloc::release) still does, and a [memory limit](Builder::memory_limit) |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;

pub use alloc_core::scavenge::{ByAge, CpuShare, Eager, Never, Plan, ScavengePolicy, Sight};

use crate::Builder;
use crate::make::Make;

impl Builder {
    /// What free memory goes back to the system, and when: the policy that `make` makes; [`ByAge`] if not set. See
    /// [`scavenge`](crate::scavenge).
    ///
    /// The heap is the process's and has one policy at a time: that of the runtime that was first to scavenge, until
    /// its end.
    ///
    /// The policy is asked on a thread of the runtime's own, with all signals off. It waits for no goroutine; if it
    /// panics, the process is aborted.
    ///
    /// ```
    /// use runtime::scavenge::{Plan, ScavengePolicy, Sight};
    /// use std::time::Duration;
    ///
    /// /// Gives back what is beyond so many bytes.
    /// struct Keep(usize);
    ///
    /// impl ScavengePolicy for Keep {
    ///     fn plan(&mut self, sight: &Sight) -> Plan {
    ///         let bytes = sight.free.saturating_sub(self.0);
    ///         Plan { age: 0, bytes, again: Some(Duration::from_millis(100)) }
    ///     }
    /// }
    ///
    /// assert_eq!(Keep(8 << 20).plan(&Sight { free: 9 << 20, ..Sight::default() }).bytes, 1 << 20);
    /// assert!(runtime::Builder::new().scavenger(|| Keep(8 << 20)).build().is_ok());
    /// ```
    #[must_use]
    pub fn scavenger<P: ScavengePolicy + Send + 'static>(
        mut self,
        make: impl Fn() -> P + Send + Sync + 'static,
    ) -> Self {
        self.settings.scavenge = Make::by(move || Box::new(make()) as _);
        self
    }
}

/// Any of them, for the attendant's thread.
pub(crate) type Scavenge = dyn ScavengePolicy + Send;

/// A policy, and whether it wants to be asked again.
pub(crate) struct Asked {
    policy: Box<Scavenge>,
    pub(crate) again: bool,
}

impl Asked {
    pub(crate) fn new(policy: Box<Scavenge>) -> Self {
        Asked { policy, again: true }
    }
}

impl ScavengePolicy for Asked {
    fn plan(&mut self, sight: &Sight) -> Plan {
        // The attendant must not end, as others wait for it.
        let asked = catch_unwind(AssertUnwindSafe(|| self.policy.plan(sight)));
        let plan = asked.unwrap_or_else(|_| abort());
        self.again = plan.again.is_some();
        plan
    }
}
