//! Stacks: address space in slabs, from the heap's own source and on its account.
//!
//! # Problem
//!
//! A million stacks want a million pieces of address space, each with a guard page, and memory only
//! where they were touched. A scheduler cuts them up, pools them and knows when one is needed; what
//! it lacks is an owner for the memory. That is the heap: the same [`PageSource`], so that what
//! limits or counts the one sees the other, and the same [`Stats`](crate::Stats).
//!
//! # How
//!
//! ```text
//!   a slab   ┌───────┬──────────────────┬───────┬──────────────────┬─
//!            │ guard │ stack            │ guard │ stack            │ …     cut up by the caller
//!            └───────┴──────────────────┴───────┴──────────────────┴─
//! ```
//!
//! A slab is a reservation of its own, committed as a whole, so that its pages come at their first
//! touch. Huge pages are refused before that, else one touched byte would make a whole stack resident.
//! A slab counts at the heap's limit with all of its address space: nobody is asked when a page of it is
//! touched, so this is the one moment at which it can be refused.
//! Nothing is guarded unasked: [`Stacks::guard`] is called as a stack is made, since each guard is a
//! system call, and a slab has room for many stacks that nobody may ever want.
//!
//! A guard is a mark in the page table (Linux 6.13), or else a mapping of its own. The second kind
//! splits the slab, two mappings more for each, and the limit of a process (`vm.max_map_count`) is
//! shared with everything else it maps: from three quarters of it on a guard is an error. A stack
//! without a guard is never an answer.
//!
//! # Rejected
//!
//! * *A run of the page heap per slab.* Its pages may hold memory, lie in the middle of an arena
//!   whose huge pages others want, and would come back with holes where the guards were. A
//!   mapping of its own has none of this, and vanishes whole.
//! * *A slab that guards itself when it is made*: 64 system calls before the first stack.
//! * *To count the pages that were touched* (`mincore`, 20 µs for a slab) at the limit: it tells what was,
//!   and a stack that grows a moment later is beyond the limit without anybody's leave.

use core::{fmt, ptr::NonNull};

use crate::{
    Error, Heap,
    pages::{Guard, PageSource},
    size_class::PAGE,
    stats::Counter,
    sync::{AtomicUsize, Ordering, const_fn},
};

/// What Linux has allowed for as long as there was a limit.
const DEFAULT_MAX_MAP_COUNT: usize = 65_530;

/// The part of a heap that stacks come from.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os};
///
/// let heap = Heap::new(Os::new());
/// let slab = heap.stacks().reserve(16 << 20)?;
/// // SAFETY: a page of the slab, which nobody uses yet.
/// unsafe { heap.stacks().guard(slab)? };
/// assert_eq!(heap.stats().stacks, 16 << 20);
/// // SAFETY: nobody uses it, and one page was guarded.
/// unsafe { heap.stacks().release(slab, 16 << 20, 1) };
/// assert_eq!(heap.stats().stacks, 0);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub struct Stacks<'h, S: PageSource> {
    heap: &'h Heap<S>,
}

impl<S: PageSource> Clone for Stacks<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: PageSource> Copy for Stacks<'_, S> {}

impl<S: PageSource> fmt::Debug for Stacks<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stacks").field("bytes", &self.heap.counters.stacks.get()).finish()
    }
}

impl<S: PageSource> Heap<S> {
    /// Where stacks come from.
    pub fn stacks(&self) -> Stacks<'_, S> {
        Stacks { heap: self }
    }
}

impl<S: PageSource> Stacks<'_, S> {
    /// A slab of `bytes`, rounded up to whole pages of the heap (8 KiB): readable, writable, zeroed,
    /// and without memory until it is touched.
    ///
    /// Takes the page heap's lock for the account, and none over the system calls. Slabs must be released
    /// before the heap is destroyed.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the source refuses, [`Error::TooLarge`] if no source could;
    /// [`Error::Limit`] if the heap's limit leaves no room for so many bytes, after free memory was given
    /// back.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// let heap = Heap::new(Os::new());
    /// let (stacks, bytes) = (heap.stacks(), 256 << 10);
    /// let slab = stacks.reserve(bytes)?;
    /// assert_eq!(heap.stats().stacks, bytes);
    /// // SAFETY: the slab is ours; its lowest page is guarded, and not touched.
    /// unsafe {
    ///     stacks.guard(slab)?;
    ///     slab.add(bytes - 1).write(7);
    ///     stacks.release(slab, bytes, 1);
    /// }
    /// assert_eq!(heap.stats().stacks, 0);
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, Error> {
        let bytes = whole_pages(bytes).ok_or(Error::TooLarge)?;
        let heap = self.heap;
        heap.within_limit(bytes / PAGE, || heap.pages().admit(&heap.parts(), bytes))?;
        self.map(bytes).inspect_err(|_| heap.counters.stacks.sub(bytes))
    }

    /// Address space and memory for a slab that is on the account.
    fn map(&self, bytes: usize) -> Result<NonNull<u8>, Error> {
        let source = self.heap.source();
        let slab =
            source.reserve(bytes, PAGE.max(source.machine_page())).ok_or(Error::OutOfMemory)?;
        // SAFETY: reserved by the line above, and known to nobody else.
        unsafe {
            if !source.commit(slab, bytes) {
                source.release(slab, bytes);
                return Err(Error::OutOfMemory);
            }
            source.touch_singly(slab, bytes);
        }
        Ok(slab)
    }

    /// Makes one page of the machine, at `page`, inaccessible until its slab is released.
    ///
    /// A system call, of some 0.5 µs with marks in the page table.
    ///
    /// # Errors
    ///
    /// [`Error::Guard`] if the source refuses, [`Error::Mappings`] near the kernel's limit.
    ///
    /// # Safety
    ///
    /// The page lies in a slab that [`reserve`](Self::reserve) gave, and nobody uses it.
    pub unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), Error> {
        let source = self.heap.source();
        let bytes = source.machine_page();
        // SAFETY: passed on.
        let install = |how| unsafe { source.guard(page, bytes, how) };
        self.heap.guards.install(install, max_map_count)
    }

    /// Gives the memory of whole pages of the machine back that nobody needs; their addresses stay
    /// usable. They may read as zero from then on, or as before.
    ///
    /// # Safety
    ///
    /// The range lies in a slab that [`reserve`](Self::reserve) gave, holds no guard, and nobody uses
    /// it.
    pub unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize) {
        // SAFETY: a slab is committed as a whole; the rest is the caller's promise.
        unsafe { self.heap.source().decommit(pages, bytes) };
    }

    /// Gives a slab back, with its guards.
    ///
    /// # Safety
    ///
    /// `slab` came from [`reserve`](Self::reserve) with these `bytes`, `guards` pages of it were
    /// guarded, and nobody uses it.
    pub unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize) {
        // `reserve` has rounded the same figure.
        let bytes = whole_pages(bytes).unwrap_or(bytes);
        // SAFETY: the caller's promise.
        unsafe { self.heap.source().release(slab, bytes) };
        self.heap.counters.stacks.sub(bytes);
        self.heap.guards.forget(guards);
    }
}

