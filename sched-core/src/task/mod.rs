//! The G: a record per goroutine.
//!
//! # Problem
//!
//! A goroutine is known to many: to one queue or one M that runs it, to the waiters it handed out,
//! to its handle. They live on different threads and let go in any order. The record is the one
//! place that all of them may name, for as long as they name it; everything large (the stack, the
//! closure, the result) hangs on it and comes and goes earlier.
//!
//! # Fields: who may touch what, when
//!
//! | field | rule |
//! |---|---|
//! | `head` | the queue the G lies in; a G lies in one queue or runs or is parked, never two |
//! | `next_free` | the list of free records it lies in |
//! | `state` | anyone, by its own transitions ([`state`]) |
//! | `references` | anyone; the record is recycled when it falls to zero |
//! | `bound`, `locks` | the goroutine, or the M it stays on; read by whoever has the G |
//! | `joiner` | the handle, until it has announced it; then whoever ends the goroutine (`join`) |
//! | `about` | the number, creator and origin: written before the G is first queued. The wait: by the goroutine. Dumps read all of it at any time ([`about`]) |
//! | `packet` | written before the G is first queued, constant afterwards |
//! | `slot` | whoever *has* the G: the M that takes it from a queue, then the M that runs it, then the M that commits its end. Handed on by the queues' and the switch's orderings. A dump reads it while it watches the G ([`state::State::watch`]). A dump, and who trims the stack, may have the G of one that is parked ([`state::State::claim`]) |
//! | `order` | written before the G is first queued, constant afterwards |
//! | `timer_place` | the lock of the deadlines |
//! | `trimmed` | whoever has the G; read at any time, as a hint |
//!
//! # References
//!
//! One reference is the *run reference*: it travels with the G through queues and Ms, as a bare
//! pointer, and dies with the commit of the goroutine's end. The others are `TaskRef`s.
//!
//! # Rooms
//!
//! [`state`] is the park word, [`about`] what dumps read, `record` the record, `names` the references to it,
//! `raw` the closure and its result, `join` the handle, `runnable` what it has in common with a future.

pub mod about;
#[cfg(not(loom))]
pub mod join;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
pub(crate) mod raw;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
pub(crate) mod runnable;
pub mod state;

#[cfg(not(loom))]
pub(crate) use names::{Kind, Run, TaskRef};
#[cfg(not(loom))]
pub(crate) use record::Task;
#[cfg(not(loom))]
pub use record::TaskId;
