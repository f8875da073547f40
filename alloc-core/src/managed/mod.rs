//! Collected cells: classes made at run time, mark bits, lazy sweep. The collector is not here.
//!
//! This module gives a tracing collector its heap and knows neither roots nor edges nor threads.
//! The collector's cycle meets it at four points:
//!
//! ```text
//!   begin_cycle(c)    marks of all spans now tell what lived in the cycle before; from here on
//!                     cells are taken for cycle c, from fresh spans only
//!   permit_sweep()    nobody takes cells for the cycle before any more: spans may be swept
//!   sweep(n) …        until it says that no span waits; takers sweep too, as they need cells
//!   mark(cell) …      after the sweep is complete and before the next begin_cycle
//! ```
//!
//! Sweep calls nobody. Dead cells of classes with destructors become *doomed*: they stay allocated,
//! [`Heap::doomed`] hands them out span by span, and they are free when the collector
//! says that their destructors have run.
//!
//! The bits of a span are in `part`, who may touch a span in [`sweepgen`], the lists in `class`,
//! the per-thread part in `cache`.
//!
//! # Locks
//!
//! Order: the registry's lock or that of the doomed list, a class's, a span's; then the page heap and the
//! records' area.
//!
//! Source: Go's `mcentral.go`, `mgcsweep.go`, `mbitmap.go`; we differ where Go stops the world.

mod cache;
mod class;
pub(crate) mod part;
pub mod sweepgen;

use core::{fmt, marker::PhantomData, ptr, ptr::NonNull};

pub use cache::{ManagedCache, Taken};
pub use class::{ClassRef, ClassSpec};

use crate::{
    Error, Heap, page_heap,
    pages::PageSource,
    span::{Kind, SpanPtr},
    stats::Counter,
    sync::{AtomicPtr, AtomicU64, Lock, Ordering, const_fn},
};
use class::Class;
use part::{Bits, Part, PartPtr, Swept};
use sweepgen::Generation;

/// Unswept spans that a taker sweeps before it asks for a fresh one; as Go's `spanBudget`.
const TAKER_SWEEPS: usize = 100;

/// Pools of records by the power of two of their words.
const POOLS: usize = 5;

/// What the heap knows of collected spans.
#[derive(Debug)]
pub(crate) struct Managed {
    registry: Lock<Registry>,
    /// The newest class; classes never go.
    newest: AtomicPtr<Class>,
    /// Number of the current cycle, and of the one whose spans may be swept.
    cycle: AtomicU64,
    permitted: AtomicU64,
    /// Spans that wait for this cycle's sweep or are being swept.
    waiting: Counter,
    spans: Counter,
    doomed: Lock<Option<PartPtr>>,
    doomed_cells: Counter,
}

#[derive(Debug)]
struct Registry {
    classes: usize,
    pools: [Option<PartPtr>; POOLS],
}

impl Managed {
    const_fn! {
        pub(crate) fn new() -> Self {
            Managed {
                registry: Lock::new(Registry { classes: 0, pools: [None; POOLS] }),
                newest: AtomicPtr::new(ptr::null_mut()),
                cycle: AtomicU64::new(0),
                permitted: AtomicU64::new(0),
                waiting: Counter::new(),
                spans: Counter::new(),
                doomed: Lock::new(None),
                doomed_cells: Counter::new(),
            }
        }
    }

    fn now(&self) -> Generation {
        // Acquire: pairs with the Release in `begin_cycle`.
        Generation::of(self.cycle.load(Ordering::Acquire))
    }

    /// True if spans may be swept for `now`.
    fn may_sweep(&self, now: Generation) -> bool {
        // Acquire: pairs with the Release in `permit_sweep`: what the last takers of the old cycle
        // did is visible, through the collector's handshake.
        self.now() == now && Generation::of(self.permitted.load(Ordering::Acquire)) == now
    }
}

/// What collected spans hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagedStats {
    /// Spans.
    pub spans: usize,
    /// Spans that wait for this cycle's sweep.
    pub unswept: usize,
    /// Cells that wait for their destructor.
    pub doomed: usize,
    /// Classes.
    pub classes: usize,
}

