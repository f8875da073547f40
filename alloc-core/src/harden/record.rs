//! What a hardened span's cells are, kept outside of them: a state and the site of the last free.
//!
//! ```text
//!   FRESH ──▶ LIVE ──▶ WAITING ──▶ FREE ──▶ LIVE …
//!                                   └─ written to meanwhile ──▶ SPOILT, for ever
//! ```
//!
//! `LIVE → WAITING` is a compare-exchange by whoever frees: exactly one free of two succeeds, and no
//! lock is needed to tell. All other moves are made by whoever holds the cell alone: under the lock of
//! the shelves, or between taking a cell and handing it out. Sites are atomics too, read by
//! reports beside whatever goes on; a report of a cell that lives on meanwhile may tell of another free.

use core::{cell::Cell, ops::Deref, ptr::NonNull};

use super::{Block, FRAMES, Mistake, POISON, Site, Violation};
use crate::{
    Error, Heap,
    pages::PageSource,
    span::SpanPtr,
    sync::{AtomicU8, AtomicU32, AtomicUsize, Ordering},
};

/// States of a cell.
pub(super) mod state {
    /// Never handed out.
    pub(crate) const FRESH: u8 = 0;
    /// In use.
    pub(crate) const LIVE: u8 = 1;
    /// Freed, and not to be handed out yet.
    pub(crate) const WAITING: u8 = 2;
    /// Freed, and to be had.
    pub(crate) const FREE: u8 = 3;
    /// Written to while it was free.
    pub(crate) const SPOILT: u8 = 4;
}

/// One cell.
struct Info {
    state: AtomicU8,
    thread: AtomicU32,
    len: AtomicU32,
    frames: [AtomicUsize; FRAMES],
}

impl Info {
    fn fresh() -> Self {
        Info {
            state: AtomicU8::new(state::FRESH),
            thread: AtomicU32::new(0),
            len: AtomicU32::new(0),
            frames: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }
}

/// The record of a hardened span. Never freed; that of a large block is used again.
pub(crate) struct Record {
    /// The span. Written while nobody else knows the record.
    span: Cell<SpanPtr>,
    /// Where cell 0 begins, and the bytes of each.
    start: AtomicUsize,
    size: AtomicUsize,
    /// Class of the cells; `None` for a large block.
    class: Option<usize>,
    cells: NonNull<Info>,
    capacity: usize,
    /// Fresh cells read as zero.
    pub(super) zeroed: Cell<bool>,
    /// The source can close the pages of this large block.
    pub(super) closes: Cell<bool>,
    /// Cells to be had. Under the shelves' lock, as all below.
    pub(super) to_be_had: Cell<usize>,
    /// On its shelf's list.
    pub(super) listed: Cell<bool>,
    pub(super) next: Cell<Option<RecordPtr>>,
}

/// A pointer to a record of a heap that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordPtr(NonNull<Record>);

// SAFETY: shared state in a record is atomic or under the shelves' lock, as its fields say.
unsafe impl Send for RecordPtr {}

impl Deref for RecordPtr {
    type Target = Record;
    fn deref(&self) -> &Record {
        // SAFETY: records live as long as the heap, and only this crate makes pointers to them.
        unsafe { self.0.as_ref() }
    }
}

impl RecordPtr {
    /// A record for `capacity` cells, all fresh.
    pub(super) fn make<S: PageSource>(
        heap: &Heap<S>,
        span: SpanPtr,
        class: Option<usize>,
        capacity: usize,
    ) -> Result<Self, Error> {
        // In one piece: nothing is left of a refusal.
        let bytes = size_of::<Record>() + size_of::<Info>() * capacity;
        const { assert!(size_of::<Record>().is_multiple_of(align_of::<Info>())) };
        let room = heap.meta.alloc(heap.source(), bytes, align_of::<Record>());
        let at = room.ok_or(Error::OutOfMemory)?.cast::<Record>();
        // SAFETY: the piece goes on behind the record.
        let cells = unsafe { at.add(1) }.cast();
        // SAFETY: fresh memory for so many. Atomics are written, not left zeroed: loom needs that.
        (0..capacity).for_each(|index| unsafe { cells.add(index).write(Info::fresh()) });
        let record = Record {
            span: Cell::new(span),
            start: AtomicUsize::new(span.base()),
            size: AtomicUsize::new(span.cell()),
            class,
            cells,
            capacity,
            zeroed: Cell::new(false),
            closes: Cell::new(false),
            to_be_had: Cell::new(capacity),
            listed: Cell::new(false),
            next: Cell::new(None),
        };
        // SAFETY: fresh memory for one.
        unsafe { at.write(record) };
        Ok(RecordPtr(at))
    }

    /// The record of a hardened span.
    pub(super) fn of(span: SpanPtr) -> Self {
        // Relaxed: written before the kind was set, which the caller read with Acquire.
        let record = NonNull::new(span.record.load(Ordering::Relaxed));
        RecordPtr(record.expect("a hardened span has its record before its kind"))
    }

