//! The shared part: page map, page heap, centrals; everything behind the caches.
//!
//! A [`Heap`] owns all its memory and gives it back when it is dropped. It borrows nothing from
//! anyone but its [`PageSource`], so any number of heaps live side by side.
//!
//! ```text
//!   Cache ──▶ Central (a lock per class) ──▶ Pages (one lock) ──▶ PageSource
//!     │ no lock      ▲                         ▲
//!     └─ frees by others: a word in the span ──┘ deferred: a lock-free set
//! ```
//!
//! # Locks
//!
//! Order: the scavenger's hands, a central, then the page heap, then the records' area. None of them but the
//! first is held over the system calls that give memory back (see `scavenge`): it is the lock of those who do
//! that, and of forks.
//!
//! Blocks with pages of their own are in `large`, frees by who has no cache in `lone`.

mod large;
mod lone;

use core::ptr::{self, NonNull};

use crate::{
    Cache, Error, Stats,
    central::Central,
    harden::Hardened,
    large_cache::LargeCache,
    magazine::SlotPool,
    managed::Managed,
    meta::Meta,
    owned,
    page_cache::PageCache,
    page_heap::pages::{Pages, Parts, Taken},
    page_map::{PageMap, shares_lines},
    pages::PageSource,
    profile::{self, Profile},
    size_class::{CLASSES, PAGE, TABLE},
    span::{Kind, Span, SpanPtr},
    span_set::SpanSet,
    stack::Guards,
    stats::Counters,
    sync::{AtomicPtr, AtomicUsize, Lock, LockGuard, Ordering, array_of, const_fn},
    undisturbed::Undisturbed,
};

/// What a process has around its heap: the caches of its threads, and the heap for who has none.
#[derive(Debug)]
pub(crate) struct Around {
    /// Frees a block that is not this heap's; says whether it knew it.
    pub(crate) free: unsafe fn(NonNull<u8>) -> bool,
    /// Empties caches that nobody uses, those that lay idle or all, and gives back what rests in the other heap.
    /// Returns whether there is something to be done at the next step.
    pub(crate) give_back: fn(bool) -> bool,
    /// Bytes that the other heap holds. Takes no lock.
    pub(crate) held: fn() -> usize,
    /// Whether something may rest there.
    pub(crate) rests: fn() -> bool,
}

/// A heap over one source of pages.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os};
/// use std::alloc::Layout;
///
/// let heap = Heap::new(Os::new());
/// let mut cache = heap.cache();
/// let block = cache.alloc(Layout::new::<u64>()).unwrap();
/// // SAFETY: the block is ours, of eight bytes, and freed once.
/// unsafe {
///     block.cast::<u64>().write(42);
///     cache.free(block);
/// }
/// ```
pub struct Heap<S: PageSource> {
    source: S,
    pub(crate) map: PageMap,
    pub(crate) meta: Meta,
    pub(crate) pages: Lock<Pages<S::Index>>,
    pub(crate) centrals: [Central; CLASSES],
    /// Large spans that were just freed.
    pub(crate) larges: LargeCache<Span>,
    /// Spans that were freed while the page heap was busy.
    deferred: SpanSet<Span>,
    /// Number of the last cache. Any thread adds.
    caches: AtomicUsize,
    pub(crate) counters: Counters,
    pub(crate) guards: Guards,
    pub(crate) managed: Managed,
    /// The process whose scavenger has this heap; 0 for none.
    pub(crate) scavenged: AtomicUsize,
    /// Held by who has spans, or pages, in hand to give their memory back: a fork waits for it.
    pub(crate) hands: Lock<()>,
    /// Slots for magazines.
    pub(crate) slots: Lock<SlotPool>,
    /// What the process has around its heap; none for others.
    around: Option<&'static Around>,
    /// Null until the heap is hardened. Written under the lock, which a fork takes first.
    pub(crate) hardened: AtomicPtr<Hardened>,
    pub(crate) hardening: Lock<()>,
    /// Null until the heap is profiled.
    pub(crate) profile: AtomicPtr<Profile>,
}

impl<S: PageSource> core::fmt::Debug for Heap<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Heap").finish_non_exhaustive()
    }
}

