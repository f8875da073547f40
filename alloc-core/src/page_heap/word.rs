//! Free pages out of 64, as words of bits: what a page cache takes at once, and cuts spans out of without a lock.
//!
//! ```text
//!   free    1 1 1 1 0 0 1 0     base + 7 … base
//!   clean   0 0 1 1 0 0 0 0     of those
//! ```
//!
//! A word begins with the lowest run that fits, wherever that lies: `base` is any page. Out of the pool its pages
//! are nobody's but its owner's (see `page_cache`).

use core::ops::Range;

use super::{Grant, bits};

/// Free ones of 64 pages, for a page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Number of the first.
    pub base: usize,
    /// A one for each page that is free.
    pub free: u64,
    /// A one for each page that is free and reads as zero.
    pub clean: u64,
}

impl Word {
    /// True if `pages` pages, 1 to 64, are free side by side.
    pub fn has(&self, pages: usize) -> bool {
        bits::starts(self.free, pages) != 0
    }

    /// Takes the lowest `pages` pages, 1 to 64, that are free side by side.
    ///
    /// ```
    /// use alloc_core::page_heap::{Grant, Word};
    /// let mut word = Word { base: 640, free: 0b1111_0010, clean: 0b0011_0000 };
    /// assert_eq!(word.cut(2), Some(Grant { first: 644, zeroed: true }));
    /// assert_eq!(word.cut(2), Some(Grant { first: 646, zeroed: false }));
    /// assert_eq!(word.cut(2), None);
    /// ```
    pub fn cut(&mut self, pages: usize) -> Option<Grant> {
        let starts = bits::starts(self.free, pages);
        if starts == 0 {
            return None;
        }
        let bit = starts.trailing_zeros() as usize;
        let mask = bits::mask(bit, pages);
        let zeroed = self.clean & mask == mask;
        self.free &= !mask;
        self.clean &= !mask;
        Some(Grant { first: self.base + bit, zeroed })
    }

    /// The runs of ones in `bits`, as pages.
    pub(super) fn runs(self, mut bits: u64) -> impl Iterator<Item = Range<usize>> {
        core::iter::from_fn(move || {
            let at = bits.trailing_zeros();
            let ones = bits.checked_shr(at)?.trailing_ones();
            bits = bits.checked_add(1 << at).unwrap_or(0) & bits;
            let start = self.base + at as usize;
            Some(start..start + ones as usize)
        })
    }
}
