//! [`HeapStacks`]: goroutines' stacks from the allocator's heap.
//!
//! sched-core cuts slabs into slots and pools these; alloc-core owns the memory. So stacks, blocks
//! and collected objects come from one [`PageSource`], stand in one account
//! ([`Stats::stacks`](alloc_core::Stats::stacks)), and whatever refuses memory to the one refuses it
//! to the others.
//!
//! The two agree on what a slab is: untouched memory that is had page by page, where single pages can
//! be guarded. sched-core guards each slot as it makes it, and says at the end how many it guarded.

use std::ptr::NonNull;

use alloc_core::Heap;
use alloc_core::pages::PageSource;
use sched_core::stack::{StackError, StackSource};

use super::alloc::with_locks;

/// Slabs from a heap.
#[derive(Debug)]
pub(crate) struct HeapStacks<'h, S: PageSource> {
    heap: &'h Heap<S>,
}

impl<'h, S: PageSource> HeapStacks<'h, S> {
    pub(crate) fn new(heap: &'h Heap<S>) -> Self {
        HeapStacks { heap }
    }

    /// The scheduler's word for it.
    fn reason(&self, error: alloc_core::Error) -> StackError {
        match error {
            alloc_core::Error::Limit => {
                StackError::Limit { bytes: with_locks(|| self.heap.limit()) }
            }
            alloc_core::Error::Guard => StackError::NoGuard,
            alloc_core::Error::Mappings { limit } => StackError::TooManyMappings { limit },
            _ => StackError::NoMemory,
        }
    }
}

