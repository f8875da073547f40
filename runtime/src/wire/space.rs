//! [`Cells`]: collected objects in the allocator's spans. gc-core's `Space` with alloc-core's
//! collected cells.
//!
//! A *kind* of gc-core becomes a *class* of alloc-core: the kind's address is the class's word of the
//! owner's, so a cell's address leads to its span, the span to its class, the class to its kind. A
//! kind's slices have one class per size.
//!
//! # Which class
//!
//! Each cache remembers the classes it met last, in a table by kind and size. On a miss the list of
//! all classes is searched, and a class is made if there is none. Two Ps that miss at once make
//! two equal classes: a little memory, no lock, and no allocation but alloc-core's own, which is
//! what a call inside the runtime may do.
//!
//! # Inside the runtime
//!
//! alloc-core's locks are held for a few instructions, by callers inside the runtime. The driver of a
//! cycle may be a goroutine, and one that is preempted while it holds such a lock would stop every P;
//! so what it does here, it does inside the runtime as well, one span at a time. Handlers of signals
//! allocate meanwhile without such a lock ([`with_locks`]).

use std::fmt;
use std::ptr::NonNull;

use alloc_core::managed::{self, CellRef, ClassRef, ClassSpec, ManagedCache, Spoilt};
use alloc_core::pages::os::Os;
use alloc_core::{Heap, global};
use gc_core::space::{Exhausted, Kind, Marked, Meter, Space, Taken, Usage};

use super::alloc::with_locks;
use crate::table::try_filled;
use crate::trace::say;

/// Classes that a cache remembers.
const MEMORY: usize = 256;

/// Bytes up to which a class is cut to the exact size.
const EXACT: usize = 128;

/// The number of alloc-core's first cycle, counted as gc-core counts.
const FIRST_CYCLE: u64 = 1;

/// Collected cells of the process's heap. There is one value of it at a time: the heap's cycles have
/// one driver.
#[derive(Debug)]
pub struct Cells {
    heap: &'static Heap<Os>,
}

impl Cells {
    pub(crate) fn new() -> Self {
        Cells { heap: global::heap() }
    }

    /// Fills what dies with poison, from now on and in spans that are made from now on; a cell that was written
    /// to since its death ends the process, with the type that it held. `GODEBUG=gcpoison=1` turns it on before
    /// there is any.
    pub fn set_poison(&self, on: bool) {
        with_locks(|| self.heap.poison_managed(on.then_some(end as fn(&Spoilt))));
    }

    /// Spans that wait for their sweep.
    pub(super) fn unswept(&self) -> usize {
        with_locks(|| self.heap.managed_stats()).unswept
    }

    /// # Safety
    ///
    /// `cell` was taken from here and is still allocated.
    #[inline]
    unsafe fn find(&self, cell: NonNull<u8>) -> CellRef<'static> {
        // SAFETY: promised by the caller.
        let found = unsafe { self.heap.find(cell.as_ptr().addr()) };
        debug_assert!(found.is_some(), "{cell:p} is no collected cell");
        // SAFETY: allocated cells lie in collected spans, which the page map knows.
        unsafe { found.unwrap_unchecked() }
    }

    /// Takes a cell from a span that the cache does not hold yet.
    ///
    /// # Safety
    ///
    /// As [`take`](Space::take), with the size of a class and alloc-core's number of the cycle.
    #[cold]
    unsafe fn take_slow(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        size: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        let Cache { cells, known, meter } = cache;
        let (taken, took) = meter.time(|| {
            with_locks(|| {
                let class = known.class(self, kind, size)?;
                // SAFETY: the class is of this heap, and the rest is the caller's.
                unsafe { cells.take(class, cycle) }.map_err(|_| Exhausted)
            })
        });
        let managed::Taken { cell, bytes, .. } = taken?;
        Ok(Taken { cell, bytes, slow: Some(took) })
    }

    /// The class of objects of this kind and size, found or made.
    #[cold]
    fn class(&self, kind: &'static Kind, size: usize) -> Result<ClassRef<'static>, Exhausted> {
        let spec = ClassSpec {
            size,
            align: kind.align,
            drop: kind.drop.is_some(),
            owner: std::ptr::from_ref(kind).expose_provenance(),
        };
        if let Some(class) = self.heap.classes().find(|class| *class.spec() == spec) {
            return Ok(class);
        }
        self.heap.class(spec).map_err(|_| Exhausted)
    }
}

