//! The private part: what one thread or one processor allocates from, without lock or atomic
//! read-modify-write.
//!
//! A [`Cache`] is a value. Whoever runs binds one (see `global`): a plain thread for its life, a
//! scheduler's processor for each entry. It *owns* spans: for each size class one it allocates from
//! (`current`), those with free cells (`partial`), and the most recent ones without (`full`).
//!
//! ```text
//!        alloc: pop                      exhausted
//!   current ─────────▶ cell    current ────────────▶ full ── too many: let go ──▶ nobody's (FULL)
//!      ▲                                               │ free of a cell               │ free of a cell
//!      └───────── partial ◀────────────────────────────┘ ◀────────── adopt ───────────┘
//!                    │ too many: leave ──▶ central
//!                    └ all cells free, more than EMPTY_BYTES of such: page heap
//! ```
//!
//! * *Allocation*: pop from the current span's list, or take its next untouched cell. Then, in this
//!   order: cells that others freed into it; a partial span; full spans others freed into; the
//!   central; the page heap.
//! * *Free* of a cell in an own span: push onto that span's list. In a span of nobody: adopt it,
//!   while there are few partial spans, so that a thread that frees what it allocated long ago, or what
//!   another did, goes on without atomics; else, and in a span of another cache: [`Remote::push`].
//! * A span's owner is told by a number in the record. Only the owner writes it, so reading one's own
//!   number there proves ownership with a plain load.
//!
//! The bounds keep other caches from starving: a cache holds at most [`FULL_SPANS`] full spans per
//! class, whose remotely freed cells it would otherwise sit on, at most [`partial_limit`] partial
//! ones, and [`EMPTY_BYTES`] in spans without any live cell.
//!
//! Sources: Go's `mcache.go` (one span per class, here several, since `free` is explicit);
//! mimalloc (Leijen, Zorn, de Moura 2019) for lists inside spans.
//!
//! [`Remote::push`]: crate::remote::Remote::push

use core::{alloc::Layout, fmt, mem, ptr::NonNull};

use crate::{
    Error, Heap,
    harden::Wait,
    owned::{collect, has_local, pop},
    pages::PageSource,
    profile::Meter,
    remote::State,
    size_class::{CLASSES, PAGE, TABLE, class_for},
    span::{Kind, SpanPtr},
    span_list::SpanList,
};

/// Full spans of a class that a cache keeps, so that its own frees find them still its own.
const FULL_SPANS: usize = 32;

/// Full spans that are asked for remote frees before the central is.
const LOOKS: usize = 2;

/// Bytes of a class in partial spans, beyond which the cache leaves some to the central.
const PARTIAL_BYTES: usize = 512 << 10;

/// Bytes that a cache keeps in spans without a live cell.
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
    full: SpanList,
}

/// A private allocator over a shared [`Heap`].
///
/// Dropping it leaves its spans to the heap's centrals.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os};
/// use std::alloc::Layout;
///
/// let heap = Heap::new(Os::new());
/// let block = heap.cache().alloc(Layout::new::<[u64; 4]>()).unwrap();
/// // Another cache may free it.
/// unsafe { heap.cache().free(block) };
/// ```
pub struct Cache<'h, S: PageSource> {
    heap: &'h Heap<S>,
    /// Unique in the heap; marks the spans that are ours.
    number: usize,
    /// Bytes of partial spans without a live cell.
    empty: usize,
    /// Refills that the heap's counter does not know of yet: adding there each time would be the
    /// dearest part of a refill.
    refills: usize,
    /// Bytes to the next sample of the profile.
    pub(crate) meter: Meter,
    current: [Option<SpanPtr>; CLASSES],
    bins: [Bin; CLASSES],
}

impl<S: PageSource> fmt::Debug for Cache<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<'h, S: PageSource> Cache<'h, S> {
    pub(crate) const fn new(heap: &'h Heap<S>, number: usize) -> Self {
        Cache {
            heap,
            number,
            empty: 0,
            refills: 0,
            meter: Meter::new(),
            current: [None; CLASSES],
            bins: [const { Bin { partial: SpanList::new(), full: SpanList::new() } }; CLASSES],
        }
    }

