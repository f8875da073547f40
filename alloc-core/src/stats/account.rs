//! The account of pages apart from any heap: for models. A heap needs zeroed memory for its page map, which
//! loom's atomics do not survive; the counters and their sum need none.

use super::{Counters, Stats};
use crate::{
    meta::Meta,
    page_heap::{PageHeap, Pool},
    span::Kind,
};

/// The counters of a heap of small spans.
#[derive(Debug)]
pub struct Account {
    counters: Counters,
    meta: Meta,
}

impl Account {
    /// Nothing was taken yet.
    #[allow(clippy::new_without_default, reason = "models alone make one")]
    pub fn new() -> Self {
        Account { counters: Counters::new(), meta: Meta::new() }
    }

    /// A span was taken from the pool, whose lock is held.
    pub fn take(&self, pages: usize) {
        self.counters.take(Kind::Small, pages);
    }

    /// A span was cut out of a word that a page cache has.
    pub fn take_cached(&self, pages: usize) {
        self.counters.take_cached(Kind::Small, pages);
    }

    /// A span is about to go to the pool, whose lock is held.
    pub fn free(&self, pages: usize) {
        self.counters.free(Kind::Small, pages);
    }

    /// All parts at one moment: the caller holds the lock of the pool.
    pub fn stats<P: PageHeap>(&self, pool: &Pool<P>) -> Stats {
        self.counters.stats(pool, &self.meta, 0, 0)
    }
}
