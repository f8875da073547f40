//! A bit per page, and summaries of ever larger blocks over them: Go's design since 1.14.
//!
//! ```text
//!   level   block    pages    summaries
//!   top     4 GiB    524288   32 in a region of 128 GiB
//!   1       512 MiB  65536    256
//!   window  64 MiB   8192     2048
//!   chunk   4 MiB    512      16 beside the bits of a window
//!   bits    a page   1        512 in a chunk, a free page is a one
//! ```
//!
//! A summary is three numbers in one word: how many pages are free at the block's *start*, at its
//! *end*, and in the longest run inside (*max*). Zero is a block without a free page, so memory
//! that was never prepared is right as it is.
//!
//! * *Find*: go over the summaries of a level from the left, adding up what is free at the end of
//!   one block and the start of the next. If that sum is long enough first, the run lies across
//!   borders and is found; if a block's own max is, look into that block.
//! * *Change*: set the bits, then summarise the chunks, windows and blocks above, as far up as
//!   anything changes.
//! * *Search address*: no page below it is free. A request that fits into its chunk needs no
//!   look at any other.
//! * *Open chunk*: one chunk's changes have not gone up yet. Most requests change the chunk that the one
//!   before did, and then nothing above it is touched. Whoever reads summaries closes it first.
//!
//! Compared with Go: a fan-out of 16 between window and chunk, and three levels above in place of
//! four, so that the tables belong to a region and appear as the heap grows (one region costs 37 KiB,
//! a window 1.2 KiB); Go reserves 600 MiB of address space. Free pages are ones and not zeroes. Go has no
//! open chunk: it pays for all levels at each change.
//!
//! Source: Go 1.27 `mpagealloc.go`, `mpallocbits.go`; design 35112 "Scaling the Go page allocator".

use core::{ops::Range, ptr};

use super::{
    CHUNK_PAGES, PAGE_NUMBERS, PageHeap, Room, bits,
    chunks::{Zeroed, made},
};
use crate::Error;

const WINDOW: usize = 16 * CHUNK_PAGES;
const BLOCK: usize = 8 * WINDOW;
const TOP: usize = 8 * BLOCK;
const REGION: usize = 32 * TOP;
const REGIONS: usize = PAGE_NUMBERS / REGION;

const WORDS: usize = CHUNK_PAGES / 64;
type Bits = [u64; WORDS];

/// Pages that are free at the start, in the longest run, and at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Summary(u64);

const FIELD: u32 = 21;

impl Summary {
    fn new(start: usize, max: usize, end: usize) -> Self {
        Summary(start as u64 | (max as u64) << FIELD | (end as u64) << (2 * FIELD))
    }

    fn all(pages: usize) -> Self {
        Self::new(pages, pages, pages)
    }

    fn start(self) -> usize {
        (self.0 & ((1 << FIELD) - 1)) as usize
    }

    fn max(self) -> usize {
        (self.0 >> FIELD & ((1 << FIELD) - 1)) as usize
    }

    fn end(self) -> usize {
        (self.0 >> (2 * FIELD)) as usize
    }

    fn is_full(self) -> bool {
        self.0 == 0
    }

    /// The summary of blocks of `each` pages, side by side.
    fn of(blocks: &[Summary], each: usize) -> Self {
        let (mut start, mut max, mut run) = (None, 0, 0);
        for block in blocks {
            run += block.start();
            if block.start() < each {
                start.get_or_insert(run);
                max = max.max(run).max(block.max());
                run = block.end();
            }
        }
        Self::new(start.unwrap_or(run), max.max(run), run)
    }

    /// The summary of a chunk.
    fn of_bits(words: &Bits) -> Self {
        if *words == [!0; WORDS] {
            return Self::all(CHUNK_PAGES);
        }
        let (mut start, mut max, mut run) = (None, 0, 0);
        for &word in words {
            run += word.trailing_ones() as usize;
            if word != !0 {
                start.get_or_insert(run);
                max = bits::longest(word, max.max(run));
                run = word.leading_ones() as usize;
            }
        }
        Self::new(start.unwrap_or(run), max.max(run), run)
    }
}

/// The bits of 64 MiB.
struct Window {
    bits: [Bits; WINDOW / CHUNK_PAGES],
    chunks: [Summary; WINDOW / CHUNK_PAGES],
}

/// The tables of 128 GiB.
struct Region {
    tops: [Summary; REGION / TOP],
    blocks: [Summary; REGION / BLOCK],
    windows: [Summary; REGION / WINDOW],
    bits: [*mut Window; REGION / WINDOW],
}