    /// The heap below.
    pub fn heap(&self) -> &'h Heap<S> {
        self.heap
    }

    /// A block for `layout`, its contents unspecified. A size of zero gets a block of its own too.
    ///
    /// Some ten instructions while the current span of the class has free cells.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the source has no more, [`Error::TooLarge`] if no source could have.
    #[inline]
    pub fn alloc(&mut self, layout: Layout) -> Result<NonNull<u8>, Error> {
        match class_for(layout.size(), layout.align()) {
            Some(class) => self.alloc_small(class).map(|(cell, _)| cell),
            None => self.alloc_large(layout).map(|(block, _)| block),
        }
    }

    /// A block for `layout` that reads as zero.
    ///
    /// Memory fresh from the source is known to be zero and is not touched.
    ///
    /// # Errors
    ///
    /// As [`Cache::alloc`].
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<u8>, Error> {
        let (block, zeroed) = match class_for(layout.size(), layout.align()) {
            Some(class) => self.alloc_small(class)?,
            None => self.alloc_large(layout)?,
        };
        if !zeroed {
            // SAFETY: the block is ours and has at least `layout.size()` bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        Ok(block)
    }

    /// A cell of a class; also tells whether it is known to read as zero.
    #[inline]
    fn alloc_small(&mut self, class: usize) -> Result<(NonNull<u8>, bool), Error> {
        if let Some(cell) = self.current[class].and_then(pop) {
            return Ok(cell);
        }
        self.refill(class)
    }

    #[cold]
    fn alloc_large(&mut self, layout: Layout) -> Result<(NonNull<u8>, bool), Error> {
        let large = self.heap.alloc_large(layout.size(), layout.align())?;
        self.sample_large(large.0, layout.size());
        Ok(large)
    }

    /// Finds a span with a free cell, makes it the current one, and takes the cell.
    #[cold]
    fn refill(&mut self, class: usize) -> Result<(NonNull<u8>, bool), Error> {
        if let Some(hardened) = self.heap.hardened() {
            return self.heap.hardened_cell(hardened, class);
        }
        self.refills += 1;
        if let Some(span) = self.current[class] {
            if collect(span) {
                return self.first_of(class, span);
            }
            self.current[class] = None;
            self.retain_full(class, span);
        }
        let span = match self.find_partial(class) {
            Some(span) => span,
            None => self.find_shared(class)?,
        };
        span.alarm.set(NEVER);
        self.current[class] = Some(span);
        self.first_of(class, span)
    }

    /// The first cell of a refill, or a block in its place that the profile samples.
    fn first_of(&mut self, class: usize, span: SpanPtr) -> Result<(NonNull<u8>, bool), Error> {
        match self.sample(class, span) {
            Some(block) => Ok((block, false)),
            None => pop(span).ok_or(Error::OutOfMemory),
        }
    }

    /// A span of our own with a free cell.
    fn find_partial(&mut self, class: usize) -> Option<SpanPtr> {
        let bin = &mut self.bins[class];
        if let Some(span) = bin.partial.pop_front() {
            if span.used.get() == 0 {
                self.empty -= span.bytes();
            }
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
    fn find_shared(&mut self, class: usize) -> Result<SpanPtr, Error> {
        self.report_refills();
        while let Some(span) = self.heap.central(class).claim(self.number) {
            self.heap.counters.claims.add(1);
            if has_local(span) || collect(span) {
                return Ok(span);
            }
            self.retain_full(class, span);
        }
        self.heap.small_span(class, self.number)
    }

    fn report_refills(&mut self) {
        self.heap.counters.refills.add(mem::take(&mut self.refills));
    }

    /// Keeps a span without a free cell; lets the oldest such go if there are too many.
    fn retain_full(&mut self, class: usize, span: SpanPtr) {
        self.add_full(class, span);
        let full = &mut self.bins[class].full;
        if full.len() > FULL_SPANS
            && let Some(oldest) = full.pop_front()
        {
            oldest.in_full.set(false);
            self.let_go(class, oldest);
        }
    }

    fn add_full(&mut self, class: usize, span: SpanPtr) {
        span.in_full.set(true);
        span.alarm.set(span.capacity() - 1);
        self.bins[class].full.push_back(span);
    }

    /// Disowns a span that is on none of our lists.
    fn let_go(&mut self, class: usize, span: SpanPtr) {
        if !has_local(span) {
            span.set_owner(0);
            if span.remote.disown_full(span.used.get()).is_ok() {
                return;
            }
            span.set_owner(self.number);
            collect(span);
        }
        // All cells in use were freed by others: nobody can push any more.
        if span.used.get() == span.remote.snapshot().count() {
            span.set_owner(0);
            self.heap.free_span(span);
        } else if self.heap.central(class).leave(span) {
            self.heap.reap(span, class);
        }
    }

    /// Frees a block that came from any cache of this heap.
    ///
    /// # Safety
    ///
    /// `block` was returned by a cache of this heap, was not freed since, and nobody uses it.
    #[inline]
    pub unsafe fn free(&mut self, block: NonNull<u8>) {
        // SAFETY: passed on.
        let known = unsafe { self.free_if_known(block) };
        if !known {
            self.heap.free_odd(None, block, Wait::Briefly);
        }
    }

    /// As [`Cache::free`], but leaves a block of another heap alone and returns `false`.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`], if the block is of this heap.
    #[inline(always)]
    pub(crate) unsafe fn free_if_known(&mut self, block: NonNull<u8>) -> bool {
        let Some(span) = self.heap.map.get(block.as_ptr() as usize) else { return false };
        if span.owner() == self.number {
            // SAFETY: the span is ours, and the caller gives the cell up.
            unsafe { self.free_local(span, block) };
        } else {
            // SAFETY: passed on.
            unsafe { self.free_foreign(span, block) };
        }
        true
    }

    /// # Safety
    ///
    /// We own `span`, and `block` is a live cell of it that the caller gives up.
    #[inline(always)]
    unsafe fn free_local(&mut self, span: SpanPtr, block: NonNull<u8>) {
        // SAFETY: the cell is ours now, at least eight bytes long and aligned to eight.
        unsafe { block.cast::<*mut u8>().write(span.local.get()) };
        span.local.set(block.as_ptr());
        let used = span.used.get() - 1;
        span.used.set(used);
        if used == span.alarm.get() {
            self.after_free(span);
        }
    }

    /// Moves a span of ours to where it belongs after its first or its last cell was freed.
    #[cold]
    fn after_free(&mut self, span: SpanPtr) {
        let class = span.class();
        if span.in_full.replace(false) {
            self.bins[class].full.remove(span);
            self.add_partial(class, span);
        } else {
            self.keep_empty(class, span);
        }
    }

    /// Puts a span that has a free cell on its list, which may overflow to the central.
    fn add_partial(&mut self, class: usize, span: SpanPtr) {
        span.alarm.set(0);
        self.bins[class].partial.push_front(span);
        if span.used.get() == 0 {
            self.keep_empty(class, span);
        } else if self.bins[class].partial.len() > partial_limit(class)
            && let Some(oldest) = self.bins[class].partial.pop_back()
        {
            if oldest.used.get() == 0 {
                self.empty -= oldest.bytes();
            }
            self.let_go(class, oldest);
        }
    }

    /// Keeps a partial span that has just lost its last live cell, or gives its pages back.
    fn keep_empty(&mut self, class: usize, span: SpanPtr) {
        if self.empty + span.bytes() <= EMPTY_BYTES {
            self.empty += span.bytes();
        } else {
            self.bins[class].partial.remove(span);
            span.set_owner(0);
            self.heap.free_span(span);
        }
    }

    /// Frees a block of a span that is not ours, if it can be made ours cheaply then as if it were.
    ///
    /// # Safety
    ///
    /// As [`Cache::free`], `span` being the one that `block` lies in.
    #[cold]
    unsafe fn free_foreign(&mut self, span: SpanPtr, block: NonNull<u8>) {
        match span.kind() {
            Kind::Small => {}
            Kind::Large => return self.heap.free_span(span),
            _ => return self.heap.free_odd(Some(span), block, Wait::Briefly),
        }
        let class = span.class();
        let room = self.bins[class].partial.len() < partial_limit(class);
        if room && span.remote.snapshot().state() == State::Full && span.remote.adopt() {
            span.set_owner(self.number);
            self.add_full(class, span);
            // SAFETY: the span is ours by `adopt`; the rest is the caller's promise.
            return unsafe { self.free_local(span, block) };
        }
        // SAFETY: we do not own the span, which is small; the caller gives the cell up.
        unsafe { self.heap.free_remote(span, block) };
    }

    /// Leaves all spans to the centrals and the page heap: what other caches can then use.
    ///
    /// The cache stays usable, and is as empty as a new one.
    pub fn flush(&mut self) {
        for class in 0..CLASSES {
            if let Some(span) = self.current[class].take() {
                self.let_go(class, span);
            }
            while let Some(span) = self.bins[class].full.pop_front() {
                span.in_full.set(false);
                self.let_go(class, span);
            }
            while let Some(span) = self.bins[class].partial.pop_front() {
                self.let_go(class, span);
            }
        }
        self.empty = 0;
        self.report_refills();
    }
}

impl<S: PageSource> Drop for Cache<'_, S> {
    fn drop(&mut self) {
        self.flush();
    }
}

// SAFETY: a cache refers to its spans by number and lists, not to any thread; whoever moves it to
// another thread synchronises, and the heap is shared.
unsafe impl<S: PageSource + Sync> Send for Cache<'_, S> {}
