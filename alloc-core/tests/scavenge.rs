//! Free memory goes back when its policy says so, and not while anyone uses it.

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use alloc_core::{
    Cache, Heap,
    page_heap::{PageHeap, Radix, Treap},
    pages::{PageSource, fixed::Fixed, os::Os, with::With},
    scavenge::{ByAge, CpuShare, Eager, Never},
};

const MB: usize = 1 << 20;

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// A block whose pages all have memory.
fn filled<S: PageSource>(cache: &mut Cache<'_, S>, bytes: usize) -> NonNull<u8> {
    let block = cache.alloc(layout(bytes)).unwrap();
    // SAFETY: the block is ours and has that many bytes.
    unsafe { block.write_bytes(0xa5, bytes) };
    block
}

fn free<S: PageSource>(cache: &mut Cache<'_, S>, block: NonNull<u8>) {
    // SAFETY: the tests free each block once.
    unsafe { cache.free(block) }
}

/// Bytes of these blocks that the kernel holds in memory.
fn resident(block: NonNull<u8>, bytes: usize) -> usize {
    let mut pages = vec![0_u8; bytes / 4096];
    // SAFETY: the range is mapped and the vector has a byte for each of its pages.
    let failed = unsafe { libc::mincore(block.as_ptr().cast(), bytes, pages.as_mut_ptr()) };
    assert_eq!(failed, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count() * 4096
}

fn ages<P: PageHeap>() {
    let heap = Heap::new(With::<P, Os>::new(Os::new()));
    let mut cache = heap.cache();
    let mut scavenger = heap.scavenger(ByAge::default()).unwrap();
    let (old, young) = (filled(&mut cache, MB), filled(&mut cache, MB));
    let kept = filled(&mut cache, MB);
    free(&mut cache, old);
    let fifth = Some(Duration::from_millis(200));
    assert_eq!(scavenger.step(Duration::ZERO), fifth);
    free(&mut cache, young);
    assert_eq!(scavenger.step(Duration::from_millis(200)), fifth);
    assert_eq!(scavenger.step(Duration::from_millis(400)), fifth);
    assert_eq!((heap.stats().free, heap.stats().released % MB), (2 * MB, 0));
    assert_eq!(scavenger.step(Duration::from_millis(600)), fifth);
    assert_eq!((resident(old, MB), resident(young, MB)), (0, MB), "joined, and not of one age");
    assert_eq!(scavenger.step(Duration::from_millis(800)), None, "nothing is left to age");
    assert_eq!((resident(young, MB), resident(kept, MB)), (0, MB));
    free(&mut cache, kept);
}

#[test]
fn a_page_goes_back_a_second_after_it_was_freed() {
    ages::<Radix>();
    ages::<Treap>();
}

#[test]
fn a_page_that_is_used_again_begins_anew() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let mut scavenger = heap.scavenger(ByAge::default()).unwrap();
    for _ in 0..10 {
        let block = filled(&mut cache, MB);
        free(&mut cache, block);
        scavenger.step(Duration::ZERO);
        scavenger.step(Duration::ZERO);
        assert_eq!(resident(block, MB), MB);
    }
    assert_eq!(heap.stats().releases, 0);
}

#[test]
fn policies_differ_in_what_they_give_back() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let (block, rest) = (filled(&mut cache, 10 * MB), filled(&mut cache, MB));
    free(&mut cache, rest);
    assert_eq!(heap.scavenger(Never).unwrap().step(Duration::ZERO), None);
    let quiet = heap.scavenger(CpuShare::GO).unwrap().step(Duration::ZERO);
    assert_eq!((heap.stats().free, quiet.is_some()), (MB, true), "a tenth stays");
    assert_eq!(heap.scavenger(Eager).unwrap().step(Duration::ZERO), None);
    assert_eq!((heap.stats().free, resident(rest, MB)), (0, 0));
    free(&mut cache, block);
    assert!(heap.scavenger(CpuShare::GO).unwrap().step(Duration::ZERO).is_some());
    assert_eq!(heap.stats().free, 8 * MB, "a slice of 2 MiB");
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_share_of_the_processor_is_what_the_steps_take_of_it() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = filled(&mut cache, 64 * MB);
    free(&mut cache, block);
    let mut scavenger = heap.scavenger(CpuShare::GO).unwrap();
    let (mut now, mut busy) = (Duration::ZERO, Duration::ZERO);
    let last = loop {
        let begin = processor_time();
        let pause = scavenger.step(now);
        let spent = processor_time() - begin;
        busy += spent;
        let Some(pause) = pause else { break spent };
        now += pause;
    };
    assert_eq!(heap.stats().free, 0);
    assert!(heap.stats().releases >= 32, "by slices");
    // The last step is not paid yet; what is measured around a step is a little more than inside.
    assert!(now >= 80 * (busy - last), "{busy:?} of {now:?}");
    assert!(now <= 100 * busy + 33 * Duration::from_millis(1), "{busy:?} of {now:?}");
}