/// Ends the process because of somebody who holds a pointer to the dead.
fn end(spoilt: &Spoilt) {
    say(format_args!("gc: {spoilt}, which held {}", (kind_in(&spoilt.class).name)()));
    std::process::abort();
}

/// What lies in cells of this class.
#[inline]
fn kind_of(class: ClassRef<'_>) -> &'static Kind {
    kind_in(class.spec())
}

#[inline]
fn kind_in(class: &ClassSpec) -> &'static Kind {
    // SAFETY: all classes of the process's heap are made by `Cells::class`, from a kind that lives
    // for ever.
    unsafe { &*std::ptr::with_exposed_provenance(class.owner) }
}

/// The size of a class for objects of `bytes` bytes: exact for small ones; beyond, in steps of an
/// eighth of a power of two, so that slices of all lengths need few classes.
#[inline(always)]
fn class_bytes(bytes: usize) -> usize {
    if bytes > isize::MAX as usize / 4 {
        // No memory could hold it, and `class` says so.
        return bytes;
    }
    let step = match bytes {
        0..8 => 2,
        8..=EXACT => 8,
        _ => bytes.next_power_of_two() / 8,
    };
    bytes.max(1).next_multiple_of(step)
}

/// A cycle's number as alloc-core counts.
fn cycle_of(cycle: u64) -> u64 {
    cycle - FIRST_CYCLE
}

#[derive(Clone, Copy)]
struct Known {
    kind: *const Kind,
    size: usize,
    class: ClassRef<'static>,
}

/// Classes that were met last, by kind and size.
struct Memory(Box<[Option<Known>; MEMORY]>);

/// What a P keeps for allocation.
pub struct Cache {
    cells: ManagedCache<'static, Os>,
    known: Memory,
    meter: Meter,
}

// SAFETY: classes are shared, and the spans belong to whoever has the cache.
unsafe impl Send for Cache {}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("cells", &self.cells).finish_non_exhaustive()
    }
}

impl Memory {
    fn class(
        &mut self,
        cells: &Cells,
        kind: &'static Kind,
        size: usize,
    ) -> Result<ClassRef<'static>, Exhausted> {
        let place = (std::ptr::from_ref(kind).addr() >> 4) ^ (size >> 3);
        let known = &mut self.0[place % MEMORY];
        if let Some(known) = known
            && std::ptr::eq(known.kind, kind)
            && known.size == size
        {
            return Ok(known.class);
        }
        let class = cells.class(kind, size)?;
        *known = Some(Known { kind, size, class });
        Ok(class)
    }
}

// SAFETY:
// 1. and 2. alloc-core's `take` promises both; the cycles are numbered alike but for the start.
// 3. alloc-core's `begin_cycle`, `permit_sweep`, `sweep` and `doomed` promise it.
// 4. Marks are atomic bits of the span's record, which stays while a cell of it is allocated; alloc-core's `mark`
//    and `marked` promise what `marked` does.
// 5. alloc-core is `no_std` and calls no allocator; its locks are held inside the runtime alone.
unsafe impl Space for Cells {
    type Cache = Cache;

    fn cache(&self) -> Result<Cache, Exhausted> {
        let known = Memory(try_filled(|| None).ok_or(Exhausted)?);
        Ok(Cache { cells: self.heap.managed_cache(), known, meter: Meter::default() })
    }

