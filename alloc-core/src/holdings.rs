//! The spans that a cache owns, from which its magazines are filled and into which they are emptied.
//!
//! For each size class a cache owns the span it takes cells from (`current`), those with free cells and others
//! (`partial`), some with free cells only (`empty`), and the most recent ones without (`full`).
//!
//! ```text
//!        cells taken               exhausted
//!   current ──────▶ magazine   current ────────────▶ full ── too many: let go ──▶ nobody's (FULL)
//!      ▲                                               │ a cell comes back         │ a cell comes back
//!      ├───────── partial ◀────────────────────────────┘ ◀────────── adopt ────────┘
//!      │             │ ╲ too many: leave ──▶ central
//!      └────────── empty ── more than EMPTY_BYTES: page heap
//! ```
//!
//! * *Cells are needed*, in this order: the current span; cells that others freed into it; its holes; a
//!   partial span; an empty one; full spans that others freed into; the central; the page heap.
//! * *A cell comes back* to an own span: a bit is set. To a span of nobody: it is adopted, while there
//!   are few partial spans, so that a thread that frees what it allocated long ago, or what another
//!   did, goes on without atomics. Else, and to a span of another cache: by its
//!   [`Remote`](crate::remote). Cells of one span that come in a row go together ([`homeward`](crate::homeward)).
//! * A span's owner is told by a number in the record. Only the owner writes it, so reading one's own
//!   number there proves ownership with a plain load.
//!
//! The bounds keep other caches from starving: a cache holds at most [`FULL_SPANS`] full spans per
//! class, whose remotely freed cells it would otherwise sit on, at most [`partial_limit`] partial
//! ones, and [`EMPTY_BYTES`] in spans without any cell in use.
//!
//! Sources: Go's `mcache.go` (one span per class, here several, since `free` is explicit);
//! mimalloc (Leijen, Zorn, de Moura 2019) for pages that belong to a thread.

use core::mem;

use crate::{
    Error, Heap,
    owned::collect,
    page_cache::PageCache,
    pages::PageSource,
    remote::State,
    size_class::{CLASSES, PAGE, TABLE},
    span::{SpanList, SpanPtr},
};

/// Full spans of a class that a cache keeps, so that its own frees find them still its own.
const FULL_SPANS: usize = 32;

/// Full spans that are asked for remote frees before the central is.
const LOOKS: usize = 2;

/// Bytes of a class in partial spans, beyond which the cache leaves some to the central.
const PARTIAL_BYTES: usize = 512 << 10;

/// Bytes that a cache keeps in spans without a cell in use.
const EMPTY_BYTES: usize = 1 << 20;

/// No count of cells in use: frees into the current span change nothing else.
const NEVER: u32 = u32::MAX;

/// Partial spans of a class that a cache keeps.
fn partial_limit(class: usize) -> usize {
    (PARTIAL_BYTES / (usize::from(TABLE[class].manual_pages) * PAGE)).clamp(4, 32)
}

/// The spans of one class beside the current one.
#[derive(Debug)]
struct Bin {
    partial: SpanList,
    empty: SpanList,
    full: SpanList,
}

impl Bin {
    const EMPTY: Self =
        Bin { partial: SpanList::EMPTY, empty: SpanList::EMPTY, full: SpanList::EMPTY };
}

/// The spans of one cache.
pub(crate) struct Holdings {
    /// The cache's number, unique in the heap; marks the spans that are its own.
    pub(crate) number: usize,
    /// Bytes of empty spans.
    empty: usize,
    /// Refills that the heap's counter does not know of yet: adding there each time would be the
    /// dearest part of a refill.
    refills: usize,
    /// Steps of the scavenger for which spans lay idle that are let go.
    pub(crate) rested: u32,
    /// Pages for the next spans.
    pages: PageCache,
    current: [Option<SpanPtr>; CLASSES],
    bins: [Bin; CLASSES],
}

impl Holdings {
    pub(crate) const fn new(number: usize) -> Self {
        Holdings {
            number,
            empty: 0,
            refills: 0,
            rested: 0,
            pages: PageCache::new(),
            current: [None; CLASSES],
            bins: [const { Bin::EMPTY }; CLASSES],
        }
    }

    /// An own span of the class with at least one free cell.
    pub(crate) fn supply<S: PageSource>(
        &mut self,
        heap: &Heap<S>,
        class: usize,
    ) -> Result<SpanPtr, Error> {
        self.refills += 1;
        if let Some(span) = self.current[class] {
            if heap.has_cells(span)? {
                return Ok(span);
            }
            self.current[class] = None;
            self.retain_full(heap, class, span);
        }
        let span = match self.find_partial(class) {
            Some(span) => span,
            None => self.find_shared(heap, class)?,
        };
        span.alarm.set(NEVER);
        self.current[class] = Some(span);
        Ok(span)
    }

    /// A span of our own with a free cell.
    fn find_partial(&mut self, class: usize) -> Option<SpanPtr> {
        let bin = &mut self.bins[class];
        if let Some(span) = bin.partial.pop_front() {
            return Some(span);
        }
        if let Some(span) = bin.empty.pop_front() {
            self.empty -= span.bytes();
            return Some(span);
        }
        for _ in 0..bin.full.len().min(LOOKS) {
            let span = bin.full.pop_front()?;
            if collect(span) {
                span.in_full.set(false);
                return Some(span);
            }
            bin.full.push_back(span);
        }
        None
    }

