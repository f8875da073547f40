//! What is known of a block of pages as a whole, and the search among such blocks.

use super::super::{CHUNK_PAGES, bits};

/// Words of a chunk's bits.
pub(super) const WORDS: usize = CHUNK_PAGES / 64;
/// The bits of a chunk.
pub(super) type Bits = [u64; WORDS];

/// Bits of one of the three numbers: enough for the pages of the largest block, and one more.
const FIELD: u32 = 21;

/// Pages that are free at the start, in the longest run, and at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary(u64);

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

    pub(super) fn is_full(self) -> bool {
        self.0 == 0
    }

    /// The summary of blocks of `each` pages, side by side.
    pub(super) fn of(blocks: &[Summary], each: usize) -> Self {
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
    pub(super) fn of_bits(words: &Bits) -> Self {
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

/// A search from the left for `want` free pages, one after the other.
pub(super) struct Search {
    want: usize,
    /// Free pages up to here, and the first of them.
    run: usize,
    start: usize,
}

/// Where a search ended.
pub(super) enum Found {
    /// The run begins at this page and lies across blocks.
    At(usize),
    /// The run lies in the block with this number.
    Inside(usize),
}

impl Search {
    pub(super) fn new(want: usize) -> Self {
        Search { want, run: 0, start: 0 }
    }

    /// Looks at blocks of `each` pages, the first of which begins at page `at`.
    pub(super) fn among(&mut self, blocks: &[Summary], at: usize, each: usize) -> Option<Found> {
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

    /// What comes next does not lie behind what came last.
    pub(super) fn break_off(&mut self) {
        self.run = 0;
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
pub(super) fn find_in(words: &Bits, want: usize) -> Option<usize> {
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