impl<S: PageSource> Heap<S> {
    const_fn! {
        /// A heap that has no memory yet; it asks `source` at the first allocation.
        pub fn new(source: S) -> Self {
            Heap {
                source,
                map: PageMap::new(),
                meta: Meta::new(),
                pages: Lock::new(Pages::EMPTY),
                centrals: array_of!(Central::new(); CLASSES),
                larges: LargeCache::new(),
                deferred: SpanSet::new(),
                caches: AtomicUsize::new(0),
                counters: Counters::new(),
                guards: Guards::new(),
                managed: Managed::new(),
                scavenged: AtomicUsize::new(0),
                hands: Lock::new(()),
                slots: Lock::new(SlotPool::new()),
                around: None,
                hardened: AtomicPtr::new(ptr::null_mut()),
                hardening: Lock::new(()),
                profile: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// Makes this the heap of a process that has all that around it.
    #[cfg(feature = "global")]
    pub(crate) const fn within(mut self, around: &'static Around) -> Self {
        self.around = Some(around);
        self
    }

    /// The source, for example to tell a [`Fail`](crate::pages::fail::Fail) what to do.
    pub fn source(&self) -> &S {
        &self.source
    }
}

impl<S: PageSource> Heap<S> {
    /// A new, empty cache. It costs no memory until it is used.
    pub fn cache(&self) -> Cache<'_, S> {
        // Relaxed: only the number counts, and each is given once.
        Cache::new(self, self.caches.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn parts(&self) -> Parts<'_, S> {
        Parts {
            source: &self.source,
            meta: &self.meta,
            map: &self.map,
            larges: &self.larges,
            counters: &self.counters,
            around: self.held_around(),
        }
    }

    /// Bytes that the other heap holds.
    fn held_around(&self) -> usize {
        self.around.map_or(0, |around| (around.held)())
    }

    /// The page heap, with all deferred frees done.
    pub(crate) fn pages(&self) -> LockGuard<'_, Pages<S::Index>> {
        let mut pages = self.pages.lock();
        pages.locks += 1;
        self.settle(&mut pages);
        pages
    }

    fn settle(&self, pages: &mut Pages<S::Index>) {
        for span in self.deferred.take_all() {
            // SAFETY: only records of this heap are deferred.
            pages.free(&self.parts(), unsafe { SpanPtr::from_raw(span) });
        }
    }

    /// A run of pages, not known to anyone yet.
    pub(crate) fn take(&self, pages: usize, align: usize, kind: Kind) -> Result<Taken, Error> {
        self.within_limit(pages, || self.pages().take(&self.parts(), pages, align, kind))
    }

    /// Makes a wild pointer into any page of `span` find it, not only its ends.
    pub(crate) fn map_all(&self, span: SpanPtr) {
        let first = span.base() / PAGE;
        self.map.set(first..first + span.pages(), span);
    }

    /// Tells frees whose the cells of `span` are from now on, if they care. By the owner.
    pub(crate) fn has_new_owner(&self, span: SpanPtr) {
        if shares_lines(span.class()) {
            self.map_all(span);
        }
    }

    /// Undoes [`Heap::map_all`] before a large span is given back, whose ends alone the page heap
    /// takes out of the map.
    pub(crate) fn unmap_all(&self, span: SpanPtr) {
        let first = span.base() / PAGE;
        self.map.forget(first..first + span.pages());
    }

    /// Gives a span back; nobody may hold a cell of it.
    pub(crate) fn free_span(&self, span: SpanPtr) {
        profile::leave(span);
        self.pages().free(&self.parts(), span);
    }

    /// A fresh span of a class for the cache `owner`, which has these pages.
    pub(crate) fn small_span(
        &self,
        cached: &mut PageCache,
        class: usize,
        owner: usize,
    ) -> Result<SpanPtr, Error> {
        let geometry = &TABLE[class];
        let pages = usize::from(geometry.manual_pages);
        let Taken { span, zeroed } = cached.take(self, pages, Kind::Small)?;
        let cell = geometry.size as usize;
        span.set_cells(class, cell, geometry.magic, pages * PAGE / cell);
        owned::free_all(span, zeroed);
        span.remote.reset();
        span.set_owner(owner);
        span.set_kind(Kind::Small);
        self.map_all(span);
        Ok(span)
    }

    pub(crate) fn central(&self, class: usize) -> &Central {
        &self.centrals[class]
    }

    /// The bytes that `block` may use, if it is a live block of this heap.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::new::<[u8; 100]>()).unwrap();
    /// assert_eq!(heap.usable_size(block), Some(112));
    /// assert_eq!(heap.usable_size(std::ptr::NonNull::from(&heap).cast()), None);
    /// # unsafe { cache.free(block) };
    /// ```
    pub fn usable_size(&self, block: NonNull<u8>) -> Option<usize> {
        let span = self.map.get(block.as_ptr() as usize)?;
        match span.kind() {
            Kind::Small => Some(span.cell()),
            Kind::Large => Some(span.bytes()),
            Kind::Hardened => Some(self.hardened_size(span)),
            _ => None,
        }
    }

    /// True if this heap manages the page that `block` lies in.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let (one, other) = (Heap::new(Os::new()), Heap::new(Os::new()));
    /// let block = one.cache().alloc(Layout::new::<u64>()).unwrap();
    /// assert!(one.contains(block) && !other.contains(block));
    /// # unsafe { one.cache().free(block) };
    /// ```
    pub fn contains(&self, block: NonNull<u8>) -> bool {
        self.map.get(block.as_ptr() as usize).is_some()
    }

    /// Keeps handlers of signals off this thread, which is about to take locks that allocations take: on the heap of
    /// the process, whose users a handler or a scheduler may interrupt.
    pub(crate) fn undisturbed(&self) -> Option<Undisturbed> {
        self.around.map(|_| Undisturbed::new())
    }

    /// Empties caches that nobody uses, as far as they can be reached, those that lay idle or all, and gives
    /// back what rests in the other heap. Returns whether there is something to be done at the next step.
    pub(crate) fn tidy_around(&self, all: bool) -> bool {
        self.around.is_some_and(|around| (around.give_back)(all))
    }

    /// Whether something may rest in the other heap.
    pub(crate) fn rests_around(&self) -> bool {
        self.around.is_some_and(|around| (around.rests)())
    }

    /// Gives the pages of spans back that no cache has and that have no live cell.
    pub(crate) fn free_idle_spans(&self) {
        for central in &self.centrals {
            while self.free_idle_span(central) {}
        }
    }

    /// Frees one such span, if there is one.
    fn free_idle_span(&self, central: &Central) -> bool {
        let _hands = self.hands.lock();
        central.reap_any().map(|span| self.free_span(span)).is_some()
    }

    /// Bytes that spans and blocks had at most, at one time or another. One load: for whoever asks often.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// let heap = Heap::new(Os::new());
    /// assert_eq!(heap.grown(), 0);
    /// let block = heap.cache().alloc(std::alloc::Layout::new::<[u8; 5 << 20]>()).unwrap();
    /// assert!(heap.grown() >= 5 << 20);
    /// # unsafe { heap.cache().free(block) };
    /// ```
    #[inline]
    pub fn grown(&self) -> usize {
        self.counters.grown.get()
    }

    /// What the heap holds now.
    pub fn stats(&self) -> Stats {
        let _undisturbed = self.undisturbed();
        let pages = self.pages();
        // SAFETY: the cache holds records of this heap.
        let kept = self.larges.iter().map(|span| unsafe { SpanPtr::from_raw(span) }.bytes()).sum();
        // This look is not among them.
        let locks = pages.locks - 1;
        self.counters.stats(&pages.pool, &self.meta, kept, locks).with_emergency(self.held_around())
    }

    /// Takes every lock, in order: before a fork, so that the child finds no lock held by a thread
    /// that it does not have.
    #[cfg_attr(not(feature = "global"), allow(dead_code, reason = "only the global heap forks"))]
    pub(crate) fn lock_all(&self) {
        self.hardening.acquire();
        if let Some(hardened) = self.hardened() {
            hardened.lock_all();
        }
        self.hands.acquire();
        for central in &self.centrals {
            central.acquire();
        }
        self.pages.acquire();
        self.slots.acquire();
        self.meta.acquire();
    }

    /// Undoes [`Heap::lock_all`], in the parent and in the child.
    ///
    /// # Safety
    ///
    /// This thread called `lock_all`, or is the child's copy of the one that did.
    #[cfg_attr(not(feature = "global"), allow(dead_code, reason = "only the global heap forks"))]
    pub(crate) unsafe fn unlock_all(&self) {
        // SAFETY: promised by the caller, for each lock.
        unsafe {
            self.meta.unlock();
            self.slots.release();
            self.pages.release();
            for central in &self.centrals {
                central.unlock();
            }
            self.hands.release();
            if let Some(hardened) = self.hardened() {
                hardened.unlock_all();
            }
            self.hardening.release();
        }
    }
}

impl<S: PageSource> Heap<S> {
    /// Gives all memory back to the source.
    ///
    /// Dropping a heap does *not* do so, as blocks carry no lifetime.
    ///
    /// # Safety
    ///
    /// No block, span or slab of this heap is used any more.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let mut cache = heap.cache();
    /// for _ in 0..1000 {
    ///     cache.alloc(Layout::new::<[u64; 20]>())?; // an arena: nobody frees them one by one
    /// }
    /// drop(cache);
    /// // SAFETY: no block is used any more.
    /// unsafe { heap.destroy() };
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub unsafe fn destroy(mut self) {
        // SAFETY: promised by the caller.
        unsafe { self.meta.release_all(&self.source) }
    }
}
