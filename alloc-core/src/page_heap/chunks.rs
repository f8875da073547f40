//! A table with a value for each chunk of 512 pages: three levels, made as the heap grows.
//!
//! ```text
//!   page number   34 ……… 24 │ 23 ……… 13 │ 12 … 9 │ 8 … 0
//!                 region    │ window    │ chunk  │ page
//!                 2048      │ 2048      │ 16     │ 512
//! ```
//!
//! A *window* is 64 MiB, Go's arena; a *region* is 128 GiB. A program has one or two regions, so the
//! upper levels cost some pages each; a look-up is three dependent loads. A chunk's address is
//! stable. The tables belong to whoever holds the structure: no atomics.

use core::{fmt, ops::Range, ptr, ptr::NonNull};

use super::{CHUNK_PAGES, PAGE_NUMBERS, Room};
use crate::Error;

const REGION: usize = 1 << 24;
const WINDOW: usize = 1 << 13;

/// Values that are valid, and empty, as zeroed memory.
///
/// # Safety
///
/// All bytes zero are a value of the type, and dropping one does nothing.
pub(super) unsafe trait Zeroed {}

// SAFETY: null pointers and zeroes.
unsafe impl<T> Zeroed for *mut T {}
// SAFETY: as above.
unsafe impl Zeroed for u64 {}
// SAFETY: as its elements.
unsafe impl<T: Zeroed, const N: usize> Zeroed for [T; N] {}

type Window<T> = [*mut T; WINDOW / CHUNK_PAGES];
type Region<T> = [*mut Window<T>; REGION / WINDOW];
type Root<T> = [*mut Region<T>; PAGE_NUMBERS / REGION];

/// The table.
pub(super) struct Chunks<T> {
    root: *mut Root<T>,
}

// SAFETY: the table owns what it points to.
unsafe impl<T: Send> Send for Chunks<T> {}

impl<T> fmt::Debug for Chunks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").finish_non_exhaustive()
    }
}

impl<T: Zeroed> Chunks<T> {
    pub(super) const EMPTY: Self = Chunks { root: ptr::null_mut() };

    /// Makes the chunks of these pages, at least one.
    pub(super) fn prepare(&mut self, room: &impl Room, pages: &Range<usize>) -> Result<(), Error> {
        if pages.end > PAGE_NUMBERS {
            return Err(Error::TooLarge);
        }
        for chunk in pages.start / CHUNK_PAGES..=(pages.end - 1) / CHUNK_PAGES {
            let page = chunk * CHUNK_PAGES;
            let root = made(&mut self.root, room)?;
            let region = made(&mut root[page / REGION], room)?;
            let window = made(&mut region[page % REGION / WINDOW], room)?;
            made(&mut window[page % WINDOW / CHUNK_PAGES], room)?;
        }
        Ok(())
    }

    /// The value of the chunk that `page` lies in, if it was prepared.
    #[inline]
    pub(super) fn get(&self, page: usize) -> Option<NonNull<T>> {
        // SAFETY: pointers in the table are null or lead to zeroed, then valid tables that live as
        // long as this one; indices are in range up to the root's, which `get` checks.
        unsafe {
            let region = *self.root.as_ref()?.get(page / REGION)?;
            let window = region.as_ref()?[page % REGION / WINDOW];
            NonNull::new(window.as_ref()?[page % WINDOW / CHUNK_PAGES])
        }
    }
}

/// What the pointer leads to, made of zeroes if it was null.
pub(super) fn made<'a, T: Zeroed>(
    at: &'a mut *mut T,
    room: &impl Room,
) -> Result<&'a mut T, Error> {
    if at.is_null() {
        let new = room.zeroed(size_of::<T>(), align_of::<T>()).ok_or(Error::OutOfMemory)?;
        *at = new.as_ptr().cast();
    }
    // SAFETY: the pointer leads to memory of the type, valid as zeroes, that only this table knows.
    Ok(unsafe { &mut **at })
}
