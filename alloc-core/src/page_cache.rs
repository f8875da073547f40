//! 64 pages of one cache's own: spans of small blocks without the page heap's lock.
//!
//! Nearly all requests for pages are for spans of small blocks, a few pages each, and the page heap is
//! one structure behind one lock. So a cache takes the free ones of 64 pages at once, from the lowest
//! run on that fits, as one word of bits, and some span records with them; then it cuts spans out of the
//! word without any lock. When a span does not fit, the rest goes back and another word is taken. Freed
//! spans go to the page heap, where they join their neighbours.
//!
//! A second word tells which of the pages are clean, so that fresh spans still know that they read as
//! zero, and pages that were never used go back as clean as they came.
//!
//! A small heap (some fixed region) would lie in its caches as a whole: while fewer than two words'
//! worth of pages are free, nobody gets one.
//!
//! Source: Go 1.27 `mpagecache.go`. Go's words are aligned and lie around the lowest free page, which
//! suits spans of one page; most of ours have eight, and would not fit most of the time (39 of 6,700
//! did). Go cuts large objects of less than 16 pages from it too; here they come from the heap at once,
//! as they are freed to it at once.

use crate::{
    Error, Heap,
    page_heap::{Grant, Word, pages::Taken},
    pages::PageSource,
    size_class::PAGE,
    span::{Kind, SpanList, SpanPtr},
};

/// Records that are taken with a word.
const RECORDS: usize = 8;

/// Free pages and spare records of one cache.
#[derive(Debug)]
pub(crate) struct PageCache {
    word: Word,
    records: SpanList,
}

impl PageCache {
    pub(crate) const fn new() -> Self {
        PageCache { word: Word { base: 0, free: 0, clean: 0 }, records: SpanList::EMPTY }
    }

    /// A span of `pages` pages, its record still *dead*.
    pub(crate) fn take<S: PageSource>(
        &mut self,
        heap: &Heap<S>,
        pages: usize,
        kind: Kind,
    ) -> Result<Taken, Error> {
        let cut = self.cut(pages).or_else(|| {
            self.refill(heap, pages);
            self.cut(pages)
        });
        match cut {
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
        if self.records.is_empty() {
            return None;
        }
        let Grant { first, zeroed } = self.word.cut(pages)?;
        let span = self.records.pop_front()?;
        span.set_run(first * PAGE, pages);
        Some((span, zeroed))
    }

    /// Exchanges the word, in which `want` pages do not fit, for another.
    #[cold]
    fn refill<S: PageSource>(&mut self, heap: &Heap<S>, want: usize) {
        let (parts, mut pages) = (heap.parts(), heap.pages());
        if !self.word.has(want) {
            pages.put_word(&parts, core::mem::take(&mut self.word));
            self.word = pages.take_word(&parts, want).unwrap_or_default();
        }
        if self.word.free != 0 {
            pages.fill_records(&parts, &mut self.records, RECORDS);
        }
    }

    /// Gives pages and records back.
    pub(crate) fn flush<S: PageSource>(&mut self, heap: &Heap<S>) {
        if self.word.free == 0 && self.records.is_empty() {
            return;
        }
        let mut pages = heap.pages();
        pages.put_word(&heap.parts(), core::mem::take(&mut self.word));
        while let Some(span) = self.records.pop_front() {
            pages.put_record(span);
        }
    }
}
