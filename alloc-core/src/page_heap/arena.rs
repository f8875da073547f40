//! Growth of the page heap: more of the newest arena, or another one.
//!
//! An *arena* is a range of addresses, reserved as a whole and committed from its start as the heap needs it, by 4 MiB
//! at least:
//!
//! ```text
//!   ┌────────────────────────────────┐
//!   │ committed: pages  │  reserved  │
//!   └────────────────────────────────┘
//!                     next          end
//! ```
//!
//! At its end the next one is reserved, behind it if the addresses are free: then both are one, and runs of pages
//! cross the border. Else what is left of the old one stays reserved for nothing, which costs addresses only.
//! Pages at an alignment beyond that of arenas get one of their own, committed as a whole.
//!
//! # What a refusal costs
//!
//! Committed memory needs tables: entries of the page map, bits of the index. They stay until the heap ends,
//! whatever becomes of the pages. So a growth asks first whether the memory limit leaves room for both
//! ([`table_pages`]), commits the pages, and only then makes the tables. Reserved addresses that came to
//! nothing are the newest arena, for the next growth, or are given back.

use core::ptr::NonNull;

use super::{PageHeap, Pool, pages::Parts};
use crate::{
    Error,
    page_map::{PageMap, WINDOW},
    pages::PageSource,
    size_class::PAGE,
    span::Span,
};

/// The heap commits at least this much at a time, if its arena is as large.
const COMMIT: usize = 4 << 20;

/// Entries of the page map that fill a page.
const ENTRIES: usize = PAGE / size_of::<*mut Span>();

/// What is not committed of the newest arena.
#[derive(Debug)]
pub(super) struct Arena {
    next: usize,
    end: usize,
}

impl Arena {
    pub(super) const NONE: Self = Arena { next: 0, end: 0 };

    /// Number of the first page that is not committed.
    pub(super) fn next_page(&self) -> usize {
        self.next / PAGE
    }

    fn left(&self) -> usize {
        self.end - self.next
    }

    /// Pages of tables that a growth by so many pages will need. The window in which it begins has its own already,
    /// which is all that a growth of this arena needs, mostly.
    pub(super) fn table_pages(&self, map: &PageMap, pages: usize) -> usize {
        let fits = pages <= self.left() / PAGE && map.has_window(self.next);
        let begun = if fits { WINDOW - self.next % WINDOW } else { 0 };
        table_pages(pages.saturating_sub(begun / PAGE))
    }

    /// Commits enough for a run of `pages` pages.
    pub(super) fn grow<S: PageSource, P: PageHeap>(
        &mut self,
        parts: &Parts<'_, S>,
        pool: &mut Pool<P>,
        pages: usize,
    ) -> Result<(), Error> {
        let need = pages.checked_mul(PAGE).ok_or(Error::TooLarge)?;
        if self.left() < need {
            self.reserve(parts, need)?;
        }
        self.commit_next(parts, pool, need)
    }

    /// Commits at least `pages` pages behind what is committed; `false` if nothing can lie there.
    pub(super) fn grow_in_place<S: PageSource, P: PageHeap>(
        &mut self,
        parts: &Parts<'_, S>,
        pool: &mut Pool<P>,
        pages: usize,
    ) -> bool {
        let (next, need, left) = (self.next, pages * PAGE, self.left());
        if left < need && self.reserve(parts, need - left).is_err() {
            return false;
        }
        // An arena somewhere else is the next growth's.
        self.next == next && self.commit_next(parts, pool, need).is_ok()
    }

    /// Reserves at least `need` bytes, behind the newest arena if possible.
    fn reserve<S: PageSource>(&mut self, parts: &Parts<'_, S>, need: usize) -> Result<(), Error> {
        let unit = parts.source.arena_bytes();
        let bytes = need.checked_next_multiple_of(unit).ok_or(Error::TooLarge)?;
        if bytes > isize::MAX as usize {
            return Err(Error::TooLarge);
        }
        let at = parts.meta.reserve(parts.source, bytes, unit).ok_or(Error::OutOfMemory)?;
        let at = at.as_ptr() as usize;
        if at != self.end {
            self.next = at;
        }
        self.end = at + bytes;
        Ok(())
    }

    /// Commits more of the arena, which has `need` bytes left.
    fn commit_next<S: PageSource, P: PageHeap>(
        &mut self,
        parts: &Parts<'_, S>,
        pool: &mut Pool<P>,
        need: usize,
    ) -> Result<(), Error> {
        let need = need.next_multiple_of(parts.source.machine_page());
        let step = need.next_multiple_of(COMMIT).min(self.left());
        let done = match commit(parts, pool, self.next, step) {
            Ok(()) => step,
            Err(_) => commit(parts, pool, self.next, need).map(|()| need)?,
        };
        self.next += done;
        Ok(())
    }
}

/// Pages of tables that so many pages need where none have any: the page map's, which are most of them.
pub(super) fn table_pages(pages: usize) -> usize {
    pages / ENTRIES
}

/// Reserves an arena of `pages` pages at a multiple of `align` pages and commits all of it; returns its first page.
pub(super) fn add_whole<S: PageSource, P: PageHeap>(
    parts: &Parts<'_, S>,
    pool: &mut Pool<P>,
    pages: usize,
    align: usize,
) -> Result<usize, Error> {
    let bytes = pages.checked_mul(PAGE).ok_or(Error::TooLarge)?;
    let bytes = bytes.next_multiple_of(parts.source.machine_page());
    let at = parts.meta.reserve(parts.source, bytes, align * PAGE).ok_or(Error::OutOfMemory)?;
    let start = at.as_ptr() as usize;
    // SAFETY: reserved above; if it has not become free pages, nobody knows it.
    let give_back = |_: &Error| unsafe { parts.meta.give_back(parts.source, at) };
    commit(parts, pool, start, bytes).inspect_err(give_back)?;
    Ok(start / PAGE)
}

/// Makes reserved addresses free pages.
fn commit<S: PageSource, P: PageHeap>(
    parts: &Parts<'_, S>,
    pool: &mut Pool<P>,
    start: usize,
    bytes: usize,
) -> Result<(), Error> {
    let at = NonNull::new(start as *mut u8).ok_or(Error::OutOfMemory)?;
    let pages = start / PAGE..(start + bytes) / PAGE;
    // First, as tables stay. SAFETY: the callers reserved the range, and nobody knows it before the tables do.
    if !unsafe { parts.source.commit(at, bytes) } {
        return Err(Error::OutOfMemory);
    }
    parts.map.prepare(parts.source, parts.meta, start..start + bytes)?;
    pool.prepare(parts, pages.clone())?;
    parts.counters.grows.add(1);
    parts.counters.grown.add(bytes);
    pool.add(pages);
    Ok(())
}
