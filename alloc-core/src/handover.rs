//! The hand-over of small spans between caches, apart from any heap: for models and tests.
//!
//! A heap needs zeroed memory for its page map, which loom's atomics do not survive. What a cache does
//! when it gives up a span, what a free by another thread does, and who may take the span then, needs no
//! heap: only records, and the central of their class. Here they are by themselves, the production code
//! of `central`, `stirred`, [`remote`](crate::remote) and [`span_set`](crate::span_set).
//!
//! Models: `loom-tests/tests/alloc_central.rs`, `alloc_zeroed.rs`, and with cells for the machine's pages
//! `alloc_holes.rs` for holes, `alloc_stirred.rs` for who is told of them.

use core::{fmt, ptr::NonNull};

use crate::{
    central::{Central, Quiet, Ripe},
    holes, owned,
    size_class::magic,
    span::{Kind, Span, SpanPtr},
    stirred::Stirred,
};

/// The memory of a span's record.
#[derive(Default)]
pub struct Room(Option<Span>);

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

/// A small span: its record, over cells of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record(SpanPtr);

impl Record {
    /// The record of `cells`, all of them live, owned by the cache `owner`.
    ///
    /// # Safety
    ///
    /// `room` and `cells` stay in place as long as the record is used, and nobody else uses them. It
    /// is the first record in that room, or the last one there was freed.
    pub unsafe fn new(
        room: NonNull<Room>,
        cells: NonNull<[u64]>,
        class: usize,
        owner: usize,
    ) -> Self {
        // SAFETY: promised by the caller.
        let span = unsafe {
            let place = &mut *room.as_ptr();
            SpanPtr::from_raw(NonNull::from(place.0.insert(Span::dead())))
        };
        let record = Record(span);
        record.0.set_run(cells.as_ptr() as *mut u64 as usize, 1);
        record.live_again(class, cells.len(), owner);
        record
    }

    /// Begins a new life of a record that was freed: all cells live, in the cache `owner`.
    pub fn live_again(self, class: usize, cells: usize, owner: usize) {
        self.begin(class, cells, owner, false);
        while self.take().is_some() {}
    }

    /// As [`Record::live_again`], with all cells free; whether they read as zero.
    pub fn begin(self, class: usize, cells: usize, owner: usize, zeroed: bool) {
        self.0.set_cells(class, 8, magic(8), cells);
        owned::free_all(self.0, zeroed);
        self.0.remote.reset();
        self.0.set_owner(owner);
        self.0.set_kind(Kind::Small);
    }

    /// The owner takes a free cell for a block.
    pub fn take(self) -> Option<NonNull<u64>> {
        let mut cell = NonNull::dangling();
        // SAFETY: there is room for one, and a cell is free.
        (self.free_cells() > 0).then(|| unsafe { owned::take(self.0, 1, &mut cell) })?;
        Some(cell.cast())
    }

    /// The owner takes a cell that reads as zero.
    pub fn take_fresh(self) -> Option<NonNull<u64>> {
        owned::take_fresh(self.0).map(NonNull::cast)
    }

    /// The owner frees a cell.
    pub fn put(self, cell: NonNull<u64>) {
        let index = self.index(cell);
        owned::put(self.0, index / 64, 1 << (index % 64));
    }

    /// The index of a cell.
    pub fn index(self, cell: NonNull<u64>) -> usize {
        self.0.index(cell.as_ptr() as usize)
    }

    /// The owner looks for cells that others freed; true if it has found some.
    pub fn collect(self) -> bool {
        owned::collect(self.0)
    }

    /// Cells that the owner knows to be free, and that are not away.
    pub fn free_cells(self) -> usize {
        owned::free_cells(self.0)
    }

    /// Who holds the span makes holes of its vacant cells; `decommit` is told each by its index. Returns
    /// how many there are more.
    pub fn discard(self, mut decommit: impl FnMut(usize)) -> usize {
        let bytes = holes::discard(self.0, 3, |range| {
            range.step_by(8).for_each(|cell| decommit(self.0.index(cell)));
            true
        });
        bytes / 8
    }

    /// The owner takes holes back; `false` if there are none.
    pub fn recall(self) -> bool {
        holes::recall(self.0, 3, |_| Ok(())) == Ok(true)
    }

    /// True if no cell is in use, as far as who holds the span knows.
    pub fn is_empty(self) -> bool {
        self.0.used.get() == 0
    }
}

/// The central of one class.
#[derive(Debug)]
pub struct Lists {
    central: Central,
    class: usize,
    stirred: Stirred,
}

impl Lists {
    /// An empty one.
    pub fn new(class: usize) -> Self {
        Lists { central: Central::new(), class, stirred: Stirred::new() }
    }

    /// The cache `owner` gives a span up. Returns a span that is the caller's to free.
    pub fn disown(&self, span: Record, owner: usize) -> Option<Record> {
        self.central.disown(span.0, self.class, owner, 0, &self.stirred).map(Record)
    }

    /// Frees a live cell of a span that the caller does not own. Returns a span that is the caller's
    /// to free.
    pub fn free(&self, span: Record, cell: usize) -> Option<Record> {
        let freed = span.0.remote.free(cell);
        self.central.after_remote_free(span.0, self.class, freed, &self.stirred).map(Record)
    }

    /// Takes a span for the cache `owner`.
    pub fn claim(&self, owner: usize) -> Option<Record> {
        self.central.claim(owner).map(Record)
    }

    /// Takes out `span` if it is listed here and empty.
    pub fn reap(&self, span: Record) -> Option<Record> {
        self.central.reap(span.0, self.class).map(Record)
    }

    /// Takes out any span that is empty.
    pub fn reap_any(&self) -> Option<Record> {
        self.central.reap_any().map(Record)
    }

    /// Runs `walk`, which meets all that somebody has told of, and of which nobody is told any more.
    pub fn look<R>(&self, walk: impl FnOnce() -> R) -> R {
        self.stirred.look(|_| walk())
    }

    /// Whether somebody should look.
    pub fn is_stirred(&self) -> bool {
        self.stirred.get()
    }

    /// A walk over the listed spans begins, for whoever wants everything.
    pub fn begin_walk(&self) {
        self.central.begin_walk(0, true);
    }

    /// Goes on with a walk: the next span, which is the caller's.
    pub fn next_quiet(&self) -> Option<Record> {
        match self.central.next_quiet(Ripe { now: 0, steps: None }).found {
            Quiet::Taken(span) => Some(Record(span)),
            Quiet::More | Quiet::End => None,
        }
    }

    /// Lists a span again that came from a walk. Returns a span that is the caller's to free.
    pub fn shelve(&self, span: Record) -> Option<Record> {
        self.central.shelve(span.0, self.class, 0).map(Record)
    }
}