    /// A span from the central or the page heap.
    fn find_shared<S: PageSource>(
        &mut self,
        heap: &Heap<S>,
        class: usize,
    ) -> Result<SpanPtr, Error> {
        self.report_refills(heap);
        while let Some(span) = heap.central(class).claim(self.number) {
            heap.counters.claims.add(1);
            heap.has_new_owner(span);
            match heap.has_cells(span) {
                Ok(true) => return Ok(span),
                Ok(false) => self.retain_full(heap, class, span),
                Err(error) => {
                    self.let_go(heap, class, span);
                    return Err(error);
                }
            }
        }
        heap.small_span(&mut self.pages, class, self.number)
    }

    fn report_refills<S: PageSource>(&mut self, heap: &Heap<S>) {
        heap.counters.refills.add(mem::take(&mut self.refills));
    }

    /// Keeps a span without a free cell; lets the oldest such go if there are too many.
    fn retain_full<S: PageSource>(&mut self, heap: &Heap<S>, class: usize, span: SpanPtr) {
        self.add_full(class, span);
        let full = &mut self.bins[class].full;
        if full.len() > FULL_SPANS
            && let Some(oldest) = full.pop_front()
        {
            oldest.in_full.set(false);
            self.let_go(heap, class, oldest);
        }
    }

    fn add_full(&mut self, class: usize, span: SpanPtr) {
        span.in_full.set(true);
        span.alarm.set(span.capacity() - 1);
        self.bins[class].full.push_back(span);
    }

    /// Disowns a span that is on none of our lists.
    fn let_go<S: PageSource>(&mut self, heap: &Heap<S>, class: usize, span: SpanPtr) {
        let since = heap.step().wrapping_sub(self.rested);
        let stirred = &heap.counters.stirred;
        if let Some(span) = heap.central(class).disown(span, class, self.number, since, stirred) {
            heap.free_span(span);
        }
    }

    /// Moves a span of ours to where it belongs after its first or its last cell came back.
    #[cold]
    pub(crate) fn after_free<S: PageSource>(&mut self, heap: &Heap<S>, span: SpanPtr) {
        let bin = &mut self.bins[span.class()];
        let list = if span.in_full.replace(false) { &mut bin.full } else { &mut bin.partial };
        list.remove(span);
        if span.used.get() == 0 {
            self.keep_empty(heap, span);
        } else {
            self.add_partial(heap, span);
        }
    }

    /// Puts a span that has free cells and others on its list, which may overflow to the central.
    fn add_partial<S: PageSource>(&mut self, heap: &Heap<S>, span: SpanPtr) {
        let class = span.class();
        span.alarm.set(0);
        let partial = &mut self.bins[class].partial;
        partial.push_front(span);
        if partial.len() > partial_limit(class)
            && let Some(oldest) = partial.pop_back()
        {
            self.let_go(heap, class, oldest);
        }
    }

    /// Keeps a span that has just lost its last cell in use, or gives its pages back.
    fn keep_empty<S: PageSource>(&mut self, heap: &Heap<S>, span: SpanPtr) {
        if self.empty + span.bytes() <= EMPTY_BYTES {
            self.empty += span.bytes();
            self.bins[span.class()].empty.push_front(span);
        } else {
            span.set_owner(0);
            heap.free_span(span);
        }
    }

    /// Takes hold of a full span of nobody, of which a cell comes back; `false` if it stays another's.
    pub(crate) fn adopt<S: PageSource>(&mut self, heap: &Heap<S>, span: SpanPtr) -> bool {
        let class = span.class();
        let room = self.bins[class].partial.len() < partial_limit(class);
        let adopted = room && span.remote.snapshot().state() == State::Full && span.remote.adopt();
        if adopted {
            span.set_owner(self.number);
            heap.has_new_owner(span);
            self.add_full(class, span);
        }
        adopted
    }

    /// Leaves the span that cells of a class are taken from.
    pub(crate) fn leave_current<S: PageSource>(&mut self, heap: &Heap<S>, class: usize) {
        if let Some(span) = self.current[class].take() {
            self.let_go(heap, class, span);
        }
    }

    /// Leaves the pages for the next spans.
    pub(crate) fn leave_pages<S: PageSource>(&mut self, heap: &Heap<S>) {
        self.pages.flush(heap);
    }

    /// Leaves all other spans to the centrals and the page heap.
    pub(crate) fn leave_others<S: PageSource>(&mut self, heap: &Heap<S>) {
        for class in 0..CLASSES {
            while let Some(span) = self.bins[class].full.pop_front() {
                span.in_full.set(false);
                self.let_go(heap, class, span);
            }
            while let Some(span) = self.bins[class].partial.pop_front() {
                self.let_go(heap, class, span);
            }
            while let Some(span) = self.bins[class].empty.pop_front() {
                self.let_go(heap, class, span);
            }
        }
        self.empty = 0;
        self.report_refills(heap);
    }
}
