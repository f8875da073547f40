//! The private part: what one thread or one processor allocates from, without lock or atomic
//! read-modify-write.
//!
//! A [`Cache`] is a value. Whoever runs binds one (see `global`): a plain thread for its life, a
//! scheduler's processor for each entry. For each size class it has a *magazine* of free cells
//! ([`magazine`](crate::magazine)) and owns spans ([`holdings`](crate::holdings)):
//!
//! ```text
//!   alloc ◀── pop ── magazine ◀── a batch of cells when empty ── spans ◀─▶ central, page heap
//!   free ─── push ──▶        ──▶ half of its cells when full ──▶
//! ```
//!
//! * *Allocation*: the class from a table, then pop. *Free*: the class from the layout that Rust hands
//!   in, or from the span's record ([`Cache::free`]), then push. Whose the cell is is asked only when a
//!   batch of them goes back, and then once per span.
//! * A cell in a magazine is in use as far as its span knows. So a thread may put cells of other caches'
//!   spans into its magazine and hand them out again, and no span is given back under it.
//!   Only a free without a size, which has to ask the page map anyway, keeps tiny cells of others apart
//!   ([`outgoing`](crate::outgoing)).
//! * A batch goes back from the bottom: the cells that lay longest.
//!
//! Rejected: to free into the span at once, as mimalloc does and this file did. Each free then reads
//! the page map and writes the span's record, two cache misses in a program with many live blocks
//! (docs/decisions/0010).

mod free;
mod large;

use core::{alloc::Layout, fmt, ptr::NonNull};

use crate::{
    Error, Heap,
    holdings::Holdings,
    homeward::Homeward,
    kept::Kept,
    magazine::{Allowance, Magazine},
    outgoing::Outgoing,
    owned::{free_cells, take, take_fresh},
    page_map,
    pages::PageSource,
    profile::Meter,
    size_class::{CLASSES, TABLE, class_for, class_of},
    span::SpanPtr,
};

#[cfg(feature = "global")]
use crate::size_class::class_at_hand;

/// Bytes of a cell from which on it is taken alone if that spares clearing it: below, that costs more.
const FRESH: usize = 256;

/// Classes whose span a cache keeps while it goes from one thread to the next: up to 2 KiB. To ask for one again costs
/// the same for all, and is little beside what is done with longer cells.
const HANDED_ON: usize = class_of(2048) + 1;

/// A private allocator over a shared [`Heap`].
///
/// Dropping it leaves its spans to the heap's centrals.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os};
/// use std::alloc::Layout;
///
/// let heap = Heap::new(Os::new());
/// let block = heap.cache().alloc(Layout::new::<[u64; 4]>()).unwrap();
/// // Another cache may free it.
/// unsafe { heap.cache().free(block) };
/// ```
// In this order: a magazine is found at the cache's address and a multiple of its size, with no offset to add.
#[repr(C)]
pub struct Cache<'h, S: PageSource> {
    magazines: [Magazine; CLASSES],
    heap: &'h Heap<S>,
    /// By these the page map tells tiny cells of others.
    others: usize,
    /// The heap is profiled: frees look for blocks that are samples.
    pub(crate) profiled: bool,
    holdings: Holdings,
    /// For magazines that want more slots than their share.
    allowance: Allowance,
    /// Cells of others in lines of others.
    outgoing: Outgoing,
    /// The large block that was freed last.
    kept: Kept,
    /// Bytes to the next sample of the profile.
    pub(crate) meter: Meter,
}

impl<S: PageSource> fmt::Debug for Cache<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("number", &self.holdings.number).finish_non_exhaustive()
    }
}

impl<'h, S: PageSource> Cache<'h, S> {
    pub(crate) const fn new(heap: &'h Heap<S>, number: usize) -> Self {
        Cache {
            magazines: [const { Magazine::new() }; CLASSES],
            heap,
            others: page_map::bits_of_others(number),
            profiled: false,
            holdings: Holdings::new(number),
            allowance: Allowance::new(),
            outgoing: Outgoing::new(),
            kept: Kept::new(),
            meter: Meter::new(),
        }
    }