    /// Makes the record that of `span`, whose only block lies at `start`.
    pub(super) fn describe_large(self, span: SpanPtr, start: usize, size: usize) {
        self.span.set(span);
        // Relaxed: published with the span's kind.
        self.start.store(start, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
    }

    /// Lets the span's pages lead here.
    pub(super) fn attach(self) {
        // Relaxed: published with the span's kind.
        self.span().record.store(self.0.as_ptr(), Ordering::Relaxed);
    }
}

impl Record {
    pub(super) fn span(&self) -> SpanPtr {
        self.span.get()
    }

    pub(super) fn class(&self) -> Option<usize> {
        self.class
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    // Relaxed: constant while a block lives, and handed on with its pointer.
    pub(super) fn start(&self) -> usize {
        self.start.load(Ordering::Relaxed)
    }

    pub(super) fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    fn cell_at(&self, index: usize) -> usize {
        self.start() + index * self.size()
    }

    fn info(&self, index: usize) -> &Info {
        assert!(index < self.capacity, "cell {index} of {}", self.capacity);
        // SAFETY: the record has `capacity` of them, written when it was made.
        unsafe { self.cells.add(index).as_ref() }
    }

    pub(super) fn state(&self, index: usize) -> u8 {
        // Acquire: who sees that a cell was freed sees the site; pairs with `move_to`.
        self.info(index).state.load(Ordering::Acquire)
    }

    /// Moves a cell that the caller alone has the right to move.
    pub(super) fn move_to(&self, index: usize, state: u8) {
        // Release: what was done to the cell before is seen with its state; pairs with `state`.
        self.info(index).state.store(state, Ordering::Release);
    }

    /// Where a cell was freed last.
    pub(super) fn site(&self, index: usize) -> Site {
        let info = self.info(index);
        // Relaxed: see the essay.
        let mut frames = [0; FRAMES];
        for (to, from) in frames.iter_mut().zip(&info.frames) {
            *to = from.load(Ordering::Relaxed);
        }
        let (thread, len) = (info.thread.load(Ordering::Relaxed), info.len.load(Ordering::Relaxed));
        Site::new(thread, len as usize, frames)
    }

    fn set_site(&self, index: usize, site: &Site) {
        let info = self.info(index);
        // Relaxed: see the essay.
        info.thread.store(site.thread(), Ordering::Relaxed);
        info.len.store(site.frames().len() as u32, Ordering::Relaxed);
        for (to, &from) in info.frames.iter().zip(site.frames()) {
            to.store(from, Ordering::Relaxed);
        }
    }

    /// A cell as a report shows it.
    pub(super) fn describe(&self, index: usize) -> Block {
        Block { start: self.cell_at(index), size: self.size(), small: self.class.is_some() }
    }

    /// Ends the life of the block at `address`, if it is one and lives; its cell is the caller's then.
    #[allow(
        clippy::result_large_err,
        reason = "a report is made once, and nothing here can box it"
    )]
    pub(super) fn give_up(&self, address: usize, site: Site) -> Result<usize, Violation> {
        let foreign =
            Violation { mistake: Mistake::ForeignFree, address, block: None, freed: None };
        let offset = address.checked_sub(self.start()).ok_or(foreign)?;
        let index = if self.class.is_some() { offset / self.size() } else { 0 };
        if index >= self.capacity || self.state(index) == state::FRESH {
            return Err(foreign);
        }
        let block = Some(self.describe(index));
        if address != self.cell_at(index) {
            return Err(Violation { mistake: Mistake::InteriorFree, address, block, freed: None });
        }
        // AcqRel: the cell's last user is done, and what it did is seen by the next; the site is
        // written by the one whose exchange succeeds. Acquire on failure: the other free's site.
        let (live, waiting) = (state::LIVE, state::WAITING);
        let state = &self.info(index).state;
        match state.compare_exchange(live, waiting, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.set_site(index, &site);
                Ok(index)
            }
            Err(_) => {
                let freed = Some(self.site(index));
                Err(Violation { mistake: Mistake::DoubleFree, address, block, freed })
            }
        }
    }

    /// Fills a cell that was just given up.
    pub(super) fn poison(&self, index: usize) {
        let cell = self.cell_at(index) as *mut u8;
        // SAFETY: the cell is the caller's, and has that many bytes.
        unsafe { cell.write_bytes(POISON, self.size()) };
    }

    /// The first byte of a free cell that is not poison any more.
    pub(super) fn find_write(&self, index: usize) -> Option<Violation> {
        let start = self.cell_at(index);
        // SAFETY: the cell is the caller's; whoever writes to it all the same is who we look for.
        let bytes = unsafe { core::slice::from_raw_parts(start as *const u8, self.size()) };
        let offset = bytes.iter().position(|&byte| byte != POISON)?;
        let (block, freed) = (Some(self.describe(index)), Some(self.site(index)));
        let address = start + offset;
        Some(Violation { mistake: Mistake::WriteAfterFree, address, block, freed })
    }

    /// The cell as a block.
    pub(super) fn block(&self, index: usize) -> Result<NonNull<u8>, Error> {
        NonNull::new(self.cell_at(index) as *mut u8).ok_or(Error::OutOfMemory)
    }
}