impl<S: PageSource> Heap<S> {
    /// Makes a class. It is never taken away.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or [`Error::TooLarge`] for a size no heap could serve.
    ///
    /// ```
    /// use alloc_core::{Heap, managed::ClassSpec, pages::os::Os};
    /// let heap = Heap::new(Os::new());
    /// let spec = ClassSpec { size: 20, align: 4, noscan: true, drop: false, owner: 7 };
    /// let class = heap.class(spec).unwrap();
    /// assert_eq!((class.cell_bytes(), class.spec().owner), (24, 7));
    /// ```
    pub fn class(&self, spec: ClassSpec) -> Result<ClassRef<'_>, Error> {
        let mut registry = self.managed.registry.lock();
        // Relaxed: written under the lock that we hold.
        let older = self.managed.newest.load(Ordering::Relaxed);
        let class = Class::new(spec, registry.classes, self.managed.now(), older)?;
        let (size, align) = (size_of::<Class>(), align_of::<Class>());
        let at = self.meta.alloc(self.source(), size, align).ok_or(Error::OutOfMemory)?.cast();
        // SAFETY: fresh memory for a class.
        unsafe { at.write(class) };
        registry.classes += 1;
        // Release: publishes the record; pairs with the Acquire in `classes`.
        self.managed.newest.store(at.as_ptr(), Ordering::Release);
        // SAFETY: written above, and records live as long as the heap.
        Ok(unsafe { ClassRef::from_raw(at) })
    }

    /// All classes, the newest first.
    pub fn classes(&self) -> Classes<'_> {
        // Acquire: pairs with the Release in `class`.
        Classes { next: self.managed.newest.load(Ordering::Acquire), heap: PhantomData }
    }

    /// Begins cycle `cycle`: all spans now wait to be swept, once that is permitted.
    ///
    /// # Safety
    ///
    /// One thread drives the cycles of this heap. `cycle` is one more than the last; every span was
    /// swept in the last one; and nobody marks from now until [`Heap::sweep`] is done.
    pub unsafe fn begin_cycle(&self, cycle: u64) {
        let managed = &self.managed;
        debug_assert_eq!(managed.waiting.get(), 0, "spans of the last cycle are not swept");
        let _held = managed.registry.lock();
        // Release: pairs with the Acquire in `now`.
        managed.cycle.store(cycle, Ordering::Release);
        let now = Generation::of(cycle);
        for class in self.classes() {
            let record = class.record();
            let mut spans = record.spans.lock();
            let waiting = spans.open(now);
            record.unswept.add(waiting);
            managed.waiting.add(waiting);
        }
    }

    /// Allows spans to be swept for the current cycle.
    ///
    /// # Safety
    ///
    /// No thread takes a cell for an earlier cycle any more, and the caller has synchronised with
    /// all that did.
    pub unsafe fn permit_sweep(&self) {
        let managed = &self.managed;
        // Relaxed: only the driver of the cycles writes it, and that is the caller.
        let cycle = managed.cycle.load(Ordering::Relaxed);
        // Release: hands the caller's synchronisation on to sweepers; pairs with `may_sweep`.
        managed.permitted.store(cycle, Ordering::Release);
    }

    /// Sweeps up to `spans` spans, if that is permitted; true when none waits or is being swept.
    pub fn sweep(&self, spans: usize) -> bool {
        let now = self.managed.now();
        let mut left = if self.managed.may_sweep(now) { spans } else { 0 };
        for class in self.classes() {
            while left > 0 {
                let Some((part, swept)) = self.sweep_one(class, now) else { break };
                self.relist(class, part, swept, now);
                left -= 1;
            }
        }
        self.managed.waiting.get() == 0
    }

    /// Claims and sweeps the next span of a class that waits; it is on no list then.
    fn sweep_one(&self, class: ClassRef<'_>, now: Generation) -> Option<(PartPtr, Swept)> {
        let part = self.claim_unswept(class, now)?;
        let swept = part.sweep(class.spec().drop);
        if swept.doomed > 0 {
            self.doom(part, swept.doomed as usize);
        }
        Some((part, swept))
    }

    fn claim_unswept(&self, class: ClassRef<'_>, now: Generation) -> Option<PartPtr> {
        let record = class.record();
        // Most classes are done early in a cycle; who misses a span just listed finds it next time.
        if record.unswept.get() == 0 {
            return None;
        }
        let mut spans = record.spans.lock();
        if spans.now != now {
            return None;
        }
        while let Some(part) = spans.unswept.first() {
            spans.unswept.remove(part);
            record.unswept.sub(1);
            if part.state.claim(now) {
                return Some(part);
            }
            // Made for this cycle just before it was opened: nothing to sweep.
            debug_assert!(part.state.is_of(now), "unswept spans are in nobody's hands");
            spans.list(part, false);
            self.managed.waiting.sub(1);
        }
        None
    }

    /// Ends the sweep of a span: frees its pages if no cell is left, else lists it.
    fn relist(&self, class: ClassRef<'_>, part: PartPtr, swept: Swept, now: Generation) {
        let mut spans = class.record().spans.lock();
        if swept.live == 0 {
            spans.total -= 1;
            drop(spans);
            self.free_part(part);
        } else {
            part.state.finish(now);
            spans.list(part, (swept.live as usize) < class.record().geometry.capacity);
        }
        self.managed.waiting.sub(1);
    }

    /// A span of `class` for a cache that allocates in `now`.
    fn cached_part(&self, class: ClassRef<'_>, now: Generation) -> Result<PartPtr, Error> {
        if let Some(part) = claim_partial(class, now) {
            return Ok(part);
        }
        if self.managed.may_sweep(now) {
            for _ in 0..TAKER_SWEEPS {
                let Some((part, swept)) = self.sweep_one(class, now) else { break };
                self.relist(class, part, swept, now);
                if let Some(part) = claim_partial(class, now) {
                    return Ok(part);
                }
            }
        }
        self.fresh_part(class, now)
    }

    /// Gives up a span that a cache took in `then`.
    fn uncache(&self, class: ClassRef<'_>, part: PartPtr, then: Generation) {
        let mut spans = class.record().spans.lock();
        if spans.now != then || !part.state.uncache(then) {
            // A cycle has begun since. The span is in the hands of its sweepers.
            return;
        }
        if part.unreserve() {
            spans.offer(part);
        }
    }

    fn fresh_part(&self, class: ClassRef<'_>, now: Generation) -> Result<PartPtr, Error> {
        let record = class.record();
        let geometry = &record.geometry;
        let words = geometry.words();
        let at = self.part_memory(words)?;
        let taken = self.take(geometry.pages, geometry.align, Kind::Managed);
        let span = match taken {
            Ok(page_heap::Taken { span, .. }) => span,
            Err(error) => {
                self.pool_memory(at, words);
                return Err(error);
            }
        };
        span.set_owner(0);
        span.set_cells(0, geometry.cell, geometry.magic, geometry.capacity);
        // SAFETY: `at` is memory of a record for so many words, and no live record.
        let part = unsafe { Part::create(at, words, span, class.as_non_null(), now) };
        // Release: publishes the record to whoever finds it by a wild pointer; pairs with `part_of`.
        span.part.store(part.as_non_null().as_ptr(), Ordering::Release);
        span.set_kind(Kind::Managed);
        self.map_all(span);
        self.managed.spans.add(1);
        self.list_fresh(class, part, now);
        Ok(part)
    }

    fn list_fresh(&self, class: ClassRef<'_>, part: PartPtr, now: Generation) {
        let mut spans = class.record().spans.lock();
        spans.total += 1;
        if now < spans.now {
            // The caller acts on the cycle before: the span is stale at birth.
            spans.unswept.push(part);
            class.record().unswept.add(1);
            self.managed.waiting.add(1);
        } else {
            spans.list(part, false);
        }
    }

    fn free_part(&self, part: PartPtr) {
        let span = part.span();
        self.managed.spans.sub(1);
        // Relaxed: nobody holds a cell of the span any more.
        span.part.store(ptr::null_mut(), Ordering::Relaxed);
        self.pool_memory(part.as_non_null(), part.words());
        self.free_span(span);
    }

    fn part_memory(&self, words: usize) -> Result<NonNull<Part>, Error> {
        let mut registry = self.managed.registry.lock();
        let pool = &mut registry.pools[words.trailing_zeros() as usize];
        if let Some(part) = *pool {
            *pool = part.next.take();
            return Ok(part.as_non_null());
        }
        let at = self.meta.alloc(self.source(), part::bytes(words), align_of::<Part>());
        at.map(NonNull::cast).ok_or(Error::OutOfMemory)
    }

    fn pool_memory(&self, at: NonNull<Part>, words: usize) {
        let mut registry = self.managed.registry.lock();
        // SAFETY: a record of this heap; its link is the pool's from here on.
        let part = unsafe { PartPtr::from_raw(at) };
        part.prev.set(None);
        part.next.set(registry.pools[words.trailing_zeros() as usize].replace(part));
    }

    /// Notes that a span has newly doomed cells.
    fn doom(&self, part: PartPtr, cells: usize) {
        self.managed.doomed_cells.add(cells);
        let mut list = self.managed.doomed.lock();
        if !part.in_doomed.replace(true) {
            part.doomed_next.set(list.replace(part));
        }
    }

    /// Hands out the doomed cells of one span: objects that are dead and wait for their destructor.
    ///
    /// What else is doomed in this span comes after these are freed; other spans may be served by
    /// other threads meanwhile.
    pub fn doomed(&self) -> Option<Doomed<'_, S>> {
        let part = {
            let mut list = self.managed.doomed.lock();
            let part = (*list)?;
            *list = part.doomed_next.take();
            part
        };
        Some(Doomed { heap: self, part, cells: part.doomed_cells() })
    }

    /// The collected cell that `address` points to or into.
    ///
    /// # Safety
    ///
    /// The cell is allocated and stays so while the result is used, or no span is swept
    /// meanwhile.
    #[inline]
    pub unsafe fn find(&self, address: usize) -> Option<CellRef<'_>> {
        let span = self.map.get(address)?;
        let part = part_of(span)?;
        if !(span.base()..span.end()).contains(&address) {
            return None;
        }
        let index = span.index(address);
        (index < span.capacity() as usize).then_some(CellRef { part, index, heap: PhantomData })
    }

    /// Calls `each` for every cell that is allocated and not doomed.
    ///
    /// # Safety
    ///
    /// Nobody takes or sweeps meanwhile, nor does `each`.
    pub unsafe fn walk(&self, mut each: impl FnMut(CellRef<'_>)) {
        for class in self.classes() {
            let spans = class.record().spans.lock();
            for list in [&spans.unswept, &spans.partial, &spans.rest] {
                let mut at = list.first();
                while let Some(part) = at {
                    for_each(&part.live(), |index| {
                        each(CellRef { part, index, heap: PhantomData });
                    });
                    at = part.next.get();
                }
            }
        }
    }

    /// Counts of collected spans and cells.
    pub fn managed_stats(&self) -> ManagedStats {
        ManagedStats {
            spans: self.managed.spans.get(),
            unswept: self.managed.waiting.get(),
            doomed: self.managed.doomed_cells.get(),
            classes: self.managed.registry.lock().classes,
        }
    }
}

