//! Both page heaps against a plain model: a sorted map of free runs, searched from its start. All three
//! must give the same page for every request and have the same free runs, whatever came before.

mod common;

use std::{collections::BTreeMap, ops::Range};

use alloc_core::page_heap::{PageHeap, Pool, Radix, Treap};
use common::Memory;
use proptest::prelude::*;

/// Free runs: first page and length.
#[derive(Debug, Default)]
struct Model(BTreeMap<usize, usize>);

impl Model {
    fn insert(&mut self, pages: Range<usize>) {
        let (mut start, mut len) = (pages.start, pages.len());
        if let Some((&before, &length)) = self.0.range(..start).next_back()
            && before + length == start
        {
            self.0.remove(&before);
            (start, len) = (before, len + length);
        }
        len += self.0.remove(&(start + len)).unwrap_or(0);
        self.0.insert(start, len);
    }

    fn cut(&mut self, start: usize, len: usize, pages: Range<usize>) {
        self.0.remove(&start);
        for rest in [start..pages.start, pages.end..start + len] {
            if !rest.is_empty() {
                self.0.insert(rest.start, rest.len());
            }
        }
    }

    fn take(&mut self, pages: usize, align: usize) -> Option<usize> {
        let (&start, &len) = self.0.iter().find(|(_, len)| **len > pages - 1 + align - 1)?;
        let at = start.next_multiple_of(align);
        self.cut(start, len, at..at + pages);
        Some(at)
    }

    fn take_at(&mut self, pages: Range<usize>) -> bool {
        let Some((&start, &len)) = self.0.range(..=pages.start).next_back() else { return false };
        let free = start + len >= pages.end;
        if free {
            self.cut(start, len, pages);
        }
        free
    }

    fn next_free(&self, from: usize) -> Option<Range<usize>> {
        let (&start, &len) = self.0.iter().find(|&(start, len)| start + len > from)?;
        Some(start.max(from)..start + len)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Adds pages that the heap grew by: behind the last ones, or after a gap of so many.
    Grow(usize, usize),
    /// Takes so many pages at a multiple of so many.
    Take(usize, usize),
    /// Frees what was taken at once, or only the part of it between two thousandths.
    Free(usize, usize, usize),
    /// Takes so many pages behind what was taken.
    Extend(usize, usize),
    /// Asks for free pages around what was taken.
    Next(usize, usize),
}

fn pages() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1..20_usize,
        4 => 20..200_usize,
        3 => 200..3_000_usize,
        1 => prop_oneof![Just(512), Just(8_192), Just(65_536), 3_000..700_000_usize],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![4 => Just(0), 2 => 1..3_000_usize, 1 => 1..20_000_000_usize];
    let align = prop_oneof![6 => Just(1), 2 => (0..14_u32).prop_map(|shift| 1 << shift)];
    prop_oneof![
        1 => (gap, pages()).prop_map(|(gap, pages)| Step::Grow(gap, pages)),
        6 => (pages(), align).prop_map(|(pages, align)| Step::Take(pages, align)),
        3 => any::<usize>().prop_map(|index| Step::Free(index, 0, 1_000)),
        1 => (any::<usize>(), 0..500_usize, 500..1_000_usize)
            .prop_map(|(index, from, to)| Step::Free(index, from, to)),
        2 => (any::<usize>(), 1..200_usize).prop_map(|(index, pages)| Step::Extend(index, pages)),
        1 => (any::<usize>(), 0..3_000_usize).prop_map(|(index, back)| Step::Next(index, back)),
    ]
}

struct World<P> {
    index: P,
    model: Model,
    taken: Vec<Range<usize>>,
    end: usize,
    room: Memory,
}

impl<P: PageHeap> World<P> {
    fn new(start: usize) -> Self {
        let (taken, room) = (Vec::new(), Memory::default());
        World { index: P::EMPTY, model: Model::default(), taken, end: start, room }
    }

    fn grow(&mut self, gap: usize, pages: usize) {
        let new = self.end + gap..self.end + gap + pages;
        self.end = new.end;
        self.index.prepare(&self.room, new.clone()).unwrap();
        self.give(new);
    }

    fn give(&mut self, pages: Range<usize>) {
        self.index.insert(pages.clone());
        self.model.insert(pages);
    }

    fn take(&mut self, pages: usize, align: usize) {
        let at = self.index.take(pages, align);
        assert_eq!(at, self.model.take(pages, align), "{pages} at {align}");
        self.taken.extend(at.map(|at| at..at + pages));
    }

    fn free(&mut self, index: usize, from: usize, to: usize) {
        let all = self.taken.swap_remove(index);
        let (from, to) = (all.start + all.len() * from / 1_000, all.start + all.len() * to / 1_000);
        let rest = [all.start..from, to..all.end];
        self.taken.extend(rest.into_iter().filter(|rest| !rest.is_empty()));
        if from < to {
            self.give(from..to);
        }
    }

    fn extend(&mut self, index: usize, pages: usize) {
        let behind = self.taken[index].end..self.taken[index].end + pages;
        let taken = self.index.take_at(behind.clone());
        assert_eq!(taken, self.model.take_at(behind.clone()), "{behind:?}");
        if taken {
            self.taken.push(behind);
        }
    }

    fn run(&mut self, step: &Step) {
        let pick = |index: usize, taken: &Vec<Range<usize>>| index.checked_rem(taken.len());
        match *step {
            Step::Grow(gap, pages) => self.grow(gap, pages),
            Step::Take(pages, align) => self.take(pages, align),
            Step::Free(index, from, to) => {
                if let Some(index) = pick(index, &self.taken) {
                    self.free(index, from, to);
                }
            }
            Step::Extend(index, pages) => {
                if let Some(index) = pick(index, &self.taken) {
                    self.extend(index, pages);
                }
            }
            Step::Next(index, back) => {
                if let Some(index) = pick(index, &self.taken) {
                    let from = self.taken[index].end.saturating_sub(back);
                    assert_eq!(self.index.next_free(from), self.model.next_free(from));
                }
            }
        }
    }

