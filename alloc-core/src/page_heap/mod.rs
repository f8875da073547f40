//! Runs of free pages: find one, give one back, join neighbours, grow, return memory.
//!
//! Every page that the heap has ever committed is in exactly one run or span. For each of them the
//! page map holds the record at its first and its last page, so both neighbours of a freed run
//! are found by two look-ups and joined at once: no two free runs ever touch.
//!
//! A run is free whether or not its pages have memory behind them; the page map's dirty bits tell
//! page by page. So a run half of which went back to the system still joins its neighbours and
//! serves large requests, and a fresh block knows whether it must be zeroed.
//!
//! Taking memory costs no system call while a free run fits. Otherwise the heap commits
//! more of the newest arena, in steps of 4 MiB, and at its end reserves the next arena, which lies
//! behind the last one if the address is free.
//!
//! [`Pages`] lies behind one lock (see `heap`). Slow system calls happen outside of it: to give memory
//! back, a run is taken out of the tree, released, and put back.

pub(crate) mod treap;

use core::ptr::NonNull;

use crate::{
    Error,
    meta::Meta,
    page_map::PageMap,
    pages::PageSource,
    size_class::PAGE,
    span::{Kind, Span, SpanPtr},
};
use treap::Treap;

/// The heap commits at least this much at a time, if its arena is as large.
const COMMIT: usize = 4 << 20;

/// What the page heap works on besides itself.
pub(crate) struct Parts<'a, S> {
    pub(crate) source: &'a S,
    pub(crate) meta: &'a Meta,
    pub(crate) map: &'a PageMap,
}

/// All free pages, and the account of the others.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    tree: Treap,
    /// Records that are not in use, linked by `next`.
    spare: Option<SpanPtr>,
    /// Uncommitted rest of the newest arena.
    next: usize,
    end: usize,
    /// Pages ever committed.
    pub(crate) committed: usize,
    /// Pages that may have memory behind them: all in use, and the dirty ones of free runs.
    pub(crate) dirty: usize,
    /// Pages in use, by kind of span.
    pub(crate) used: [usize; 5],
    /// Runs ever taken.
    pub(crate) takes: usize,
}

/// A run that was just taken.
pub(crate) struct Taken {
    pub(crate) span: SpanPtr,
    /// The pages read as zero.
    pub(crate) zeroed: bool,
}

impl Pages {
    pub(crate) const fn new() -> Self {
        Pages {
            tree: Treap::new(),
            spare: None,
            next: 0,
            end: 0,
            committed: 0,
            dirty: 0,
            used: [0; 5],
            takes: 0,
        }
    }

