//! 64 pages of one cache's own: spans of small blocks without the page heap's lock.
//!
//! Nearly all requests for pages are for spans of small blocks, a few pages each, and the page heap is
//! one structure behind one lock. So a cache takes the free ones of 64 aligned pages at once, the
//! lowest that the heap has, as one word of bits, and some span records with them; then it cuts spans
//! out of the word without any lock. What does not fit goes to the page heap as before. Freed spans go
//! to the page heap, where they join their neighbours.
//!
//! A second word tells which of the pages are clean, so that fresh spans still know that they read as
//! zero, and pages that were never used go back as clean as they came.
//!
//! A small heap (some fixed region) would lie in its caches as a whole: while fewer than four words'
//! worth of pages are free, nobody gets one.
//!
//! Source: Go 1.27 `mpagecache.go`; Go's holds for large objects of less than 16 pages as well, which
//! here are cut from the heap at once, as they are freed to it at once.

use crate::{
    Error, Heap,
    page_heap::{
        Word, bits,
        pages::{Records, Taken},
    },
    pages::PageSource,
    size_class::PAGE,
    span::{Kind, SpanPtr},
};

/// Records that are taken with a word.
const RECORDS: usize = 8;

/// Free pages and spare records of one cache.
#[derive(Debug)]
pub(crate) struct PageCache {
    word: Word,
    records: Records,
}

impl PageCache {
    pub(crate) const fn new() -> Self {
        PageCache { word: Word { base: 0, free: 0, clean: 0 }, records: Records::EMPTY }
    }

    /// A span of `pages` pages, its record still *dead*.
    pub(crate) fn take<S: PageSource>(
        &mut self,
        heap: &Heap<S>,
        pages: usize,
        kind: Kind,
    ) -> Result<Taken, Error> {
        if self.word.free == 0 || self.records.is_empty() {
            self.refill(heap);
        }
        match self.cut(pages) {
            Some((span, zeroed)) => {
                heap.map.set_ends(span);
                heap.counters.take_cached(kind, pages);
                Ok(Taken { span, zeroed })
            }
            None => heap.take(pages, 1, kind),
        }
    }

    /// The lowest `pages` pages of the word, with a record; also tells whether they read as zero.
    fn cut(&mut self, pages: usize) -> Option<(SpanPtr, bool)> {
        let starts = bits::starts(self.word.free, pages);
        if starts == 0 {
            return None;
        }
        let span = self.records.pop()?;
        let bit = starts.trailing_zeros() as usize;
        let mask = bits::mask(bit, pages);
        let zeroed = self.word.clean & mask == mask;
        self.word.free &= !mask;
        self.word.clean &= !mask;
        span.set_run((self.word.base + bit) * PAGE, pages);
        Some((span, zeroed))
    }

    #[cold]
    fn refill<S: PageSource>(&mut self, heap: &Heap<S>) {
        let mut pages = heap.pages();
        if self.word.free == 0 {
            self.word = pages.take_word(&heap.parts()).unwrap_or_default();
        }
        if self.word.free != 0 {
            pages.fill_records(&heap.parts(), &mut self.records, RECORDS);
        }
    }

    /// Gives pages and records back.
    pub(crate) fn flush<S: PageSource>(&mut self, heap: &Heap<S>) {
        if self.word.free == 0 && self.records.is_empty() {
            return;
        }
        let mut pages = heap.pages();
        pages.put_word(&heap.parts(), core::mem::take(&mut self.word));
        while let Some(span) = self.records.pop() {
            pages.put_record(span);
        }
    }
}
