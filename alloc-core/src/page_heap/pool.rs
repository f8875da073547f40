//! The pages of a heap: which are free, which of those have memory, and the account.
//!
//! Every committed page is in one of four places, and the account says so:
//!
//! > `committed = free + lent + out`
//!
//! *Free* pages are in the index. *Lent* ones are on their way back to the source, in the hands of
//! the scavenger. The others are *out*: in spans or in page caches. Of the free pages some are *clean*
//! (see `touched`); all others are *ready*, which is what a memory limit bounds:
//!
//! > `ready = committed − clean − holes`
//!
//! *Holes* are the machine's pages inside of spans that were given back one by one (see `holes`).
//!
//! # Giving memory back beside allocation
//!
//! The system call that takes memory is slow and no lock is held over it. So pages are lent: taken
//! out of the index under the lock, released without it, put back under it, as clean.
//!
//! ```text
//!   scavenger                                  allocator
//!   lock { lend: index.take_at }               lock { take: index.take }
//!   decommit                                   writes to its pages
//!   lock { settle: clean, index.insert }       lock { put: index.insert }
//! ```
//!
//! Either `take` comes first, and `lend` does not find the pages; or `lend` does, and `take` finds them
//! only after `settle`, when they are clean and read as zero. No page is ever in two hands, for it
//! leaves the index under the lock. Model: `loom-tests/tests/alloc_scavenge.rs`.
//!
//! Go marks the pages as allocated while it releases them, for the same reason.

use core::ops::Range;

use super::{
    PageHeap, Room, bits,
    touched::{OLDEST, Touched},
    word::Word,
};
use crate::{Error, size_class::PAGE};

/// At most this many pages are lent at once, and never over a border of so many: 2 MiB, what the
/// kernel may have made one huge page. Allocators miss them for about 0.3 ms.
const LOAN: usize = 256;

/// Pages that were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Number of the first.
    pub first: usize,
    /// All of them read as zero.
    pub zeroed: bool,
}

/// Pages of a heap by an index `P`; behind a lock. See the module's essay.
#[derive(Debug)]
pub struct Pool<P> {
    index: P,
    touched: Touched,
    committed: usize,
    free: usize,
    clean: usize,
    lent: usize,
    /// Bytes of holes.
    holes: usize,
    /// Ready pages may not be more than this.
    limit: usize,
}

impl<P: PageHeap> Pool<P> {
    /// A pool without pages.
    pub const EMPTY: Self = Pool {
        index: P::EMPTY,
        touched: Touched::EMPTY,
        committed: 0,
        free: 0,
        clean: 0,
        lent: 0,
        holes: 0,
        limit: usize::MAX,
    };

    /// Makes the tables for pages that will be added.
    ///
    /// # Errors
    ///
    /// As [`PageHeap::prepare`].
    pub fn prepare(&mut self, room: &impl Room, pages: Range<usize>) -> Result<(), Error> {
        self.touched.prepare(room, &pages)?;
        self.index.prepare(room, pages)
    }

    /// Adds pages that were prepared and have just been committed.
    pub fn add(&mut self, pages: Range<usize>) {
        self.committed += pages.len();
        self.insert_clean(pages);
    }

    /// Bounds the pages that are ready.
    pub fn set_limit(&mut self, pages: usize) {
        self.limit = pages;
    }

    /// Pages that may be ready.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes pages as [`PageHeap::take`] does.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if no run is long enough, [`Error::Limit`] if more pages than the
    /// limit would be ready.
    pub fn take(&mut self, pages: usize, align: usize) -> Result<Grant, Error> {
        let first = self.index.take(pages, align).ok_or(Error::OutOfMemory)?;
        self.grant(first..first + pages)
    }

