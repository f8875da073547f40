//! A span: a run of pages with one use, and the record that describes it.
//!
//! ```text
//!            take                    owner empties it
//!   free ───────────▶ small  (cells of one class, malloc and free) ───▶ free
//!            ───────▶ large  (one block) ─────────────────────────────▶ free
//!            ───────▶ managed (cells of one type, swept) ─────────────▶ free
//! ```
//!
//! Records are type-stable (see `meta`). Fields fall into three groups by who may touch them:
//!
//! * *Geometry* (`base`, `pages`, `kind`, `class`, `cell`, `magic`, `capacity`) is written while
//!   the span changes its use, by whoever holds it alone, and read by anyone who holds a pointer into
//!   the span. It is atomic, since a wild pointer may lead to a record that is just being reused.
//! * *The owner's part* (`free`, `lowest`, `fresh`, `used`, `alarm`, `in_full`, `holes`, `away`) is touched only
//!   by the cache that owns the span; or, while the span has no owner, by whoever has the sole right to it
//!   by a transition of [`Remote`].
//! * *Links*, and what the scavenger notes of a listed span (`seen`, `since`, `through`), belong to whatever structure
//!   holds the span: a list of the owner's cache, or one of a central or the page heap, under its lock.
//!
//! For a small span, with `remote` cells counted in [`Remote`]:
//!
//! > `capacity = (used − remote) + remote + free + away`, and `used − remote` cells are live or lie in
//! > magazines.

use core::{
    cell::Cell,
    ops::Deref,
    ptr::{self, NonNull},
};

use crate::{
    harden::record::Record,
    list::{List, Listed},
    managed::part::Part,
    owned::WORDS,
    profile::Bucket,
    remote::Remote,
    size_class::{self, PAGE},
    span_set::Linked,
    sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering},
};

/// What a run of pages is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The record describes no pages, or pages that somebody is moving.
    Dead,
    /// Cells for `malloc` and `free`.
    Small,
    /// One block with its own pages.
    Large,
    /// Cells that a collector sweeps.
    Managed,
    /// Cells, or one block, of a hardened heap. In the page heap's account they are small or large.
    Hardened,
}

/// Number of kinds.
pub(crate) const KIND_COUNT: usize = 5;

const KINDS: [Kind; KIND_COUNT] =
    [Kind::Dead, Kind::Small, Kind::Large, Kind::Managed, Kind::Hardened];

/// The record of a run of pages, by lines of the processor's caches: what everybody reads, what its owner
/// writes, and what others write.
#[repr(C, align(64))]
pub(crate) struct Span {
    base: AtomicUsize,
    /// Number of the owning cache, 0 for none. Written by the owner, read by anyone who frees.
    owner: AtomicUsize,
    cell: AtomicU32,
    magic: AtomicU32,
    capacity: AtomicU32,
    pages: AtomicU32,
    kind: AtomicU8,
    class: AtomicU8,
    /// Class + 1 of the central on whose list the span is, 0 for none. That number is written and
    /// taken away under that central's lock, so whoever holds the lock reads it exactly.
    listed: AtomicU8,
    /// What only managed spans have.
    pub(crate) part: AtomicPtr<Part>,
    /// What only hardened spans have.
    pub(crate) record: AtomicPtr<Record>,
    /// Counts the free of a sampled block; null for others.
    pub(crate) bucket: AtomicPtr<Bucket>,

    /// No word of `free` below this one has a bit.
    pub(crate) lowest: Cell<u32>,
    /// Cells from this one on were never handed out and read as zero.
    pub(crate) fresh: Cell<u32>,
    /// Cells handed out and not seen to be free by the owner.
    pub(crate) used: Cell<u32>,
    /// A free that brings `used` to this number moves the span to another list of its owner.
    pub(crate) alarm: Cell<u32>,
    /// A bit for each cell that the owner knows to be free, and whose pages have memory.
    pub(crate) free: [Cell<u64>; WORDS],
    /// Link of a lock-free stack.
    stacked: AtomicPtr<Span>,
    /// Links of a list.
    pub(crate) prev: Cell<Option<SpanPtr>>,
    pub(crate) next: Cell<Option<SpanPtr>>,
    /// Pages of the machine without memory, and the free cells that touch one (see `holes`).
    pub(crate) holes: Cell<u32>,
    pub(crate) away: Cell<u32>,
    /// While the span is listed: cells counted in `remote` when the scavenger looked last, and the number of its step
    /// after which that has been so.
    pub(crate) seen: Cell<u32>,
    pub(crate) since: Cell<u32>,
    /// Its holes are made: nothing is to be done until another cell is freed into it.
    pub(crate) through: Cell<bool>,
    /// The span is on its owner's list of full spans.
    pub(crate) in_full: Cell<bool>,

    /// Cells freed by others, and whether anyone owns the span.
    pub(crate) remote: Apart<Remote>,
}

/// On lines of its own.
#[repr(align(64))]
pub(crate) struct Apart<T>(T);

impl<T> Deref for Apart<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

// SAFETY: the fields that are not atomic are touched by one thread at a time, as the essay says;
// each hand-over goes through `remote`, a lock, or the binding that moves a cache.
unsafe impl Sync for Span {}

/// Spans of one owner, or behind one lock.
pub(crate) type SpanList = List<SpanPtr>;

impl Listed for SpanPtr {
    fn prev(&self) -> &Cell<Option<Self>> {
        &self.prev
    }

    fn next(&self) -> &Cell<Option<Self>> {
        &self.next
    }
}

impl Linked for Span {
    fn link(&self) -> &AtomicPtr<Span> {
        &self.stacked
    }
}

