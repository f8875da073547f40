//! A scheduler that has few stacks.

use std::{
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sched_core::{
    Config, NoHooks, Scheduler,
    stack::{Mmap, StackError, StackSource},
};

/// Has so many stacks.
struct Few {
    source: Mmap,
    left: Arc<AtomicUsize>,
}

// SAFETY: hands on to one that keeps the rules, or fails.
unsafe impl StackSource for Few {
    fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, StackError> {
        self.source.reserve(bytes)
    }

    unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), StackError> {
        let take = |left: usize| left.checked_sub(1);
        // Relaxed, both: a number that says no more than itself.
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map_err(|_| StackError::NoGuard)?;
        // SAFETY: our caller's promise.
        unsafe { self.source.guard(page) }
    }

    unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize) {
        // SAFETY: our caller's promise.
        unsafe { self.source.discard(pages, bytes) };
    }

    unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize) {
        // SAFETY: our caller's promise.
        unsafe { self.source.release(slab, bytes, guards) };
    }
}

/// A scheduler with one P, and how many stacks are left for it.
pub(crate) fn scheduler(stacks: usize) -> (Scheduler, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(stacks));
    let config = Config { procs: 1, ..Config::default() };
    let source = Box::new(Few { source: Mmap::new(), left: Arc::clone(&left) });
    let scheduler = Scheduler::with_stacks(config, Arc::new(NoHooks), source);
    (scheduler.expect("there is one"), left)
}

/// Waits for it.
pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not {what}");
        thread::yield_now();
    }
}

/// More stacks than any test needs.
pub(crate) const ENOUGH: usize = 1_000;

/// A scheduler with enough stacks, of which the first and a batch are made, with records for those who run on them.
pub(crate) fn settled() -> (Scheduler, Arc<AtomicUsize>) {
    let (scheduler, left) = self::scheduler(ENOUGH);
    await_made(&left, 17);
    (scheduler, left)
}

/// Waits until so many are made, of [`ENOUGH`].
pub(crate) fn await_made(left: &AtomicUsize, stacks: usize) {
    // Relaxed: as in `guard`.
    wait_until("made", || ENOUGH - left.load(Ordering::Relaxed) >= stacks);
}
