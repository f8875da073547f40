//! Pages of live spans that hold free blocks only go back, and what lies beside them stays.

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use alloc_core::{
    Cache, Error, Heap,
    harden::Hardening,
    pages::{PageSource, fixed::Fixed, os::Os},
    scavenge::{ByAge, Eager, Never},
};

const MB: usize = 1 << 20;

/// A block and the byte that fills it.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    fill: u8,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for Block {}

impl Block {
    fn new<S: PageSource>(cache: &mut Cache<'_, S>, size: usize, fill: u8) -> Result<Self, Error> {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let at = cache.alloc(layout)?;
        // SAFETY: the block is ours and has that many bytes.
        unsafe { at.write_bytes(fill, size) };
        Ok(Block { at, layout, fill })
    }

    fn check(&self) {
        // SAFETY: the block is live and was filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == self.fill), "{:p} has changed", self.at);
    }

    fn free<S: PageSource>(self, cache: &mut Cache<'_, S>) {
        self.check();
        // SAFETY: live, of that layout, and freed once.
        unsafe { cache.free_sized(self.at, self.layout) }
    }
}

/// Pages of 4 KiB among those of these blocks that the kernel holds in memory.
fn resident(pages: &[usize]) -> usize {
    let held = |&&page: &&usize| {
        let mut held = 0_u8;
        // SAFETY: the page is mapped, and the byte is ours.
        let failed = unsafe { libc::mincore((page * 4096) as *mut _, 4096, &mut held) };
        assert_eq!(failed, 0);
        held & 1 == 1
    };
    pages.iter().filter(held).count()
}

/// The pages of 4 KiB that blocks lie in.
fn pages<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<usize> {
    let each = |block: &Block| {
        let at = block.at.as_ptr() as usize;
        at / 4096..(at + block.layout.size() - 1) / 4096 + 1
    };
    let mut pages: Vec<usize> = blocks.into_iter().flat_map(each).collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// Frees all blocks but one in `keep`, and leaves the spans to the centrals; returns what stays.
fn thin_out<S: PageSource>(
    cache: &mut Cache<'_, S>,
    blocks: Vec<Block>,
    keep: usize,
) -> Vec<Block> {
    let mut stay = Vec::new();
    for (number, block) in blocks.into_iter().enumerate() {
        if number % keep == 0 { stay.push(block) } else { block.free(cache) }
    }
    cache.flush();
    stay
}

fn many<S: PageSource>(cache: &mut Cache<'_, S>, size: usize, bytes: usize) -> Vec<Block> {
    (0..bytes / size).map(|n| Block::new(cache, size, n as u8).unwrap()).collect()
}

#[test]
fn what_lies_beside_a_hole_stays_and_the_hole_has_no_memory() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for size in [16, 48, 320, 1000, 3000, 5000, 9000, 27_000, 32_768] {
        let blocks = many(&mut cache, size, 2 * MB);
        let all = pages(&blocks);
        assert_eq!(resident(&all), all.len());
        // About one in each 40 KiB stays, so that spans stay, and most of their pages are vacant.
        let stay = thin_out(&mut cache, blocks, (40_000 / size).max(2));
        let before = heap.stats();
        let released = heap.release();
        let after = heap.stats();
        assert_eq!(before.resident_at_most() - after.resident_at_most(), released);
        let kept = pages(&stay);
        assert_eq!((resident(&kept), resident(&all)), (kept.len(), kept.len()), "of {size} bytes");
        stay.iter().for_each(Block::check);
        assert_eq!(after.mapped, after.parts().iter().map(|(_, bytes)| bytes).sum::<usize>());
        // All of it can be used again.
        let again = many(&mut cache, size, 2 * MB);
        assert_eq!(heap.stats().grows, before.grows, "no new memory is needed");
        stay.into_iter().chain(again).for_each(|block| block.free(&mut cache));
        cache.flush();
    }
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.small, stats.holes, stats.free), (0, 0, 0), "{stats:?}");
}

