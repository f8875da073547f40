//! The page heap of a [`Heap`](crate::Heap): a pool of pages, records for spans, and growth.
//!
//! A *span* is a run of pages with one use; its record is entered in the page map. Free pages have no
//! record: the pool's index knows them by number, and the page map has nothing at their place, so a
//! stale pointer finds nothing.
//!
//! Taking memory costs no system call while a free run fits. Otherwise the spans of large blocks that wait for the
//! next of their length are freed, and if that is not enough the heap grows (`arena`).
//!
//! [`Pages`] lies behind one lock (see `heap`).

use core::{ops::Range, ptr::NonNull};

use super::{
    Grant, PageHeap, Pool, Room, Word,
    arena::{self, Arena},
};
use crate::{
    Error, holes,
    large_cache::{FEWEST, LargeCache},
    meta::Meta,
    page_map::PageMap,
    pages::{PageSource, page_shift},
    size_class::PAGE,
    span::{Kind, Span, SpanList, SpanPtr},
    stats::Counters,
};

/// Spans of so many pages are few of those that wait for a large block, and most of their bytes: where a run is
/// wanted, they are freed before the rest.
const LONG: usize = 64;

/// A page cache gets 64 pages only while so many times as many are free.
const SPARE_WORDS: usize = 2;

/// What the page heap works on besides itself.
pub(crate) struct Parts<'a, S> {
    pub(crate) source: &'a S,
    pub(crate) meta: &'a Meta,
    pub(crate) map: &'a PageMap,
    pub(crate) larges: &'a LargeCache<Span>,
    pub(crate) counters: &'a Counters,
    /// Bytes that the other heap of the process holds.
    pub(crate) around: usize,
}

// SAFETY: the area of records gives each range once, zeroed, until the heap ends.
unsafe impl<S: PageSource> Room for Parts<'_, S> {
    fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.meta.alloc(self.source, bytes, align)
    }
}

/// All free pages, spare records, and the way to more.
#[derive(Debug)]
pub(crate) struct Pages<P> {
    pub(crate) pool: Pool<P>,
    /// Records that are not in use.
    spare: SpanList,
    /// The newest.
    arena: Arena,
    /// Times the lock was taken; whoever holds it counts.
    pub(crate) locks: usize,
    /// Bytes that may be ready, with all that `apply_limit` counts.
    pub(crate) limit: usize,
}

/// A run that was just taken.
pub(crate) struct Taken {
    pub(crate) span: SpanPtr,
    /// The pages read as zero.
    pub(crate) zeroed: bool,
}

impl<P: PageHeap> Pages<P> {
    pub(crate) const EMPTY: Self = Pages {
        pool: Pool::EMPTY,
        spare: SpanList::EMPTY,
        arena: Arena::NONE,
        locks: 0,
        limit: usize::MAX,
    };

