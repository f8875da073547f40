//! Which pages may have memory behind them, and how long free ones have been left alone.
//!
//! A page is *clean* until it is first handed out, and again once the source took its memory: it
//! reads as zero and costs nothing. A touched page that is free has an *age* of two bits: 0 when it
//! is freed, one more at each step of the scavenger (see `scavenge`) up to [`OLDEST`]. Ages live in
//! bit planes, so that a step treats 64 pages at once:
//!
//! ```text
//!   touched  1 1 0 1        age of the pages: 3, 0, –, 2
//!   age, 1s  1 0 · 0
//!   age, 2s  1 0 · 1
//! ```
//!
//! Go keeps one bit per page (scavenged or not) and scans by address; it paces by a share of
//! the processor instead of by age. Planes of age cost 2 bits for 8 KiB.

use core::ops::Range;

use super::{Room, bits, chunks::Chunks};
use crate::Error;

/// The greatest age.
pub(super) const OLDEST: u8 = 3;

type Plane = [u64; super::CHUNK_PAGES / 64];

/// The planes of one chunk: touched, ones and twos of the age.
type Planes = [Plane; 3];

/// The bits of all pages. They belong to whoever holds the structure.
#[derive(Debug)]
pub(super) struct Touched {
    chunks: Chunks<Planes>,
}

/// One word of each plane.
struct Words<'a> {
    touched: &'a mut u64,
    ones: &'a mut u64,
    twos: &'a mut u64,
}

impl Words<'_> {
    /// Touched pages of at least this age.
    fn of_age(&self, least: u8) -> u64 {
        *self.touched
            & match least {
                0 => !0,
                1 => *self.ones | *self.twos,
                2 => *self.twos,
                _ => *self.ones & *self.twos,
            }
    }
}

impl Touched {
    pub(super) const EMPTY: Self = Touched { chunks: Chunks::EMPTY };

    pub(super) fn prepare(&mut self, room: &impl Room, pages: &Range<usize>) -> Result<(), Error> {
        self.chunks.prepare(room, pages)
    }

    /// Calls `change` for each word of the range, with the bits concerned; sums what it returns.
    fn each(
        &mut self,
        pages: Range<usize>,
        mut change: impl FnMut(Words<'_>, u64) -> u64,
    ) -> usize {
        let mut sum = 0;
        for (word, bit, len) in bits::pieces(pages) {
            let Some(mut planes) = self.chunks.get(word * 64) else { continue };
            // SAFETY: the chunk belongs to this table, which is borrowed mutably.
            let [touched, ones, twos] = unsafe { planes.as_mut() };
            let at = word % touched.len();
            let words =
                Words { touched: &mut touched[at], ones: &mut ones[at], twos: &mut twos[at] };
            sum += change(words, bits::mask(bit, len)).count_ones() as usize;
        }
        sum
    }

    /// Pages of the range that are clean.
    pub(super) fn count_clean(&mut self, pages: Range<usize>) -> usize {
        self.each(pages, |words, mask| mask & !*words.touched)
    }

    /// The clean ones among 64 pages from `first` on.
    pub(super) fn clean_from(&mut self, first: usize) -> u64 {
        let (base, shift) = (first / 64 * 64, (first % 64) as u32);
        let behind = if shift > 0 { self.clean_word(base + 64) << (64 - shift) } else { 0 };
        self.clean_word(base) >> shift | behind
    }

    /// The clean ones among 64 pages from `base` on, which is a multiple of 64.
    fn clean_word(&mut self, base: usize) -> u64 {
        let mut clean = 0;
        self.each(base..base + 64, |words, _| {
            clean = !*words.touched;
            clean
        });
        clean
    }

    /// The pages are handed out.
    pub(super) fn touch(&mut self, pages: Range<usize>) {
        self.each(pages, |words, mask| {
            *words.touched |= mask;
            0
        });
    }

    /// The pages have no memory any more.
    pub(super) fn clean(&mut self, pages: Range<usize>) {
        self.each(pages, |words, mask| {
            *words.touched &= !mask;
            0
        });
    }

    /// The pages are free from now on: their age begins.
    pub(super) fn rest(&mut self, pages: Range<usize>) {
        self.each(pages, |words, mask| {
            *words.ones &= !mask;
            *words.twos &= !mask;
            0
        });
    }

    /// Makes the touched pages of the range one step older, up to the greatest age; returns how many were younger.
    pub(super) fn grow_older(&mut self, pages: Range<usize>) -> usize {
        self.each(pages, |words, mask| {
            let young = words.of_age(0) & !words.of_age(OLDEST) & mask;
            *words.twos |= *words.ones & young;
            *words.ones ^= young;
            young
        })
    }

    /// The first touched pages in the range of at least this age, to the end of their stretch.
    pub(super) fn next(&mut self, pages: Range<usize>, least: u8) -> Option<Range<usize>> {
        let mut found: Option<Range<usize>> = None;
        for (word, bit, len) in bits::pieces(pages) {
            let (from, old) = (word * 64, self.old_word(word * 64, least) & bits::mask(bit, len));
            let start = match &found {
                Some(found) if found.end == from => from,
                Some(_) => break,
                None if old == 0 => continue,
                None => from + old.trailing_zeros() as usize,
            };
            let end = start + (old >> (start - from)).trailing_ones() as usize;
            found = Some(found.map_or(start, |found| found.start)..end);
        }
        found
    }

    /// The touched ones of at least this age among 64 pages from `base` on.
    fn old_word(&mut self, base: usize, least: u8) -> u64 {
        let mut old = 0;
        self.each(base..base + 64, |words, _| {
            old = words.of_age(least);
            old
        });
        old
    }
}
