//! Caches of threads that begin and end: each is one thread's at a time, is used again before another is made,
//! and keeps what it holds for the next thread only if few others do.
#![cfg(loom)]

use std::ptr::{self, NonNull};

use alloc_core::{
    cache_pool::{Pool, Pooled, WARM, bind, unbind},
    sync::Lock,
};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use loom_tests::model;

/// What a cache holds; loom reports two users at once.
type Cache = UnsafeCell<Held>;

/// Cells that the next user wants, and those that others do.
#[derive(Default)]
struct Held {
    at_hand: usize,
    others: usize,
}

struct World {
    pool: Lock<Pool<Cache, ()>>,
    made: AtomicUsize,
}

// SAFETY: the pool decides who has a cache, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World { pool: Lock::new(Pool::new()), made: AtomicUsize::new(0) })
    }

    fn make(&self) -> Option<NonNull<Pooled<Cache, ()>>> {
        // Relaxed: under the pool's lock.
        self.made.fetch_add(1, Ordering::Relaxed);
        Some(NonNull::from(Box::leak(Box::new(Pooled::new(UnsafeCell::new(Held::default()))))))
    }

    /// Binds a cache, in which lies nothing that others wait for.
    fn begin(&self) -> NonNull<Pooled<Cache, ()>> {
        let pooled = bind(&self.pool, ptr::dangling(), || self.make()).unwrap();
        // SAFETY: the cache is ours; loom checks that.
        unsafe {
            (*Pooled::cache(pooled)).with_mut(|held| {
                assert_eq!((*held).others, 0, "what a thread left would be lost to the others");
                *held = Held { at_hand: 1, others: 1 };
            });
        }
        pooled
    }

    fn end(&self, pooled: NonNull<Pooled<Cache, ()>>) {
        // SAFETY: the cache is ours until it lies in the pool; loom checks that.
        let pack = |cache: &mut Cache| unsafe { cache.with_mut(|held| (*held).others = 0) };
        // SAFETY: as above.
        unsafe { unbind(&self.pool, pooled, pack, empty) };
    }

    /// What a scavenger does.
    fn rest(&self, all: bool) -> bool {
        self.pool.lock().empty_rested(all, empty)
    }
}

fn empty(cache: &mut Cache) {
    // SAFETY: the cache is the caller's; loom checks that.
    cache.with_mut(|held| unsafe { *held = Held::default() });
}

impl Drop for World {
    fn drop(&mut self) {
        // Every cache is in the pool again: as many as were made come out of it, and no more.
        let (made, mut warm) = (self.made.load(Ordering::Relaxed), 0);
        for _ in 0..made {
            let pooled = bind(&self.pool, ptr::dangling(), || None).expect("none was lost");
            // SAFETY: made by `make`, and no thread has it any more.
            let record = unsafe { Box::from_raw(pooled.as_ptr()) };
            // SAFETY: ours alone.
            unsafe { (*Pooled::cache(pooled)).with(|held| warm += (*held).at_hand) };
            drop(record);
        }
        assert!(bind(&self.pool, ptr::dangling(), || None).is_none(), "none is in there twice");
        assert!(warm <= WARM, "{warm} caches keep what others could use");
    }
}

#[test]
fn a_cache_has_one_thread_and_few_stay_warm() {
    model("thread, pool", 3, || {
        let world = World::new();
        let ending = world.begin();
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let first = world.begin();
                world.end(first);
                world.rest(true);
                let second = world.begin();
                world.end(second);
            })
        };
        world.end(ending);
        let again = world.begin();
        world.end(again);
        other.join().unwrap();
        assert!(world.made.load(Ordering::Relaxed) <= 2, "no more than there were threads");
    });
}

#[test]
fn a_cache_for_which_there_is_no_room_is_empty_before_another_has_it() {
    model("thread, no room in the pool", 3, || {
        let world = World::new();
        let (first, second) = (world.begin(), world.begin());
        world.end(first);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let both = [world.begin(), world.begin()];
                both.into_iter().for_each(|pooled| world.end(pooled));
            })
        };
        world.end(second);
        other.join().unwrap();
    });
}

#[test]
fn what_rests_is_emptied_beside_threads_that_begin_and_end() {
    model("thread, pool at rest", 3, || {
        let world = World::new();
        let first = world.begin();
        world.end(first);
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let again = world.begin();
                world.end(again);
            })
        };
        world.rest(false);
        world.rest(false);
        other.join().unwrap();
        let waits = world.rest(false);
        assert!(!waits || !world.rest(false), "what lay there for a step is empty by the next");
        assert_eq!(world.made.load(Ordering::Relaxed), 1, "one thread at a time");
    });
}