    /// Takes `pages` pages at an address that is a multiple of `align` pages, at the lowest address
    /// there is. The record is still *dead*; the caller gives it a kind.
    pub(crate) fn take<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
        kind: Kind,
    ) -> Result<Taken, Error> {
        self.apply_limit(parts);
        let span = self.record(parts).ok_or(Error::OutOfMemory)?;
        let granted = if align * PAGE > parts.source.arena_bytes() {
            self.take_far_aligned(parts, pages, align)
        } else {
            self.pool.take(pages, align).or_else(|error| match error {
                Error::OutOfMemory => self.grow_and_take(parts, pages, align),
                error => Err(error),
            })
        };
        let grant = granted.inspect_err(|_| self.put_record(span))?;
        span.set_run(grant.first * PAGE, pages);
        parts.map.set_ends(span);
        parts.counters.take(kind, pages);
        Ok(Taken { span, zeroed: grant.zeroed })
    }

    fn grow_and_take<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
    ) -> Result<Grant, Error> {
        let fit = pages.checked_add(align - 1).ok_or(Error::TooLarge)?;
        if self.free_kept(parts, parts.larges.take_longer(fit))
            && let Ok(grant) = self.pool.take(pages, align)
        {
            return Ok(grant);
        }
        for least in [LONG, FEWEST] {
            if self.free_kept(parts, parts.larges.take_from(least))
                && let Ok(grant) = self.pool.take(pages, align)
            {
                return Ok(grant);
            }
        }
        self.may_grow(parts, pages)?;
        self.arena.grow(parts, &mut self.pool, fit)?;
        self.pool.take(pages, align)
    }

    /// Frees the spans of large blocks that were kept for the next; `false` if there were none.
    pub(crate) fn reclaim<S: PageSource>(&mut self, parts: &Parts<'_, S>) -> bool {
        self.free_kept(parts, parts.larges.take_all())
    }

    /// Frees spans that were just taken out of the cache of large ones; `false` if there were none.
    fn free_kept<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        spans: impl IntoIterator<Item = NonNull<Span>>,
    ) -> bool {
        let mut any = false;
        for span in spans {
            // SAFETY: the cache holds records of this heap, and what was taken out of it is ours.
            let span = unsafe { SpanPtr::from_raw(span) };
            span.set_kind(Kind::Large);
            self.free(parts, span);
            any = true;
        }
        any
    }

    /// Takes pages at an alignment beyond that of arenas, which few runs are long enough for wherever they begin.
    fn take_far_aligned<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
    ) -> Result<Grant, Error> {
        let mut taken = self.pool.take_exact(pages, align);
        if taken == Err(Error::OutOfMemory) && self.reclaim(parts) {
            taken = self.pool.take_exact(pages, align);
        }
        match taken {
            Err(Error::OutOfMemory) => self.take_own_arena(parts, pages, align),
            taken => taken,
        }
    }

    /// Takes pages in an arena of their own.
    fn take_own_arena<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
    ) -> Result<Grant, Error> {
        self.pool.room_in_use(pages + arena::table_pages(pages))?;
        let first = arena::add_whole(parts, &mut self.pool, pages, align)?;
        self.pool.take_at(first..first + pages)
    }

    /// Gives a span's pages back; its record may be reused at once.
    pub(crate) fn free<S: PageSource>(&mut self, parts: &Parts<'_, S>, span: SpanPtr) {
        let pages = self.forget(parts, span);
        self.pool.put(pages);
        parts.counters.resting.set(self.pool.resting());
    }

    /// As [`Pages::free`], of a span whose first `moved` pages have no memory any more.
    pub(crate) fn free_moved<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        span: SpanPtr,
        moved: usize,
    ) {
        let pages = self.forget(parts, span);
        let rest = pages.start + moved;
        self.pool.insert_clean(pages.start..rest);
        if rest < pages.end {
            self.pool.put(rest..pages.end);
        }
        parts.counters.resting.set(self.pool.resting());
    }

    /// Makes the record dead and spare; returns the pages, which are in nobody's account then.
    fn forget<S: PageSource>(&mut self, parts: &Parts<'_, S>, span: SpanPtr) -> Range<usize> {
        let (first, pages) = (span.base() / PAGE, span.pages());
        parts.counters.free(span.kind(), pages);
        match span.kind() {
            Kind::Large => parts.map.forget_ends(span),
            _ => parts.map.forget(first..first + pages),
        }
        span.set_kind(Kind::Dead);
        if span.holes.get() != 0 {
            self.pool.close(holes::forget(span, page_shift(parts.source)));
        }
        self.put_record(span);
        first..first + pages
    }

    /// Lets so many bytes of holes have memory again.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if the limit would be passed.
    pub(crate) fn fill<S>(&mut self, parts: &Parts<'_, S>, bytes: usize) -> Result<(), Error> {
        self.apply_limit(parts);
        self.pool.fill(bytes)
    }

    /// A record in state *dead*.
    fn record<S: PageSource>(&mut self, parts: &Parts<'_, S>) -> Option<SpanPtr> {
        if let Some(span) = self.spare.pop_front() {
            return Some(span);
        }
        let at = parts.meta.alloc(parts.source, size_of::<Span>(), align_of::<Span>())?;
        // SAFETY: fresh memory of the size and alignment of a record, ours alone.
        Some(unsafe { SpanPtr::create(at.cast()) })
    }

    /// Pages for a page cache, `want` side by side among them, unless 64 are a good part of what is free.
    pub(crate) fn take_word<S>(&mut self, parts: &Parts<'_, S>, want: usize) -> Option<Word> {
        self.apply_limit(parts);
        if self.pool.free() < SPARE_WORDS * 64 {
            return None;
        }
        self.pool.take_word(want)
    }

    /// Takes back what is left of a word.
    pub(crate) fn put_word<S>(&mut self, parts: &Parts<'_, S>, word: Word) {
        self.pool.put_word(word);
        parts.counters.resting.set(self.pool.resting());
    }

    /// Puts dead records into `records` until there are so many, or no memory for more.
    pub(crate) fn fill_records<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        records: &mut SpanList,
        want: usize,
    ) {
        while records.len() < want
            && let Some(span) = self.record(parts)
        {
            records.push_front(span);
        }
    }

    /// Takes a record back that is dead and on no list.
    pub(crate) fn put_record(&mut self, span: SpanPtr) {
        self.spare.push_front(span);
    }

    /// Lengthens a large span by the free pages behind it, or shortens it.
    ///
    /// # Errors
    ///
    /// If the pages behind are not free, or the limit would be passed. Those of a large block that was just
    /// freed are free.
    pub(crate) fn resize_in_place<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        span: SpanPtr,
        pages: usize,
    ) -> Result<(), Error> {
        let (first, old) = (span.base() / PAGE, span.pages());
        if pages < old {
            parts.counters.free(span.kind(), old - pages);
            self.pool.put(first + pages..first + old);
        } else {
            self.apply_limit(parts);
            let behind = first + old..first + pages;
            self.pool.take_at(behind.clone()).or_else(|error| {
                let room = error == Error::OutOfMemory && self.make_room_at(parts, behind.clone());
                if room { self.pool.take_at(behind) } else { Err(error) }
            })?;
            parts.counters.take(span.kind(), pages - old);
        }
        parts.map.forget(first + old - 1..first + old);
        span.set_run(span.base(), pages);
        parts.map.set_ends(span);
        Ok(())
    }

    /// Frees the pages of this range if they lie behind what is committed, or in the span of a large block
    /// that was just freed; `false` if nothing was done.
    fn make_room_at<S: PageSource>(&mut self, parts: &Parts<'_, S>, pages: Range<usize>) -> bool {
        let waits = |at: usize| parts.map.get(at).is_some_and(|span| span.kind() == Kind::Dead);
        if waits(pages.start * PAGE) {
            return self.reclaim(parts);
        }
        let next = self.arena.next_page();
        let open = pages.contains(&next) && self.pool.is_free(pages.start..next);
        open && self.may_grow(parts, pages.len()).is_ok()
            && self.arena.grow_in_place(parts, &mut self.pool, pages.end - next)
    }

    /// Tells the pool how many pages may be ready just now, beside the heap's own records and stacks and
    /// what the process holds around it.
    fn apply_limit<S>(&mut self, parts: &Parts<'_, S>) {
        if self.limit != usize::MAX {
            let others = parts.meta.bytes().0 + parts.counters.stacks.get() + parts.around;
            self.pool.set_limit(self.limit.saturating_sub(others) / PAGE);
        }
    }

    /// Puts a slab of stacks on the account.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if the limit would be passed.
    pub(crate) fn admit<S>(&mut self, parts: &Parts<'_, S>, bytes: usize) -> Result<(), Error> {
        self.apply_limit(parts);
        self.pool.room_for(bytes)?;
        parts.counters.stacks.add(bytes);
        Ok(())
    }

    /// Sets the limit.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
        self.pool.set_limit(usize::MAX);
    }

    /// Whether so many pages more may be in use, if all that is free were given back. Asked before the heap grows for
    /// them: their entries in the page map count at the limit, and stay.
    fn may_grow<S>(&self, parts: &Parts<'_, S>, pages: usize) -> Result<(), Error> {
        self.pool.room_in_use(pages + self.arena.table_pages(parts.map, pages))
    }
}

impl<P> AsMut<Pool<P>> for Pages<P> {
    fn as_mut(&mut self) -> &mut Pool<P> {
        &mut self.pool
    }
}