#[test]
fn a_heap_has_one_scavenger_at_a_time() {
    let heap = Heap::new(Os::new());
    let first = heap.scavenger(Never).unwrap();
    assert!(heap.scavenger(Never).is_none());
    drop(first);
    assert!(heap.scavenger(Never).is_some());
}

#[test]
fn nobody_tries_again_where_the_source_keeps_all() {
    let mut region = vec![std::mem::MaybeUninit::uninit(); 4 * MB];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();
    let mut by_age = heap.scavenger(ByAge::default()).unwrap();
    for _ in 0..2 {
        let block = filled(&mut cache, MB);
        free(&mut cache, block);
        cache.flush();
        assert!(by_age.step(Duration::ZERO).is_some() && heap.has_resting_memory());
        let more = (0..10).find(|_| by_age.step(Duration::ZERO).is_none());
        assert!(more.is_some() && !heap.has_resting_memory(), "until something is freed");
    }
    drop(by_age);
    let mut eager = heap.scavenger(Eager).unwrap();
    assert!((0..10).any(|_| eager.step(Duration::ZERO).is_none()));
}

#[test]
fn memory_that_the_source_keeps_stays_free_and_dirty() {
    let mut region = vec![std::mem::MaybeUninit::uninit(); 4 * MB];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();
    let block = filled(&mut cache, MB);
    free(&mut cache, block);
    assert_eq!(heap.release(), 0);
    assert_eq!(heap.stats().free, MB);
    let again = cache.alloc_zeroed(layout(MB)).unwrap();
    // SAFETY: the block is ours and has that many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(again.as_ptr(), MB) };
    assert!(bytes.iter().all(|&byte| byte == 0));
}

/// Takes zeroed blocks, fills and checks them, and frees them, again and again.
fn churn<S: PageSource>(heap: &Heap<S>, seed: usize) {
    let (mut cache, mut blocks) = (heap.cache(), Vec::new());
    for round in 0..3_000_usize {
        let bytes = 40_000 + (round * 7_919 + seed * 104_729) % 400_000;
        let block = cache.alloc_zeroed(layout(bytes)).unwrap();
        // SAFETY: the block is ours and has that many bytes.
        let all = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), bytes) };
        assert!(all.iter().step_by(512).all(|&byte| byte == 0), "not zeroed");
        let mark = (seed * 50 + round) as u8 | 1;
        all.iter_mut().step_by(512).for_each(|byte| *byte = mark);
        blocks.push((block, bytes, mark));
        if blocks.len() > 20 {
            let (block, bytes, mark) = blocks.swap_remove(round % 20);
            // SAFETY: as above.
            let all = unsafe { std::slice::from_raw_parts(block.as_ptr(), bytes) };
            assert!(all.iter().step_by(512).all(|&byte| byte == mark), "overwritten");
            free(&mut cache, block);
        }
    }
    blocks.into_iter().for_each(|(block, ..)| free(&mut cache, block));
}

fn beside_allocation<P: PageHeap>() {
    let heap = Heap::new(With::<P, Os>::new(Os::new()));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let scavenging = scope.spawn(|| {
            let mut scavenger = heap.scavenger(Eager).unwrap();
            // Relaxed: a flag that says no more than itself.
            while !done.load(Ordering::Relaxed) {
                scavenger.step(Duration::ZERO);
            }
        });
        let workers: Vec<_> = (1..3)
            .map(|seed| {
                scope.spawn({
                    let heap = &heap;
                    move || churn(heap, seed)
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        // Relaxed: as above.
        done.store(true, Ordering::Relaxed);
        scavenging.join().unwrap();
    });
    heap.release();
    let stats = heap.stats();
    assert!(stats.releases > 0);
    assert_eq!((stats.large, stats.free, stats.cached), (0, 0, 0), "{stats:?}");
}

#[test]
fn pages_are_given_back_beside_threads_that_allocate() {
    beside_allocation::<Radix>();
    beside_allocation::<Treap>();
}
