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
//! The bits of a span are in `part`, how marks are set in `marks`, who may touch a span in `sweepgen`, how far
//! a sweep is in `sweeping`, the lists and who takes what from them in `spans`, what cells are like in `class`,
//! where spans come from and go to in `supply`, poison for free cells in `poison`, the per-thread part in `cache`,
//! what the collector sees of a cell in `cell`.
//!
//! # Locks
//!
//! Order: the registry's lock or that of the doomed list, a class's, a span's; then the page heap and the
//! records' area.
//!
//! Source: Go's `mcentral.go`, `mgcsweep.go`, `mbitmap.go`; we differ where Go stops the world.

#[doc(hidden)]
pub mod apart;
mod cache;
mod cell;
mod class;
#[doc(hidden)]
pub mod marks;
pub(crate) mod part;
mod poison;
mod spans;
mod supply;
#[doc(hidden)]
pub mod sweepgen;
#[doc(hidden)]
pub mod sweeping;

use core::{fmt, marker::PhantomData, ptr, ptr::NonNull};

pub use cache::{ManagedCache, Taken};
pub use cell::{CellRef, Doomed};
pub use class::{ClassRef, ClassSpec};
pub use poison::Spoilt;

use crate::{
    Error, Heap,
    pages::PageSource,
    stats::Counter,
    sync::{AtomicPtr, Lock, Ordering, const_fn},
};
use class::Class;
use part::{PartList, PartPtr, Swept};
use sweepgen::Generation;
use sweeping::Sweeping;

/// Pools of records by the power of two of their words.
const POOLS: usize = 7;

/// What the heap knows of collected spans.
#[derive(Debug)]
pub(crate) struct Managed {
    registry: Lock<Registry>,
    /// The newest class; classes never go.
    newest: AtomicPtr<Class>,
    sweeping: Sweeping,
    spans: Counter,
    doomed: Lock<Option<PartPtr>>,
    doomed_cells: Counter,
}

#[derive(Debug)]
struct Registry {
    classes: usize,
    /// What spans that are made from now on do about writes to free cells.
    poison: Option<poison::Report>,
    pools: [PartList; POOLS],
}

impl Managed {
    const_fn! {
        pub(crate) fn new() -> Self {
            Managed {
                registry: Lock::new(Registry {
                    classes: 0,
                    poison: None,
                    pools: [PartList::EMPTY; POOLS],
                }),
                newest: AtomicPtr::new(ptr::null_mut()),
                sweeping: Sweeping::new(),
                spans: Counter::new(),
                doomed: Lock::new(None),
                doomed_cells: Counter::new(),
            }
        }
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
    /// let spec = ClassSpec { size: 20, align: 4, drop: false, owner: 7 };
    /// let class = heap.class(spec).unwrap();
    /// assert_eq!((class.cell_bytes(), class.spec().owner), (20, 7));
    /// ```
    pub fn class(&self, spec: ClassSpec) -> Result<ClassRef<'_>, Error> {
        let mut registry = self.managed.registry.lock();
        // Relaxed: written under the lock that we hold.
        let older = self.managed.newest.load(Ordering::Relaxed);
        let class = Class::new(spec, registry.classes, self.managed.sweeping.now(), older)?;
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
        let _held = managed.registry.lock();
        managed.sweeping.begin(cycle);
        let now = Generation::of(cycle);
        for class in self.classes() {
            class.record().spans.open(now, &managed.sweeping);
        }
    }

    /// Allows spans to be swept for the current cycle.
    ///
    /// # Safety
    ///
    /// No thread takes a cell for an earlier cycle any more, and the caller has synchronised with
    /// all that did.
    pub unsafe fn permit_sweep(&self) {
        self.managed.sweeping.permit();
    }

    /// Sweeps up to `spans` spans, if that is permitted; true when none waits or is being swept.
    pub fn sweep(&self, spans: usize) -> bool {
        let now = self.managed.sweeping.now();
        let mut left = if self.managed.sweeping.may_sweep(now) { spans } else { 0 };
        for class in self.classes() {
            while left > 0 {
                let Some((part, swept)) = self.sweep_one(class, now) else { break };
                self.relist(class, part, swept, now);
                left -= 1;
            }
        }
        self.managed.sweeping.is_drained()
    }

    /// Claims and sweeps the next span of a class that waits; it is on no list then.
    fn sweep_one(&self, class: ClassRef<'_>, now: Generation) -> Option<(PartPtr, Swept)> {
        let part = class.record().spans.claim_unswept(now)?;
        self.counters.sweeps.add(1);
        let swept = part.sweep(class.spec().drop);
        if swept.doomed > 0 {
            self.doom(part, swept.doomed as usize);
        }
        Some((part, swept))
    }

    /// Ends the sweep of a span: frees its pages if no cell is left, else lists it.
    fn relist(&self, class: ClassRef<'_>, part: PartPtr, swept: Swept, now: Generation) {
        let sweeping = &self.managed.sweeping;
        class.record().spans.relist(part, swept, now, sweeping, |part| self.free_part(part));
    }

    /// Notes that a span has newly doomed cells.
    fn doom(&self, part: PartPtr, cells: usize) {
        self.managed.doomed_cells.add(cells);
        let mut list = self.managed.doomed.lock();
        if !part.in_doomed.replace(true) {
            part.doomed_next.set(list.replace(part));
        }
    }

    /// Counts of collected spans and cells.
    pub fn managed_stats(&self) -> ManagedStats {
        ManagedStats {
            spans: self.managed.spans.get(),
            unswept: self.managed.sweeping.left(),
            doomed: self.managed.doomed_cells.get(),
            classes: self.managed.registry.lock().classes,
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