/// Takes a swept span with free cells for a cache.
fn claim_partial(class: ClassRef<'_>, now: Generation) -> Option<PartPtr> {
    let mut spans = class.record().spans.lock();
    if spans.now != now {
        return None;
    }
    let part = spans.partial.first()?;
    spans.partial.remove(part);
    let cached = part.state.cache(now);
    debug_assert!(cached, "spans with free cells are swept and in no cache");
    spans.list(part, false);
    Some(part)
}

fn part_of(span: SpanPtr) -> Option<PartPtr> {
    if span.kind() != Kind::Managed {
        return None;
    }
    // Acquire: pairs with the Release in `fresh_part`.
    let part = NonNull::new(span.part.load(Ordering::Acquire))?;
    // SAFETY: span records point to records of their own heap.
    Some(unsafe { PartPtr::from_raw(part) })
}

fn for_each(bits: &Bits, mut each: impl FnMut(usize)) {
    for (word, &bits) in bits.iter().enumerate() {
        let mut left = bits;
        while left != 0 {
            each(word * 64 + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
}

/// Iterator over the classes of a heap.
#[derive(Clone)]
pub struct Classes<'h> {
    next: *mut Class,
    heap: PhantomData<&'h Class>,
}

impl fmt::Debug for Classes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<'h> Iterator for Classes<'h> {
    type Item = ClassRef<'h>;

    fn next(&mut self) -> Option<ClassRef<'h>> {
        // SAFETY: classes are written once and live as long as the heap.
        let class = unsafe { ClassRef::from_raw(NonNull::new(self.next)?) };
        // Relaxed: constant, and published with the record.
        self.next = class.record().older.load(Ordering::Relaxed);
        Some(class)
    }
}

/// A collected cell.
#[derive(Clone, Copy)]
pub struct CellRef<'h> {
    part: PartPtr,
    index: usize,
    heap: PhantomData<&'h Class>,
}

