//! The account beside counts that share nothing with it: what the source was asked for, a walk over all pages, and
//! what the kernel says is resident.

use core::{alloc::Layout, ops::Range, ptr::NonNull};
use std::{sync::Mutex, thread, vec, vec::Vec};

use super::Stats;
use crate::{
    Error, Heap,
    large_cache::serve,
    managed::ClassSpec,
    page_heap::Radix,
    pages::{PageSource, os::Os},
    size_class::PAGE,
    span::{Kind, SpanPtr},
};

/// Passes all calls on, and knows what is committed.
#[derive(Default)]
struct Counting {
    inner: Os,
    /// Reservations for spans: all others ask for an alignment of a page.
    arenas: Mutex<Vec<Range<usize>>>,
    committed: Mutex<Vec<Range<usize>>>,
}

impl Counting {
    /// Committed ranges in arenas, by address, and bytes of all others.
    fn committed(&self) -> (Vec<Range<usize>>, usize) {
        let arenas = self.arenas.lock().unwrap();
        let in_arena = |range: &Range<usize>| arenas.iter().any(|a| a.contains(&range.start));
        let mut all = self.committed.lock().unwrap().clone();
        all.sort_by_key(|range| range.start);
        let (spans, others): (Vec<_>, Vec<_>) = all.into_iter().partition(in_arena);
        (spans, bytes(&others))
    }

    /// Bytes of all committed ranges.
    fn mapped(&self) -> usize {
        bytes(&self.committed.lock().unwrap())
    }
}

fn bytes(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(Range::len).sum()
}

// SAFETY: every call is the inner source's, which keeps the rules; the lists are of another heap.
unsafe impl PageSource for Counting {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        self.inner.addresses()
    }

    fn arena_bytes(&self) -> usize {
        self.inner.arena_bytes()
    }

    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let at = self.inner.reserve(bytes, align)?;
        if align > PAGE {
            let start = at.as_ptr() as usize;
            self.arenas.lock().unwrap().push(start..start + bytes);
        }
        Some(at)
    }

    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        let done = unsafe { self.inner.commit(at, bytes) };
        if done {
            let start = at.as_ptr() as usize;
            self.committed.lock().unwrap().push(start..start + bytes);
            // No page that nobody touched is resident. SAFETY: as above; nobody uses it yet.
            unsafe { self.inner.touch_singly(at, bytes) };
        }
        done
    }

    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.decommit(at, bytes) }
    }

    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        let start = at.as_ptr() as usize;
        self.committed
            .lock()
            .unwrap()
            .retain(|range| !(start..start + bytes).contains(&range.start));
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.release(at, bytes) }
    }
}

/// Bytes of pages by what they are found to be.
#[derive(Debug, Default)]
struct Walk {
    small: usize,
    /// By the records of the spans.
    holes: usize,
    large: usize,
    managed: usize,
    /// In the heap's slots, or in no span and not free: in the pages of a cache.
    cached: usize,
    free: usize,
    /// Resident, of small spans and of free pages.
    resident_small: usize,
    resident_free: usize,
}

impl Walk {
    /// Looks at every page of every arena. Nobody else uses the heap.
    fn new(heap: &Heap<Counting>) -> Self {
        let (mut walk, mut at) = (Walk::default(), 0);
        for range in heap.source().committed().0 {
            // A span may reach into the next range.
            at = at.max(range.start);
            while at < range.end {
                at += walk.look(heap, at);
            }
        }
        walk
    }

    /// Looks at what begins at `at`; returns its bytes.
    fn look(&mut self, heap: &Heap<Counting>, at: usize) -> usize {
        let page = at / PAGE;
        if let Some(span) = heap.map.get(at) {
            assert_eq!(span.base(), at, "spans are met at their begin");
            self.look_at_span(heap, span);
            return span.bytes();
        }
        if heap.pages().pool.is_free(page..page + 1) {
            self.free += PAGE;
            self.resident_free += resident(at, PAGE);
        } else {
            self.cached += PAGE;
        }
        PAGE
    }

    fn look_at_span(&mut self, heap: &Heap<Counting>, span: SpanPtr) {
        match span.kind() {
            Kind::Small => {
                let holes = span.holes.get().count_ones() as usize * Os::new().machine_page();
                self.small += span.bytes() - holes;
                self.holes += holes;
                self.resident_small += resident(span.base(), span.bytes());
            }
            Kind::Managed => self.managed += span.bytes(),
            // A span that waits in a slot: those of caches count as their blocks did.
            Kind::Dead if heap.larges.iter().any(|kept| kept.as_ptr() == span.as_ptr()) => {
                self.cached += span.bytes();
            }
            _ => self.large += span.bytes(),
        }
    }
}

/// Bytes of the range that have memory, says the kernel.
fn resident(start: usize, bytes: usize) -> usize {
    let mut pages = vec![0; bytes / Os::new().machine_page()];
    // SAFETY: the range is mapped, and the vector has a byte for each of its pages.
    let done = unsafe { libc::mincore(start as *mut _, bytes, pages.as_mut_ptr()) };
    assert_eq!(done, 0);
    pages.iter().filter(|&&page| page & 1 == 1).count() * Os::new().machine_page()
}

