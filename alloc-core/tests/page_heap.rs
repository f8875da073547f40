//! Large blocks against a plain model of the pages: a sorted map of free runs, searched from its start.
//! Both must give the same address for every block, whatever was freed before: first fit, and all
//! neighbours joined. With either page heap; those alone are compared in `page_index.rs`.
//!
//! Spans that wait for the next block of their length are given to the page heap at once, by a scavenger that
//! does nothing else; `large.rs` tests that they wait.

use std::{alloc::Layout, collections::BTreeMap, ptr::NonNull, time::Duration};

use alloc_core::{
    Cache, Heap,
    large_cache::serve,
    page_heap::{PageHeap, Radix, Treap},
    pages::{PageSource, os::Os, with::With},
    scavenge::Never,
    size_class::PAGE,
};
use proptest::prelude::*;

/// Pages that both start with; the steps never need more.
const PAGES: usize = 4_096;

#[derive(Clone, Debug)]
enum Step {
    /// Takes so many pages at an alignment of so many.
    Take(usize, usize),
    /// Frees one of the blocks.
    Free(usize),
    /// Resizes one of the blocks, where it lies or elsewhere.
    Resize(usize, usize),
    /// Gives the memory of free pages back, which changes no address.
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (5..60_usize, 0..4_u32).prop_map(|(pages, shift)| Step::Take(pages, 1 << shift)),
        5 => any::<usize>().prop_map(Step::Free),
        2 => (any::<usize>(), 5..80_usize).prop_map(|(block, pages)| Step::Resize(block, pages)),
        1 => Just(Step::Release),
    ]
}

/// Free runs: start page and length.
struct Model(BTreeMap<usize, usize>);

impl Model {
    fn take(&mut self, pages: usize, align: usize) -> usize {
        let fit = pages + align - 1;
        let (&start, &len) = self.0.iter().find(|(_, len)| **len >= fit).unwrap();
        let at = start.next_multiple_of(align);
        self.0.remove(&start);
        self.put(start, at - start);
        self.put(at + pages, start + len - at - pages);
        at
    }

    fn put(&mut self, start: usize, len: usize) {
        if len > 0 {
            self.0.insert(start, len);
        }
    }

    fn free(&mut self, mut start: usize, mut len: usize) {
        if let Some((&before, &length)) = self.0.range(..start).next_back()
            && before + length == start
        {
            self.0.remove(&before);
            (start, len) = (before, len + length);
        }
        len += self.0.remove(&(start + len)).unwrap_or(0);
        self.0.insert(start, len);
    }

    /// Where the block is after it was resized, and how long it is.
    fn resize(&mut self, at: usize, old: usize, new: usize) -> (usize, usize) {
        if new <= old {
            if old - new <= old / 8 {
                return (at, old);
            }
            self.free(at + new, old - new);
            return (at, new);
        }
        let behind = self.0.get(&(at + old)).copied().unwrap_or(0);
        if behind >= new - old {
            self.0.remove(&(at + old));
            self.put(at + new, behind - (new - old));
            return (at, new);
        }
        let moved = self.take(serve(new), 1);
        self.free(at, old);
        (moved, serve(new))
    }
}

fn layout(pages: usize, align: usize) -> Layout {
    Layout::from_size_align(pages * PAGE, align * PAGE).unwrap()
}

/// Runs one step on both; blocks are (start page, pages, alignment).
fn run<S: PageSource>(
    cache: &mut Cache<'_, S>,
    model: &mut Model,
    blocks: &mut Vec<(usize, usize, usize)>,
    step: &Step,
) {
    let pointer = |page: usize| NonNull::new((page * PAGE) as *mut u8).unwrap();
    let taken: usize = blocks.iter().map(|block| block.1).sum();
    match *step {
        Step::Take(pages, align) if taken + pages < PAGES / 4 => {
            let block = cache.alloc(layout(pages, align)).unwrap();
            assert_eq!(block.as_ptr() as usize, model.take(serve(pages), align) * PAGE);
            blocks.push((block.as_ptr() as usize / PAGE, serve(pages), align));
        }
        Step::Free(index) if !blocks.is_empty() => {
            let (at, pages, _) = blocks.swap_remove(index % blocks.len());
            // SAFETY: the block is live and freed once.
            unsafe { cache.free(pointer(at)) };
            model.free(at, pages);
        }
        Step::Resize(index, new) if !blocks.is_empty() && taken + new < PAGES / 4 => {
            let index = index % blocks.len();
            let (at, old, align) = blocks[index];
            if align > 1 {
                return;
            }
            // SAFETY: the block is live and has that layout.
            let block =
                unsafe { cache.realloc(pointer(at), layout(old, align), new * PAGE) }.unwrap();
            let (at, new) = model.resize(at, old, new);
            assert_eq!(block.as_ptr() as usize, at * PAGE);
            blocks[index] = (at, new, align);
        }
        Step::Release => {
            cache.heap().release();
        }
        _ => {}
    }
}

fn blocks_lie_where_the_model_says<P: PageHeap>(steps: &[Step]) {
    let heap = Heap::new(With::<P, Os>::new(Os::new()));
    let mut cache = heap.cache();
    let all = cache.alloc(layout(PAGES, 1)).unwrap();
    // SAFETY: the block is live and freed once.
    unsafe { cache.free(all) };
    let mut model = Model(BTreeMap::from([(all.as_ptr() as usize / PAGE, PAGES)]));
    let mut blocks = Vec::new();
    for step in steps {
        run(&mut cache, &mut model, &mut blocks, step);
        // What was freed goes on to the heap's slots, and from there to the page heap.
        cache.flush();
        heap.scavenger(Never).unwrap().step(Duration::ZERO);
        let stats = heap.stats();
        assert_eq!(stats.large, blocks.iter().map(|block| block.1 * PAGE).sum::<usize>());
        assert_eq!(stats.mapped - stats.metadata - stats.tables, PAGES * PAGE);
    }
    drop(cache);
    // SAFETY: nothing of the heap is used any more.
    unsafe { heap.destroy() };
}

proptest! {
    #[test]
    fn with_the_radix_bitmap(steps in prop::collection::vec(step(), 1..200)) {
        blocks_lie_where_the_model_says::<Radix>(&steps);
    }

    #[test]
    fn with_the_treap(steps in prop::collection::vec(step(), 1..200)) {
        blocks_lie_where_the_model_says::<Treap>(&steps);
    }
}
