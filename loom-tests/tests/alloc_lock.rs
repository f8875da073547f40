//! The allocator's lock: one holder at a time, who sees what the last one wrote.
#![cfg(loom)]

use alloc_core::sync::Lock;
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::model;

struct World {
    lock: Lock<()>,
    /// Touched by the holder only: loom reports two at once.
    turns: UnsafeCell<usize>,
}

// SAFETY: the lock decides who touches the cell, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn touch(&self) {
        // SAFETY: the caller holds the lock; loom checks that.
        self.turns.with_mut(|turns| unsafe { *turns += 1 });
    }
}

#[test]
fn one_thread_at_a_time_holds_the_lock() {
    model("lock", 2, || {
        let world = Arc::new(World { lock: Lock::new(()), turns: UnsafeCell::new(0) });
        let holders: Vec<_> = [false, true]
            .into_iter()
            .map(|only_try| {
                let world = world.clone();
                thread::spawn(move || {
                    let held =
                        if only_try { world.lock.try_lock() } else { Some(world.lock.lock()) };
                    if held.is_some() {
                        world.touch();
                    }
                    usize::from(held.is_some())
                })
            })
            .collect();
        let turns: usize = holders.into_iter().map(|holder| holder.join().unwrap()).sum();
        let _held = world.lock.lock();
        // SAFETY: the lock is held.
        assert_eq!(world.turns.with(|turns| unsafe { *turns }), turns);
    });
}
