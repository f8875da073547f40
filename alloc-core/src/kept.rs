//! The span of the large block that was freed last, in the cache of who freed it.
//!
//! The heap's slots ([`large_cache`](crate::large_cache)) cost an exchange to put a span in and one to take it out,
//! half of what a pair of 100 KB takes. Who allocates a buffer, frees it and does so again needs no more than one
//! slot, and one that nobody else sees needs no exchange.
//!
//! ```text
//!   free  ──▶ own slot ──▶ what lay there: the heap's slots ──▶ page heap
//!   alloc ◀── own slot ◀── the heap's slots ◀── page heap
//! ```
//!
//! * *One span, of [`MOST`] pages at most*: half of what a cache may hold in spans without a block. It leaves with
//!   all else when the scavenger empties an idle cache, and before the cache goes to the page heap for another large
//!   block, and when there is no memory for a small one. So a heap never grows while its caller holds a span that
//!   would do.
//! * *Two bounds*, worked out when a span of another length comes: a request between them is served, so nothing is
//!   rounded (docs/decisions/0047).
//! * *As in the heap's slots* the span is entered in the page map, its record *dead*: who frees the block twice is
//!   found out as there.
//!
//! Rejected: *several spans*. Random lengths (the row `large`) miss whichever lies here, and more of what an idle
//! thread has is what decision 14 refused.

use core::mem;

use crate::{
    large_cache::{FEWEST, served_by},
    size_class::PAGE,
    span::{Kind, SpanPtr},
};

/// Pages of the longest span that is kept here: 512 KiB.
const MOST: usize = 64;

/// The slot.
#[derive(Debug)]
pub(crate) struct Kept {
    span: Option<SpanPtr>,
    /// Pages of the span that was kept last, and which requests it serves: of so many bytes at least, and how many
    /// sizes from there on. Blocks of one length come and go, so that is seldom worked out.
    pages: usize,
    least: usize,
    sizes: usize,
    /// Spans that came out of a slot, here or of the heap, since that was reported.
    takes: usize,
}

impl Kept {
    /// Empty.
    pub(crate) const fn new() -> Self {
        Kept { span: None, pages: 0, least: 0, sizes: 0, takes: 0 }
    }

    /// Keeps the span of a block that is freed, if it is short enough, in the place of another, which is the
    /// caller's then.
    #[inline]
    pub(crate) fn put(&mut self, span: SpanPtr) -> Option<SpanPtr> {
        let pages = span.pages();
        if pages != self.pages {
            if !(FEWEST..=MOST).contains(&pages) {
                return Some(span);
            }
            self.measure(pages);
        }
        span.set_kind(Kind::Dead);
        self.span.replace(span).map(revive)
    }

    /// Works out what spans of so many pages serve.
    fn measure(&mut self, pages: usize) {
        let (more, most) = served_by(pages);
        (self.pages, self.least) = (pages, more * PAGE + 1);
        self.sizes = (most - more) * PAGE;
    }

    /// The span that is kept, if it serves a request for so many bytes.
    #[inline(always)]
    pub(crate) fn take(&mut self, bytes: usize) -> Option<SpanPtr> {
        if bytes.wrapping_sub(self.least) >= self.sizes {
            return None;
        }
        let span = revive(self.span.take()?);
        self.takes += 1;
        Some(span)
    }

    /// The span that is kept.
    pub(crate) fn give_up(&mut self) -> Option<SpanPtr> {
        self.span.take().map(revive)
    }

    /// Whether none is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    /// Whether the span that is kept begins there.
    pub(crate) fn is_at(&self, address: usize) -> bool {
        self.span.is_some_and(|span| span.base() == address)
    }

    /// A span came out of a slot of the heap.
    pub(crate) fn count(&mut self) {
        self.takes += 1;
    }

    /// How many did since this was called last.
    pub(crate) fn report(&mut self) -> usize {
        mem::take(&mut self.takes)
    }
}

#[inline(always)]
fn revive(span: SpanPtr) -> SpanPtr {
    span.set_kind(Kind::Large);
    span
}
