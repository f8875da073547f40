//! Locks for what lies in the heap: interiors that change as a whole, with edges in them.
//!
//! # Problem
//!
//! A [`GcCell`](crate::GcCell) is one edge. A list of children, a table, a small state machine wants
//! plain data with edges in it, changed by whoever has the lock. The marker reads that data too, so it
//! must be locked out while it changes; it must never wait, since whoever holds the lock may wait for
//! the marker's cycle; and what is overwritten under the lock must not be lost to the snapshot,
//! although nobody sees the single stores.
//!
//! # Rules
//!
//! - **Held under a guard.** A lock guard borrows the [`Guard`] of the heap. So whoever held a lock
//!   before the barrier was on has left it when the roots are shaded; and a lock that is waited for
//!   delays the cycle and nobody else.
//! - **Reported before access.** Whoever takes the lock exclusively while the barrier is on logs all
//!   edges of the interior first. That is the deletion barrier for everything that may be overwritten
//!   under the lock, in one go. Until the phase word says *mark* every acquisition does; from then on
//!   the first one in the cycle is enough: what was in the interior when marking began is in a log, and
//!   what came later is marked by its own rules (see [`engine`](crate::engine)). Marking does not end
//!   while somebody reports ([`report`]).
//! - **Skipped, not waited for.** The marker enters beside readers, and turns away from a lock that is
//!   held exclusively. It need not come back: the holder has reported what it would have found, or is
//!   about to, and is waited for.
//!
//! *First in the cycle, from step 1 on* is not enough: the one that is first may come before another
//! guard, which has no barrier yet, hides an edge in the interior. The state search finds that run
//! (`loom-tests/src/search`, `Fault::LockReportedOnce`).
//!
//! # What it costs
//!
//! Taking a lock is a compare-and-swap while no cycle runs. While one does, an acquisition that traces
//! costs as much as the interior is long, some 10 ns per edge and more beyond the caches: keep long tables in a
//! [`Slice`](crate::Slice) of cells. [`Actions::reports`](crate::stats::Actions::reports) counts how long that
//! took. A writer waits for a marker that is in the interior; the marker is out after one pass over it, which
//! is not cut into pieces: what it would cut may move when it is out.
//!
//! # A panic, a leak
//!
//! There is no poisoning: a panic in a critical section unlocks, as in parking_lot. Edges are whole
//! between any two statements, so the collector does not mind. A lock guard that is leaked
//! (`mem::forget`) leaves its lock held for ever: nobody sees the interior again, the marker
//! included, so what it alone leads to is freed. That is why no lock has a `get_mut` or `into_inner`.

mod holders;
mod interior;
#[doc(hidden)]
pub mod lot;
mod mutex;
mod once;
#[doc(hidden)]
pub mod raw;
#[doc(hidden)]
pub mod report;
mod rwlock;

pub use self::{
    holders::{MutexGuard, ReadGuard, WriteGuard},
    mutex::GcMutex,
    once::GcOnce,
    rwlock::GcRwLock,
};
#[doc(hidden)]
pub use self::{lot::Lot, once::RawOnce};
#[cfg(doc)]
use crate::Guard;
