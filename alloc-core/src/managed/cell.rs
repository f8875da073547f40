//! What a collector sees of a cell: found by address, marked, walked over, and destroyed.

use core::{fmt, marker::PhantomData, ops::Range, ptr, ptr::NonNull};

use super::{
    class::{Class, ClassRef},
    part::{Bits, Part, PartPtr},
    sweepgen::Generation,
};
use crate::{
    Heap,
    pages::PageSource,
    size_class::PAGE,
    span::{Kind, SpanPtr},
    sync::{Ordering, prefetch},
};

impl<S: PageSource> Heap<S> {
    /// The collected cell that `address` points to or into.
    ///
    /// # Safety
    ///
    /// The cell is allocated and stays so while the result is used, or no span is swept
    /// meanwhile.
    #[inline]
    pub unsafe fn find(&self, address: usize) -> Option<CellRef<'_>> {
        let span = self.map.get(address)?;
        let part = part_of(span)?;
        if !(span.base()..span.end()).contains(&address) {
            return None;
        }
        let index = span.index(address);
        (index < span.capacity() as usize).then_some(CellRef { part, index, heap: PhantomData })
    }

    /// Asks memory for the cell at `address` and for the record of its span, so that
    /// [`find`](Self::find) and a look into the cell a little later do not wait for them. A hint.
    #[inline(always)]
    pub fn prefetch_cell(&self, address: usize) {
        prefetch(ptr::without_provenance(address));
        if let Some(span) = self.map.get(address) {
            lines(ptr::from_ref(&*span).cast(), 0..2);
        }
    }

    /// Asks memory for the marks of the span around `address`, whose record has come: see
    /// [`prefetch_cell`](Self::prefetch_cell).
    #[inline(always)]
    pub fn prefetch_marks(&self, address: usize) {
        if let Some(part) = self.map.get(address).and_then(part_of) {
            let bits = size_of::<Part>() / LINE;
            lines(part.as_non_null().as_ptr().cast(), 0..1);
            lines(part.as_non_null().as_ptr().cast(), bits..bits + 2);
        }
    }

    /// Calls `each` for every marked cell of the first collected span at or behind `address`, and returns where
    /// that span ends; `None` if there is no such span. Whoever sees a mark sees what was done before it was set.
    ///
    /// A walk from address 0 on, over the ends that it returns, leaves out nothing that was marked before it began.
    ///
    /// # Safety
    ///
    /// No span is swept meanwhile.
    pub unsafe fn marked(
        &self,
        mut address: usize,
        mut each: impl FnMut(CellRef<'_>),
    ) -> Option<usize> {
        loop {
            let (page, span) = self.map.next(address)?;
            // A span that is just being made has no record yet, or is made when there is one: see `fresh_part`.
            if let Some(part) = part_of(span)
                && span.base() == page
            {
                for_each(&part.marked(), |index| each(CellRef { part, index, heap: PhantomData }));
                return Some(span.end());
            }
            address = page + PAGE;
        }
    }

    /// Calls `each` for every cell that is allocated and not doomed.
    ///
    /// # Safety
    ///
    /// Nobody takes or sweeps meanwhile, nor does `each`.
    pub unsafe fn walk(&self, mut each: impl FnMut(CellRef<'_>)) {
        for class in self.classes() {
            class.record().spans.for_each(|part| {
                for_each(&part.live(), |index| each(CellRef { part, index, heap: PhantomData }));
            });
        }
    }

    /// Hands out the doomed cells of one span: objects that are dead and wait for their destructor.
    ///
    /// What else is doomed in this span comes after these are freed; other spans may be served by
    /// other threads meanwhile.
    pub fn doomed(&self) -> Option<Doomed<'_, S>> {
        let part = {
            let mut list = self.managed.doomed.lock();
            let part = (*list)?;
            *list = part.doomed_next.take();
            part
        };
        Some(Doomed { heap: self, part, cells: part.doomed_cells() })
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks memory for some of the lines behind an address.
#[inline(always)]
fn lines(start: *const u8, lines: Range<usize>) {
    for line in lines {
        prefetch(start.wrapping_add(line * LINE));
    }
}

#[inline(always)]
fn part_of(span: SpanPtr) -> Option<PartPtr> {
    if span.kind() != Kind::Managed {
        return None;
    }
    // Acquire: pairs with the Release in `fresh_part`.
    let part = NonNull::new(span.part.load(Ordering::Acquire))?;
    // SAFETY: span records point to records of their own heap.
    Some(unsafe { PartPtr::from_raw(part) })
}

fn for_each(bits: &Bits, mut each: impl FnMut(usize)) {
    for (word, &bits) in bits.iter().enumerate() {
        let mut left = bits;
        while left != 0 {
            each(word * 64 + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// A collected cell.
#[derive(Clone, Copy)]
pub struct CellRef<'h> {
    part: PartPtr,
    index: usize,
    heap: PhantomData<&'h Class>,
}

impl fmt::Debug for CellRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellRef").field("start", &self.start()).finish_non_exhaustive()
    }
}

impl<'h> CellRef<'h> {
    /// The first byte of the cell.
    pub fn start(&self) -> NonNull<u8> {
        let address = self.part.span().cell_at(self.index);
        // SAFETY: cells lie in mapped pages, never at address zero.
        unsafe { NonNull::new_unchecked(address as *mut u8) }
    }

    /// The cell's class.
    pub fn class(&self) -> ClassRef<'h> {
        // SAFETY: a record's class is a class of the same heap, never null.
        unsafe { ClassRef::from_raw(NonNull::new_unchecked(self.part.class_ptr())) }
    }

    /// Sets the mark; true if it was clear: for one caller per cell and cycle.
    ///
    /// The object is published by other means, but for [`Heap::marked`].
    pub fn mark(&self) -> bool {
        self.part.mark(self.index)
    }

    /// Whether the mark is set.
    pub fn is_marked(&self) -> bool {
        self.part.is_marked(self.index)
    }

    /// Whether the cell's span was swept or made for `cycle`.
    pub fn is_of_cycle(&self, cycle: u64) -> bool {
        self.part.state.is_of(Generation::of(cycle))
    }
}

/// The doomed cells of a span, while their destructors run.
///
/// Sweeps may go on beside. If it is dropped without [`Doomed::free`], the cells stay allocated for
/// ever, and so do those of the same span that are doomed later.
#[must_use = "cells that are not freed stay allocated for ever"]
pub struct Doomed<'h, S: PageSource> {
    heap: &'h Heap<S>,
    part: PartPtr,
    cells: Bits,
}

impl<S: PageSource> fmt::Debug for Doomed<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doomed").field("cells", &self.cells).finish_non_exhaustive()
    }
}

impl<'h, S: PageSource> Doomed<'h, S> {
    /// The class of all these cells.
    pub fn class(&self) -> ClassRef<'h> {
        // SAFETY: the class of a record of this heap; the cells keep the record alive.
        unsafe { ClassRef::from_raw(NonNull::new_unchecked(self.part.class_ptr())) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cells.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().all(|&word| word == 0)
    }

    /// Calls `each` with the first byte of each cell.
    pub fn for_each(&self, mut each: impl FnMut(NonNull<u8>)) {
        let (part, heap) = (self.part, PhantomData);
        for_each(&self.cells, |index| each(CellRef { part, index, heap }.start()));
    }

    /// Frees the cells.
    ///
    /// # Safety
    ///
    /// Each cell's destructor has run, or need not, and nobody uses the cells any more.
    pub unsafe fn free(self) {
        let class = self.class();
        let (managed, part) = (&self.heap.managed, self.part);
        managed.doomed_cells.sub(self.len());
        {
            let mut list = managed.doomed.lock();
            part.free_doomed(&self.cells, |more| {
                part.in_doomed.set(more);
                if more {
                    part.doomed_next.set(list.replace(part));
                }
            });
        }
        class.record().spans.offer(part, class.as_non_null());
    }
}