// SAFETY: zeroes are full summaries and null pointers.
unsafe impl Zeroed for Window {}
// SAFETY: as above.
unsafe impl Zeroed for Region {}

/// A search from the left for `want` free pages, one after the other.
struct Search {
    want: usize,
    /// Free pages up to here, and the first of them.
    run: usize,
    start: usize,
}

/// Where a search ended.
enum Found {
    /// The run begins at this page and lies across blocks.
    At(usize),
    /// The run lies in the block with this number.
    Inside(usize),
}

impl Search {
    fn new(want: usize) -> Self {
        Search { want, run: 0, start: 0 }
    }

    /// Looks at blocks of `each` pages, the first of which begins at page `at`.
    fn among(&mut self, blocks: &[Summary], at: usize, each: usize) -> Option<Found> {
        for (i, block) in blocks.iter().enumerate() {
            if self.run == 0 {
                self.start = at + i * each;
            }
            if self.run + block.start() >= self.want {
                return Some(Found::At(self.start));
            }
            if block.max() >= self.want {
                return Some(Found::Inside(i));
            }
            self.pass(at + i * each, each, *block);
        }
        None
    }

    fn pass(&mut self, at: usize, each: usize, block: Summary) {
        if block.start() == each {
            self.run += each;
        } else {
            self.run = block.end();
            self.start = at + each - block.end();
        }
    }
}

/// The first of `want` free pages in a chunk that has so many; pages are counted from its start.
fn find_in(words: &Bits, want: usize) -> Option<usize> {
    let mut run = 0;
    for (i, &word) in words.iter().enumerate() {
        if run + word.trailing_ones() as usize >= want {
            return Some(i * 64 - run);
        }
        if want <= 64
            && let found = bits::starts(word, want)
            && found != 0
        {
            return Some(i * 64 + found.trailing_zeros() as usize);
        }
        run = if word == !0 { run + 64 } else { word.leading_ones() as usize };
    }
    None
}

/// Free pages as bits with summaries. See the file's essay.
#[derive(Debug)]
pub struct Radix {
    /// Regions by number; null until the first page is prepared.
    regions: *mut [*mut Region; REGIONS],
    /// Regions that were prepared.
    used: Range<usize>,
    /// No page below is free.
    search: usize,
    /// Number of the chunk whose summary, and those above, are not up to date; or [`CLOSED`].
    open: usize,
}

/// No chunk is open.
const CLOSED: usize = usize::MAX;

// SAFETY: the tables belong to the index.
unsafe impl Send for Radix {}

impl Radix {
    fn region(&self, page: usize) -> Option<&Region> {
        // SAFETY: pointers are null or lead to tables that live as long as the index, borrowed as it is.
        unsafe { self.regions.as_ref()?.get(page / REGION)?.as_ref() }
    }

    fn region_mut(&mut self, page: usize) -> Option<&mut Region> {
        // SAFETY: as in `region`.
        unsafe { self.regions.as_ref()?.get(page / REGION)?.as_mut() }
    }

    /// Where `want` free pages are, if anywhere.
    fn find(&mut self, want: usize) -> Option<usize> {
        self.find_at_search(want).or_else(|| {
            self.close();
            self.search = self.first_free(self.search).unwrap_or(PAGE_NUMBERS);
            self.find_at_search(want).or_else(|| self.find_behind(want))
        })
    }

    /// Looks into the chunk of the search address.
    fn find_at_search(&self, want: usize) -> Option<usize> {
        let window = self.region(self.search)?.window(self.search)?;
        Some(self.search / CHUNK_PAGES * CHUNK_PAGES + window.find(self.search, want)?)
    }

    /// Looks everywhere, by the summaries.
    fn find_behind(&self, want: usize) -> Option<usize> {
        let mut search = Search::new(want);
        for number in (self.search / REGION).max(self.used.start)..self.used.end {
            let at = number * REGION;
            let Some(region) = self.region(at) else {
                search.run = 0;
                continue;
            };
            match search.among(&region.tops, at, TOP) {
                Some(Found::At(page)) => return Some(page),
                Some(Found::Inside(top)) => return region.find(at, top, want),
                None => {}
            }
        }
        None
    }