#[test]
fn holes_come_by_age_without_a_call() {
    let heap = Heap::new(Os::new());
    let (mut cache, mut scavenger) = (heap.cache(), heap.scavenger(ByAge::default()).unwrap());
    let blocks = many(&mut cache, 500, MB);
    let stay = thin_out(&mut cache, blocks, 50);
    assert!(heap.has_resting_memory());
    let fifth = Duration::from_millis(200);
    for step in 0..3 {
        assert_eq!(scavenger.step(step * fifth), Some(fifth));
        assert_eq!(heap.stats().holes, 0, "after step {step}");
    }
    scavenger.step(3 * fifth);
    let holes = heap.stats().holes;
    assert!(holes > MB / 2, "{holes}");
    let releases = heap.stats().releases;
    for step in 4..20 {
        scavenger.step(step * fifth);
    }
    assert_eq!((heap.stats().holes, heap.stats().small / 4096 * 4096), (holes, heap.stats().small));
    assert!(heap.stats().releases - releases <= 16, "spans are looked through once");
    assert_eq!(scavenger.step(20 * fifth), None, "there is nothing to wait for");
    stay.into_iter().for_each(|block| block.free(&mut cache));
}

#[test]
fn a_free_by_another_makes_a_span_young_and_is_found() {
    let heap = Heap::new(Os::new());
    let (mut cache, mut scavenger) = (heap.cache(), heap.scavenger(ByAge::default()).unwrap());
    let blocks = many(&mut cache, 1000, 64_000);
    let mut stay = thin_out(&mut cache, blocks, 8);
    let fifth = Duration::from_millis(200);
    for step in 0..4 {
        scavenger.step(step * fifth);
    }
    let first = heap.stats().holes;
    assert!(first > 0);
    // Into a listed span, by somebody without a cache. Its link lies in the block.
    for block in stay.drain(1..) {
        block.check();
        // SAFETY: live, and freed once.
        unsafe { heap.free(block.at) };
    }
    assert!(heap.has_resting_memory());
    for step in 4..7 {
        scavenger.step(step * fifth);
    }
    assert_eq!(heap.stats().holes, first, "not at once");
    scavenger.step(7 * fifth);
    assert!(heap.stats().holes > first);
    stay[0].check();
}

#[test]
fn a_policy_that_keeps_everything_makes_no_holes() {
    let heap = Heap::new(Os::new());
    let (mut cache, mut scavenger) = (heap.cache(), heap.scavenger(Never).unwrap());
    let blocks = many(&mut cache, 500, MB);
    let stay = thin_out(&mut cache, blocks, 50);
    for _ in 0..10 {
        scavenger.step(Duration::ZERO);
    }
    assert_eq!(heap.stats().holes, 0);
    stay.into_iter().for_each(|block| block.free(&mut cache));
}

#[test]
fn a_source_that_keeps_its_memory_gets_no_holes() {
    let mut region = vec![std::mem::MaybeUninit::uninit(); 4 * MB];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();
    let blocks = many(&mut cache, 500, MB);
    let stay = thin_out(&mut cache, blocks, 50);
    heap.release();
    assert_eq!(heap.stats().holes, 0);
    let again = many(&mut cache, 500, MB);
    stay.into_iter().chain(again).for_each(|block| block.free(&mut cache));
}

#[test]
fn at_the_limit_holes_make_room_and_are_not_filled_beyond_it() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let blocks = many(&mut cache, 500, 8 * MB);
    heap.set_limit(10 * MB);
    let stay = thin_out(&mut cache, blocks, 50);
    let large = Block::new(&mut cache, 5 * MB, 1).unwrap();
    assert!(heap.stats().holes >= 4 * MB, "{}", heap.stats());
    // The holes' blocks are free, but their memory is elsewhere.
    let mut more = Vec::new();
    let error = loop {
        match Block::new(&mut cache, 500, 2) {
            Ok(block) => more.push(block),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Limit);
    assert!(heap.stats().resident_at_most() <= 10 * MB, "{}", heap.stats());
    large.free(&mut cache);
    let again = many(&mut cache, 500, 4 * MB);
    stay.into_iter().chain(more).chain(again).for_each(|block| block.free(&mut cache));
}

