//! The private part for collected cells: the spans that one thread or processor allocates from.
//!
//! There may be any number of classes, so the cache is a small direct-mapped table by class number:
//! two classes that meet in a slot take turns. Each slot remembers the generation in which it took
//! its span; the caller says in which it allocates, and a mismatch takes the slow path.
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
    class: ClassRef<'h>,
    part: PartPtr,
    then: Generation,
}

/// A cell that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its address, aligned for the class. Its contents are unspecified.
    pub cell: NonNull<u8>,
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
    /// `class` is of this heap. `cycle` is the current one or, until the caller of
    /// [`Heap::permit_sweep`] made sure that it is not used any more, the one before.
    #[inline]
    pub unsafe fn take(&mut self, class: ClassRef<'h>, cycle: u64) -> Result<Taken, Error> {
        // SAFETY: the caller's.
        match unsafe { self.take_cached(class, cycle) } {
            Some(cell) => Ok(Taken { cell, refilled: false }),
            None => self.refill(class, Generation::of(cycle)),
        }
    }

    /// As [`take`](Self::take), from a span that the cache holds already, or not at all.
    ///
    /// # Safety
    ///
    /// As [`take`](Self::take).
    #[inline]
    pub unsafe fn take_cached(&mut self, class: ClassRef<'h>, cycle: u64) -> Option<NonNull<u8>> {
        let slot = self.slots[class.number() % SLOTS].as_ref()?;
        let fresh = slot.class == class && slot.then == Generation::of(cycle);
        if fresh { take_from(slot.part) } else { None }
    }

    #[cold]
    fn refill(&mut self, class: ClassRef<'h>, now: Generation) -> Result<Taken, Error> {
        let slot = &mut self.slots[class.number() % SLOTS];
        if let Some(old) = slot.take() {
            self.heap.uncache(old.class, old.part, old.then);
        }
        loop {
            let part = self.heap.cached_part(class, now)?;
            if let Some(cell) = take_from(part) {
                *slot = Some(Slot { class, part, then: now });
                return Ok(Taken { cell, refilled: true });
            }
            self.heap.uncache(class, part, now);
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

#[inline(always)]
fn take_from(part: PartPtr) -> Option<NonNull<u8>> {
    let index = part.take()?;
    NonNull::new(part.span().cell_at(index) as *mut u8)
}