    /// Changes the bits of a range by `change`, which gets a word and the bits concerned.
    fn change(&mut self, pages: &Range<usize>, change: impl Fn(&mut u64, u64)) {
        let chunk = pages.start / CHUNK_PAGES;
        if chunk != self.open {
            self.close();
        }
        if chunk == (pages.end - 1) / CHUNK_PAGES {
            self.open = chunk;
            if let Some(window) =
                self.region_mut(pages.start).and_then(|r| r.window_mut(pages.start))
            {
                window.change_bits(pages.start % WINDOW..(pages.end - 1) % WINDOW + 1, change);
            }
        } else {
            self.open = CLOSED;
            self.change_and_summarise(pages, change);
        }
    }

    fn change_and_summarise(&mut self, pages: &Range<usize>, change: impl Fn(&mut u64, u64)) {
        for number in pages.start / REGION..=(pages.end - 1) / REGION {
            let at = number * REGION;
            let (from, to) = (pages.start.max(at), pages.end.min(at + REGION));
            if let Some(region) = self.region_mut(at) {
                region.change(from - at..to - at, &change);
            }
        }
    }

    /// Makes all summaries true.
    fn close(&mut self) {
        if self.open != CLOSED {
            let pages = self.open * CHUNK_PAGES..(self.open + 1) * CHUNK_PAGES;
            self.open = CLOSED;
            self.change_and_summarise(&pages, |_, _| {});
        }
    }

    /// True if all these pages are free.
    fn all_free(&self, pages: &Range<usize>) -> bool {
        bits::pieces(pages.clone()).all(|(word, bit, len)| {
            let mask = bits::mask(bit, len);
            self.word(word * 64) & mask == mask
        })
    }

    /// The free pages among 64 from `page` on, which is a multiple of 64.
    fn word(&self, page: usize) -> u64 {
        let window = self.region(page).and_then(|region| region.window(page));
        window.map_or(0, |window| window.bits[page % WINDOW / CHUNK_PAGES][page % CHUNK_PAGES / 64])
    }

    /// The lowest free page at `from` or above, by summaries that are true.
    fn first_free(&self, from: usize) -> Option<usize> {
        let mut page = from.max(self.search);
        while page < self.used.end * REGION {
            if let Some(end) = self.end_of_full(page) {
                page = end;
                continue;
            }
            let free = self.word(page / 64 * 64) >> (page % 64);
            if free != 0 {
                return Some(page + free.trailing_zeros() as usize);
            }
            page = (page / 64 + 1) * 64;
        }
        None
    }

    /// Where the largest block around `page` ends that is known to have no free page.
    fn end_of_full(&self, page: usize) -> Option<usize> {
        let behind = |block: usize| (page / block + 1) * block;
        let Some(region) = self.region(page) else { return Some(behind(REGION)) };
        let at = page % REGION;
        let chunk = |window: &Window| window.chunks[at % WINDOW / CHUNK_PAGES].is_full();
        let levels = [
            (TOP, region.tops[at / TOP].is_full()),
            (BLOCK, region.blocks[at / BLOCK].is_full()),
            (WINDOW, region.windows[at / WINDOW].is_full()),
            (CHUNK_PAGES, region.window(page).is_none_or(chunk)),
        ];
        levels.into_iter().find(|(_, full)| *full).map(|(block, _)| behind(block))
    }

    /// The end of the run that `page` lies in.
    fn end_of_run(&self, mut page: usize) -> usize {
        loop {
            let ones = (self.word(page / 64 * 64) >> (page % 64)).trailing_ones() as usize;
            page += ones;
            if ones == 0 || !page.is_multiple_of(64) {
                return page;
            }
        }
    }
}

impl Region {
    fn window(&self, page: usize) -> Option<&Window> {
        // SAFETY: null, or a window that lives as long as the region, borrowed as it is.
        unsafe { self.bits[page % REGION / WINDOW].as_ref() }
    }

    fn window_mut(&mut self, page: usize) -> Option<&mut Window> {
        // SAFETY: as in `window`, borrowed mutably as the region is.
        unsafe { self.bits[page % REGION / WINDOW].as_mut() }
    }

    /// Where `want` pages are inside the top block `top`; the region begins at page `at`.
    fn find(&self, at: usize, top: usize, want: usize) -> Option<usize> {
        let first = top * (TOP / BLOCK);
        let block =
            match Search::new(want).among(&self.blocks[first..][..8], at + first * BLOCK, BLOCK)? {
                Found::At(page) => return Some(page),
                Found::Inside(block) => first + block,
            };
        let first = block * (BLOCK / WINDOW);
        let window = match Search::new(want).among(
            &self.windows[first..][..8],
            at + first * WINDOW,
            WINDOW,
        )? {
            Found::At(page) => return Some(page),
            Found::Inside(window) => first + window,
        };
        let at = at + window * WINDOW;
        let window = self.window(at)?;
        match Search::new(want).among(&window.chunks, at, CHUNK_PAGES)? {
            Found::At(page) => Some(page),
            Found::Inside(chunk) => {
                let at = at + chunk * CHUNK_PAGES;
                Some(at + window.find(at, want)?)
            }
        }
    }

