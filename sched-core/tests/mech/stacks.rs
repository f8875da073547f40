//! Slots: their stock, their memory, and what happens when there is none.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sched_core::stack::{Mmap, Slot, Slots, SlotsConfig, StackError, StackSource};

use crate::driver::{Driver, own_tls, threads, yield_now};

/// Counts, and fails when told to.
struct Limited {
    source: Mmap,
    slabs: usize,
    guards: usize,
    reserved: AtomicUsize,
    guarded: AtomicUsize,
    released: Arc<AtomicUsize>,
    discarded: AtomicUsize,
}

impl Limited {
    fn new(slabs: usize, guards: usize) -> (Arc<Limited>, Arc<AtomicUsize>) {
        let released = Arc::new(AtomicUsize::new(0));
        let source = Limited {
            source: Mmap::new(),
            slabs,
            guards,
            reserved: AtomicUsize::new(0),
            guarded: AtomicUsize::new(0),
            released: released.clone(),
            discarded: AtomicUsize::new(0),
        };
        (Arc::new(source), released)
    }
}

// SAFETY: hands on to one that keeps the rules, or fails.
unsafe impl StackSource for Limited {
    fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, StackError> {
        if self.reserved.fetch_add(1, Ordering::Relaxed) >= self.slabs {
            return Err(StackError::NoMemory);
        }
        self.source.reserve(bytes)
    }

    unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), StackError> {
        if self.guarded.fetch_add(1, Ordering::Relaxed) >= self.guards {
            return Err(StackError::NoGuard);
        }
        // SAFETY: our caller's promise.
        unsafe { self.source.guard(page) }
    }

    unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize) {
        self.discarded.fetch_add(bytes, Ordering::Relaxed);
        // SAFETY: our caller's promise.
        unsafe { self.source.discard(pages, bytes) };
    }

    unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize) {
        self.released.fetch_add(1, Ordering::Relaxed);
        // SAFETY: our caller's promise.
        unsafe { self.source.release(slab, bytes, guards) };
    }
}

const SMALL: SlotsConfig = SlotsConfig { stack_bytes: 64 * 1024, slots_per_slab: 2 };

#[test]
fn a_failing_source_is_an_error_and_what_was_made_stays() {
    for mode in [own_tls(), threads()] {
        let (source, released) = Limited::new(1, usize::MAX);
        let slots = Slots::with_source(SMALL, mode, source);
        assert_eq!(slots.prepare(5), Ok(2), "one slab of two");
        assert_eq!(slots.prepare(1), Err(StackError::NoMemory));
        assert_eq!(slots.stock(), 2);
        drop(slots);
        assert_eq!(released.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn no_guard_no_stack() {
    let (source, _) = Limited::new(1, 0);
    let slots = Slots::with_source(SMALL, own_tls(), source);
    assert_eq!(slots.prepare(1), Err(StackError::NoGuard));
}

#[test]
fn old_kernels_get_guards_until_mappings_run_short() {
    let source = Arc::new(Mmap::with_mprotect(40));
    let slots = Slots::with_source(SMALL, own_tls(), source);
    assert_eq!(slots.prepare(1000), Ok(15), "two mappings each, three quarters of 40");
    assert_eq!(slots.prepare(1), Err(StackError::TooManyMappings { limit: 40 }));
}

#[test]
fn warm_slots_go_out_first() {
    let slots = Slots::new(SMALL, own_tls());
    assert_eq!(slots.prepare(3), Ok(3));
    let first = slots.take().expect("three are in stock");
    let bounds = first.bounds();
    // SAFETY: it is from this stock, and was never armed.
    unsafe { slots.give(first) };
    assert_eq!(slots.take().map(|slot| slot.bounds()), Some(bounds));
}

#[test]
fn a_lost_slot_keeps_all_memory() {
    for mode in [own_tls(), threads()] {
        let (source, released) = Limited::new(1, usize::MAX);
        let slots = Slots::with_source(SMALL, mode, source);
        assert_eq!(slots.prepare(2), Ok(2));
        let lost = slots.take();
        drop(slots);
        assert_eq!(released.load(Ordering::Relaxed), 0);
        assert!(lost.is_some_and(|slot| slot.words().is_inside()));
    }
}

#[test]
fn slots_lie_apart_and_keep_their_size() {
    for mode in [own_tls(), threads()] {
        let slots = Slots::new(SMALL, mode);
        assert_eq!(slots.prepare(5), Ok(5));
        let mut taken = std::iter::from_fn(|| slots.take()).collect::<Vec<_>>();
        taken.sort_by_key(|slot| slot.bounds().start);
        for pair in taken.windows(2) {
            assert!(pair[0].bounds().end <= pair[1].guard().start);
        }
        for slot in taken {
            assert!(slot.bounds().len() >= 48 * 1024);
            // SAFETY: it is from this stock, and was never armed.
            unsafe { slots.give(slot) };
        }
        assert_eq!(slots.stock(), 5);
    }
}

/// Pages of the slot that are in memory.
fn resident_pages(slot: &Slot) -> usize {
    let page = slot.guard().len();
    let start = slot.bounds().start;
    // Up to the end of the slot, whose size is a multiple of a page: TLS and record included.
    let end = slot.bounds().end.next_multiple_of(page);
    let mut resident = vec![0u8; (end - start) / page];
    // SAFETY: the slot is mapped; one byte per page is written.
    let failed = unsafe { libc::mincore(start as *mut _, end - start, resident.as_mut_ptr()) };
    assert_eq!(failed, 0);
    resident.iter().filter(|&&page| page & 1 != 0).count()
}

#[test]
fn a_parked_goroutine_keeps_a_page_or_two() {
    if !own_tls().is_own_tls() {
        return;
    }
    let driver = Driver::new(own_tls());
    let mut tasks = (0..10).map(|_| driver.task(yield_now)).collect::<Vec<_>>();
    for task in &mut tasks {
        assert!(!driver.resume(task));
    }
    for task in &tasks {
        // The top page: record, header, TLS and the first frames. Frames without optimisation may
        // need a second.
        let pages = resident_pages(task.slot());
        assert!(pages <= if cfg!(debug_assertions) { 2 } else { 1 }, "{pages} pages");
    }
    tasks.iter_mut().for_each(|task| assert!(driver.resume(task)));
}
