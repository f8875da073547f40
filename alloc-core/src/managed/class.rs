//! Classes of collected cells: one per type, made at run time.
//!
//! A collector that keeps one type per span needs no header per object: the span tells the type. So
//! classes are *dynamic*: whoever runs the collector makes one per type, with the cell's size and
//! alignment, whether cells need a destructor, and a word of its own, for example
//! the address of a type descriptor. Classes live as long as the heap.
//!
//! Go doubles its classes into those with and without pointers (*noscan*), so that its marker need not read the latter.
//! Here the type says it: gc-core marks a cell, looks at its class's descriptor, and reads it only if that has
//! something to trace. The hint that asks memory for a cell ahead of that
//! ([`prefetch_cell`](crate::Heap::prefetch_cell)) does not know yet what lies in it: to find out would be to wait for
//! the records that it asks for.
//!
//! Cells are as large as the type asks, from two bytes on. Go has classes of 8 bytes and more, which all
//! types share, and packs smaller objects into blocks of 16 that live as long as any of them; with cells of
//! their own size they cost the same and die alone (docs/decisions/0015).

use core::{fmt, marker::PhantomData, ptr::NonNull};

use crate::{
    Error,
    managed::{
        part::{CELLS, WORDS},
        spans::Spans,
        sweepgen::Generation,
    },
    size_class::{self, MAX_SMALL, PAGE},
    sync::AtomicPtr,
};

/// What cells of a class are like.
///
/// ```
/// use alloc_core::managed::ClassSpec;
/// let spec = ClassSpec { size: 24, align: 8, drop: true, owner: 0 };
/// assert!(spec.drop);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassSpec {
    /// Bytes of an object. Zero takes a cell as well.
    pub size: usize,
    /// Alignment in bytes, a power of two.
    pub align: usize,
    /// Dead objects need a destructor: sweep dooms them instead of freeing them.
    pub drop: bool,
    /// The owner's word. Not used here. What a marker has to read in a cell it learns by it.
    pub owner: usize,
}

/// Bytes of the smallest cell. There are no cells of one byte: no multiplier makes an index of an offset.
const SMALLEST: usize = 2;

/// How the spans of a class are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) cell: usize,
    pub(crate) pages: usize,
    /// Alignment of the span in pages.
    pub(crate) align: usize,
    pub(crate) capacity: usize,
    pub(crate) magic: u32,
}

impl Geometry {
    fn of(spec: &ClassSpec) -> Result<Self, Error> {
        let align = spec.align.max(SMALLEST);
        let cell = spec.size.max(1).checked_next_multiple_of(align).ok_or(Error::TooLarge)?;
        if cell > isize::MAX as usize {
            return Err(Error::TooLarge);
        }
        if cell > MAX_SMALL || align > PAGE {
            let pages = cell.div_ceil(PAGE);
            return Ok(Geometry {
                cell,
                pages,
                align: align.div_ceil(PAGE),
                capacity: 1,
                magic: 0,
            });
        }
        let pages = size_class::span_pages(cell);
        let capacity = (pages * PAGE / cell).min(CELLS);
        Ok(Geometry { cell, pages, align: 1, capacity, magic: size_class::magic(cell) })
    }

    /// Words of a bitmap, a power of two.
    pub(crate) fn words(&self) -> usize {
        self.capacity.div_ceil(64).next_power_of_two().min(WORDS)
    }
}

/// The record of a class.
pub(crate) struct Class {
    pub(crate) spec: ClassSpec,
    pub(crate) geometry: Geometry,
    /// Position in caches.
    pub(crate) number: usize,
    pub(crate) spans: Spans,
    /// The class that was made before. Constant.
    pub(crate) older: AtomicPtr<Class>,
}

impl Class {
    pub(crate) fn new(
        spec: ClassSpec,
        number: usize,
        now: Generation,
        older: *mut Class,
    ) -> Result<Self, Error> {
        Ok(Class {
            spec,
            geometry: Geometry::of(&spec)?,
            number,
            spans: Spans::new(now),
            older: AtomicPtr::new(older),
        })
    }
}

/// A class of a heap.
#[derive(Clone, Copy)]
pub struct ClassRef<'h> {
    class: NonNull<Class>,
    heap: PhantomData<&'h Class>,
}

// SAFETY: a shared reference to a record whose shared parts are locked or constant.
unsafe impl Send for ClassRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for ClassRef<'_> {}

impl<'h> ClassRef<'h> {
    /// # Safety
    ///
    /// `class` is a class of a heap that lives for `'h`.
    pub(crate) unsafe fn from_raw(class: NonNull<Class>) -> Self {
        ClassRef { class, heap: PhantomData }
    }

    pub(crate) fn record(&self) -> &'h Class {
        // SAFETY: classes are written once and live as long as their heap, which lives for `'h`.
        unsafe { self.class.as_ref() }
    }

    pub(crate) fn as_non_null(self) -> NonNull<Class> {
        self.class
    }

    /// What the class was made from.
    pub fn spec(&self) -> &'h ClassSpec {
        &self.record().spec
    }

    /// Bytes of a cell: the size, rounded up to the alignment and to 2.
    pub fn cell_bytes(&self) -> usize {
        self.record().geometry.cell
    }

    /// The number of the class: dense, from 0.
    pub fn number(&self) -> usize {
        self.record().number
    }
}

impl PartialEq for ClassRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.class == other.class
    }
}

impl Eq for ClassRef<'_> {}

impl fmt::Debug for ClassRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassRef").field("spec", self.spec()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(size: usize, align: usize) -> Geometry {
        Geometry::of(&ClassSpec { size, align, drop: false, owner: 0 }).unwrap()
    }

    #[test]
    fn cells_are_aligned_and_spans_not_wasteful() {
        for shift in 0..=13 {
            let align = 1 << shift;
            for size in (0..=MAX_SMALL).step_by(37) {
                let g = geometry(size, align);
                assert!(g.cell >= size && g.cell.is_multiple_of(align) && g.cell.is_multiple_of(2));
                assert!(
                    g.capacity >= 1 && g.capacity <= CELLS && g.capacity * g.cell <= g.pages * PAGE
                );
                if g.cell <= MAX_SMALL {
                    assert!(g.pages * PAGE - g.capacity * g.cell <= g.pages * PAGE / 8);
                }
            }
        }
    }

    #[test]
    fn the_multiplied_index_holds_for_dynamic_cells() {
        for cell in (2..=MAX_SMALL).step_by(2) {
            let g = geometry(cell, 2);
            // The product grows with the offset: a cell's first and last byte speak for all between.
            for index in 0..g.capacity {
                let (first, last) = (index * cell, index * cell + cell - 1);
                assert_eq!(size_class::index(first, g.magic), index, "{first} in cells of {cell}");
                assert_eq!(size_class::index(last, g.magic), index, "{last} in cells of {cell}");
            }
        }
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let spec = ClassSpec { size: usize::MAX - 3, align: 8, drop: false, owner: 0 };
        assert_eq!(Geometry::of(&spec), Err(Error::TooLarge));
    }
}
