//! [`ProcLocal`]: what each P carries for the allocator and the collector.
//!
//! sched-core gives each P one pointer ([`Hooks::proc_start`]), good while the runtime is entered. It
//! points to a `ProcLocal`: the P's allocation cache, and its *number*, by which collected heaps
//! find the state that they keep for it. A number is unique among all live Ps of all runtimes of the
//! process, and small, so that a table can be indexed with it; a dead P's number is given out again.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use alloc_core::global::ProcessorCache;
use sched_core::Hooks;
use sched_core::entry::Entered;

use super::world::State;
use crate::current;

/// The record behind a P's pointer. Used by whoever holds the P.
#[repr(align(128))]
pub(crate) struct ProcLocal {
    number: usize,
    /// What the process's collected heap keeps for this number, once it was asked for.
    state: Cell<Option<&'static State>>,
    /// The allocation cache: lent to the scavenger while nobody uses it.
    cache: ProcessorCache,
}

impl ProcLocal {
    fn new() -> Self {
        ProcLocal {
            number: current::NUMBERS.take(),
            state: Cell::new(None),
            cache: ProcessorCache::new(),
        }
    }

    /// The record of the P that the caller holds; `None` on plain threads.
    #[inline]
    pub(crate) fn here<'a>(entered: &Entered<'_>) -> Option<&'a ProcLocal> {
        // SAFETY: null, or the box that `proc_start` made, which `proc_stop` frees after the last
        // goroutine; and while the runtime is entered, nobody else holds the P. The callers, all in
        // `wire`, use it no longer than that.
        unsafe { entered.proc_local().cast::<ProcLocal>().as_ref() }
    }

    /// The P's number, below [`Numbers::LIMIT`].
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The collected heap's state for this P, if it was [remembered](Self::remember).
    #[inline(always)]
    pub(super) fn state(&self) -> Option<&'static State> {
        self.state.get()
    }

    /// Notes the state, for good: a number's state is never replaced.
    pub(super) fn remember(&self, state: &'static State) {
        self.state.set(Some(state));
    }

    /// Where the P's cache is.
    #[inline(always)]
    pub(super) fn cache(&self) -> &ProcessorCache {
        &self.cache
    }
}

impl fmt::Debug for ProcLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcLocal").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What sched-core calls when Ps come and go.
#[derive(Debug)]
pub(crate) struct ProcHooks;

impl Hooks for ProcHooks {
    fn proc_start(&self, _index: usize) -> *mut () {
        let local = Box::new(ProcLocal::new());
        // Without memory for a cache, allocations are served from elsewhere.
        // SAFETY: once, and it stays in its box.
        unsafe { local.cache.bind() };
        Box::into_raw(local).cast()
    }

    fn proc_stop(&self, _index: usize, local: *mut ()) {
        // SAFETY: made by `proc_start`, and handed back once, when nothing runs on the P any more.
        let local = unsafe { Box::from_raw(local.cast::<ProcLocal>()) };
        current::NUMBERS.give(local.number);
    }
}

/// Hands out small numbers, each to one holder at a time. No lock, no allocation.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// A bit per number: taken.
    words: [AtomicU64; Self::LIMIT / 64],
}

impl Numbers {
    /// How many Ps a process can have.
    pub(crate) const LIMIT: usize = 1 << 16;

    pub(crate) const fn new() -> Self {
        Numbers { words: [const { AtomicU64::new(0) }; Self::LIMIT / 64] }
    }

    /// The lowest free number.
    ///
    /// # Panics
    ///
    /// If there are [`LIMIT`](Self::LIMIT) Ps.
    fn take(&self) -> usize {
        let free = self.words.iter().enumerate().find_map(|(index, word)| {
            let lowest = |bits: u64| (bits != u64::MAX).then(|| bits | (bits + 1));
            // Acquire: sees what the former holder of the number did; pairs with `give`.
            let before = word.fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest).ok()?;
            Some(index * 64 + before.trailing_ones() as usize)
        });
        free.expect("65,536 processors are in use")
    }

    fn give(&self, number: usize) {
        // Release: what was done under this number is done; pairs with the Acquire in `take`.
        self.words[number / 64].fetch_and(!(1 << (number % 64)), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_small_and_given_again() {
        let numbers = Numbers::new();
        let first: Vec<_> = (0..130).map(|_| numbers.take()).collect();
        assert_eq!(first, (0..130).collect::<Vec<_>>());
        numbers.give(64);
        numbers.give(3);
        assert_eq!((numbers.take(), numbers.take(), numbers.take()), (3, 64, 130));
    }
}
