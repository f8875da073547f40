//! From an address to the span that it lies in.
//!
//! Two levels: a table with an entry for each 64 MiB window of the address space, and for each
//! window in use a *leaf* with an entry per page. The table of the whole 48-bit space is 32 MiB of
//! reserved, mostly untouched memory. A look-up is two dependent loads and takes no lock; it answers
//! `None` for memory of others, so it also tells one heap's blocks from another's.
//!
//! Leaves are made under the page heap's lock; entries are written by whoever holds the pages. A reader needs no
//! more ordering than the one by which it learned of the pointer: whoever was handed a block, was handed it after
//! the entry was written. Readers with wild pointers get some record, which is type-stable, and must check what
//! they find.
//!
//! An entry also tells the size class, if the span has cells of one: in the top seven bits, which no address
//! has. So `free` without a size finds the magazine by two dependent loads and leaves the record alone,
//! which in a program with many live blocks is in nobody's cache.
//!
//! And it tells whose the cells are, if several lie in one line of the processor's caches: in the low six bits, in
//! which the address of a record has zeroes. Threads that write to neighbours in a line take it from each other all
//! the time (*false sharing*), so who frees such a cell of another cache does not hand it out himself
//! (`outgoing`). It is a hint: one cache in 20 is taken for the owner as well, and an entry may be
//! older than the owner.
//!
//! ```text
//!   63      57 56                        6 5          0
//!   class + 1 │ address of the record     │ owner, or 0
//! ```
//!
//! Pages that are in no span have no entry: whoever asks for a block that was freed with its span
//! finds nothing, or the span that lies there now.
//!
//! Source: Go's `mheap.go` (`heapArena`, `spanOf`).

use core::{hint::assert_unchecked, ops::Range, ptr};

use crate::{
    Error,
    meta::Meta,
    pages::PageSource,
    size_class::{CLASSES, PAGE, TABLE},
    span::{Kind, Span, SpanPtr},
    sync::{AtomicPtr, AtomicUsize, Ordering, const_fn},
};

/// Bytes of address space whose pages have their entries in one leaf.
pub(crate) const WINDOW: usize = 64 << 20;
const LEAF_PAGES: usize = WINDOW / PAGE;

/// Where the class lies in an entry. 56 bits are all that a processor with five levels of page tables
/// gives a program.
const CLASS_SHIFT: u32 = 57;

/// Where the owner lies in an entry: records are aligned to 64 bytes.
const OWNER: usize = align_of::<Span>() - 1;

/// The bits of the record's address.
const ADDRESS: usize = (1 << CLASS_SHIFT) - 1 - OWNER;

/// Bytes of a line of the processor's caches.
const LINE: u32 = 64;

/// What caches mark spans with whose cells share lines: three of six bits, so that no mark has all bits of another,
/// and one instruction tells whether a mark has a bit that one's own has not.
const MARKS: [u8; 20] = {
    let (mut marks, mut count, mut bits) = ([0; 20], 0, 0u8);
    while count < marks.len() {
        if bits.count_ones() == 3 {
            marks[count] = bits;
            count += 1;
        }
        bits += 1;
    }
    marks
};

/// The mark of a cache, by its number.
const fn mark(cache: usize) -> usize {
    MARKS[cache % MARKS.len()] as usize
}

/// Bits of which the mark of this cache has none, and every other mark at least one.
pub(crate) const fn bits_of_others(cache: usize) -> usize {
    OWNER & !mark(cache)
}

/// Whether cells of a class share lines with their neighbours, several with one.
pub(crate) fn shares_lines(class: usize) -> bool {
    TABLE[class].size < LINE
}

struct Leaf {
    entries: [AtomicPtr<Span>; LEAF_PAGES],
}

/// What the map knows of a page: see the essay.
#[derive(Clone, Copy)]
pub(crate) struct Entry(*mut Span);

impl Entry {
    const NONE: Self = Entry(ptr::null_mut());

    /// That of a page of `span`: with its class, if it is small by now.
    fn of(span: SpanPtr) -> Self {
        if span.kind() != Kind::Small {
            return Entry(span.as_ptr());
        }
        let class = span.class();
        let owner = if shares_lines(class) { mark(span.owner()) } else { 0 };
        Entry(span.as_ptr().map_addr(|address| address | (class + 1) << CLASS_SHIFT | owner))
    }

    /// Whether the page's cells share lines and are another cache's than that with these [`bits_of_others`].
    #[inline(always)]
    pub(crate) fn is_others(self, bits: usize) -> bool {
        self.0.addr() & bits != 0
    }

    /// The class of the page's cells, if it is in a small span.
    #[inline(always)]
    pub(crate) fn class(self) -> Option<usize> {
        let class = (self.0.addr() >> CLASS_SHIFT).checked_sub(1)?;
        // SAFETY: only `of` makes entries with a class.
        unsafe { assert_unchecked(class < CLASSES) };
        Some(class)
    }

    /// The record.
    #[inline(always)]
    pub(crate) fn span(self) -> Option<SpanPtr> {
        let span = self.0.map_addr(|address| address & ADDRESS);
        // SAFETY: entries are null or records of this heap, which live as long as it.
        ptr::NonNull::new(span).map(|span| unsafe { SpanPtr::from_raw(span) })
    }
}

/// The map. All addresses in it are page numbers: address / [`PAGE`].
#[derive(Debug)]
pub(crate) struct PageMap {
    /// Null until the first growth.
    table: AtomicPtr<AtomicPtr<Leaf>>,
    /// Number of the first window, and of windows: 0 until there is a table.
    first: AtomicUsize,
    len: AtomicUsize,
}

