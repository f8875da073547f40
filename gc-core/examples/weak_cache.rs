//! A cache that keeps nothing alive: plain threads, gc-core alone.
//!
//! ```text
//! cargo run --release -p gc-core --example weak_cache
//! ```
//!
//! Pages are dear to make, and whoever uses one wants the one that is there. So a table knows each page by a
//! [`Weak`] pointer: a page that anybody still has is found, whoever made it; one that nobody has goes with
//! the next collection, without a size or an age to choose. The entry that is left behind is taken out when
//! the page's death is told by a [`CleanupQueue`].

use gc_core::{
    CleanupQueue, Collector, Gc, GcMutex, Guard, Heap, Plain, Root, Slice, Str, Trace, Weak,
    pacer::Every, space::blocks::Blocks, world::threads::Threads,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

#[derive(Trace)]
struct Page<'g> {
    number: u64,
    text: Gc<'g, Str>,
}

/// Pages by number, a few under each lock.
type Bucket<'g> = GcMutex<Vec<(u64, Gc<'g, Weak<'g, Page<'g>>>)>>;

struct Cache {
    buckets: Root<Slice<Bucket<'static>>>,
    gone: CleanupQueue<u64>,
    made: AtomicU64,
}

const BUCKETS: usize = 256;

impl Cache {
    fn new(heap: &Heap) -> Self {
        let guard = heap.enter();
        let buckets = guard.alloc_slice((0..BUCKETS).map(|_| Bucket::default()));
        let (gone, made) = (CleanupQueue::new(heap), AtomicU64::new(0));
        Self { buckets: guard.root(buckets), gone, made }
    }

    fn bucket<'g>(&self, guard: &'g Guard<'_>, number: u64) -> &'g Bucket<'g> {
        &self.buckets.get(guard).as_slice()[number as usize % BUCKETS]
    }

    /// The page of this number: the one that somebody has, or a new one.
    fn page<'g>(&self, guard: &'g Guard<'_>, number: u64) -> Gc<'g, Page<'g>> {
        let mut bucket = self.bucket(guard, number).lock(guard);
        let known = bucket.iter().find(|known| known.0 == number);
        if let Some(page) = known.and_then(|known| known.1.get().upgrade(guard)) {
            return page;
        }
        let text = guard.alloc_str(&format!("this is page {number}"));
        let page = guard.alloc(Page { number, text });
        self.made.fetch_add(1, Ordering::Relaxed);
        self.gone.register(guard, page, number);
        bucket.retain(|known| known.0 != number);
        bucket.push((number, guard.downgrade(page)));
        page
    }

    /// Takes out the entries of pages that have died, unless there is a new one by now.
    fn tidy(&self, heap: &Heap) {
        while let Some(number) = self.gone.try_take() {
            let guard = heap.enter();
            let mut bucket = self.bucket(&guard, number).lock(&guard);
            bucket.retain(|known| known.0 != number || known.1.get().upgrade(&guard).is_some());
        }
    }

    fn entries(&self, heap: &Heap) -> usize {
        let guard = heap.enter();
        let buckets = self.buckets.get(&guard);
        buckets.as_slice().iter().map(|bucket| bucket.lock(&guard).len()).sum()
    }
}

const THREADS: u64 = 4;
const REQUESTS: u64 = 10_000;
const PAGES: u64 = 20_000;
/// Pages that a thread has at a time.
const OPEN: usize = 200;

/// Asks for pages, most of them from a few, and has the last ones open.
fn read(heap: &Heap, cache: &Cache, seed: u64) {
    let mut open: Vec<Root<Page<'static>>> = Vec::new();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for request in 0..REQUESTS as usize {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let number = (random >> 32) % PAGES * (random % 7 + 1) / 7;
        let guard = heap.enter();
        let page = cache.page(&guard, number);
        assert_eq!(page.number, number);
        assert_eq!(page.text.as_str(), format!("this is page {number}"));
        assert!(cache.page(&guard, number) == page, "whoever asks gets the one that is there");
        let page = guard.root(page);
        if open.len() < OPEN { open.push(page) } else { open[request % OPEN] = page }
    }
}

pub(crate) fn main() {
    // So often that pages die while others are read.
    let heap = Heap::<Plain>::builder().pacer(Every(128 << 10)).checkmark(cfg!(debug_assertions));
    let heap = heap.build(Blocks::new(), Threads::new()).expect("the only heap of this program");
    let collector = Collector::start(&heap).expect("a thread for the collector");
    let cache = Cache::new(&heap);
    thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (heap, cache) = (&heap, &cache);
            scope.spawn(move || read(heap, cache, seed));
        }
    });
    drop(collector);
    // Nobody has a page any more.
    heap.collect().expect("no guard is held");
    cache.tidy(&heap);
    assert_eq!(cache.entries(&heap), 0, "dead pages leave no entry");
    let (asked, made) = (THREADS * REQUESTS, cache.made.into_inner());
    assert!(made < asked, "most pages were there");
    println!("{asked} requests, {made} pages made, {} collections", heap.stats().cycles);
}
