//! The duties: each a rule that turns what a look saw into deeds.
//!
//! A duty keeps what it must remember from look to look, never reads a clock (it is given `now`)
//! and never sleeps. Where it needs to be called again at a certain time it says so by returning
//! a [`Wish`]; [`Monitor`](crate::Monitor) sleeps no longer than the nearest one.

mod asleep;
mod collect;
mod guard;
mod preempt;
mod resize;
mod retake;
mod scavenge;
mod trace;

pub use asleep::Asleep;
pub use collect::Collect;
pub use guard::GuardWatch;
pub use preempt::Preempt;
pub use resize::Resize;
pub use retake::Retake;
pub use scavenge::Scavenge;
pub use trace::Trace;

/// The time from now at which a duty has to be called again; `None` when it does not matter.
pub type Wish = Option<std::time::Duration>;
