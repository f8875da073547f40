//! [`Limit`]: the memory limit of the process, from one runtime to the next.
//!
//! The heap is the process's, and so is its limit: the runtime that was made last decides. While one is being made
//! there is none: what it begins with must not fail by the limit of a runtime that may have ended long ago, and
//! beside a limit of its own that is too small there is an error to give, not an allocation that ends the process.

use std::sync::{MutexGuard, PoisonError};

use alloc_core::global;
use sched_core::entry;

use crate::build_error::BuildError;
use crate::current;

/// Bytes that a limit must leave beyond what the heap has when the scheduler is there.
const ROOM: usize = 8 << 20;

/// A runtime is being made. Dropped, the limit is as it was.
#[derive(Debug)]
pub(crate) struct Limit {
    then: usize,
    /// Two that are made at once would put back each other's.
    _alone: MutexGuard<'static, ()>,
}

impl Limit {
    /// Lifts the limit.
    pub(crate) fn lift() -> Self {
        let alone = current::LIMITING.lock().unwrap_or_else(PoisonError::into_inner);
        // The caller may be a goroutine of another runtime: see `space`.
        let _inside = entry::enter();
        let before = global::heap().limit();
        global::heap().set_limit(usize::MAX);
        Limit { then: before, _alone: alone }
    }

    /// Sets it for the new runtime, whose scheduler is there; `None`: there is none.
    pub(crate) fn set(&self, wanted: Option<usize>) -> Result<(), BuildError> {
        let Some(bytes) = wanted else { return Ok(()) };
        let _inside = entry::enter();
        let stats = global::heap().stats();
        // What is free is given back at the limit.
        let held = stats.resident_at_most().saturating_sub(stats.free) + stats.stacks;
        let least = held + ROOM;
        if bytes < least {
            return Err(BuildError::MemoryLimit { bytes, least });
        }
        global::heap().set_limit(bytes);
        Ok(())
    }

    /// The runtime is made: the limit is its own.
    pub(crate) fn keep(mut self) {
        let _inside = entry::enter();
        self.then = global::heap().limit();
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _inside = entry::enter();
        global::heap().set_limit(self.then);
    }
}
