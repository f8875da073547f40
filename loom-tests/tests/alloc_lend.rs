//! A thread's cache on loan to the scavenger: never do both use it, each sees what the other did to it, and
//! the thread is never kept waiting.
#![cfg(loom)]

use std::ptr::NonNull;

use alloc_core::lend::{Berth, heavy_fence};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::model;

struct World {
    berth: Berth<UnsafeCell<usize>>,
    cache: Box<UnsafeCell<usize>>,
}

// SAFETY: the protocol decides who touches the cache, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        let world = Arc::new(World { berth: Berth::new(), cache: Box::new(UnsafeCell::new(0)) });
        world.berth.exit(NonNull::from(&*world.cache));
        world.berth.open();
        world
    }

    /// One call of the allocator; how often the thread had its cache.
    fn call(&self) -> usize {
        let Some(cache) = self.berth.enter() else {
            assert!(self.berth.cache().is_some(), "it is there again");
            return 0;
        };
        assert_eq!(self.berth.cache(), None, "a handler finds none");
        self.touch();
        self.berth.exit(cache);
        1
    }

    fn touch(&self) {
        // SAFETY: the caller has the cache; loom checks that nobody else does.
        self.cache.with_mut(|uses| unsafe { *uses += 1 });
    }

    /// One look of the scavenger; one if it had the cache.
    fn look(&self) -> usize {
        self.berth.ask();
        let fenced = heavy_fence();
        let lent = self.berth.lent().filter(|_| fenced);
        if lent.is_some() {
            self.touch();
        }
        self.berth.open();
        usize::from(lent.is_some())
    }
}

#[test]
fn thread_and_scavenger_never_use_the_cache_at_once() {
    model("lend, calls", 4, || {
        let world = World::new();
        let scavenger = {
            let world = world.clone();
            thread::spawn(move || world.look() + world.look())
        };
        let calls = world.call() + world.call();
        let uses = calls + scavenger.join().unwrap();
        // The thread has it again, and everything that was done.
        assert_eq!(world.call(), 1);
        // SAFETY: the other thread has ended.
        world.cache.with(|count| assert_eq!(unsafe { *count }, uses + 1));
    });
}

#[test]
fn a_cache_that_was_taken_away_is_not_lent() {
    model("lend, end", 4, || {
        let world = World::new();
        let turn = Arc::new(loom::sync::Mutex::new(()));
        let scavenger = {
            let (world, turn) = (world.clone(), turn.clone());
            thread::spawn(move || {
                let _turn = turn.lock().unwrap();
                world.look();
            })
        };
        // The end of a thread.
        assert!(!world.berth.leave().is_null());
        drop(turn.lock().unwrap());
        world.touch();
        scavenger.join().unwrap();
        assert_eq!(world.look(), 0);
    });
}