// SAFETY: 1. a slab of a heap is fresh, zeroed, at a page, and its taker's alone. 2. its guards fault
// until it is released. 3. discarded memory stays committed. 4. nothing in alloc-core unwinds.
unsafe impl<S: PageSource + Send + Sync> StackSource for HeapStacks<'_, S> {
    fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, StackError> {
        // The heap's lock is taken, and the caller may be a goroutine that makes a runtime: see `space`.
        with_locks(|| self.heap.stacks().reserve(bytes)).map_err(|error| self.reason(error))
    }

    unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), StackError> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.stacks().guard(page) }.map_err(|error| self.reason(error))
    }

    unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.stacks().discard(pages, bytes) };
    }

    unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.heap.stacks().release(slab, bytes, guards) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use alloc_core::pages::{fail::Fail, os::Os};
    use sched_core::park::{self, WaitReason, Waiter};
    use sched_core::{Config, Error, JoinHandle, NoHooks, Scheduler, SpawnError};

    use super::*;

    type Failing = Heap<Fail<Os>>;

    /// A heap whose source serves `calls` calls. Leaked: a scheduler's stacks are.
    fn heap(calls: usize) -> &'static Failing {
        Box::leak(Box::new(Heap::new(Fail::after(Os::new(), calls))))
    }

    fn scheduler(heap: &'static Failing, thread_mode: bool) -> Result<Scheduler, Error> {
        let config = Config { procs: 1, thread_mode, ..Config::default() };
        Scheduler::with_stacks(config, Arc::new(NoHooks), Box::new(HeapStacks::new(heap)))
    }

    /// A goroutine that tells who it is and parks. It has a place of its own for that: nobody watches these
    /// schedulers, so goroutines that share a lock of std's may stand behind one that gave way with it.
    struct Parked {
        waiter: Arc<OnceLock<Waiter>>,
        handle: JoinHandle<()>,
    }

    impl Parked {
        fn spawn(scheduler: &Scheduler) -> Result<Self, SpawnError> {
            let waiter = Arc::new(OnceLock::new());
            let tell = waiter.clone();
            let handle = scheduler.spawn(move || {
                assert!(tell.set(park::current()).is_ok(), "told once");
                park::park(WaitReason::Park);
            })?;
            Ok(Self { waiter, handle })
        }

        fn await_waiter(&self) -> &Waiter {
            loop {
                match self.waiter.get() {
                    Some(waiter) => return waiter,
                    None => std::thread::yield_now(),
                }
            }
        }

        fn end(self) {
            self.await_waiter().unpark();
            self.handle.join().expect("no panic");
        }
    }

    /// Starts one as soon as there are stacks again: the last ones come back after their goroutines were joined.
    fn spawn_at_last(scheduler: &Scheduler) -> JoinHandle<u32> {
        loop {
            match scheduler.spawn(|| 7) {
                Ok(handle) => return handle,
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn stacks_are_in_the_heaps_account_while_their_scheduler_lives() {
        for thread_mode in [false, true] {
            let heap = heap(usize::MAX);
            let scheduler = scheduler(heap, thread_mode).expect("the system gives stacks");
            let before = heap.stats();
            assert!(before.stacks > 0 && before.mapped >= before.stacks);
            let all: Vec<_> =
                (0..100).map(|_| Parked::spawn(&scheduler).expect("it is open")).collect();
            all.iter().for_each(|one| _ = one.await_waiter());
            assert!(heap.stats().stacks >= 100 * Config::default().stack_bytes);
            all.into_iter().for_each(Parked::end);
            assert_eq!(scheduler.shutdown(None).left, []);
            drop(scheduler);
            assert_eq!(heap.stats().stacks, 0, "the last handle gave all back");
        }
    }

    #[test]
    fn a_source_that_gives_nothing_makes_no_scheduler() {
        assert!(matches!(scheduler(heap(0), false), Err(Error::Stacks(StackError::NoMemory))));
        let tiny = heap(usize::MAX);
        tiny.set_limit(1);
        let refusal = scheduler(tiny, false).expect_err("a stack has more bytes than one");
        let text = "cannot prepare stacks: the memory limit of 1 bytes leaves no room for more stacks: \
                    raise it, or give goroutines smaller ones";
        assert_eq!(refusal.to_string(), text);
        // Address space and memory, but no guard.
        assert!(matches!(scheduler(heap(2), false), Err(Error::Stacks(StackError::NoGuard))));
    }

    #[test]
    fn at_the_heaps_limit_spawn_is_an_error_until_there_is_room() {
        let heap = heap(usize::MAX);
        let scheduler = scheduler(heap, false).expect("the system gives stacks");
        let limit = heap.stats().stacks + (40 << 20);
        heap.set_limit(limit);
        let mut all = Vec::new();
        let refusal = loop {
            match Parked::spawn(&scheduler) {
                Ok(one) => all.push(one),
                Err(refusal) => break refusal,
            }
            std::thread::yield_now();
        };
        assert_eq!(refusal, SpawnError::Stacks(StackError::Limit { bytes: limit }));
        assert!(heap.stats().stacks <= heap.limit(), "{}", heap.stats());
        let layout = std::alloc::Layout::new::<[u8; 32 << 20]>();
        assert!(heap.cache().alloc(layout).is_err(), "blocks and stacks share the limit");
        heap.set_limit(usize::MAX);
        all.into_iter().for_each(Parked::end);
        assert_eq!(spawn_at_last(&scheduler).join().expect("no panic"), 7);
        assert_eq!(scheduler.shutdown(None).left, []);
    }

    #[test]
    fn a_source_that_gives_out_is_an_error_of_spawn_until_it_recovers() {
        let heap = heap(usize::MAX);
        let scheduler = scheduler(heap, false).expect("the system gives stacks");
        heap.source().allow(0);
        let mut all = Vec::new();
        let refusal = loop {
            match Parked::spawn(&scheduler) {
                Ok(one) => all.push(one),
                Err(refusal) => break refusal,
            }
            std::thread::yield_now();
        };
        assert!(matches!(refusal, SpawnError::Stacks(_)), "{refusal}");
        heap.source().allow(usize::MAX);
        // Those that were let in run all the same, and then others are let in.
        all.into_iter().for_each(Parked::end);
        assert_eq!(spawn_at_last(&scheduler).join().expect("no panic"), 7);
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}
