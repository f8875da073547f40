//! Arrays of run-time length in the collected heap.
//!
//! A [`Slice`] lies in its cell as a length and the items behind it, so a pointer to it is one
//! word and fits into a [`GcCell`](crate::GcCell). Items are reached through the pointer,
//! [`Gc::as_slice`]: a reference to the `Slice` itself covers the length only.
//!
//! ```text
//!   cell ► ┌────────┬─────┬───────┬───────┬─ ─
//!          │ length │ pad │ item0 │ item1 │
//!          └────────┴─────┴───────┴───────┴─ ─
//! ```

use crate::{handle::Gc, trace::Rebind};
use core::{alloc::Layout, mem, ptr::NonNull};

/// An array whose length is known at run time, reached through `Gc<Slice<T>>`.
///
/// ```
/// use gc_core::{GcCell, Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let word = guard.alloc_slice(b"goroutine".iter().copied());
/// assert_eq!(word.as_slice(), b"goroutine");
///
/// let table = guard.alloc_slice((0..16).map(|_| GcCell::null()));
/// table.as_slice()[3].set(&guard, Some(word));
/// assert_eq!(table.as_slice()[3].load().unwrap().len(), 9);
/// ```
#[repr(C)]
#[derive(Debug)]
pub struct Slice<T> {
    length: usize,
    items: [T; 0],
}

impl<T> Slice<T> {
    /// Bytes from the start of the cell to the first item.
    const HEADER: usize = mem::offset_of!(Slice<T>, items);

    /// What a slice of `length` items takes, or `None` if that is more than an address can say.
    pub(crate) fn bytes(length: usize) -> Option<usize> {
        let items = Layout::array::<T>(length).ok()?.size();
        Self::HEADER.checked_add(items)
    }

    /// Moves `items` into a cell.
    ///
    /// # Safety
    ///
    /// The cell is the caller's, aligned, with room for them; the caller forgets the items.
    pub(crate) unsafe fn write(cell: NonNull<u8>, items: &[T]) {
        // SAFETY: the caller's: the header and then the items fit.
        unsafe {
            cell.cast::<usize>().write(items.len());
            let first = cell.add(Self::HEADER).cast::<T>();
            first.copy_from_nonoverlapping(NonNull::from(items).cast(), items.len());
        }
    }

    /// The items of the slice in a cell.
    ///
    /// # Safety
    ///
    /// `slice` is a cell with a slice in it.
    pub(crate) unsafe fn items(slice: NonNull<Slice<T>>) -> NonNull<[T]> {
        // SAFETY: the caller's: `slice` points to a whole cell, written by `write`.
        unsafe {
            let length = slice.cast::<usize>().read();
            NonNull::slice_from_raw_parts(slice.cast::<u8>().add(Self::HEADER).cast(), length)
        }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<'g, T, H> Gc<'g, Slice<T>, H> {
    /// The items.
    #[inline]
    pub fn as_slice(self) -> &'g [T] {
        // SAFETY: the pointer is to a cell with a slice; it stays for `'g`, and is shared.
        unsafe { Slice::items(self.cell().cast::<Slice<T>>()).as_ref() }
    }
}

// SAFETY: the lifetime is replaced in the items by their own `Rebind`; the layout is that of a
// length and an array.
unsafe impl<T: Rebind> Rebind for Slice<T> {
    type At<'a> = Slice<T::At<'a>>;
    const EDGES: bool = T::EDGES;
}