#[test]
fn hardened_blocks_keep_their_poison() {
    let heap = Heap::new(Os::new());
    heap.harden(Hardening::new()).unwrap();
    let mut cache = heap.cache();
    let blocks = many(&mut cache, 500, MB);
    let stay = thin_out(&mut cache, blocks, 50);
    heap.release();
    assert_eq!(heap.stats().holes, 0, "their cells are looked at when they are used again");
    let again = many(&mut cache, 500, MB);
    stay.into_iter().chain(again).for_each(|block| block.free(&mut cache));
}

/// Replaces blocks of a set at random, and now and then most of it, until that is `enough`.
fn churn<S: PageSource>(heap: &Heap<S>, seed: u64, enough: &AtomicBool) {
    let (mut cache, mut random) = (heap.cache(), seed);
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below
    };
    let mut blocks = Vec::new();
    let mut round = 0;
    // Relaxed: a flag that says no more than itself.
    while round < 30 || !enough.load(Ordering::Relaxed) {
        round += 1;
        for _ in 0..2_000 {
            let size = 8 << next(11);
            blocks.push(Block::new(&mut cache, size + next(size), next(256) as u8).unwrap());
        }
        for _ in 0..blocks.len() - 100 {
            let at = next(blocks.len());
            let block = blocks.swap_remove(at);
            if next(4) == 0 {
                block.check();
                // SAFETY: live, and freed once.
                unsafe { heap.free(block.at) };
            } else {
                block.free(&mut cache);
            }
        }
        if round % 3 == 0 {
            cache.flush();
        }
    }
    blocks.into_iter().for_each(|block| block.free(&mut cache));
}

#[test]
fn holes_are_made_beside_threads_that_allocate() {
    let heap = Heap::new(Os::new());
    let (seen, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers: Vec<_> = (1..3)
            .map(|seed| {
                scope.spawn({
                    let (heap, seen) = (&heap, &seen);
                    move || churn(heap, seed, seen)
                })
            })
            .collect();
        let releasing = scope.spawn(|| {
            // Relaxed: a flag that says no more than itself.
            while !done.load(Ordering::Relaxed) {
                heap.release();
            }
        });
        let mut scavenger = heap.scavenger(Eager).unwrap();
        while !workers.iter().all(|worker| worker.is_finished()) {
            scavenger.step(Duration::ZERO);
            // Relaxed: as above.
            seen.fetch_or(heap.stats().holes > 0, Ordering::Relaxed);
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        // Relaxed: as above.
        done.store(true, Ordering::Relaxed);
        releasing.join().unwrap();
    });
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.small, stats.holes, stats.free), (0, 0, 0), "{stats:?}");
}

#[test]
fn a_step_looks_at_a_bounded_number_of_spans_and_the_next_goes_on() {
    // Two cells in a span: 20,000 spans, of which nothing is ever touched.
    const SPANS: usize = 20_000;
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let layout = Layout::from_size_align(32_768, 8).unwrap();
    let blocks: Vec<_> = (0..2 * SPANS).map(|_| cache.alloc(layout).unwrap()).collect();
    let spans = heap.stats().small / (2 * layout.size());
    let (mut stay, mut taken) = (Vec::new(), std::collections::HashSet::new());
    for block in blocks {
        // The first of each span that is met.
        if taken.insert(block.as_ptr() as usize / (2 * layout.size())) {
            stay.push(block);
        } else {
            // SAFETY: ours, of that layout, and freed once.
            unsafe { cache.free_sized(block, layout) };
        }
    }
    cache.flush();
    let mut scavenger = heap.scavenger(ByAge::default()).unwrap();
    let (mut looks, mut steps, mut now) = (0, 0, Duration::ZERO);
    while let Some(pause) = scavenger.step(now) {
        let before = looks;
        looks = heap.stats().looks;
        assert!(looks - before <= (1 << 14) + 64, "{} looks at one step", looks - before);
        (now, steps) = (now + pause, steps + 1);
        assert!(steps < 40, "it goes on until all is done");
    }
    // Ripe at the fourth step, which cannot meet all of them.
    assert!((5..12).contains(&steps), "{steps} steps");
    assert_eq!(heap.stats().holes, stay.len() * layout.size(), "of {spans} spans");
    assert!(stay.len() >= SPANS / 2, "{} spans", stay.len());
    // SAFETY: as above.
    stay.into_iter().for_each(|block| unsafe { cache.free_sized(block, layout) });
}
