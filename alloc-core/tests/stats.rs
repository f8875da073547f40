//! The account adds up, whatever the heap is used for, and what the parts say is so.

use std::{alloc::Layout, ptr::NonNull, thread};

use alloc_core::{
    Heap, Stats, large_cache::serve, managed::ClassSpec, pages::os::Os, size_class::PAGE,
};

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

fn sum(stats: &Stats) -> usize {
    stats.parts().iter().map(|(_, bytes)| bytes).sum()
}

/// The account, which must add up.
fn account(heap: &Heap<Os>) -> Stats {
    let stats = heap.stats();
    assert_eq!(sum(&stats), stats.mapped, "{stats}");
    stats
}

#[test]
fn parts_add_up_after_every_kind_of_use() {
    let heap = Heap::new(Os::new());
    let empty = account(&heap);
    assert_eq!(empty, Stats::default());
    let mut cache = heap.cache();
    let small: Vec<_> = (0..10_000).map(|_| cache.alloc(layout(100)).unwrap()).collect();
    let stats = account(&heap);
    assert!((1_000_000..1_500_000).contains(&stats.small), "{stats}");
    assert!(stats.cached <= 64 * PAGE && stats.cached_takes > 0, "{stats}");
    let large = cache.alloc(layout(100 * PAGE)).unwrap();
    let served = serve(100) * PAGE;
    assert_eq!(account(&heap).large, served);
    let slab = heap.stacks().reserve(1 << 20).unwrap();
    assert_eq!(account(&heap).stacks, 1 << 20);
    let spec = ClassSpec { size: 64, align: 8, noscan: true, drop: false, owner: 0 };
    let class = heap.class(spec).unwrap();
    let mut managed = heap.managed_cache();
    // SAFETY: the class is the heap's, and the cycle is the current one.
    unsafe { managed.take(class, 0) }.unwrap();
    assert!(account(&heap).managed >= PAGE);
    // SAFETY: all are ours and given back once; the slab has no guards.
    unsafe {
        small.into_iter().for_each(|block| cache.free(block));
        cache.free(large);
        heap.stacks().release(slab, 1 << 20, 0);
    }
    cache.flush();
    let stats = account(&heap);
    assert_eq!((stats.small, stats.large, stats.stacks), (0, 0, 0), "{stats}");
    assert_eq!(stats.cached, served, "it waits for the next block of its length");
    // What no part names but by what is left over: every other page is free or a collected span's.
    let others = stats.free + stats.released + stats.managed;
    assert_eq!(others + served, 4 << 20, "the first growth");
    heap.release();
    let stats = account(&heap);
    assert_eq!((stats.free, stats.resident_at_most()), (0, stats.managed + stats.metadata));
}

#[test]
fn parts_add_up_beside_threads_that_allocate() {
    let heap = Heap::new(Os::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (1..3_usize)
            .map(|seed| {
                let heap = &heap;
                scope.spawn(move || {
                    let mut cache = heap.cache();
                    for round in 0..200 {
                        let blocks: Vec<NonNull<u8>> = (0..500)
                            .map(|i| {
                                cache.alloc(layout(1 + (i * seed * 97 + round) % 9_000)).unwrap()
                            })
                            .collect();
                        // SAFETY: each is freed once.
                        blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            account(&heap);
        }
    });
    assert_eq!(account(&heap).small, 0);
}

#[test]
fn text_and_json_tell_every_number() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let block = cache.alloc(layout(50 * PAGE)).unwrap();
    let stats = heap.stats();
    let (text, json) = (stats.to_string(), stats.to_json().to_string());
    for (name, number) in stats.parts().into_iter().chain(stats.steps()) {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(&*number.to_string()), "{line}");
        assert!(json.contains(&format!("\"{name}\":{number}")), "{name} in {json}");
    }
    // SAFETY: freed once.
    unsafe { cache.free(block) };
}
