//! Caches of threads that begin and end: each is one thread's at a time, is empty when it comes out of the
//! pool, and is used again before another is made.
#![cfg(loom)]

use std::ptr::{self, NonNull};

use alloc_core::{
    cache_pool::{Pool, Pooled, bind, unbind},
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
type Cache = UnsafeCell<usize>;

struct World {
    pool: Lock<Pool<Cache, ()>>,
    made: AtomicUsize,
}

// SAFETY: the pool decides who has a cache, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn make(&self) -> Option<NonNull<Pooled<Cache, ()>>> {
        // Relaxed: under the pool's lock.
        self.made.fetch_add(1, Ordering::Relaxed);
        Some(NonNull::from(Box::leak(Box::new(Pooled::new(UnsafeCell::new(0))))))
    }

    /// Binds a cache; it must be empty.
    fn begin(&self) -> NonNull<Pooled<Cache, ()>> {
        let pooled = bind(&self.pool, ptr::dangling(), || self.make()).unwrap();
        // SAFETY: the cache is ours; loom checks that.
        unsafe {
            (*Pooled::cache(pooled)).with_mut(|held| {
                assert_eq!(*held, 0, "what a thread left would be lost to the others");
                *held = 1;
            });
        }
        pooled
    }

    fn end(&self, pooled: NonNull<Pooled<Cache, ()>>) {
        // SAFETY: the cache is ours until it lies in the pool; loom checks that.
        unsafe { unbind(&self.pool, pooled, |cache| cache.with_mut(|held| *held = 0)) };
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Every cache is in the pool again: as many as were made come out of it, and no more.
        let made = self.made.load(Ordering::Relaxed);
        for _ in 0..made {
            let pooled = bind(&self.pool, ptr::dangling(), || None).expect("none was lost");
            // SAFETY: made by `make`, and no thread has it any more.
            drop(unsafe { Box::from_raw(pooled.as_ptr()) });
        }
        assert!(bind(&self.pool, ptr::dangling(), || None).is_none(), "none is in there twice");
    }
}

#[test]
fn a_cache_has_one_thread_and_is_empty_when_it_comes() {
    model("thread, pool", 3, || {
        let world = Arc::new(World { pool: Lock::new(Pool::new()), made: AtomicUsize::new(0) });
        let ending = world.begin();
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let first = world.begin();
                world.end(first);
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