    /// Takes exactly these pages.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    pub fn take_at(&mut self, pages: Range<usize>) -> Result<Grant, Error> {
        if self.index.take_at(pages.clone()) { self.grant(pages) } else { Err(Error::OutOfMemory) }
    }

    /// Takes pages at a multiple of `align`, a power of two, out of the lowest run that has them, be it no longer than
    /// that. Takes time proportional to the runs.
    ///
    /// # Errors
    ///
    /// As [`Pool::take`].
    pub fn take_exact(&mut self, pages: usize, align: usize) -> Result<Grant, Error> {
        let mut from = 0;
        while let Some(run) = self.index.next_free(from) {
            let at = run.start.next_multiple_of(align);
            if at + pages <= run.end {
                return self.take_at(at..at + pages);
            }
            from = run.end;
        }
        Err(Error::OutOfMemory)
    }

    /// True if all of these pages are free; of no pages, all are.
    pub fn is_free(&mut self, pages: Range<usize>) -> bool {
        let covers = |run: Range<usize>| run.start <= pages.start && run.end >= pages.end;
        pages.is_empty() || self.index.next_free(pages.start).is_some_and(covers)
    }

    /// Hands out pages that have left the index, or puts them back.
    fn grant(&mut self, pages: Range<usize>) -> Result<Grant, Error> {
        let clean = self.touched.count_clean(pages.clone());
        if clean > 0 && self.ready() + clean > self.limit {
            self.index.insert(pages);
            return Err(Error::Limit);
        }
        self.touched.touch(pages.clone());
        self.free -= pages.len();
        self.clean -= clean;
        Ok(Grant { first: pages.start, zeroed: clean == pages.len() })
    }

    /// Takes the free ones of 64 pages from the lowest run on that has `want` pages.
    ///
    /// # Panics
    ///
    /// In debug builds, if `want` is more than 64.
    pub fn take_word(&mut self, want: usize) -> Option<Word> {
        let base = self.index.take(want, 1)?;
        let free = bits::mask(0, want) | self.take_within(base + want..base + 64) << (want % 64);
        let clean = self.touched.clean_from(base) & free;
        let word = Word { base, free, clean };
        self.free -= free.count_ones() as usize;
        self.clean -= clean.count_ones() as usize;
        if clean != 0 && self.ready() > self.limit {
            self.put_word(word);
            return None;
        }
        word.runs(free).for_each(|run| self.touched.touch(run));
        Some(word)
    }

    /// Takes all free pages of a range out of the index, a bit for each.
    fn take_within(&mut self, pages: Range<usize>) -> u64 {
        let (mut from, mut taken) = (pages.start, 0);
        while from < pages.end
            && let Some(run) = self.index.next_free(from).filter(|run| run.start < pages.end)
        {
            let run = run.start..run.end.min(pages.end);
            self.index.take_at(run.clone());
            taken |= bits::mask(run.start - pages.start, run.len());
            from = run.end;
        }
        taken
    }

    /// Puts the rest of a word back; clean pages are as clean as they were.
    pub fn put_word(&mut self, word: Word) {
        for run in word.runs(word.free & word.clean) {
            self.insert_clean(run);
        }
        for run in word.runs(word.free & !word.clean) {
            self.put(run);
        }
    }

    /// Puts pages back that were taken and may have been written to.
    pub fn put(&mut self, pages: Range<usize>) {
        self.free += pages.len();
        self.touched.rest(pages.clone());
        self.index.insert(pages);
    }

    /// Puts pages back that have no memory.
    pub(super) fn insert_clean(&mut self, pages: Range<usize>) {
        self.free += pages.len();
        self.clean += pages.len();
        self.touched.clean(pages.clone());
        self.index.insert(pages);
    }

    /// Lends the first free pages at `from` or above that have memory and this age, to be released: a number of them
    /// that is a multiple of `grain`, a power of two up to 2 MiB, at such a multiple.
    pub fn lend(&mut self, mut from: usize, age: u8, grain: usize) -> Option<Range<usize>> {
        loop {
            let run = self.index.next_free(from)?;
            let old = self.touched.next(run.clone(), age).unwrap_or(run.end..run.end);
            from = old.end.min((old.start / LOAN + 1) * LOAN);
            let pages = old.start.next_multiple_of(grain)..from / grain * grain;
            if !pages.is_empty() {
                let taken = self.index.take_at(pages.clone());
                debug_assert!(taken, "{pages:?} is part of a free run");
                self.free -= pages.len();
                self.lent += pages.len();
                return Some(pages);
            }
        }
    }

    /// Takes lent pages back, which have no memory any more.
    pub fn settle_released(&mut self, pages: Range<usize>) {
        self.lent -= pages.len();
        self.insert_clean(pages);
    }

    /// Takes lent pages back as they were lent, and as old.
    pub fn settle_kept(&mut self, pages: Range<usize>) {
        self.lent -= pages.len();
        self.free += pages.len();
        self.index.insert(pages);
    }

    /// Makes free pages from `from` on one step older, up to the greatest age, a bounded number of runs. Returns how
    /// many were younger, and where to go on.
    pub fn grow_older(&mut self, mut from: usize) -> (usize, Option<usize>) {
        const RUNS: usize = 256;
        let mut younger = 0;
        for _ in 0..RUNS {
            let Some(run) = self.index.next_free(from) else { return (younger, None) };
            from = run.end;
            younger += self.touched.grow_older(run);
        }
        (younger, Some(from))
    }

    /// Pages ever committed.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// Free pages.
    pub fn free(&self) -> usize {
        self.free
    }

    /// Free pages without memory.
    pub fn clean(&self) -> usize {
        self.clean
    }

    /// Free pages that may have memory.
    pub fn resting(&self) -> usize {
        self.free - self.clean
    }

    /// Pages on their way back to the source.
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Pages that may have memory.
    pub fn ready(&self) -> usize {
        self.committed - self.clean - self.holes / PAGE
    }

    /// Pages that are ready beyond the limit.
    pub fn excess(&self) -> usize {
        self.ready().saturating_sub(self.limit)
    }

    /// Notes that so many bytes in spans have no memory any more.
    pub fn open(&mut self, bytes: usize) {
        self.holes += bytes;
    }

    /// Lets so many bytes of holes have memory again.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if more pages than the limit would be ready.
    pub fn fill(&mut self, bytes: usize) -> Result<(), Error> {
        self.room_for(bytes)?;
        self.close(bytes);
        Ok(())
    }

    /// Whether so many bytes more may be ready.
    ///
    /// # Errors
    ///
    /// As [`Pool::fill`].
    pub fn room_for(&self, bytes: usize) -> Result<(), Error> {
        let ready = self.ready().checked_add(bytes.div_ceil(PAGE)).ok_or(Error::Limit)?;
        if ready > self.limit { Err(Error::Limit) } else { Ok(()) }
    }

    /// Whether so many pages more may be in use, if the memory of all that are free were given back.
    ///
    /// # Errors
    ///
    /// As [`Pool::fill`].
    pub fn room_in_use(&self, pages: usize) -> Result<(), Error> {
        let in_use = self.ready() - self.resting() - self.lent;
        let in_use = in_use.checked_add(pages).ok_or(Error::Limit)?;
        if in_use > self.limit { Err(Error::Limit) } else { Ok(()) }
    }

    /// Notes that the span of so many bytes of holes is given back.
    pub fn close(&mut self, bytes: usize) {
        self.holes -= bytes;
    }

    /// Bytes of holes.
    pub fn holes(&self) -> usize {
        self.holes
    }
}

impl<P> Pool<P> {
    /// The greatest age of a free page.
    pub const OLDEST: u8 = OLDEST;
}

impl<P> AsMut<Pool<P>> for Pool<P> {
    fn as_mut(&mut self) -> &mut Pool<P> {
        self
    }
}
