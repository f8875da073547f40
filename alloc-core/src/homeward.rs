//! Cells on their way back from a magazine to their spans.
//!
//! Cells that were freed one after the other are often neighbours: of one span, and of one word of its bits. So
//! they are gathered until one comes that is not, and 64 neighbours cost one change of the span's record, with a
//! read-modify-write if it is somebody else's.
//!
//! ```text
//!   cell ──▶ its span: that of the cell before? ──▶ a bit, beside those of its neighbours ─┐ another word,
//!               │ no                                                                      │ or span
//!               ▼                                                                         ▼
//!            page map; ours, or adopted? ─ yes ─▶ free bits of the record      ◀──────────┤
//!                                        ─ no ──▶ marks, and a count at the end ◀──────────┘
//! ```

use core::ptr::NonNull;

use crate::{
    Heap,
    harden::Wait,
    holdings::Holdings,
    owned,
    pages::PageSource,
    remote::{Batch, Neighbours},
    span::{Kind, SpanPtr},
};

/// Cells on their way back to their spans, one after the other. [`Homeward::finish`] must end it.
pub(crate) struct Homeward<'a, S: PageSource> {
    heap: &'a Heap<S>,
    holdings: &'a mut Holdings,
    /// Where the last cell's span lies, and its bytes, which are 0 if there is none. It stays what it is while a
    /// cell of it is on its way.
    base: usize,
    bytes: usize,
    span: Option<SpanPtr>,
    gathered: Gathered,
}

/// Cells of the span that it does not know of yet.
enum Gathered {
    /// The span is ours.
    Own(Neighbours),
    /// It is somebody else's, or nobody's.
    Others(Batch),
}

impl<'a, S: PageSource> Homeward<'a, S> {
    pub(crate) fn new(heap: &'a Heap<S>, holdings: &'a mut Holdings) -> Self {
        let gathered = Gathered::Own(Neighbours::default());
        Homeward { heap, holdings, base: 0, bytes: 0, span: None, gathered }
    }

    /// Takes one cell home.
    ///
    /// # Safety
    ///
    /// `cell` is a live cell of a small span, or a block of somebody else's that the heap knows what
    /// to do with; the caller gives it up.
    #[inline(always)]
    pub(crate) unsafe fn send(&mut self, cell: NonNull<u8>) {
        let address = cell.as_ptr() as usize;
        if address.wrapping_sub(self.base) >= self.bytes && !self.look_up(cell) {
            return;
        }
        let Some(span) = self.span else { return };
        let index = span.index(address);
        match &mut self.gathered {
            Gathered::Own(neighbours) => {
                if let Some((word, cells)) = neighbours.add(index) {
                    // It stays ours: the cell in hand is in use.
                    self.put(span, word, cells);
                }
            }
            Gathered::Others(batch) => batch.add(&span.remote, index),
        }
    }

    /// Finds the span of a cell; `false` if the cell is none of a small span's, and done with.
    #[inline(never)]
    fn look_up(&mut self, cell: NonNull<u8>) -> bool {
        self.leave_span();
        let span = match self.heap.map.get(cell.as_ptr() as usize) {
            Some(span) if span.kind() == Kind::Small => span,
            other => {
                self.free_other(other, cell);
                return false;
            }
        };
        let own = span.owner() == self.holdings.number || self.holdings.adopt(self.heap, span);
        (self.base, self.bytes) = (span.base(), span.bytes());
        self.span = Some(span);
        self.gathered = match own {
            true => Gathered::Own(Neighbours::default()),
            false => Gathered::Others(Batch::default()),
        };
        true
    }

    /// Frees what is not a cell of a small span: a sample of the profile, which has its own pages, or what
    /// comes from elsewhere.
    fn free_other(&self, span: Option<SpanPtr>, block: NonNull<u8>) {
        match span {
            Some(span) if span.kind() == Kind::Large => self.heap.free_large(span),
            _ => self.heap.free_stray(span, block, Wait::Briefly),
        }
    }

    /// Frees cells of a word of a span of ours, and moves it to another list if that is due.
    #[inline(never)]
    fn put(&mut self, span: SpanPtr, word: usize, cells: u64) {
        let before = span.used.get();
        let used = owned::put(span, word, cells);
        if (used..before).contains(&span.alarm.get()) {
            self.holdings.after_free(self.heap, span);
        }
    }

    /// Frees what was gathered into its span, which may be another's then.
    fn leave_span(&mut self) {
        self.bytes = 0;
        let Some(span) = self.span.take() else { return };
        match &mut self.gathered {
            Gathered::Own(neighbours) => {
                let (word, cells) = neighbours.take();
                self.put(span, word, cells);
            }
            Gathered::Others(batch) => {
                // Before the free: after it the span may be another's.
                let class = span.class();
                if let Some(freed) = batch.finish(&span.remote) {
                    self.heap.after_remote_free(span, class, freed);
                }
            }
        }
    }

    /// All cells are on their way.
    pub(crate) fn finish(mut self) {
        self.leave_span();
    }
}