    /// All free runs, by the index and by the model.
    fn compare(&mut self) {
        let (mut page, mut runs) = (0, Vec::new());
        while let Some(run) = self.index.next_free(page) {
            page = run.end + 1;
            runs.push((run.start, run.len()));
        }
        let expected: Vec<_> = self.model.0.iter().map(|(&start, &len)| (start, len)).collect();
        assert_eq!(runs, expected);
    }
}

fn agrees<P: PageHeap>(start: usize, steps: &[Step]) {
    let mut world = World::<P>::new(start);
    world.grow(0, 2_000);
    for step in steps {
        world.run(step);
    }
    world.compare();
    // Everything goes back, and each growth is one run again.
    while !world.taken.is_empty() {
        world.free(0, 0, 1_000);
    }
    world.compare();
}

/// Where the heap begins: anywhere, and just before a border of each level.
fn start() -> impl Strategy<Value = usize> {
    let borders = prop_oneof![Just(9), Just(13), Just(16), Just(19), Just(24)];
    let before = (borders, 0..3_000_usize).prop_map(|(bits, back)| (7_usize << bits) - back);
    prop_oneof![4_000..1_000_000_usize, before.prop_filter("positive", |&page| page > 0)]
}

proptest! {
    #[test]
    fn the_treap_agrees_with_the_model(
        start in start(),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        agrees::<Treap>(start, &steps);
    }

    #[test]
    fn the_radix_bitmap_agrees_with_the_model(
        start in start(),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        agrees::<Radix>(start, &steps);
    }
}

/// More pages than the largest block of summaries has, in one run over many borders.
fn huge<P: PageHeap>() {
    let mut world = World::<P>::new((7 << 24) - 1_000);
    world.grow(0, 3 << 19);
    world.take(1, 1);
    world.take(5 << 18, 1);
    world.take(1 << 18, 1);
    world.compare();
    world.free(1, 0, 1_000);
    world.take((5 << 18) + 1, 1);
    world.take(5 << 18, 1);
    world.compare();
}

#[test]
fn a_run_of_gigabytes_is_found_over_all_borders() {
    huge::<Treap>();
    huge::<Radix>();
}

fn no_memory<P: PageHeap>() {
    struct Nothing;
    // SAFETY: it returns no range.
    unsafe impl alloc_core::page_heap::Room for Nothing {
        fn zeroed(&self, _bytes: usize, _align: usize) -> Option<std::ptr::NonNull<u8>> {
            None
        }
    }
    let mut index = P::EMPTY;
    assert_eq!(index.prepare(&Nothing, 0..10), Err(alloc_core::Error::OutOfMemory));
    let beyond = alloc_core::page_heap::PAGE_NUMBERS;
    assert_eq!(index.prepare(&Nothing, beyond..beyond + 1), Err(alloc_core::Error::TooLarge));
    assert_eq!((index.take(1, 1), index.next_free(0)), (None, None));
    assert!(!index.take_at(3..4));
}

#[test]
fn without_memory_an_index_stays_empty() {
    no_memory::<Treap>();
    no_memory::<Radix>();
}

/// Words of 64 pages for page caches, cut from a pool in which some pages are clean.
fn words<P: PageHeap>(steps: &[(usize, usize, u64)]) {
    let room = Memory::default();
    let (start, end) = (1_000, 3_000);
    let mut pool = Pool::<P>::EMPTY;
    pool.prepare(&room, start..end).unwrap();
    pool.add(start..end);
    let mut written = vec![false; end];
    let mut taken = Vec::new();
    for &(want, pages, keep) in steps {
        if let Some(mut word) = pool.take_word(want) {
            let bit = (0..64).find(|bit| word.free >> bit & 1 == 1);
            assert_eq!(bit, Some(0), "the word begins with the run that fits");
            assert_eq!(word.clean & !word.free, 0);
            for bit in 0..64_usize {
                let (page, one) = (word.base + bit, 1 << bit);
                assert_eq!(word.clean & one != 0, word.free & one != 0 && !written[page]);
                if word.free & keep & one != 0 {
                    (word.free, word.clean) = (word.free & !one, word.clean & !one);
                    written[page] = true;
                    taken.push(page..page + 1);
                }
            }
            pool.put_word(word);
        }
        if let Ok(grant) = pool.take(pages, 1) {
            let run = grant.first..grant.first + pages;
            assert_eq!(grant.zeroed, run.clone().all(|page| !written[page]));
            written[run.clone()].fill(true);
            taken.push(run);
        }
        if taken.len() > 20 {
            pool.put(taken.swap_remove(want % 20));
        }
        let out: usize = taken.iter().map(ExactSizeIterator::len).sum();
        assert_eq!(pool.free() + out, pool.committed());
        assert_eq!(pool.clean(), written[start..end].iter().filter(|&&written| !written).count());
    }
    taken.into_iter().for_each(|run| pool.put(run));
    assert_eq!(pool.take(end - start, 1).map(|grant| grant.first), Ok(start), "all joined");
}

proptest! {
    #[test]
    fn words_hold_free_pages_and_know_the_clean_ones(
        steps in prop::collection::vec((1..65_usize, 1..100_usize, any::<u64>()), 1..60),
    ) {
        words::<Radix>(&steps);
        words::<Treap>(&steps);
    }
}
