//! The spans of one class and the words of the sweep, apart from any heap: for models.
//!
//! A heap needs zeroed memory for its page map, which loom's atomics do not survive. Who sweeps which span,
//! and who takes cells of it, needs no heap: here is the production code of `spans`, `part` and `sweeping`,
//! over records in the model's memory.
//!
//! Models: `loom-tests/tests/alloc_sweep.rs`, `alloc_marks.rs`.

use core::{fmt, mem::MaybeUninit, ptr, ptr::NonNull};

use super::{
    class::Class,
    part::{Part, PartPtr, Swept},
    spans::Spans,
    sweepgen::Generation,
    sweeping::Sweeping,
};
use crate::{
    span::{Span, SpanPtr},
    sync::AtomicU64,
};

/// The memory of a span's two records, with bitmaps of one word.
#[repr(C)]
pub struct Room {
    part: MaybeUninit<Part>,
    bits: MaybeUninit<[AtomicU64; 3]>,
    span: Option<Span>,
}

impl Default for Room {
    fn default() -> Self {
        Room { part: MaybeUninit::uninit(), bits: MaybeUninit::uninit(), span: None }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

/// A span of collected cells: its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(PartPtr);

impl Record {
    /// A fresh span of `cells` cells, at most 64, in a cache that allocates in `cycle`.
    ///
    /// # Safety
    ///
    /// `room` stays in place as long as the record is used, and nobody else uses it. The record is listed once, by
    /// one [`Lists`], and used as its methods say.
    pub unsafe fn new(room: NonNull<Room>, cells: usize, cycle: u64) -> Self {
        // SAFETY: promised by the caller.
        let span = unsafe {
            let place = &mut (*room.as_ptr()).span;
            SpanPtr::from_raw(NonNull::from(place.insert(Span::dead())))
        };
        span.set_cells(0, 8, 0, cells);
        // SAFETY: the room begins with memory for a record and one word of each bitmap.
        let part = unsafe { PartPtr::make(room.cast(), 1, span) };
        part.begin(span, class(1), Generation::of(cycle), None);
        Record(part)
    }

    /// Begins a new life, when no cell of the span is left, as a fresh span for the class of `lists`, in a cache that
    /// allocates in `cycle`.
    pub fn begin(self, lists: &Lists, cycle: u64) {
        self.0.begin(self.0.span(), lists.class, Generation::of(cycle), None);
    }

    /// The cache that holds the span takes a free cell.
    pub fn take(self) -> Option<usize> {
        self.0.take()
    }

    /// Sets the mark of a cell; true if it was clear.
    pub fn mark(self, cell: usize) -> bool {
        self.0.mark(cell)
    }

    /// Whether the mark of a cell is set.
    pub fn is_marked(self, cell: usize) -> bool {
        self.0.is_marked(cell)
    }
}

/// What a sweeper has of a span, until it lists it again.
#[derive(Debug)]
#[must_use = "a span that is not listed is lost"]
pub struct Claimed {
    /// The span.
    pub span: Record,
    cycle: u64,
    swept: Swept,
}

impl Claimed {
    /// Cells that stay allocated.
    pub fn live(&self) -> usize {
        self.swept.live as usize
    }
}

/// A class that is not there: nobody follows the pointer, as poison alone asks for it.
fn class(number: usize) -> NonNull<Class> {
    NonNull::new(ptr::without_provenance_mut(number * align_of::<Class>())).expect("not number 0")
}

/// The spans of a class, and how far their sweep is.
#[derive(Debug)]
pub struct Lists {
    spans: Spans,
    class: NonNull<Class>,
    /// The words of the sweep.
    pub sweeping: Sweeping,
}

impl Lists {
    /// No span, in cycle 0.
    #[allow(clippy::new_without_default, reason = "models alone make one")]
    pub fn new() -> Self {
        Lists { spans: Spans::new(Generation::of(0)), class: class(1), sweeping: Sweeping::new() }
    }

    /// As [`Lists::new`], of another class.
    pub fn of_another_class() -> Self {
        Lists { class: class(2), ..Lists::new() }
    }

    /// Begins a cycle.
    pub fn begin(&self, cycle: u64) {
        self.sweeping.begin(cycle);
        self.spans.open(Generation::of(cycle), &self.sweeping);
    }

    /// Claims and sweeps the next span that waits in `cycle`; `touch` is told in between.
    pub fn sweep(&self, cycle: u64, touch: impl FnOnce(Record)) -> Option<Claimed> {
        let part = self.spans.claim_unswept(Generation::of(cycle))?;
        touch(Record(part));
        Some(Claimed { span: Record(part), cycle, swept: part.sweep(false) })
    }

    /// Ends a sweep; `free` gets the span if no cell of it is left.
    pub fn relist(&self, claimed: Claimed, free: impl FnOnce(Record)) {
        let Claimed { span, cycle, swept } = claimed;
        let free = |part| free(Record(part));
        self.spans.relist(span.0, swept, Generation::of(cycle), &self.sweeping, free);
    }

    /// Ends a sweep of a span that the caller's cache keeps.
    pub fn keep(&self, claimed: Claimed) -> Record {
        self.spans.keep(claimed.span.0, Generation::of(claimed.cycle), &self.sweeping);
        claimed.span
    }

    /// Takes a swept span with free cells for a cache that allocates in `cycle`.
    pub fn claim_partial(&self, cycle: u64) -> Option<Record> {
        self.spans.claim_partial(Generation::of(cycle)).map(Record)
    }

    /// Gives up a span that a cache took in `cycle`.
    pub fn uncache(&self, span: Record, cycle: u64) {
        self.spans.uncache(span.0, Generation::of(cycle));
    }

    /// Lists a span that was made in `cycle`.
    pub fn list_fresh(&self, span: Record, cycle: u64) {
        self.spans.list_fresh(span.0, Generation::of(cycle), &self.sweeping);
    }

    /// Offers a span in which doomed cells were just freed, and which may have begun a new life since.
    pub fn offer(&self, span: Record) {
        self.spans.offer(span.0, self.class);
    }

    /// How many spans are on some list.
    pub fn listed(&self) -> usize {
        let mut listed = 0;
        self.spans.for_each(|_| listed += 1);
        listed
    }
}
