//! The private part for collected cells: the spans that one thread or processor allocates from.
//!
//! There may be any number of classes, so the cache is a small direct-mapped table, by the owner's word
//! and the size of an object: two classes that meet in a slot take turns. Each slot remembers the
//! generation in which it took its span; the caller says in which it allocates, and a mismatch
//! takes the slow path. What an allocation needs of the span, where it begins and how it is cut, lies in
//! the slot too: one line of the cache and one of the span's record are all it touches.
//!
//! A slot of an older generation is only forgotten: its span waits for a sweeper, who needs no word
//! from us (see `sweepgen`).

use core::{fmt, ptr::NonNull};

use crate::{
    Error, Heap,
    managed::{class::ClassRef, part::PartPtr, sweepgen::Generation},
    pages::PageSource,
};

/// Classes whose spans a cache holds at once.
const SLOTS: usize = 64;

#[derive(Clone, Copy)]
struct Slot<'h> {
    owner: usize,
    size: usize,
    then: Generation,
    part: PartPtr,
    /// Where the first cell is, and bytes per cell.
    base: usize,
    cell: usize,
    class: ClassRef<'h>,
}

impl<'h> Slot<'h> {
    fn new(class: ClassRef<'h>, part: PartPtr, then: Generation) -> Self {
        let (spec, span) = (class.spec(), part.span());
        let (base, cell) = (span.cell_at(0), class.cell_bytes());
        Slot { owner: spec.owner, size: spec.size, then, part, base, cell, class }
    }

    #[inline(always)]
    fn take(&self) -> Option<NonNull<u8>> {
        let index = self.part.take()?;
        NonNull::new((self.base + index * self.cell) as *mut u8)
    }
}

/// Which slot.
#[inline(always)]
fn place(owner: usize, size: usize) -> usize {
    ((owner >> 4) ^ (size >> 3)) % SLOTS
}

/// A cell that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its address, aligned for the class. Its contents are unspecified.
    pub cell: NonNull<u8>,
    /// Bytes of the cell.
    pub bytes: usize,
    /// True if the cache had no free cell and asked the heap: a good moment to look at a pacer.
    pub refilled: bool,
}

/// A private allocator of collected cells. Dropping it gives its spans up.
pub struct ManagedCache<'h, S: PageSource> {
    heap: &'h Heap<S>,
    slots: [Option<Slot<'h>>; SLOTS],
}

impl<S: PageSource> fmt::Debug for ManagedCache<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedCache").finish_non_exhaustive()
    }
}

impl<S: PageSource> Heap<S> {
    /// A new, empty cache for collected cells.
    pub fn managed_cache(&self) -> ManagedCache<'_, S> {
        ManagedCache { heap: self, slots: [None; SLOTS] }
    }
}

impl<'h, S: PageSource> ManagedCache<'h, S> {
    /// Takes a cell of `class` in a span of `cycle`. Its mark is clear.
    ///
    /// If the heap has no free cell in a swept span, some spans of the class are swept, if that is
    /// permitted in this cycle; else the cell comes from a fresh span.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the page source has no more; never waits for a collection.
    ///
    /// # Safety
    ///
    /// `class` is of this heap. `cycle` is the current one; or the one before, until the caller of
    /// [`Heap::permit_sweep`] made sure that it is not used any more; or the one after, of which
    /// [`Heap::begin_cycle`] is about to be told.
    #[inline]
    pub unsafe fn take(&mut self, class: ClassRef<'h>, cycle: u64) -> Result<Taken, Error> {
        let spec = class.spec();
        let slot = self.slots[place(spec.owner, spec.size)];
        let cell = slot.filter(|slot| slot.class == class && slot.then == Generation::of(cycle));
        match cell.and_then(|slot| slot.take()) {
            Some(cell) => Ok(Taken { cell, bytes: class.cell_bytes(), refilled: false }),
            None => self.refill(class, Generation::of(cycle)),
        }
    }

    /// Takes a cell of a class with this owner's word and this size, from a span that the cache holds
    /// already, or not at all.
    ///
    /// # Safety
    ///
    /// As [`take`](Self::take), for each class with this word and size of which the cache holds a span: there may be
    /// several, and the cell is of any of them. So they are equal.
    #[inline(always)]
    pub unsafe fn take_cached(&mut self, owner: usize, size: usize, cycle: u64) -> Option<Taken> {
        let slot = self.slots[place(owner, size)].as_ref()?;
        if slot.then != Generation::of(cycle) || slot.owner != owner || slot.size != size {
            return None;
        }
        Some(Taken { cell: slot.take()?, bytes: slot.cell, refilled: false })
    }

    #[cold]
    fn refill(&mut self, class: ClassRef<'h>, now: Generation) -> Result<Taken, Error> {
        let spec = class.spec();
        let place = &mut self.slots[place(spec.owner, spec.size)];
        if let Some(old) = place.take() {
            self.heap.uncache(old.class, old.part, old.then);
        }
        loop {
            let slot = Slot::new(class, self.heap.cached_part(class, now)?, now);
            if let Some(cell) = slot.take() {
                *place = Some(slot);
                return Ok(Taken { cell, bytes: slot.cell, refilled: true });
            }
            self.heap.uncache(class, slot.part, now);
        }
    }

    /// Gives all spans up, so that other caches can use them.
    pub fn flush(&mut self) {
        for slot in &mut self.slots {
            if let Some(old) = slot.take() {
                self.heap.uncache(old.class, old.part, old.then);
            }
        }
    }
}

impl<S: PageSource> Drop for ManagedCache<'_, S> {
    fn drop(&mut self) {
        self.flush();
    }
}

// SAFETY: the cache refers to spans it holds, not to a thread; whoever moves it synchronises.
unsafe impl<S: PageSource + Sync> Send for ManagedCache<'_, S> {}
