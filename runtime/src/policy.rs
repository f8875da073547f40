//! The order in which goroutines run, and how to choose another.
//!
//! The default is Go's. [`Builder::policy`](crate::Builder::policy) takes any [`Policy`], and so does
//! [`Runtime::set_policy`](crate::Runtime::set_policy), while goroutines run: one of those here, or one's own, for which `sched-core/examples/own_policy.rs` is an example.
//!
//! | policy | for |
//! |---|---|
//! | [`Gmp`] | everything: what was just made ready runs next, what was woken does not wait |
//! | [`Priority`] | requests of several kinds: [`Class`]es ([`Spawn::class`](crate::Spawn::class)) with deadlines, without starvation |
//! | [`WorkSteal`] | parallel computations that split themselves |
//! | [`GlobalFifo`] | strict order of arrival; debugging |
//!
//! ```
//! use runtime::policy::WorkSteal;
//!
//! let rt = runtime::Runtime::builder().policy(WorkSteal).build().unwrap();
//! let sum: u64 = rt.scope(|s| {
//!     let parts: Vec<_> = (0..10_u64).map(|n| s.go(move || n * n)).collect();
//!     parts.into_iter().map(|part| part.join().unwrap()).sum()
//! });
//! assert_eq!(sum, 285);
//! ```

pub use sched_core::policy::{
    Cause, Chosen, Class, GlobalFifo, Gmp, Item, Moment, Policy, Priority, Queues, Ready, Seat,
    Slice, WorkSteal,
};
