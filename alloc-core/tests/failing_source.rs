//! Memory that runs out is an error at every single call of the source, and never breaks the heap:
//! the same work is done with the n-th call refused, for every n until none is refused.

use std::alloc::Layout;

use alloc_core::{
    Error, Heap,
    managed::ClassSpec,
    pages::{fail::Fail, os::Os},
};

/// Small, large, aligned, resized and collected blocks; the first error ends it.
fn work(heap: &Heap<Fail<Os>>) -> Result<(), Error> {
    let mut cache = heap.cache();
    let mut blocks = Vec::new();
    let mut all = || {
        for size in [1, 100, 5_000, 32_768, 70_000, 5 << 20] {
            for _ in 0..20 {
                let block = cache.alloc_zeroed(Layout::from_size_align(size, 8).unwrap())?;
                blocks.push(block);
            }
        }
        blocks.push(cache.alloc(Layout::from_size_align(100, 256 << 20).unwrap())?);
        let layout = Layout::from_size_align(9_000, 16).unwrap();
        let block = cache.alloc(layout)?;
        // SAFETY: the block is live and has that layout; it is freed below in either case.
        let moved = unsafe { cache.realloc(block, layout, 200_000) };
        blocks.push(moved.unwrap_or(block));
        moved.map(drop)
    };
    let result = all();
    // SAFETY: every block is ours and freed once.
    blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
    result?;
    let class = heap.class(ClassSpec { size: 64, align: 8, drop: false, owner: 0 })?;
    let mut cells = heap.managed_cache();
    // SAFETY: the only cycle of this heap.
    (0..10_000).try_for_each(|_| unsafe { cells.take(class, 0) }.map(drop))
}

#[test]
fn every_call_of_the_source_may_fail() {
    let (mut refused, mut calls) = (0, 0);
    loop {
        let heap = Heap::new(Fail::after(Os::new(), calls));
        match work(&heap) {
            Ok(()) => break,
            Err(error) => assert_eq!(error, Error::OutOfMemory, "call {calls}"),
        }
        refused += 1;
        // The heap is whole: with memory back, the same work succeeds.
        heap.source().allow(usize::MAX);
        assert_eq!(work(&heap), Ok(()), "after call {calls}");
        let stats = heap.stats();
        assert_eq!(stats.large, 0, "nothing leaks: {stats:?}");
        // SAFETY: all blocks were freed, and nobody uses the cells.
        unsafe { heap.destroy() };
        calls += 1;
    }
    assert!(refused > 10, "only {refused} calls could fail");
}

#[test]
fn absurd_requests_are_errors() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    for (size, align) in [(isize::MAX as usize - 8, 8), (1 << 47, 1), (1, 1 << 62)] {
        let layout = Layout::from_size_align(size, align).unwrap();
        let error = cache.alloc(layout).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory | Error::TooLarge), "{layout:?}: {error}");
    }
    assert!(cache.alloc(Layout::new::<u8>()).is_ok());
}
