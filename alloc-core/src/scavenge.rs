//! Memory goes back to the source: how pages are released beside allocation.

use core::{ops::Range, ptr::NonNull};

use crate::{
    Error, Heap,
    page_heap::{PageHeap, Pool},
    pages::PageSource,
    size_class::PAGE,
    sync::Lock,
};

/// Releases the first free pages at `from` or above that have memory and at least this age: lends
/// them, calls `decommit` without the lock, and settles. Returns their end and how many have no
/// memory any more; `None` if there are no such pages.
///
/// `decommit` says whether the pages read as zero now.
pub fn release_next<P: PageHeap, T: AsMut<Pool<P>>>(
    lock: &Lock<T>,
    from: usize,
    age: u8,
    decommit: impl FnOnce(Range<usize>) -> bool,
) -> Option<(usize, usize)> {
    let pages = AsMut::as_mut(&mut *lock.lock()).lend(from, age)?;
    let (end, len) = (pages.end, pages.len());
    let released = decommit(pages.clone());
    let mut guard = lock.lock();
    let pool = AsMut::as_mut(&mut *guard);
    if released {
        pool.settle_released(pages);
        Some((end, len))
    } else {
        pool.settle_kept(pages);
        Some((end, 0))
    }
}

impl<S: PageSource> Heap<S> {
    /// Gives the memory of all free pages back to the source; returns how many bytes.
    ///
    /// Takes time proportional to the free pages; other threads allocate meanwhile. Spans in
    /// caches keep their memory.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::new::<[u8; 1 << 20]>()).unwrap();
    /// unsafe { cache.free(block) };
    /// assert_eq!(heap.release(), 1 << 20);
    /// assert_eq!(heap.stats().free, 0);
    /// ```
    pub fn release(&self) -> usize {
        self.free_idle_spans();
        self.release_pages(usize::MAX, 0) * PAGE
    }

    /// Releases at least `want` pages of at least this age, if there are so many; returns how many.
    fn release_pages(&self, want: usize, age: u8) -> usize {
        let (mut from, mut done) = (0, 0);
        while done < want
            && let Some((end, released)) =
                release_next(&self.pages, from, age, |pages| self.decommit(pages))
        {
            from = end;
            done += released;
        }
        done
    }

    /// Tells the source that lent pages are not needed.
    fn decommit(&self, pages: Range<usize>) -> bool {
        let Some(at) = NonNull::new((pages.start * PAGE) as *mut u8) else { return false };
        self.counters.releases.add(1);
        // SAFETY: the pages are lent to us by the pool: nobody uses them.
        unsafe { self.source().decommit(at, pages.len() * PAGE) }
    }

    /// Bounds the memory that the heap may have at once: blocks, free pages that were not given back,
    /// and the heap's records; not the stacks.
    ///
    /// At the limit an allocation first gives free memory back to the source, and fails with
    /// [`Error::Limit`] if that does not suffice. What is in use already stays, even beyond a
    /// limit that is set too low. `usize::MAX`, the default, is no limit.
    ///
    /// ```
    /// use alloc_core::{Error, Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// heap.set_limit(16 << 20);
    /// let eight = Layout::new::<[u8; 8 << 20]>();
    /// let block = cache.alloc(eight)?;
    /// assert_eq!(cache.alloc(eight), Err(Error::Limit));
    /// unsafe { cache.free(block) };
    /// assert!(cache.alloc(eight).is_ok());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_limit(&self, bytes: usize) {
        self.pages().set_limit(bytes);
    }

    /// The limit that was set last.
    pub fn limit(&self) -> usize {
        self.pages().limit
    }

    /// Calls `take`, which needs so many pages; at the limit again after memory was given back.
    pub(crate) fn within_limit<T>(
        &self,
        pages: usize,
        mut take: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match take() {
            Err(Error::Limit) if self.make_room(pages) => take(),
            result => result,
        }
    }

    /// Gives at least so many pages back, if there are; `false` if none could be.
    #[cold]
    fn make_room(&self, pages: usize) -> bool {
        let mut done = self.release_pages(pages, 0);
        if done < pages {
            self.free_idle_spans();
            done += self.release_pages(pages - done, 0);
        }
        done > 0
    }
}
