//! Who may touch a collected span: one word, relative to the heap's cycle.
//!
//! Each cycle of the collector has a *generation* `h`, two more than the one before. A span's
//! word says where the span stands relative to it, as in Go's `mheap.go`:
//!
//! | word | meaning | who moves it on |
//! |---|---|---|
//! | h − 2 | needs sweeping | exactly one sweeper, to h − 1 ([`SweepWord::claim`]) |
//! | h − 1 | being swept | that sweeper, to h ([`SweepWord::finish`]) |
//! | h | swept; no cache has it | a cache, to h + 3 ([`SweepWord::cache`]) |
//! | h + 1 | a cache had it when this cycle began: stale | exactly one sweeper, to h − 1 |
//! | h + 3 | swept, then taken by a cache | that cache, to h ([`SweepWord::uncache`]) |
//!
//! Nobody rewrites the words when a cycle begins: `h` grows by two, and *swept* becomes *needs
//! sweeping*, *cached* becomes *stale*.
//!
//! Go stops the world for that, so a cache never holds a stale span while its owner allocates. Here
//! it may: a thread that still acts on the old cycle allocates from its cached span until the
//! collector's handshake, and only then may anyone sweep. Afterwards the owner finds that its span
//! is of another generation and forgets it. So, other than in Go, any sweeper may claim a stale span,
//! and a cache that sleeps through whole cycles needs no flush.
//!
//! Model: `loom-tests/tests/alloc_sweep.rs`.

use crate::sync::{AtomicU64, Ordering};

/// The generation of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(u64);

impl Generation {
    /// The generation of cycle number `cycle`.
    pub const fn of(cycle: u64) -> Self {
        Generation(2 * cycle + 2)
    }
}

/// The word of one span.
///
/// ```
/// use alloc_core::managed::sweepgen::{Generation, SweepWord};
/// let word = SweepWord::cached(Generation::of(0));
/// let next = Generation::of(1);
/// assert!(word.claim(next), "stale: the first sweeper gets it");
/// assert!(!word.claim(next), "and nobody else");
/// word.finish(next);
/// assert!(word.is_of(next));
/// ```
#[derive(Debug)]
pub struct SweepWord(AtomicU64);

impl SweepWord {
    /// A fresh span, in the cache that made it.
    pub fn cached(now: Generation) -> Self {
        SweepWord(AtomicU64::new(now.0 + 3))
    }

    /// A fresh span, in the cache that made it, has the word of one that is gone.
    pub(crate) fn begin(&self, now: Generation) {
        // Relaxed: nobody acts on the word before the span is listed, under a lock.
        self.0.store(now.0 + 3, Ordering::Relaxed);
    }

    /// Takes the right to sweep the span; `true` for one caller in a cycle.
    ///
    /// `now` is the current generation, which the caller knows under the lock of the span's list: who comes
    /// late with an older one would take a span that is being swept for a stale one.
    pub fn claim(&self, now: Generation) -> bool {
        self.turn(now.0 - 2, now.0 - 1) || self.turn(now.0 + 1, now.0 - 1)
    }

    /// The sweeper is done.
    pub fn finish(&self, now: Generation) {
        debug_assert!(self.holds(now.0 - 1), "only the sweeper finishes");
        // Release: publishes the swept bits; pairs with the Acquire in `cache`, `is_of`, `claim`.
        self.0.store(now.0, Ordering::Release);
    }

    /// A cache takes a swept span; `false` if it is not swept, or not free.
    pub fn cache(&self, now: Generation) -> bool {
        self.turn(now.0, now.0 + 3)
    }

    /// The cache that took the span in generation `then` gives it up; `false` if a sweeper took it
    /// meanwhile.
    ///
    /// If a cycle has begun since, the span is then one that needs sweeping.
    pub fn uncache(&self, then: Generation) -> bool {
        self.turn(then.0 + 3, then.0)
    }

    /// True if the span was swept in, or made in, this generation: its marks say nothing about
    /// an earlier one.
    pub fn is_of(&self, now: Generation) -> bool {
        // Acquire: pairs with the Release in `finish`.
        let word = self.0.load(Ordering::Acquire);
        word == now.0 || word == now.0 + 3
    }

    /// True if the span is swept in this generation and in no cache.
    pub fn is_idle(&self, now: Generation) -> bool {
        self.holds(now.0)
    }

    /// True if a sweeper of this generation has still to come.
    pub fn needs_sweep(&self, now: Generation) -> bool {
        self.holds(now.0 - 2) || self.holds(now.0 + 1)
    }

    fn holds(&self, value: u64) -> bool {
        // Acquire: pairs with the Release in `finish` and `turn`.
        self.0.load(Ordering::Acquire) == value
    }

    fn turn(&self, from: u64, to: u64) -> bool {
        // Acquire: the bits that the last holder wrote are visible. Release: hands ours on. The
        // partners are the other transitions. Relaxed on failure: the caller leaves the span alone.
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
