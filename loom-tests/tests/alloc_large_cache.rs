//! Large spans between frees and allocations: each is in one slot or in one hand, and whoever takes it
//! sees what its last user did.
#![cfg(loom)]

use std::ptr::NonNull;

use alloc_core::large_cache::{LargeCache, MOST};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::model;

/// A bucket with a single slot, so that two frees and two allocations meet in it.
const PAGES: usize = MOST;

struct World {
    cache: LargeCache<UnsafeCell<usize>>,
    /// What only a span's holder touches: loom reports two at once.
    spans: [UnsafeCell<usize>; 2],
}

// SAFETY: the cache hands each span to one thread at a time, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World { cache: LargeCache::new(), spans: Default::default() })
    }

    fn use_span(span: &UnsafeCell<usize>) -> usize {
        span.with_mut(|turns| {
            // SAFETY: the caller holds the span; loom checks that nobody else does.
            unsafe {
                *turns += 1;
                *turns
            }
        })
    }

    /// Uses a span and frees it; `false` if it stays the caller's.
    fn free(&self, span: usize) -> bool {
        World::use_span(&self.spans[span]);
        self.cache.put(PAGES, NonNull::from(&self.spans[span]))
    }

    /// Allocates, uses and says how often the span was used by then.
    fn alloc(&self) -> Option<usize> {
        // SAFETY: spans live as long as the world.
        self.cache.take(PAGES).map(|span| World::use_span(unsafe { span.as_ref() }))
    }

    /// What the page heap does when it is short.
    fn reclaim(&self) -> usize {
        // SAFETY: spans live as long as the world.
        self.cache.take_all().map(|span| World::use_span(unsafe { span.as_ref() })).sum()
    }
}

#[test]
fn a_span_is_taken_with_what_was_written_before() {
    model("large cache, hand-over", 3, || {
        let world = World::new();
        let freer = {
            let world = world.clone();
            thread::spawn(move || world.free(0))
        };
        let taker = {
            let world = world.clone();
            thread::spawn(move || world.alloc().unwrap_or(0))
        };
        let reclaimed = world.reclaim();
        assert!(freer.join().unwrap(), "there was room");
        let taken = taker.join().unwrap();
        assert_eq!(taken + reclaimed + world.reclaim(), 2, "one turn of the freer, one of a taker");
    });
}

#[test]
fn a_span_is_taken_once() {
    model("large cache, takers", 3, || {
        let world = World::new();
        assert!(world.free(0));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || world.alloc().unwrap_or(0))
            })
            .collect();
        let reclaimed = world.reclaim();
        let taken: usize = takers.into_iter().map(|taker| taker.join().unwrap()).sum();
        assert_eq!(taken + reclaimed, 2, "by one of three");
    });
}

#[test]
fn two_frees_do_not_share_a_slot() {
    model("large cache, put", 3, || {
        let world = World::new();
        let other = {
            let world = world.clone();
            thread::spawn(move || world.free(1))
        };
        let kept = usize::from(world.free(0)) + usize::from(other.join().unwrap());
        assert_eq!((kept, world.reclaim()), (1, 2), "one is kept, the other stays its user's");
    });
}
