//! Runs of free pages: which there are, which to hand out, who joins whom.
//!
//! The layers, from the bottom:
//!
//! ```text
//!   PageHeap    an index of free pages, by number: Treap or Radix          this folder
//!   Pool        the index, what is known of free pages, the account        pool, touched, word
//!   Pages       the pool, span records, growth by arenas                   pages, arena
//! ```
//!
//! A [`PageHeap`] knows numbers only. It never looks at a page, asks nobody for memory after
//! [`prepare`](PageHeap::prepare), and cannot fail to take pages back. All implementations follow one
//! policy, *first fit by address*: a request gets the lowest run that is long enough. That keeps the
//! heap dense at its low end, so that the high end can go back to the system; and it makes
//! implementations comparable, page for page (`tests/page_index.rs`).
//!
//! [`Radix`] is the default, [`Treap`] the alternative; a heap uses the one that its source names
//! ([`PageSource::Index`](crate::pages::PageSource::Index)). Figures for both:
//! `docs/decisions/0011-the-radix-bitmap-is-the-page-heap.md`.

mod arena;
pub(crate) mod bits;
mod chunks;
pub(crate) mod pages;
mod pool;

mod radix;
mod touched;
mod treap;
mod word;

use core::{fmt, ops::Range, ptr::NonNull};

#[doc(hidden)]
pub use pool::{Grant, Pool};
pub use radix::Radix;
pub use treap::Treap;
#[doc(hidden)]
pub use word::Word;

use crate::Error;

/// Pages of a *chunk*, the unit in which the tables of an index grow: 4 MiB.
pub const CHUNK_PAGES: usize = 512;

/// Page numbers are below this: 48 bits of address.
pub const PAGE_NUMBERS: usize = 1 << 35;

/// Memory for the records of an index.
///
/// # Safety
///
/// A range that [`zeroed`](Self::zeroed) returns has the size and alignment asked for, reads as zero,
/// belongs to the caller alone, and stays for as long as the caller's index is used.
pub unsafe trait Room {
    /// Zeroed memory; `None` if there is none.
    fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>>;
}

/// An index of free pages.
///
/// Pages are numbers (address / [`PAGE`](crate::size_class::PAGE)) below [`PAGE_NUMBERS`]. A *run* is
/// a range of free pages with none free on either side: neighbours are joined at once.
///
/// ```
/// use alloc_core::page_heap::{PageHeap, Radix, Room, Treap};
/// use std::{alloc::Layout, ptr::NonNull};
///
/// struct Leak;
/// // SAFETY: fresh zeroed memory that is never freed.
/// unsafe impl Room for Leak {
///     fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
///         NonNull::new(unsafe { std::alloc::alloc_zeroed(Layout::from_size_align(bytes, align).ok()?) })
///     }
/// }
///
/// fn lowest_fit<P: PageHeap>() -> Option<usize> {
///     let mut free = P::EMPTY;
///     free.prepare(&Leak, 1000..2000).ok()?;
///     free.insert(1000..1010);
///     free.insert(1100..2000);
///     assert_eq!(free.take(100, 1), Some(1100), "the first ten are too few");
///     free.take(10, 1)
/// }
/// assert_eq!(lowest_fit::<Treap>(), Some(1000));
/// assert_eq!(lowest_fit::<Radix>(), Some(1000));
/// ```
///
/// # Safety
///
/// A heap hands out the pages that an index names, and calls the following in this way: pages are inserted after they
/// were prepared, and only while they are not in the index. Whatever the calls, for pages that were inserted and not
/// taken since (*free* ones):
///
/// 1. [`take`](Self::take) returns the first of `pages` pages, all of them free, at a multiple of `align`. They are not
///    free from then on.
/// 2. So are those of a [`take_at`](Self::take_at) that says `true`. One that says `false` takes none.
/// 3. [`next_free`](Self::next_free) returns free pages.
/// 4. No page becomes free but by [`insert`](Self::insert).
/// 5. No method unwinds if it is called in this way.
///
/// That the lowest run is found is no matter of safety.
pub unsafe trait PageHeap: fmt::Debug + Send {
    /// An index without pages, and without memory.
    const EMPTY: Self;

    /// Makes the tables that `pages` need, so that no other function needs memory for them.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if `room` has no more; [`Error::TooLarge`] for numbers of 2³⁵ or more.
    /// The index is then as before.
    fn prepare(&mut self, room: &impl Room, pages: Range<usize>) -> Result<(), Error>;

    /// Adds free pages and joins them with their neighbours.
    ///
    /// They must be prepared, at least one, and not free already.
    fn insert(&mut self, pages: Range<usize>);

    /// Takes `pages` pages at a multiple of `align`, a power of two, out of the lowest run that has
    /// `pages + align - 1`; returns the first.
    fn take(&mut self, pages: usize, align: usize) -> Option<usize>;

    /// Takes exactly these pages, at least one; `false`, and no change, unless all are free.
    fn take_at(&mut self, pages: Range<usize>) -> bool;

    /// The lowest free pages at `from` or above: to the end of their run.
    fn next_free(&mut self, from: usize) -> Option<Range<usize>>;
}
