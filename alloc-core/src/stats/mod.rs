//! What the heap holds, in parts that add up, and how often each step of the path was taken.

mod account;
#[cfg(all(test, not(loom)))]
mod tests;
mod text;

#[doc(hidden)]
pub use account::Account;
pub use text::Json;

use crate::{
    meta::Meta,
    page_heap::{PageHeap, Pool},
    size_class::PAGE,
    span::{KIND_COUNT, Kind},
    stirred::Stirred,
    sync::{AtomicUsize, Ordering, array_of, const_fn},
};

/// Bytes by use, at one moment.
///
/// `mapped` is the sum of all the other byte counts (see [`Stats::parts`]). Blocks in caches count as
/// in use: the account is by span. Prints as text, and as JSON by [`Stats::to_json`].
///
/// ```
/// use alloc_core::{Heap, pages::os::Os};
/// let heap = Heap::new(Os::new());
/// let mut cache = heap.cache();
/// let block = cache.alloc(std::alloc::Layout::new::<[u8; 100_000]>()).unwrap();
/// let stats = heap.stats();
/// assert!(stats.large >= 100_000);
/// assert_eq!(stats.mapped, stats.parts().iter().map(|(_, bytes)| bytes).sum());
/// print!("{stats}");
/// # unsafe { cache.free(block) };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// All memory that the heap may touch.
    pub mapped: usize,
    /// Spans of small blocks, without their holes.
    pub small: usize,
    /// Pages inside of spans of small blocks that hold free blocks only and whose memory was given back.
    pub holes: usize,
    /// Blocks with their own pages.
    pub large: usize,
    /// Spans that a collector sweeps.
    pub managed: usize,
    /// Pages that caches hold for their next spans, and those of large blocks that were just freed.
    pub cached: usize,
    /// Free pages that may still have memory behind them.
    pub free: usize,
    /// Free pages without memory behind them.
    pub released: usize,
    /// Slabs of stacks: address space, of which only touched pages have memory.
    pub stacks: usize,
    /// The heap's own records.
    pub metadata: usize,
    /// The first level of the page map: address space, of which one page or two have memory.
    pub tables: usize,
    /// The heap from which the heap of the process serves who has no cache: handlers of signals, threads after their
    /// end. As its own [`Stats::resident_at_most`].
    pub emergency: usize,
    /// Times a cache had no cell in its current span, as far as caches have reported them: each
    /// does when it goes to a central or is flushed.
    pub refills: usize,
    /// Times a cache took a span from a central.
    pub claims: usize,
    /// Times a collected span was swept.
    pub sweeps: usize,
    /// Times a span was cut out of a cache's own pages.
    pub cached_takes: usize,
    /// Times a large block was served by one that was just freed, as far as caches have reported them: each does when
    /// it goes to the page heap for a large block, or is flushed.
    pub slot_takes: usize,
    /// Times a span or large block was taken from the page heap.
    pub takes: usize,
    /// Times the lock of the page heap was taken, by caches, large blocks and frees, or for earlier looks.
    pub locks: usize,
    /// Times the heap reserved address space from its source: arenas and its records, not slabs of stacks.
    pub reserves: usize,
    /// Times the page heap asked its source for memory.
    pub grows: usize,
    /// Times pages were given back to the source.
    pub releases: usize,
    /// Times a span on a central's list was looked at for what could be given back.
    pub looks: usize,
}

impl Stats {
    /// The same, with so many bytes in the emergency heap.
    pub(crate) fn with_emergency(mut self, bytes: usize) -> Self {
        self.mapped += bytes;
        self.emergency = bytes;
        self
    }
}

impl Counters {
    /// The account at one moment: the caller holds the lock of the page heap, which was taken `locks` times.
    /// `kept` bytes of large spans have no block.
    pub(crate) fn stats<P: PageHeap>(
        &self,
        pool: &Pool<P>,
        meta: &Meta,
        kept: usize,
        locks: usize,
    ) -> Stats {
        let used = |kind: Kind| self.used[kind as usize].get() * PAGE;
        let (small, large, managed) = (used(Kind::Small), used(Kind::Large), used(Kind::Managed));
        let [committed, free, clean, lent] =
            [pool.committed(), pool.free(), pool.clean(), pool.lent()].map(|pages| pages * PAGE);
        let (stacks, (metadata, tables)) = (self.stacks.get(), meta.bytes());
        let holes = pool.holes();
        Stats {
            mapped: committed + stacks + metadata + tables,
            small: small - holes,
            holes,
            // Spans that are taken just now may be counted as kept, and none twice.
            large: large - kept.min(large),
            managed,
            // Spans that others take from page caches just now move from one of these to the other.
            cached: committed - free - lent - small - large - managed + kept.min(large),
            free: free - clean + lent,
            released: clean,
            stacks,
            metadata,
            tables,
            emergency: 0,
            refills: self.refills.get(),
            claims: self.claims.get(),
            sweeps: self.sweeps.get(),
            cached_takes: self.cached_takes.get(),
            slot_takes: self.slot_takes.get(),
            takes: self.takes.get(),
            locks,
            reserves: meta.reserves(),
            grows: self.grows.get(),
            releases: self.releases.get(),
            looks: self.looks.get(),
        }
    }
}

/// Counters of the slow steps. Any thread adds; the fast path touches none of them.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) refills: Counter,
    pub(crate) claims: Counter,
    pub(crate) sweeps: Counter,
    pub(crate) slot_takes: Counter,
    pub(crate) releases: Counter,
    pub(crate) looks: Counter,
    /// The scavenger's steps.
    pub(crate) steps: Counter,
    pub(crate) stacks: Counter,
    /// Times a span was taken from the page heap, and times that grew.
    takes: Counter,
    cached_takes: Counter,
    pub(crate) grows: Counter,
    /// Bytes by which that grew.
    pub(crate) grown: Counter,
    /// Free pages with memory, when a span was last freed or a scavenger had looked.
    pub(crate) resting: Counter,
    /// Pages of spans, by kind.
    used: [Counter; KIND_COUNT],
    /// Something came to a central since the scavenger looked.
    pub(crate) stirred: Stirred,
}

impl Counters {
    const_fn! {
        pub(crate) fn new() -> Self {
            Counters {
                refills: Counter::new(),
                claims: Counter::new(),
                sweeps: Counter::new(),
                slot_takes: Counter::new(),
                releases: Counter::new(),
                looks: Counter::new(),
                steps: Counter::new(),
                stacks: Counter::new(),
                takes: Counter::new(),
                cached_takes: Counter::new(),
                grows: Counter::new(),
                grown: Counter::new(),
                resting: Counter::new(),
                used: array_of!(Counter::new(); KIND_COUNT),
                stirred: Stirred::new(),
            }
        }
    }

    /// A span of `kind` takes pages.
    pub(crate) fn take(&self, kind: Kind, pages: usize) {
        self.takes.add(1);
        self.used[kind as usize].add(pages);
    }

    /// As [`Counters::take`], out of a page cache.
    pub(crate) fn take_cached(&self, kind: Kind, pages: usize) {
        self.cached_takes.add(1);
        self.used[kind as usize].add(pages);
    }

    /// A span of `kind` gives pages up.
    pub(crate) fn free(&self, kind: Kind, pages: usize) {
        self.used[kind as usize].sub(pages);
    }
}

/// A number that threads add to.
#[derive(Debug)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    const_fn! {
        pub(crate) fn new() -> Self {
            Counter(AtomicUsize::new(0))
        }
    }

    // Relaxed throughout: a counter tells nothing about other memory.

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: usize) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: usize) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number, which is zero from now on.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