impl fmt::Debug for CellRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellRef").field("start", &self.start()).finish_non_exhaustive()
    }
}

impl<'h> CellRef<'h> {
    /// The first byte of the cell.
    pub fn start(&self) -> NonNull<u8> {
        let address = self.part.span().cell_at(self.index);
        // SAFETY: cells lie in mapped pages, never at address zero.
        unsafe { NonNull::new_unchecked(address as *mut u8) }
    }

    /// The cell's class.
    pub fn class(&self) -> ClassRef<'h> {
        // SAFETY: a record's class is a class of the same heap, never null.
        unsafe { ClassRef::from_raw(NonNull::new_unchecked(self.part.class_ptr())) }
    }

    /// Sets the mark; true if it was clear: for one caller per cell and cycle.
    ///
    /// The marks order nothing; the object is published by other means.
    pub fn mark(&self) -> bool {
        self.part.mark(self.index)
    }

    /// Whether the mark is set.
    pub fn is_marked(&self) -> bool {
        self.part.is_marked(self.index)
    }

    /// Whether the cell's span was swept or made for `cycle`.
    pub fn is_of_cycle(&self, cycle: u64) -> bool {
        self.part.state.is_of(Generation::of(cycle))
    }
}

/// The doomed cells of a span, while their destructors run.
///
/// Sweeps may go on beside. If it is dropped without [`Doomed::free`], the cells stay allocated for
/// ever, and so do those of the same span that are doomed later.
#[must_use = "cells that are not freed stay allocated for ever"]
pub struct Doomed<'h, S> {
    heap: &'h Heap<S>,
    part: PartPtr,
    cells: Bits,
}

