//! Spans for caches, and where they go: from the class's list, from a sweep, from the page heap.
//!
//! A cache that runs dry asks in this order: a swept span with free cells; some unswept spans of the
//! class, swept on the spot if this cycle permits; fresh pages. It gives a span up by
//! returning what it had reserved; if a cycle has begun since, the span is a sweeper's, and the cache
//! only forgets it.
//!
//! The records of spans come from pools by the size of their bitmaps and stay what they are.
//!
//! Rejected: *to remember which cells read as zero* (Go's `needzero`; the watermark of [`owned`](crate::owned)). Nobody
//! asks for that here: who takes a cell writes a whole value into it, and nothing is cleared before.

use core::ptr;

use super::{
    class::ClassRef,
    part::{self, Part, PartPtr},
    poison::Report,
    sweepgen::Generation,
};
use crate::{
    Error, Heap,
    pages::PageSource,
    span::{Kind, SpanPtr},
    sync::Ordering,
};

/// Unswept spans that a taker sweeps before it asks for a fresh one; as Go's `spanBudget`.
const TAKER_SWEEPS: usize = 100;

/// Unswept spans that a taker sweeps beside the one that it takes. A heap that grows by half before the next
/// cycle is swept by then, and no sweeper needs a processor that somebody allocates on.
const TAKER_PAYS: usize = 3;

impl<S: PageSource> Heap<S> {
    /// A span of `class` for a cache that allocates in `now`, which pays for it with some sweep.
    pub(super) fn cached_part(
        &self,
        class: ClassRef<'_>,
        now: Generation,
    ) -> Result<PartPtr, Error> {
        let (part, empty) = self.next_part(class, now)?;
        if !empty {
            self.pay(class, now);
        }
        Ok(part)
    }

    /// Sweeps for the cycle's sake. Not beside dead spans: these are to be had as they are needed, and would
    /// go to the page heap and come back.
    fn pay(&self, class: ClassRef<'_>, now: Generation) {
        if !self.managed.sweeping.may_sweep(now) {
            return;
        }
        for _ in 0..TAKER_PAYS {
            let Some((part, swept)) = self.sweep_one(class, now) else { break };
            self.relist(class, part, swept, now);
        }
    }

    /// A span for a cache, and whether no cell of it is taken.
    fn next_part(&self, class: ClassRef<'_>, now: Generation) -> Result<(PartPtr, bool), Error> {
        let spans = &class.record().spans;
        if let Some(part) = spans.claim_partial(now) {
            return Ok((part, false));
        }
        if self.managed.sweeping.may_sweep(now) {
            for _ in 0..TAKER_SWEEPS {
                let Some((part, swept)) = self.sweep_one(class, now) else { break };
                if (swept.live as usize) < class.record().geometry.capacity {
                    spans.keep(part, now, &self.managed.sweeping);
                    return Ok((part, swept.live == 0));
                }
                self.relist(class, part, swept, now);
            }
        }
        Ok((self.fresh_part(class, now)?, true))
    }

    /// Gives up a span that a cache took in `then`.
    pub(super) fn uncache(&self, class: ClassRef<'_>, part: PartPtr, then: Generation) {
        class.record().spans.uncache(part, then);
    }

    fn fresh_part(&self, class: ClassRef<'_>, now: Generation) -> Result<PartPtr, Error> {
        let record = class.record();
        let geometry = &record.geometry;
        let taken = self.take(geometry.pages, geometry.align, Kind::Managed)?;
        let span = taken.span;
        span.set_owner(0);
        span.set_cells(0, geometry.cell, geometry.magic, geometry.capacity);
        let (part, poison) = self.part_for(span, geometry.words()).inspect_err(|_| {
            span.set_kind(Kind::Managed);
            self.free_span(span);
        })?;
        part.begin(span, class.as_non_null(), now, poison);
        // Release: publishes the record to whoever finds it by a wild pointer; pairs with `part_of`.
        span.part.store(part.as_non_null().as_ptr(), Ordering::Release);
        span.set_kind(Kind::Managed);
        self.map_all(span);
        self.managed.spans.add(1);
        record.spans.list_fresh(part, now, &self.managed.sweeping);
        Ok(part)
    }

    /// Gives a span back that holds no cell any more.
    pub(super) fn free_part(&self, part: PartPtr) {
        let span = part.span();
        self.managed.spans.sub(1);
        // Relaxed: nobody holds a cell of the span any more.
        span.part.store(ptr::null_mut(), Ordering::Relaxed);
        let pool = part.words().trailing_zeros() as usize;
        self.managed.registry.lock().pools[pool].push_front(part);
        self.free_span(span);
    }

    /// A record for a span, out of a pool or new, and what the span is to do about writes to free cells.
    fn part_for(&self, span: SpanPtr, words: usize) -> Result<(PartPtr, Option<Report>), Error> {
        let mut registry = self.managed.registry.lock();
        let poison = registry.poison;
        if let Some(part) = registry.pools[words.trailing_zeros() as usize].pop_front() {
            return Ok((part, poison));
        }
        let at = self.meta.alloc(self.source(), part::bytes(words), align_of::<Part>());
        let at = at.ok_or(Error::OutOfMemory)?.cast();
        // SAFETY: fresh memory for a record of so many words, which lives as long as the heap.
        Ok((unsafe { PartPtr::make(at, words, span) }, poison))
    }
}
