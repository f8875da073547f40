//! Arrays of run-time length, and strings, in the collected heap.
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
//!
//! A `Gc<[T]>` would be two words, and would fit into no cell. A [`Str`] is a slice of bytes that are
//! UTF-8.

use crate::{handle::Gc, trace::Rebind};
use core::{alloc::Layout, fmt, mem, ptr::NonNull, str};

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
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let squares = guard.alloc_slice((0..4u64).map(|n| n * n));
    /// assert_eq!(squares.as_slice().iter().sum::<u64>(), 14);
    /// assert_eq!((squares.len(), squares.is_empty()), (4, false));
    /// ```
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

/// A string, reached through `Gc<Str>`. Made by [`Guard::alloc_str`](crate::Guard::alloc_str).
///
/// ```
/// use gc_core::{Gc, GcCell, Heap, Plain, Str, Trace};
///
/// #[derive(Trace)]
/// struct Person<'g> {
///     name: Gc<'g, Str>,
///     nick: GcCell<'g, Str>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let name = guard.alloc_str("Elisabeth");
/// let person = guard.alloc(Person { name, nick: GcCell::null() });
/// person.nick.set(&guard, Some(guard.alloc_str("Liesl")));
/// assert_eq!(person.name.as_str(), "Elisabeth");
/// assert_eq!(person.nick.load().unwrap().to_string(), "Liesl");
/// ```
#[repr(transparent)]
#[derive(Debug)]
pub struct Str(Slice<u8>);

impl Str {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'g, H> Gc<'g, Str, H> {
    /// The text.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let text: &str = guard.alloc_str("as long as the guard").as_str();
    /// assert_eq!(text.split(' ').count(), 5);
    /// ```
    #[inline]
    pub fn as_str(self) -> &'g str {
        // SAFETY: the pointer is to a cell with a slice; it stays for `'g`, and is shared.
        let bytes = unsafe { Slice::items(self.cell().cast::<Slice<u8>>()).as_ref() };
        // SAFETY: `Str`s are made from strings alone.
        unsafe { str::from_utf8_unchecked(bytes) }
    }
}

impl<H> fmt::Display for Gc<'_, Str, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// SAFETY: there is no lifetime to replace.
unsafe impl Rebind for Str {
    type At<'a> = Str;
    const EDGES: bool = false;
}