    /// Takes `pages` pages at an address that is a multiple of `align` pages, at the lowest address
    /// there is. The record is still *dead*; the caller gives it a kind.
    pub(crate) fn take<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
        kind: Kind,
    ) -> Result<Taken, Error> {
        if align * PAGE > parts.source.arena_bytes() {
            return self.take_arena(parts, pages, align, kind);
        }
        let fit = pages.checked_add(align - 1).ok_or(Error::TooLarge)?;
        let run = match self.tree.first_fit(fit) {
            Some(run) => run,
            None => {
                self.grow(parts, fit)?;
                self.tree.first_fit(fit).ok_or(Error::OutOfMemory)?
            }
        };
        let base = run.base().next_multiple_of(align * PAGE);
        let span = self.carve(parts, run, base, pages)?;
        Ok(self.hand_out(parts, span, kind))
    }

    /// Takes pages at an alignment beyond that of arenas: in an arena of their own.
    fn take_arena<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        pages: usize,
        align: usize,
        kind: Kind,
    ) -> Result<Taken, Error> {
        let bytes = pages.checked_mul(PAGE).ok_or(Error::TooLarge)?;
        let span = self.record(parts).ok_or(Error::OutOfMemory)?;
        let arena = parts.meta.reserve(parts.source, bytes, align * PAGE).filter(|&at| {
            let start = at.as_ptr() as usize;
            let mapped = parts.map.prepare(parts.source, parts.meta, start..start + bytes);
            // SAFETY: the range was reserved by the call above and not committed.
            mapped.is_ok() && unsafe { parts.source.commit(at, bytes) }
        });
        let Some(at) = arena else {
            self.discard(span);
            return Err(Error::OutOfMemory);
        };
        self.committed += pages;
        span.set_run(at.as_ptr() as usize, pages);
        parts.map.set_ends(span);
        Ok(self.hand_out(parts, span, kind))
    }

    /// Counts a run as used and touched.
    fn hand_out<S>(&mut self, parts: &Parts<'_, S>, span: SpanPtr, kind: Kind) -> Taken {
        let first = span.base() / PAGE;
        let clean = parts.map.set_dirty(first..first + span.pages());
        self.dirty += clean;
        self.used[kind as usize] += span.pages();
        self.takes += 1;
        Taken { span, zeroed: clean == span.pages() }
    }

    /// Cuts `pages` pages at `base` out of a free run; what lies before and behind stays free.
    fn carve<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        run: SpanPtr,
        base: usize,
        pages: usize,
    ) -> Result<SpanPtr, Error> {
        let (start, end, cut) = (run.base(), run.end(), base + pages * PAGE);
        if (start, end) == (base, cut) {
            self.tree.remove(run);
            run.set_kind(Kind::Dead);
            return Ok(run);
        }
        let span = self.record(parts).ok_or(Error::OutOfMemory)?;
        if start < base && cut < end {
            let Some(rest) = self.record(parts) else {
                self.discard(span);
                return Err(Error::OutOfMemory);
            };
            self.resize(parts, run, start, base);
            self.add(parts, rest, cut, end);
        } else if start < base {
            self.resize(parts, run, start, base);
        } else {
            self.resize(parts, run, cut, end);
        }
        span.set_run(base, pages);
        parts.map.set_ends(span);
        Ok(span)
    }

    fn resize<S>(&mut self, parts: &Parts<'_, S>, run: SpanPtr, start: usize, end: usize) {
        run.set_run(start, (end - start) / PAGE);
        self.tree.refresh(run);
        parts.map.set_ends(run);
    }

    fn add<S>(&mut self, parts: &Parts<'_, S>, run: SpanPtr, start: usize, end: usize) {
        run.set_run(start, (end - start) / PAGE);
        run.set_kind(Kind::Free);
        self.tree.insert(run);
        parts.map.set_ends(run);
    }

    /// Gives a span's pages back; its record may be reused at once.
    pub(crate) fn free<S>(&mut self, parts: &Parts<'_, S>, span: SpanPtr) {
        self.used[span.kind() as usize] -= span.pages();
        self.put(parts, span);
    }

    /// Puts a run that is in no account into the tree, joined with its neighbours.
    fn put<S>(&mut self, parts: &Parts<'_, S>, run: SpanPtr) {
        let (start, end) = (run.base(), run.end());
        let free = |address| parts.map.get(address).filter(|run| run.kind() == Kind::Free);
        match (free(start.wrapping_sub(1)), free(end)) {
            (None, None) => return self.add(parts, run, start, end),
            (None, Some(behind)) => self.resize(parts, behind, start, behind.end()),
            (Some(before), None) => self.resize(parts, before, before.base(), end),
            (Some(before), Some(behind)) => {
                let end = behind.end();
                self.retire(behind);
                self.resize(parts, before, before.base(), end);
            }
        }
        run.set_kind(Kind::Dead);
        self.discard(run);
    }

    /// A record in state *dead*.
    fn record<S: PageSource>(&mut self, parts: &Parts<'_, S>) -> Option<SpanPtr> {
        if let Some(span) = self.spare {
            self.spare = span.next.take();
            return Some(span);
        }
        let at = parts.meta.alloc(parts.source, size_of::<Span>(), align_of::<Span>())?;
        // SAFETY: fresh memory of the size and alignment of a record, ours alone.
        Some(unsafe { SpanPtr::create(at.cast()) })
    }

    /// Takes a record back; its links must be unused.
    fn discard(&mut self, span: SpanPtr) {
        span.prev.set(None);
        span.next.set(self.spare.replace(span));
    }

    /// Takes a run out of the tree whose pages now belong to a neighbour.
    fn retire(&mut self, run: SpanPtr) {
        self.tree.remove(run);
        run.set_kind(Kind::Dead);
        self.discard(run);
    }

    /// Lengthens a span by the free pages behind it, or shortens it; `false` if they are too few.
    pub(crate) fn resize_in_place<S: PageSource>(
        &mut self,
        parts: &Parts<'_, S>,
        span: SpanPtr,
        pages: usize,
    ) -> bool {
        let (old, kind) = (span.pages(), span.kind());
        let (end, cut) = (span.end(), span.base() + pages * PAGE);
        if pages < old {
            let Some(rest) = self.record(parts) else { return false };
            span.set_run(span.base(), pages);
            parts.map.set_ends(span);
            rest.set_run(cut, old - pages);
            self.used[kind as usize] -= old - pages;
            self.put(parts, rest);
            return true;
        }
        let behind = parts.map.get(end).filter(|run| run.kind() == Kind::Free && run.end() >= cut);
        let Some(behind) = behind else { return false };
        let Ok(more) = self.carve(parts, behind, end, pages - old) else { return false };
        let _ = self.hand_out(parts, more, kind);
        self.discard(more);
        span.set_run(span.base(), pages);
        parts.map.set_ends(span);
        true
    }

    /// Commits enough for a run of `pages` pages.
    fn grow<S: PageSource>(&mut self, parts: &Parts<'_, S>, pages: usize) -> Result<(), Error> {
        let need = pages.checked_mul(PAGE).ok_or(Error::TooLarge)?;
        if self.end - self.next < need {
            self.add_arena(parts, need)?;
        }
        let step = need.next_multiple_of(COMMIT).min(self.end - self.next);
        self.commit(parts, step).or_else(|_| self.commit(parts, need))
    }

    fn commit<S: PageSource>(&mut self, parts: &Parts<'_, S>, bytes: usize) -> Result<(), Error> {
        let at = NonNull::new(self.next as *mut u8).ok_or(Error::OutOfMemory)?;
        parts.map.prepare(parts.source, parts.meta, self.next..self.next + bytes)?;
        let run = self.record(parts).ok_or(Error::OutOfMemory)?;
        // SAFETY: `next..end` is reserved and not committed.
        if !unsafe { parts.source.commit(at, bytes) } {
            self.discard(run);
            return Err(Error::OutOfMemory);
        }
        run.set_run(self.next, bytes / PAGE);
        self.next += bytes;
        self.committed += bytes / PAGE;
        self.put(parts, run);
        Ok(())
    }

    /// Reserves at least `need` bytes, behind the newest arena if possible.
    fn add_arena<S: PageSource>(&mut self, parts: &Parts<'_, S>, need: usize) -> Result<(), Error> {
        let unit = parts.source.arena_bytes();
        let bytes = need.checked_next_multiple_of(unit).ok_or(Error::TooLarge)?;
        if bytes > isize::MAX as usize {
            return Err(Error::TooLarge);
        }
        let at = parts.meta.reserve(parts.source, bytes, unit).ok_or(Error::OutOfMemory)?;
        let at = at.as_ptr() as usize;
        // What is left of the old arena stays reserved and uncommitted: address space only.
        if at != self.end {
            self.next = at;
        }
        self.end = at + bytes;
        Ok(())
    }

    /// Takes out the first run at `from` or above that has dirty pages, to give them back.
    pub(crate) fn borrow_dirty(&mut self, map: &PageMap, mut from: usize) -> Option<SpanPtr> {
        loop {
            let run = self.tree.first_from(from)?;
            from = run.end();
            if map.next_dirty(run.base() / PAGE..from / PAGE).is_some() {
                self.tree.remove(run);
                run.set_kind(Kind::Dead);
                return Some(run);
            }
        }
    }

    /// Puts a run back that was borrowed.
    pub(crate) fn give_back<S>(&mut self, parts: &Parts<'_, S>, run: SpanPtr) {
        self.put(parts, run);
    }
}
