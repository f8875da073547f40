//! The tables of one region: bits of pages, and summaries of the blocks above them.

use core::ops::Range;

use super::{
    super::{
        CHUNK_PAGES, Room, bits,
        chunks::{Zeroed, made},
    },
    summary::{Bits, Found, Search, Summary, WORDS, find_in},
};
use crate::Error;

/// Pages of a window.
pub(super) const WINDOW: usize = 16 * CHUNK_PAGES;
const BLOCK: usize = 8 * WINDOW;
const TOP: usize = 8 * BLOCK;
/// Pages of a region.
pub(super) const REGION: usize = 32 * TOP;

/// The bits of 64 MiB.
struct Window {
    bits: [Bits; WINDOW / CHUNK_PAGES],
    chunks: [Summary; WINDOW / CHUNK_PAGES],
}

/// The tables of 128 GiB.
pub(super) struct Region {
    tops: [Summary; REGION / TOP],
    blocks: [Summary; REGION / BLOCK],
    windows: [Summary; REGION / WINDOW],
    bits: [*mut Window; REGION / WINDOW],
}

// SAFETY: zeroes are full summaries and null pointers.
unsafe impl Zeroed for Window {}
// SAFETY: as above.
unsafe impl Zeroed for Region {}

impl Region {
    /// Makes the bits of the window that `page` lies in.
    pub(super) fn prepare(&mut self, room: &impl Room, page: usize) -> Result<(), Error> {
        made(&mut self.bits[page % REGION / WINDOW], room).map(drop)
    }

    fn window(&self, page: usize) -> Option<&Window> {
        // SAFETY: null, or a window that lives as long as the region, borrowed as it is.
        unsafe { self.bits[page % REGION / WINDOW].as_ref() }
    }

    fn window_mut(&mut self, page: usize) -> Option<&mut Window> {
        // SAFETY: as in `window`, borrowed mutably as the region is.
        unsafe { self.bits[page % REGION / WINDOW].as_mut() }
    }

    /// The free pages among 64 from `page` on, which is a multiple of 64.
    pub(super) fn word(&self, page: usize) -> u64 {
        let bits = self.window(page).map(|window| &window.bits[page % WINDOW / CHUNK_PAGES]);
        bits.map_or(0, |bits| bits[page % CHUNK_PAGES / 64])
    }

    /// Pages of the largest block around `page` whose summary says that none is free.
    pub(super) fn full_block(&self, page: usize) -> Option<usize> {
        let at = page % REGION;
        let chunk = |window: &Window| window.chunks[at % WINDOW / CHUNK_PAGES].is_full();
        let levels = [
            (TOP, self.tops[at / TOP].is_full()),
            (BLOCK, self.blocks[at / BLOCK].is_full()),
            (WINDOW, self.windows[at / WINDOW].is_full()),
            (CHUNK_PAGES, self.window(page).is_none_or(chunk)),
        ];
        levels.into_iter().find(|(_, full)| *full).map(|(block, _)| block)
    }

    /// The first of `want` free pages in the chunk that `page` lies in.
    pub(super) fn find_in_chunk(&self, page: usize, want: usize) -> Option<usize> {
        let found = self.window(page)?.find(page, want)?;
        Some(page / CHUNK_PAGES * CHUNK_PAGES + found)
    }

    /// Goes on with a search in this region, which begins at page `at`.
    pub(super) fn search(&self, search: &mut Search, at: usize) -> Option<Found> {
        search.among(&self.tops, at, TOP)
    }

    /// Where `want` pages are inside the top block `top`; the region begins at page `at`.
    pub(super) fn find(&self, at: usize, top: usize, want: usize) -> Option<usize> {
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

    /// Changes bits of one chunk and no summary.
    pub(super) fn change_bits(&mut self, pages: &Range<usize>, change: impl Fn(&mut u64, u64)) {
        if let Some(window) = self.window_mut(pages.start) {
            window.change_bits(pages.start % WINDOW..(pages.end - 1) % WINDOW + 1, change);
        }
    }

    /// Changes bits, then all summaries above; pages are counted from the region's start.
    pub(super) fn change(&mut self, pages: Range<usize>, change: impl Fn(&mut u64, u64)) {
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