/// The account, which must be what the source, the walk and the kernel say.
fn account(heap: &Heap<Counting>) -> Stats {
    let (stats, walk) = (heap.stats(), Walk::new(heap));
    let (spans, others) = heap.source().committed();
    let of_spans = [stats.small, stats.holes, stats.large, stats.managed, stats.cached];
    let walked = [walk.small, walk.holes, walk.large, walk.managed, walk.cached];
    assert_eq!(of_spans, walked, "{stats}");
    assert_eq!(stats.free + stats.released, walk.free, "{stats}");
    assert_eq!(of_spans.iter().sum::<usize>() + walk.free, bytes(&spans), "{stats}");
    assert_eq!(stats.metadata + stats.tables + stats.stacks, others, "{stats}");
    assert_eq!(stats.mapped, heap.source().mapped(), "{stats}");
    assert!(walk.resident_free <= stats.free, "{walk:?}\n{stats}");
    assert!(walk.resident_small <= stats.small, "{walk:?}\n{stats}");
    stats
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

/// Blocks of these sizes, whose pages all have memory.
fn blocks(
    cache: &mut crate::Cache<'_, Counting>,
    sizes: impl Iterator<Item = usize>,
) -> Result<Vec<NonNull<u8>>, Error> {
    sizes
        .map(|size| {
            let block = cache.alloc(layout(size))?;
            // SAFETY: the block is ours and has so many bytes.
            unsafe { block.write_bytes(1, size) };
            Ok(block)
        })
        .collect()
}

#[test]
fn the_account_is_what_a_walk_over_all_pages_finds() {
    let heap = Heap::new(Counting::default());
    assert_eq!(account(&heap), Stats::default());
    let mut cache = heap.cache();
    let small = blocks(&mut cache, (0..6_000).map(|n| 8 + n * 13 % 5_000)).unwrap();
    let large = blocks(&mut cache, (5..80).map(|pages| pages * PAGE)).unwrap();
    let slab = heap.stacks().reserve(1 << 20).unwrap();
    let class = heap.class(ClassSpec { size: 64, align: 8, drop: false, owner: 0 }).unwrap();
    let mut managed = heap.managed_cache();
    // SAFETY: the class is the heap's, and the cycle is the current one.
    unsafe { managed.take(class, 0) }.unwrap();
    let stats = account(&heap);
    assert!(stats.small > 12 << 20 && stats.large > 20 << 20 && stats.managed >= PAGE, "{stats}");
    assert_eq!(stats.stacks, 1 << 20);
    // Most cells and blocks come back; some spans become holes, some large blocks wait.
    let (kept, freed): (Vec<_>, Vec<_>) =
        small.into_iter().enumerate().partition(|(n, _)| n % 40 == 0);
    // SAFETY: all are ours and given back once; the slab has no guards.
    unsafe {
        freed.into_iter().for_each(|(_, block)| cache.free(block));
        large.into_iter().for_each(|block| cache.free(block));
        heap.stacks().release(slab, 1 << 20, 0);
    }
    assert!(account(&heap).cached > serve(20) * PAGE);
    cache.release();
    let stats = account(&heap);
    assert!(stats.holes > 0 && stats.released > 20 << 20, "{stats}");
    assert_eq!((stats.free, stats.large, stats.cached, stats.stacks), (0, 0, 0, 0), "{stats}");
    // Cells in holes, pages that were given back, and a block that grows and shrinks, are used again.
    let again = blocks(&mut cache, (0..3_000).map(|n| 8 + n * 13 % 5_000)).unwrap();
    let block = blocks(&mut cache, [50 * PAGE].into_iter()).unwrap()[0];
    account(&heap);
    // SAFETY: ours, of that layout; what it has become is given back once, as are all others.
    unsafe {
        let block = cache.realloc(block, layout(50 * PAGE), 300 * PAGE).unwrap();
        account(&heap);
        let block = cache.realloc(block, layout(300 * PAGE), 100 * PAGE).unwrap();
        account(&heap);
        cache.free(block);
        kept.into_iter().for_each(|(_, block)| cache.free(block));
        again.into_iter().for_each(|block| cache.free(block));
    }
    cache.release();
    let stats = account(&heap);
    assert_eq!((stats.small, stats.holes, stats.large), (0, 0, 0), "{stats}");
    assert_eq!((stats.free, stats.resident_at_most()), (0, stats.managed + stats.metadata));
}

#[test]
fn beside_threads_that_allocate_the_sum_is_what_the_source_gave() {
    let heap = Heap::new(Counting::default());
    thread::scope(|scope| {
        let work = |seed: usize| {
            let mut cache = heap.cache();
            for round in 0..20 {
                let sizes = (0..500).map(|n| 1 + (n * seed * 97 + round) % 40_000);
                // SAFETY: each is freed once.
                unsafe {
                    blocks(&mut cache, sizes).unwrap().into_iter().for_each(|b| cache.free(b));
                }
            }
        };
        let workers = [1, 2].map(|seed| scope.spawn(move || work(seed)));
        while workers.iter().any(|worker| !worker.is_finished()) {
            let before = heap.source().mapped();
            let stats = heap.stats();
            let after = heap.source().mapped();
            assert!((before..=after).contains(&stats.mapped), "{before} {after}\n{stats}");
            assert_eq!(stats.parts().iter().map(|(_, bytes)| bytes).sum::<usize>(), stats.mapped);
        }
    });
    let stats = account(&heap);
    assert_eq!((stats.small, stats.large), (0, 0), "{stats}");
}