impl<S> fmt::Debug for Doomed<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doomed").field("cells", &self.cells).finish_non_exhaustive()
    }
}

impl<'h, S: PageSource> Doomed<'h, S> {
    /// The class of all these cells.
    pub fn class(&self) -> ClassRef<'h> {
        // SAFETY: the class of a record of this heap; the cells keep the record alive.
        unsafe { ClassRef::from_raw(NonNull::new_unchecked(self.part.class_ptr())) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cells.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().all(|&word| word == 0)
    }

    /// Calls `each` with the first byte of each cell.
    pub fn for_each(&self, mut each: impl FnMut(NonNull<u8>)) {
        let (part, heap) = (self.part, PhantomData);
        for_each(&self.cells, |index| each(CellRef { part, index, heap }.start()));
    }

    /// Frees the cells.
    ///
    /// # Safety
    ///
    /// Each cell's destructor has run, or need not, and nobody uses the cells any more.
    pub unsafe fn free(self) {
        let class = self.class();
        let (managed, part) = (&self.heap.managed, self.part);
        managed.doomed_cells.sub(self.len());
        {
            let mut list = managed.doomed.lock();
            part.free_doomed(&self.cells, |more| {
                part.in_doomed.set(more);
                if more {
                    part.doomed_next.set(list.replace(part));
                }
            });
        }
        let mut spans = class.record().spans.lock();
        // The sweeper may have freed the span since, and another class may have the record.
        if ptr::eq(part.class_ptr(), class.record()) {
            spans.offer(part);
        }
    }
}