    #[inline(always)]
    unsafe fn take_cached(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Option<Taken> {
        let owner = std::ptr::from_ref(kind).addr();
        // SAFETY: the caller's operation, under way since it read the cycle, keeps hand 4 of the next
        // one from ending. Classes of one kind and size are equal: the kind says the rest.
        let taken = unsafe { cache.cells.take_cached(owner, class_bytes(bytes), cycle_of(cycle)) }?;
        Some(Taken { cell: taken.cell, bytes: taken.bytes, slow: None })
    }

    #[inline(always)]
    unsafe fn take(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        // SAFETY: the caller's.
        match unsafe { self.take_cached(cache, kind, bytes, cycle) } {
            Some(taken) => Ok(taken),
            // SAFETY: as in `take_cached`.
            None => unsafe { self.take_slow(cache, kind, class_bytes(bytes), cycle_of(cycle)) },
        }
    }

    #[inline]
    unsafe fn kind(&self, cell: NonNull<u8>) -> &'static Kind {
        // SAFETY: the caller's.
        kind_of(unsafe { self.find(cell) }.class())
    }

    unsafe fn bytes(&self, cell: NonNull<u8>) -> usize {
        // SAFETY: the caller's.
        unsafe { self.find(cell) }.class().cell_bytes()
    }

    #[inline]
    unsafe fn mark(&self, cell: NonNull<u8>) -> Option<Marked> {
        // SAFETY: the caller's.
        let cell = unsafe { self.find(cell) };
        cell.mark().then(|| {
            let class = cell.class();
            Marked { kind: kind_of(class), bytes: class.cell_bytes() }
        })
    }

    #[inline]
    unsafe fn foresee(&self, cell: NonNull<u8>) {
        self.heap.prefetch_cell(cell.as_ptr().addr());
    }

    #[inline]
    unsafe fn approach(&self, cell: NonNull<u8>) {
        self.heap.prefetch_marks(cell.as_ptr().addr());
    }

    #[inline]
    unsafe fn is_marked(&self, cell: NonNull<u8>) -> bool {
        // SAFETY: the caller's.
        unsafe { self.find(cell) }.is_marked()
    }

    unsafe fn is_of_cycle(&self, cell: NonNull<u8>, cycle: u64) -> bool {
        // SAFETY: the caller's.
        unsafe { self.find(cell) }.is_of_cycle(cycle_of(cycle))
    }

    unsafe fn open(&self, cycle: u64) {
        // SAFETY: the caller drives the only heap on these cells.
        with_locks(|| unsafe { self.heap.begin_cycle(cycle_of(cycle)) });
    }

    unsafe fn permit(&self) {
        // SAFETY: the caller's.
        unsafe { self.heap.permit_sweep() };
    }

    fn sweep(&self, spans: usize) -> bool {
        (0..spans).any(|_| with_locks(|| self.heap.sweep(1)))
    }

    fn destruct(&self, each: &mut dyn FnMut(NonNull<u8>, &'static Kind)) -> usize {
        let Some(doomed) = with_locks(|| self.heap.doomed()) else { return 0 };
        let (count, kind) = (doomed.len(), kind_of(doomed.class()));
        doomed.for_each(|cell| each(cell, kind));
        // SAFETY: the destructors have run.
        with_locks(|| unsafe { doomed.free() });
        count
    }

    unsafe fn marked(
        &self,
        place: usize,
        each: &mut dyn FnMut(NonNull<u8>, &'static Kind),
    ) -> Option<usize> {
        // A place is an address. SAFETY: the caller's.
        unsafe { self.heap.marked(place, |cell| each(cell.start(), kind_of(cell.class()))) }
    }

    fn usage(&self) -> Usage {
        let stats = with_locks(|| self.heap.managed_stats());
        Usage { held_bytes: self.heap.stats().managed, spans: stats.spans, doomed: stats.doomed }
    }
}