    /// The heap below.
    pub fn heap(&self) -> &'h Heap<S> {
        self.heap
    }

    /// A block for `layout`, its contents unspecified. A size of zero gets a block of its own too.
    ///
    /// Some ten instructions while the magazine of the class has cells.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if the source has no more, [`Error::TooLarge`] if no source could have.
    ///
    /// ```
    /// use alloc_core::{Error, Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::from_size_align(100, 64).unwrap())?;
    /// assert_eq!(block.addr().get() % 64, 0);
    /// let huge = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
    /// assert!(cache.alloc(huge).is_err());
    /// # unsafe { cache.free(block) };
    /// # Ok::<(), Error>(())
    /// ```
    #[inline(always)]
    pub fn alloc(&mut self, layout: Layout) -> Result<NonNull<u8>, Error> {
        match class_for(layout.size(), layout.align()) {
            Some(class) => match self.magazines[class].pop() {
                Some(cell) => Ok(cell),
                None => self.refill(class).map(|(cell, _)| cell),
            },
            None => match self.take_own(layout) {
                Some(block) => Ok(block),
                None => self.alloc_large(layout).map(|(block, _)| block),
            },
        }
    }

    /// A cell for `layout`, if the magazine of its class has one. Makes no call.
    #[cfg(feature = "global")]
    #[inline(always)]
    pub(crate) fn alloc_cached(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.magazines[class_at_hand(layout.size(), layout.align())?].pop()
    }

    /// A block for `layout` that reads as zero.
    ///
    /// Memory that is fresh from the source is known to be zero and is not touched: large blocks, and cells
    /// of 256 bytes and more of which no free one is at hand.
    ///
    /// # Errors
    ///
    /// As [`Cache::alloc`].
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc_zeroed(Layout::new::<[u64; 512]>())?.cast::<[u64; 512]>();
    /// // SAFETY: ours, of that type, for which zeroes are valid, and freed once.
    /// unsafe {
    ///     assert_eq!(block.read(), [0; 512]);
    ///     cache.free(block.cast());
    /// }
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<u8>, Error> {
        let (block, zeroed) = match class_for(layout.size(), layout.align()) {
            Some(class) => match self.magazines[class].pop() {
                Some(cell) => (cell, false),
                None => self.refill_zeroed(class)?,
            },
            None => self.alloc_large(layout)?,
        };
        if !zeroed {
            // SAFETY: the block is ours and has at least `layout.size()` bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        Ok(block)
    }

    /// An own span of the class with a free cell. If there is no memory for one, the large block that was freed last
    /// makes room.
    fn supply(&mut self, class: usize) -> Result<SpanPtr, Error> {
        self.holdings.supply(self.heap, class).or_else(|error| {
            if self.kept.is_empty() {
                return Err(error);
            }
            self.give_up_kept();
            self.holdings.supply(self.heap, class)
        })
    }

    /// Fills half of an empty magazine and takes a cell; also tells whether it is known to be zero.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, class: usize) -> Result<(NonNull<u8>, bool), Error> {
        if let Some(hardened) = self.heap.hardened() {
            // Without slots every free of the class comes to the slow path.
            self.magazines[class].retire(class, self.heap, &mut self.allowance);
            return self.heap.hardened_cell(hardened, class);
        }
        let span = self.supply(class)?;
        let magazine = &mut self.magazines[class];
        magazine.grow(class, self.heap, &mut self.allowance);
        let count = (magazine.slots() / 2).min(free_cells(span));
        // SAFETY: the span has so many free cells, and the empty magazine as many slots.
        magazine.fill(count, |to| unsafe { take(span, count, to) });
        if let Some(block) = self.sample(class, count.max(1)) {
            return Ok((block, false));
        }
        if let Some(cell) = self.magazines[class].pop() {
            return Ok((cell, false));
        }
        let mut cell = NonNull::dangling();
        // SAFETY: `supply` found at least one free cell.
        unsafe { take(span, 1, &mut cell) };
        Ok((cell, false))
    }

    /// As [`Cache::refill`], but prefers one cell that is known to be zero to a batch that is not.
    #[cold]
    #[inline(never)]
    fn refill_zeroed(&mut self, class: usize) -> Result<(NonNull<u8>, bool), Error> {
        if TABLE[class].size as usize >= FRESH && self.heap.hardened().is_none() {
            let span = self.supply(class)?;
            if let Some(block) = self.sample(class, 1) {
                return Ok((block, false));
            }
            if let Some(cell) = take_fresh(span) {
                return Ok((cell, true));
            }
        }
        self.refill(class)
    }

    fn empty_outgoing(&mut self) {
        let mut homeward = Homeward::new(self.heap, &mut self.holdings);
        // SAFETY: what is in there was given up by its user.
        self.outgoing.drain(|cell| unsafe { homeward.send(cell) });
        homeward.finish();
    }

    /// Returns cells that lay longest in a magazine to their spans.
    fn send_home(&mut self, class: usize, count: usize) {
        let mut homeward = Homeward::new(self.heap, &mut self.holdings);
        // SAFETY: what is in a magazine was given up by its user.
        self.magazines[class].drain(count, |cell| unsafe { homeward.send(cell) });
        homeward.finish();
    }

    /// As [`Cache::flush`], of a cache that was not used for a step of the scavenger: what lay in it is as
    /// old as that.
    #[cfg_attr(not(feature = "global"), allow(dead_code, reason = "only threads' caches are lent"))]
    pub(crate) fn flush_rested(&mut self) {
        self.holdings.rested = 1;
        self.flush();
        self.holdings.rested = 0;
    }

    /// Keeps what the next user begins with: of each class up to 2 KiB the span that cells come from, and room for
    /// them; some pages. All else is left to the centrals and the page heap.
    ///
    /// The cells go home: a batch of the lowest is worth more than those that the last user happened to free.
    #[cfg_attr(
        not(feature = "global"),
        allow(dead_code, reason = "only threads' caches are handed on")
    )]
    pub(crate) fn pack(&mut self) {
        self.empty_outgoing();
        (0..HANDED_ON).for_each(|class| self.send_home(class, self.magazines[class].len()));
        (HANDED_ON..CLASSES).for_each(|class| self.empty(class));
        self.holdings.leave_others(self.heap);
        self.give_up_kept();
    }

    /// Leaves the cells of a class and the span that they came from.
    fn empty(&mut self, class: usize) {
        self.send_home(class, self.magazines[class].len());
        self.magazines[class].retire(class, self.heap, &mut self.allowance);
        self.holdings.leave_current(self.heap, class);
    }

    /// Leaves all cells and spans to the centrals and the page heap: what other caches can then use.
    ///
    /// The cache stays usable, and is as empty as a new one.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let (mut cache, layout) = (heap.cache(), Layout::new::<u64>());
    /// let block = cache.alloc(layout)?;
    /// // SAFETY: ours, and freed once.
    /// unsafe { cache.free_sized(block, layout) };
    /// assert!(heap.stats().small > 0, "the cache keeps a span");
    /// cache.flush();
    /// assert_eq!(heap.stats().small, 0);
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn flush(&mut self) {
        self.empty_outgoing();
        (0..CLASSES).for_each(|class| self.empty(class));
        self.holdings.leave_others(self.heap);
        self.holdings.leave_pages(self.heap);
        self.give_up_kept();
    }
}

impl<S: PageSource> Cache<'_, S> {
    /// Gives back what lies in this cache, and then all that [`Heap::release`] does; returns how many bytes
    /// went to the source.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    ///
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::new::<[u8; 1000]>())?;
    /// // SAFETY: ours, and freed once.
    /// unsafe { cache.free(block) };
    /// assert!(heap.stats().small > 0);
    /// assert!(cache.release() > 0);
    /// assert_eq!((heap.stats().small, heap.stats().free), (0, 0));
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn release(&mut self) -> usize {
        self.flush();
        self.heap.release()
    }
}

impl<S: PageSource> Drop for Cache<'_, S> {
    fn drop(&mut self) {
        self.flush();
    }
}

// SAFETY: a cache refers to its spans by number and lists, not to any thread; whoever moves it to
// another thread synchronises, and the heap is shared.
unsafe impl<S: PageSource + Sync> Send for Cache<'_, S> {}
