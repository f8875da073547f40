//! Where memory comes from: the seam between the page heap and whatever is below it.
//!
//! A [`PageSource`] deals in two things that the kernel separates as well: *address space*
//! ([`reserve`](PageSource::reserve)), which costs nothing, and *memory*
//! ([`commit`](PageSource::commit)), which may run out. [`Os`](os::Os) asks the kernel,
//! [`Fixed`](fixed::Fixed) carves up one region that the program already has.
//! [`Fail`](fail::Fail) wraps another source and refuses on purpose, for tests;
//! [`With`](with::With) wraps one to change how the heap finds free pages.

pub mod fail;
pub mod fixed;
pub mod os;
pub mod with;

use core::{ops::Range, ptr::NonNull};

use crate::{page_heap::PageHeap, size_class::PAGE};

/// How a page is made inaccessible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// By a mark in the page table: the mapping stays one. Linux 6.13 has it.
    Mark,
    /// By a mapping of its own, of which the kernel gives a process a limited number.
    Mapping,
}

/// Gives address space and memory to a heap.
///
/// # Safety
///
/// The heap trusts an implementation:
///
/// 1. A range that [`reserve`](Self::reserve) returned belongs to the caller alone until it is
///    released, has the asked length and alignment, and lies inside [`addresses`](Self::addresses).
/// 2. After [`commit`](Self::commit) said `true` the range can be read and written, and reads as
///    zero until it is written.
/// 3. After [`decommit`](Self::decommit) the range can still be read and written; if it said
///    `true`, it reads as zero until it is written again.
/// 4. No method allocates from a heap that uses this source, and none unwinds.
/// 5. [`addresses`](Self::addresses), [`arena_bytes`](Self::arena_bytes) and [`machine_page`](Self::machine_page)
///    never change.
/// 6. After [`guard`](Self::guard) said `true` every access to the range faults, until the whole
///    reservation is released.
/// 7. After [`relocate`](Self::relocate) said `true`, `to` has what `from` had, and `from` reads as zero
///    until it is written.
pub unsafe trait PageSource {
    /// How the heap above finds free pages: [`Radix`](crate::page_heap::Radix) unless there is a
    /// reason; [`With`](with::With) exchanges it for any source.
    type Index: PageHeap;

    /// All reservations lie in here. The page map has eight bytes for each 64 MiB of it.
    fn addresses(&self) -> Range<usize>;

    /// The heap grows by multiples of this many bytes, at this alignment; a power of two, at least
    /// [`PAGE`].
    fn arena_bytes(&self) -> usize;

    /// Bytes of a page of the machine, a power of two: what can be given back, closed, guarded or moved at least.
    /// It may be longer than [`PAGE`], of which arenas are made.
    fn machine_page(&self) -> usize {
        // SAFETY: the call has no preconditions.
        unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
    }

    /// Sets `bytes` of address space aside, aligned to `align`; `None` if there is no more.
    ///
    /// `bytes` is a multiple of [`PAGE`], `align` a power of two and at
    /// least that.
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>>;

    /// Makes reserved pages usable; `false` if memory is short, and then nothing has changed.
    ///
    /// # Safety
    ///
    /// The range is part of a reservation, and nobody has used it: it may have been committed before. It begins with a
    /// page of the machine, and ends with one, or with the reservation.
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool;

    /// Tells that the contents are no longer needed; `true` if the range reads as zero from now on.
    ///
    /// # Safety
    ///
    /// The range is committed, consists of whole pages of the machine, and nobody needs its contents.
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool;

    /// Makes pages fault when they are touched, their contents kept; `false` if the source cannot.
    ///
    /// Asked only by hardened heaps. The default cannot.
    ///
    /// # Safety
    ///
    /// The range is committed, consists of whole pages of the machine, and nobody uses it.
    unsafe fn close(&self, at: NonNull<u8>, bytes: usize) -> bool {
        let _ = (at, bytes);
        false
    }

    /// Undoes [`close`](Self::close), or does nothing to open pages; `false` if they stay closed.
    ///
    /// # Safety
    ///
    /// The range is committed, consists of whole pages of the machine, and belongs to the caller.
    unsafe fn open(&self, at: NonNull<u8>, bytes: usize) -> bool {
        let _ = (at, bytes);
        false
    }

    /// Moves the memory of one range to the addresses of another, whose own memory is lost; `false`, and
    /// nothing has changed, if it would have to be copied. The default moves nothing.
    ///
    /// # Safety
    ///
    /// Both ranges are committed, of `bytes` bytes and whole pages of the machine, do not overlap, and nobody uses
    /// them.
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        let _ = (from, to, bytes);
        false
    }

    /// Gives a whole reservation back.
    ///
    /// # Safety
    ///
    /// `at` and `bytes` are those of one call of [`reserve`](Self::reserve), and nobody uses it.
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize);

    /// Asks that pages of the range get memory one by one, each at its first touch: no huge pages.
    /// A source that has none need do nothing.
    ///
    /// # Safety
    ///
    /// The range is committed, and has not been touched.
    unsafe fn touch_singly(&self, _at: NonNull<u8>, _bytes: usize) {}

    /// Makes the range inaccessible; `false` if that cannot be done in this way, and then nothing
    /// has changed. A source that says nothing about it has no guards.
    ///
    /// # Safety
    ///
    /// The range is committed, consists of whole pages of the machine, and nobody uses it.
    unsafe fn guard(&self, _at: NonNull<u8>, _bytes: usize, _how: Guard) -> bool {
        false
    }
}

/// Logarithm of [`PageSource::machine_page`].
pub(crate) fn page_shift(source: &impl PageSource) -> u32 {
    source.machine_page().trailing_zeros()
}

/// Pages of the heap that make one of the machine, or one if that is longer.
pub(crate) fn grain(source: &impl PageSource) -> usize {
    (source.machine_page() / PAGE).max(1)
}

/// Whether a range of pages of the heap consists of whole pages of the machine.
pub(crate) fn is_whole(source: &impl PageSource, start: usize, bytes: usize) -> bool {
    (start | bytes).is_multiple_of(source.machine_page())
}

// SAFETY: a reference forwards to an implementation that keeps the rules.
unsafe impl<S: PageSource + ?Sized> PageSource for &S {
    type Index = S::Index;

    fn addresses(&self) -> Range<usize> {
        (**self).addresses()
    }
    fn arena_bytes(&self) -> usize {
        (**self).arena_bytes()
    }
    fn machine_page(&self) -> usize {
        (**self).machine_page()
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        (**self).reserve(bytes, align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).decommit(at, bytes) }
    }
    unsafe fn close(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).close(at, bytes) }
    }
    unsafe fn open(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).open(at, bytes) }
    }
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).relocate(from, to, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).release(at, bytes) }
    }
    unsafe fn touch_singly(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).touch_singly(at, bytes) }
    }
    unsafe fn guard(&self, at: NonNull<u8>, bytes: usize, how: Guard) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { (**self).guard(at, bytes, how) }
    }
}