    /// Changes bits, then all summaries above; pages are counted from the region's start.
    fn change(&mut self, pages: Range<usize>, change: impl Fn(&mut u64, u64)) {
        let mut changed = false;
        for number in pages.start / WINDOW..=(pages.end - 1) / WINDOW {
            let at = number * WINDOW;
            let Some(window) = self.window_mut(at) else { continue };
            let (from, to) = (pages.start.max(at), pages.end.min(at + WINDOW));
            window.change(from - at..to - at, &change);
            let summary = Summary::of(&window.chunks, CHUNK_PAGES);
            changed |= self.windows[number] != summary;
            self.windows[number] = summary;
        }
        if changed && summarise(&self.windows, &mut self.blocks, &pages, WINDOW) {
            summarise(&self.blocks, &mut self.tops, &pages, BLOCK);
        }
    }
}

/// Recomputes the summaries of a level from those of `each` pages below it; tells whether any
/// changed.
fn summarise(below: &[Summary], level: &mut [Summary], pages: &Range<usize>, each: usize) -> bool {
    let mut changed = false;
    for number in pages.start / (8 * each)..=(pages.end - 1) / (8 * each) {
        let summary = Summary::of(&below[8 * number..][..8], each);
        changed |= level[number] != summary;
        level[number] = summary;
    }
    changed
}

impl Window {
    /// The first of `want` free pages in the chunk that `page` lies in, counted from its start.
    fn find(&self, page: usize, want: usize) -> Option<usize> {
        find_in(&self.bits[page % WINDOW / CHUNK_PAGES], want)
    }

    fn change(&mut self, pages: Range<usize>, change: impl Fn(&mut u64, u64)) {
        let chunks = pages.start / CHUNK_PAGES..=(pages.end - 1) / CHUNK_PAGES;
        self.change_bits(pages, change);
        for chunk in chunks {
            self.chunks[chunk] = Summary::of_bits(&self.bits[chunk]);
        }
    }

    fn change_bits(&mut self, pages: Range<usize>, change: impl Fn(&mut u64, u64)) {
        for (word, bit, len) in bits::pieces(pages) {
            change(&mut self.bits[word / WORDS][word % WORDS], bits::mask(bit, len));
        }
    }
}

impl PageHeap for Radix {
    const EMPTY: Self =
        Radix { regions: ptr::null_mut(), used: 0..0, search: PAGE_NUMBERS, open: CLOSED };

    fn prepare(&mut self, room: &impl Room, pages: Range<usize>) -> Result<(), Error> {
        if pages.end > PAGE_NUMBERS {
            return Err(Error::TooLarge);
        }
        let regions = made(&mut self.regions, room)?;
        for number in pages.start / WINDOW..=(pages.end - 1) / WINDOW {
            let region = made(&mut regions[number * WINDOW / REGION], room)?;
            made(&mut region.bits[number % (REGION / WINDOW)], room)?;
        }
        let (first, last) = (pages.start / REGION, (pages.end - 1) / REGION);
        self.used = match self.used.is_empty() {
            true => first..last + 1,
            false => self.used.start.min(first)..self.used.end.max(last + 1),
        };
        Ok(())
    }

    fn insert(&mut self, pages: Range<usize>) {
        self.change(&pages, |word, mask| {
            debug_assert_eq!(*word & mask, 0, "{pages:?} is free already");
            *word |= mask;
        });
        self.search = self.search.min(pages.start);
    }

    fn take(&mut self, pages: usize, align: usize) -> Option<usize> {
        let at = self.find(pages.checked_add(align - 1)?)?.next_multiple_of(align);
        self.change(&(at..at + pages), |word, mask| *word &= !mask);
        Some(at)
    }

    fn take_at(&mut self, pages: Range<usize>) -> bool {
        let free = self.all_free(&pages);
        if free {
            self.change(&pages, |word, mask| *word &= !mask);
        }
        free
    }

    fn next_free(&mut self, from: usize) -> Option<Range<usize>> {
        self.close();
        let start = self.first_free(from)?;
        Some(start..self.end_of_run(start))
    }
}