impl Span {
    pub(crate) fn dead() -> Self {
        Span {
            base: AtomicUsize::new(0),
            owner: AtomicUsize::new(0),
            cell: AtomicU32::new(0),
            magic: AtomicU32::new(0),
            capacity: AtomicU32::new(0),
            pages: AtomicU32::new(0),
            kind: AtomicU8::new(Kind::Dead as u8),
            class: AtomicU8::new(0),
            listed: AtomicU8::new(0),
            part: AtomicPtr::new(ptr::null_mut()),
            record: AtomicPtr::new(ptr::null_mut()),
            bucket: AtomicPtr::new(ptr::null_mut()),
            lowest: Cell::new(0),
            fresh: Cell::new(0),
            used: Cell::new(0),
            alarm: Cell::new(0),
            free: [const { Cell::new(0) }; WORDS],
            stacked: AtomicPtr::new(ptr::null_mut()),
            prev: Cell::new(None),
            next: Cell::new(None),
            holes: Cell::new(0),
            away: Cell::new(0),
            seen: Cell::new(0),
            since: Cell::new(0),
            through: Cell::new(false),
            in_full: Cell::new(false),
            remote: Apart(Remote::new()),
        }
    }

    // Relaxed in all accessors of the geometry: whoever holds a pointer into the span got it after
    // the geometry was written; others check what they find against the state they hold.

    #[inline(always)]
    pub(crate) fn base(&self) -> usize {
        self.base.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn pages(&self) -> usize {
        self.pages.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages() * PAGE
    }

    pub(crate) fn end(&self) -> usize {
        self.base() + self.bytes()
    }

    #[inline(always)]
    pub(crate) fn class(&self) -> usize {
        self.class.load(Ordering::Relaxed) as usize
    }

    #[inline(always)]
    pub(crate) fn cell(&self) -> usize {
        self.cell.load(Ordering::Relaxed) as usize
    }

    #[inline(always)]
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn owner(&self) -> usize {
        self.owner.load(Ordering::Relaxed)
    }

    /// Relaxed: only the owner itself writes its own number and takes it away, so whoever reads
    /// its own number there is the owner; any other value sends the reader to `remote`.
    #[inline(always)]
    pub(crate) fn set_owner(&self, owner: usize) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Acquire: pairs with the Release in [`Span::set_kind`], so that a reader with a wild pointer
    /// who sees a kind sees the geometry that goes with it.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        KINDS[self.kind.load(Ordering::Acquire) as usize]
    }

    /// Release: publishes the geometry written before; pairs with the Acquire in [`Span::kind`].
    pub(crate) fn set_kind(&self, kind: Kind) {
        self.kind.store(kind as u8, Ordering::Release);
    }

    /// True if the span is on the list of the central of `class`, whose lock the caller holds.
    pub(crate) fn is_listed(&self, class: usize) -> bool {
        // Relaxed: the lock orders it, see the field.
        usize::from(self.listed.load(Ordering::Relaxed)) == class + 1
    }

    /// Notes that the span comes onto the list of `class`, or leaves its list. Under that lock.
    pub(crate) fn set_listed(&self, class: Option<usize>) {
        // Relaxed: as in `is_listed`.
        self.listed.store(class.map_or(0, |class| class as u8 + 1), Ordering::Relaxed);
    }

    /// Sets where the run lies.
    pub(crate) fn set_run(&self, base: usize, pages: usize) {
        self.base.store(base, Ordering::Relaxed);
        self.pages.store(pages as u32, Ordering::Relaxed);
    }

    /// Divides the run into cells.
    pub(crate) fn set_cells(&self, class: usize, cell: usize, magic: u32, capacity: usize) {
        self.class.store(class as u8, Ordering::Relaxed);
        self.cell.store(cell as u32, Ordering::Relaxed);
        self.magic.store(magic, Ordering::Relaxed);
        self.capacity.store(capacity as u32, Ordering::Relaxed);
        self.in_full.set(false);
    }

    /// Index of the cell that `address` lies in.
    #[inline(always)]
    pub(crate) fn index(&self, address: usize) -> usize {
        size_class::index(address - self.base(), self.magic.load(Ordering::Relaxed))
    }

    /// Address of a cell.
    #[inline(always)]
    pub(crate) fn cell_at(&self, index: usize) -> usize {
        self.base() + index * self.cell()
    }
}

/// A pointer to a record of a heap that is still there.
///
/// Whoever makes one promises that the heap outlives it; it stays inside this crate, in values
/// that borrow the heap or belong to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SpanPtr(NonNull<Span>);

// SAFETY: a shared pointer to a `Sync` record.
unsafe impl Send for SpanPtr {}
// SAFETY: as above.
unsafe impl Sync for SpanPtr {}

impl SpanPtr {
    /// Writes a dead record.
    ///
    /// # Safety
    ///
    /// `at` is memory for a record, used for nothing else until the heap ends.
    pub(crate) unsafe fn create(at: NonNull<Span>) -> Self {
        // SAFETY: promised by the caller. Atomics are written, not left zeroed: loom needs that.
        unsafe { at.write(Span::dead()) };
        SpanPtr(at)
    }

    /// # Safety
    ///
    /// `span` is a record of a heap that outlives the result.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(span: NonNull<Span>) -> Self {
        SpanPtr(span)
    }

    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *mut Span {
        self.0.as_ptr()
    }
}

impl Deref for SpanPtr {
    type Target = Span;
    #[inline(always)]
    fn deref(&self) -> &Span {
        // SAFETY: records are type-stable, only ever borrowed shared, and the heap is still
        // there: the promise of whoever made this pointer.
        unsafe { self.0.as_ref() }
    }
}