/// How guards are made, and how many have mappings of their own.
#[derive(Debug)]
pub(crate) struct Guards {
    mappings: Counter,
    /// 0 before the first refusal of a mark; then the limit, and marks are not tried again.
    limit: AtomicUsize,
}

impl Guards {
    const_fn! {
        pub(crate) fn new() -> Self {
            Guards { mappings: Counter::new(), limit: AtomicUsize::new(0) }
        }
    }

    /// Makes a guard with `install`, by a mark if it can be. `limit` tells how many mappings the
    /// process may have; asked once.
    fn install(
        &self,
        install: impl Fn(Guard) -> bool,
        limit: impl FnOnce() -> usize,
    ) -> Result<(), Error> {
        // Relaxed, both: a figure that is written once, the same by everybody.
        let mut known = self.limit.load(Ordering::Relaxed);
        if known == 0 {
            if install(Guard::Mark) {
                return Ok(());
            }
            known = limit().max(1);
            self.limit.store(known, Ordering::Relaxed);
        }
        if 2 * self.mappings.get() >= known / 4 * 3 {
            return Err(Error::Mappings { limit: known });
        }
        if !install(Guard::Mapping) {
            return Err(Error::Guard);
        }
        self.mappings.add(1);
        Ok(())
    }

    fn forget(&self, guards: usize) {
        // Relaxed: as in `install`. With marks nothing was counted.
        if self.limit.load(Ordering::Relaxed) != 0 {
            self.mappings.sub(guards.min(self.mappings.get()));
        }
    }
}

fn whole_pages(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(PAGE).filter(|&bytes| bytes <= isize::MAX as usize)
}

/// How many mappings the kernel gives a process.
fn max_map_count() -> usize {
    let mut text = [0; 24];
    // SAFETY: the path ends with a zero, and the kernel writes at most the length of the buffer.
    let read = unsafe {
        let file = libc::open(c"/proc/sys/vm/max_map_count".as_ptr(), libc::O_RDONLY);
        let read = libc::read(file, text.as_mut_ptr().cast(), text.len());
        if file >= 0 {
            libc::close(file);
        }
        read
    };
    let text = usize::try_from(read).ok().and_then(|length| text.get(..length));
    let number = text.and_then(|text| core::str::from_utf8(text).ok()?.trim().parse().ok());
    number.unwrap_or(DEFAULT_MAX_MAP_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_not_counted_and_have_no_limit() {
        let guards = Guards::new();
        for _ in 0..1000 {
            let made = guards.install(|how| how == Guard::Mark, || unreachable!());
            assert_eq!(made, Ok(()));
        }
        assert_eq!(guards.mappings.get(), 0);
    }

    #[test]
    fn mappings_end_at_three_quarters_and_come_back_with_their_slab() {
        let guards = Guards::new();
        let install = || guards.install(|how| how == Guard::Mapping, || 40);
        assert_eq!((0..15).try_for_each(|_| install()), Ok(()));
        assert_eq!(install(), Err(Error::Mappings { limit: 40 }));
        guards.forget(2);
        assert_eq!((install(), install()), (Ok(()), Ok(())));
        assert_eq!(install(), Err(Error::Mappings { limit: 40 }));
    }

    #[test]
    fn a_refusal_of_both_is_an_error_and_counts_nothing() {
        let guards = Guards::new();
        assert_eq!(guards.install(|_| false, || 40), Err(Error::Guard));
        assert_eq!(guards.mappings.get(), 0);
    }

    #[test]
    fn the_kernel_tells_its_limit() {
        assert!(max_map_count() > 1000);
    }
}