impl PageMap {
    const_fn! {
        pub(crate) fn new() -> Self {
            PageMap {
                table: AtomicPtr::new(ptr::null_mut()),
                first: AtomicUsize::new(0),
                len: AtomicUsize::new(0),
            }
        }
    }

    /// The record whose pages include `address`, if this heap knows the page.
    #[inline(always)]
    pub(crate) fn get(&self, address: usize) -> Option<SpanPtr> {
        self.entry(address).span()
    }

    /// What is known of the page that includes `address`.
    #[inline(always)]
    pub(crate) fn entry(&self, address: usize) -> Entry {
        match self.leaf(address / WINDOW) {
            // Relaxed: see the essay; the pointer itself carries the happens-before edge.
            Some(leaf) => Entry(leaf.entries[address / PAGE % LEAF_PAGES].load(Ordering::Relaxed)),
            None => Entry::NONE,
        }
    }

    /// The first page at or behind `address` that has an entry.
    pub(crate) fn next(&self, mut address: usize) -> Option<(usize, SpanPtr)> {
        // Acquire: as in `leaf`.
        let windows = self.len.load(Ordering::Acquire);
        // Relaxed: written before the length.
        let first = self.first.load(Ordering::Relaxed);
        address = address.max(first * WINDOW) / PAGE * PAGE;
        while address < (first + windows) * WINDOW {
            if self.leaf(address / WINDOW).is_none() {
                address = (address / WINDOW + 1) * WINDOW;
            } else if let Some(span) = self.get(address) {
                return Some((address, span));
            } else {
                address += PAGE;
            }
        }
        None
    }

    #[inline(always)]
    fn leaf(&self, window: usize) -> Option<&Leaf> {
        // Acquire: the table and its first window are read after its length, which is 0 before they are there; pairs
        // with the Release in `prepare_table`.
        let len = self.len.load(Ordering::Acquire);
        // Relaxed, both: see above.
        let index = window.wrapping_sub(self.first.load(Ordering::Relaxed));
        if index >= len {
            return None;
        }
        // SAFETY: `index < len`, and the table has `len` entries that live as long as the heap.
        let entry = unsafe { &*self.table.load(Ordering::Relaxed).add(index) };
        // Acquire: pairs with the Release that installed the leaf. A leaf is zeroed memory, so
        // this edge is what makes its entries readable to wild pointers.
        let leaf = entry.load(Ordering::Acquire);
        // SAFETY: entries are null or leaves that live as long as the heap.
        unsafe { leaf.as_ref() }
    }

    /// Whether the pages around `address` have entries; under the page heap's lock.
    pub(crate) fn has_window(&self, address: usize) -> bool {
        self.leaf(address / WINDOW).is_some()
    }

    /// Makes sure that pages of this address range can be entered; under the page heap's lock.
    pub(crate) fn prepare<S: PageSource>(
        &self,
        source: &S,
        meta: &Meta,
        range: Range<usize>,
    ) -> Result<(), Error> {
        self.prepare_table(source, meta)?;
        for window in range.start / WINDOW..=(range.end - 1) / WINDOW {
            if self.leaf(window).is_none() {
                let leaf = meta
                    .alloc(source, size_of::<Leaf>(), align_of::<Leaf>())
                    .ok_or(Error::OutOfMemory)?;
                // SAFETY: every window of the source's addresses has an entry in the table.
                let entry = unsafe {
                    // Relaxed: written under the lock that we hold.
                    let index = window - self.first.load(Ordering::Relaxed);
                    &*self.table.load(Ordering::Relaxed).add(index)
                };
                // Release: publishes the zeroed leaf; pairs with the Acquire in `leaf`.
                entry.store(leaf.cast().as_ptr(), Ordering::Release);
            }
        }
        Ok(())
    }

    fn prepare_table<S: PageSource>(&self, source: &S, meta: &Meta) -> Result<(), Error> {
        // Relaxed: written under the lock that we hold.
        if !self.table.load(Ordering::Relaxed).is_null() {
            return Ok(());
        }
        let addresses = source.addresses();
        let first = addresses.start / WINDOW;
        let len = addresses.end.div_ceil(WINDOW) - first;
        let table = meta.table(source, len * size_of::<usize>()).ok_or(Error::OutOfMemory)?;
        // Relaxed: published by the next store.
        self.first.store(first, Ordering::Relaxed);
        self.table.store(table.cast().as_ptr(), Ordering::Relaxed);
        // Release: publishes the zeroed table and what its first window is; pairs with the Acquire in `leaf`.
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    /// Enters `span`, and its class if it is small, for all pages of the range, by whoever holds them.
    pub(crate) fn set(&self, pages: Range<usize>, span: SpanPtr) {
        self.enter(pages, Entry::of(span));
    }

    /// Takes the entries away that [`PageMap::set_ends`] made.
    pub(crate) fn forget_ends(&self, span: SpanPtr) {
        let first = span.base() / PAGE;
        self.forget(first..first + 1);
        self.forget(first + span.pages() - 1..first + span.pages());
    }

    /// Takes the entries of the range away, by whoever holds the pages.
    pub(crate) fn forget(&self, pages: Range<usize>) {
        self.enter(pages, Entry::NONE);
    }

    fn enter(&self, pages: Range<usize>, entry: Entry) {
        for page in pages {
            if let Some(leaf) = self.leaf(page / LEAF_PAGES) {
                // Relaxed: handed on with the pointer, see the essay.
                leaf.entries[page % LEAF_PAGES].store(entry.0, Ordering::Relaxed);
            }
        }
    }

    /// Enters `span` for the first and the last page only.
    pub(crate) fn set_ends(&self, span: SpanPtr) {
        let first = span.base() / PAGE;
        self.set(first..first + 1, span);
        self.set(first + span.pages() - 1..first + span.pages(), span);
    }
}
