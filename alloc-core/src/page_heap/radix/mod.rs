//! A bit per page, and summaries of ever larger blocks over them: Go's design since 1.14.
//!
//! The index as a whole is here, the tables of its 128 GiB pieces in `region`, the arithmetic of bits and
//! summaries in `summary`.
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

mod region;
mod summary;

use core::{ops::Range, ptr};

use super::{CHUNK_PAGES, PAGE_NUMBERS, PageHeap, Room, bits, chunks::made};
use crate::Error;
use region::{REGION, Region, WINDOW};
use summary::{Found, Search};

const REGIONS: usize = PAGE_NUMBERS / REGION;

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
        self.region(self.search)?.find_in_chunk(self.search, want)
    }

    /// Looks everywhere, by the summaries.
    fn find_behind(&self, want: usize) -> Option<usize> {
        let mut search = Search::new(want);
        for number in (self.search / REGION).max(self.used.start)..self.used.end {
            let at = number * REGION;
            let Some(region) = self.region(at) else {
                search.break_off();
                continue;
            };
            match region.search(&mut search, at) {
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
            if let Some(region) = self.region_mut(pages.start) {
                region.change_bits(pages, change);
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
        self.region(page).map_or(0, |region| region.word(page))
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
        let block = self.region(page).map_or(Some(REGION), |region| region.full_block(page))?;
        Some((page / block + 1) * block)
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

// SAFETY: a page is free while its bit is one. `insert` alone sets bits (4); `take` clears those of a run that `find` saw
// in bits, or in summaries that are true of them (1), `take_at` those that it has just read (2); `next_free` reads bits (3).
// Numbers of pages that were prepared are inside of the tables (5).
unsafe impl PageHeap for Radix {
    const EMPTY: Self =
        Radix { regions: ptr::null_mut(), used: 0..0, search: PAGE_NUMBERS, open: CLOSED };

    fn prepare(&mut self, room: &impl Room, pages: Range<usize>) -> Result<(), Error> {
        if pages.end > PAGE_NUMBERS {
            return Err(Error::TooLarge);
        }
        let regions = made(&mut self.regions, room)?;
        for number in pages.start / WINDOW..=(pages.end - 1) / WINDOW {
            let region = made(&mut regions[number * WINDOW / REGION], room)?;
            region.prepare(room, number * WINDOW)?;
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
