//! Hardened cells of one class: which are to be had, and which wait.
//!
//! A shelf lists the spans in which enough cells are to be had, at least an eighth, so that a random
//! guess finds one soon and stays random. Freed cells go around a ring of [`WAIT`] places before
//! they come back to their span.

use core::ptr::NonNull;

use super::{
    Shelves, Violation, WAIT,
    record::{RecordPtr, state},
};
use crate::{
    Error, Heap,
    page_heap::pages::Taken,
    pages::PageSource,
    size_class::{PAGE, TABLE},
    span::Kind,
};

/// The spans and the waiting cells of a class.
#[derive(Debug)]
pub(super) struct Shelf {
    open: Option<RecordPtr>,
    ring: [Option<(RecordPtr, usize)>; WAIT],
    at: usize,
}

/// A cell that was taken from a shelf, not handed out yet.
pub(super) struct Cell {
    record: RecordPtr,
    index: usize,
    block: NonNull<u8>,
    was_free: bool,
    /// It was never handed out, and reads as zero.
    pub(super) fresh_and_zeroed: bool,
}

impl Cell {
    /// The block, if nobody wrote to the cell while it was free.
    #[allow(
        clippy::result_large_err,
        reason = "a report is made once, and nothing here can box it"
    )]
    pub(super) fn check(&self) -> Result<NonNull<u8>, Violation> {
        if self.was_free
            && let Some(found) = self.record.find_write(self.index)
        {
            self.record.move_to(self.index, state::SPOILT);
            return Err(found);
        }
        self.record.move_to(self.index, state::LIVE);
        Ok(self.block)
    }
}

impl Shelf {
    pub(super) const fn new() -> Self {
        Shelf { open: None, ring: [None; WAIT], at: 0 }
    }

    /// Lets a cell that was given up wait; the one that has waited longest is to be had again.
    pub(super) fn put(&mut self, record: RecordPtr, index: usize) {
        let longest = self.ring[self.at].replace((record, index));
        self.at = (self.at + 1) % WAIT;
        let Some((record, index)) = longest else { return };
        record.move_to(index, state::FREE);
        record.to_be_had.set(record.to_be_had.get() + 1);
        if record.to_be_had.get() >= (record.capacity() / 4).max(1) {
            self.list(record);
        }
    }

    fn list(&mut self, record: RecordPtr) {
        if !record.listed.replace(true) {
            record.next.set(self.open.replace(record));
        }
    }

    /// Takes the list's first record off it, if few of its cells are left to be had.
    fn unlist_if_low(&mut self, record: RecordPtr) {
        if record.to_be_had.get() <= record.capacity() / 8 {
            self.open = record.next.take();
            record.listed.set(false);
        }
    }
}

impl Shelves {
    /// Any cell of a class that is to be had.
    pub(super) fn take<S: PageSource>(
        &mut self,
        heap: &Heap<S>,
        class: usize,
    ) -> Result<Cell, Error> {
        let record = match self.by_class[class].open {
            Some(record) => record,
            None => self.grow(heap, class)?,
        };
        let guess = self.random() as usize % record.capacity();
        let all = (guess..record.capacity()).chain(0..guess);
        let to_be_had = |&index: &usize| matches!(record.state(index), state::FRESH | state::FREE);
        let index = { all }.find(to_be_had).ok_or(Error::OutOfMemory)?;
        let (block, was_free) = (record.block(index)?, record.state(index) == state::FREE);
        // Nobody else's from here on: neither to be had nor live.
        record.move_to(index, state::WAITING);
        record.to_be_had.set(record.to_be_had.get() - 1);
        self.by_class[class].unlist_if_low(record);
        let fresh_and_zeroed = !was_free && record.zeroed.get();
        Ok(Cell { record, index, block, was_free, fresh_and_zeroed })
    }

    /// A new span on the shelf.
    fn grow<S: PageSource>(&mut self, heap: &Heap<S>, class: usize) -> Result<RecordPtr, Error> {
        let geometry = &TABLE[class];
        let (pages, size) = (usize::from(geometry.pages), geometry.size as usize);
        let Taken { span, zeroed } = heap.take(pages, 1, Kind::Small)?;
        let capacity = pages * PAGE / size;
        span.set_owner(0);
        span.set_cells(class, size, geometry.magic, capacity);
        let record = RecordPtr::make(heap, span, Some(class), capacity).inspect_err(|_| {
            span.set_kind(Kind::Small);
            heap.free_span(span);
        })?;
        record.zeroed.set(zeroed);
        record.attach();
        span.set_kind(Kind::Hardened);
        heap.map_all(span);
        self.by_class[class].list(record);
        Ok(record)
    }
}
