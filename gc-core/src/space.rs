//! Where objects lie: the trait between the collector and a typed heap.
//!
//! # Problem
//!
//! The collector knows phases, colours and edges. It does not want to know how memory is cut into
//! cells, and an allocator does not want to know about guards. [`Space`] is the line between
//! them; gc-core declares it, because gc-core is the one that asks.
//!
//! # Words
//!
//! - *Cell*: memory for one object, named by the address of its first byte. A cell never moves.
//! - *Kind*: what the collector must know about an object: how to trace it, how to drop it. A
//!   space keeps cells of one kind together (a *span*, a block), so an object has no header.
//! - *Marked*: the cell's mark bit is set. *White*: it is not.
//! - *Doomed*: found dead by sweep, destructor not yet run. The cell is not free before it has.
//!
//! # The space's part in a cycle
//!
//! ```text
//!   step 7    open(c)      spans of cycles before c hold the marks of the cycle that just ended
//!   7 … 8                  nobody sweeps; `take` for cycle c gives fresh spans only
//!   after 8   permit()     `take` and `sweep` may sweep: white cells become free or doomed,
//!                          marks are cleared, the span is stamped c
//!   before 1  sweep until done
//! ```
//!
//! A span carries the cycle in which it may be allocated from. [`Space::take`] is told the cycle
//! of the caller's reading of the phase word, and must not give a cell of a span with another
//! stamp: a span of an older cycle is yet to be swept, and its sweep would free a white newcomer;
//! a span of a newer cycle has been swept, and a newcomer that is marked by the rules of the old
//! one would stay marked, untraced, through the next.

pub mod blocks;

pub use crate::action::{Meter, Took};

use crate::trace::Tracer;
use core::ptr::NonNull;

/// What the collector must know about objects of one type.
///
/// A kind is no identity: the compiler may duplicate or merge equal ones. A space that keeps equal
/// kinds apart wastes a little memory and nothing else.
#[derive(Debug)]
pub struct Kind {
    /// The type's name, for dumps.
    pub name: fn() -> &'static str,
    /// Alignment in bytes.
    pub align: usize,
    /// Reports all edges of the object in the cell; `None` if it has none.
    pub trace: Option<unsafe fn(NonNull<u8>, &mut Tracer)>,
    /// Drops the object in the cell in place; `None` if that does nothing.
    pub drop: Option<unsafe fn(NonNull<u8>)>,
}

/// A cell that [`Space::take`] gave.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Its address, aligned for the kind.
    pub cell: NonNull<u8>,
    /// What it costs: at least the bytes asked for.
    pub bytes: usize,
    /// How long it took, if the local cache was not enough; the moment to look at the pacer.
    pub slow: Option<Took>,
}

/// A cell that turned from white to marked.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    /// What lies in it.
    pub kind: &'static Kind,
    /// What it costs.
    pub bytes: usize,
}

/// No memory: the limit is reached, or the system gave none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exhausted;

/// What a space holds now. Counts are exact when nobody allocates or sweeps.
///
/// ```
/// use gc_core::{Heap, Plain, space::Usage};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// assert_eq!(heap.usage(), Usage::default());
/// heap.enter().alloc(String::from("dead"));
/// heap.collect().unwrap();
/// let Usage { spans, doomed, .. } = heap.usage();
/// assert_eq!((spans, doomed), (1, 1), "its destructor has not run");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Bytes taken from the system.
    pub held_bytes: usize,
    /// Spans.
    pub spans: usize,
    /// Cells that wait for their destructor.
    pub doomed: usize,
}

/// Memory for objects, by kind. See the [module](self).
///
/// # Safety
///
/// An implementation guarantees:
///
/// 1. `take` and `take_cached` return memory for at least `bytes` bytes, aligned for the kind, that nobody else
///    has and that stays valid until a sweep finds the cell white or doomed cells are served.
/// 2. They return a cell of a span stamped with the given cycle, whose mark bit is clear.
/// 3. Between `open` and `permit` nobody sweeps. A sweep of a span happens once per `open`, after
///    `permit`; it frees exactly the allocated white cells, clears all marks and stamps the span.
///    It never calls user code: dead cells of a kind with a destructor become doomed.
/// 4. `mark`, `is_marked`, `kind` and `mark_is_current` may be called on any allocated cell from
///    any thread at any time, `mark` returns `Some` to exactly one caller per cell and cycle.
/// 5. `take` calls no foreign allocator that can be held up by a descheduled caller, if the
///    [`World`](crate::world::World) it is used with lets callers be descheduled.
pub unsafe trait Space: Send + Sync + Sized + 'static {
    /// What a local state keeps to allocate without sharing. Used by one thread at a time.
    type Cache: Send;

    /// An empty cache.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if there is no memory for one.
    fn cache(&self) -> Result<Self::Cache, Exhausted>;

    /// Takes a cell for an object of `bytes` bytes, in a span of `cycle`.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] over the limit; never waits.
    ///
    /// # Safety
    ///
    /// `cache` is of this space, and `cycle` comes from a reading of the phase word that the
    /// caller made in an operation which is still under way. `kind.align` is a power of two.
    unsafe fn take(
        &self,
        cache: &mut Self::Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted>;

    /// As [`take`](Self::take), from what the cache holds and in a few instructions; `None` if that is not
    /// to be had so, and then nothing was done. What is in the way of every allocation; a space without
    /// such a way leaves it as it is.
    ///
    /// # Safety
    ///
    /// As [`take`](Self::take).
    #[inline(always)]
    unsafe fn take_cached(
        &self,
        cache: &mut Self::Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Option<Taken> {
        let _ = (cache, kind, bytes, cycle);
        None
    }

    /// What lies in the cell.
    ///
    /// # Safety
    ///
    /// The cell is allocated and stays so during the call.
    unsafe fn kind(&self, cell: NonNull<u8>) -> &'static Kind;

    /// What the cell takes. For dumps.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    unsafe fn bytes(&self, cell: NonNull<u8>) -> usize;

    /// Marks the cell; `None` if it was marked before. What the caller did before is seen with the mark by whoever
    /// walks over what is marked.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    unsafe fn mark(&self, cell: NonNull<u8>) -> Option<Marked>;

    /// The cell will be marked soon: what the space looks up first may be asked of memory. A hint.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    #[inline]
    unsafe fn foresee(&self, cell: NonNull<u8>) {
        let _ = cell;
    }

    /// The cell will be marked very soon, and what [`foresee`](Self::foresee) asked for has come. A
    /// hint.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    #[inline]
    unsafe fn approach(&self, cell: NonNull<u8>) {
        let _ = cell;
    }

    /// Whether the cell is marked.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    unsafe fn is_marked(&self, cell: NonNull<u8>) -> bool;

    /// Whether the cell lies in a span stamped with the current cycle, so that its mark says
    /// nothing about the former one. Used by checkmark between steps 7 and 8.
    ///
    /// # Safety
    ///
    /// As [`kind`](Self::kind).
    unsafe fn is_of_cycle(&self, cell: NonNull<u8>, cycle: u64) -> bool;

    /// Step 7: spans with a stamp before `cycle` now wait to be swept.
    ///
    /// # Safety
    ///
    /// The caller drives the heap's cycle; all spans were swept before the cycle began.
    unsafe fn open(&self, cycle: u64);

    /// After step 8: nobody works with a reading from before step 7 any more; sweep may begin.
    ///
    /// # Safety
    ///
    /// The caller drives the heap's cycle, and hand 4 is complete.
    unsafe fn permit(&self);

    /// Sweeps about `spans` spans. True when none waits to be swept.
    fn sweep(&self, spans: usize) -> bool;

    /// Hands out some of the doomed cells, and frees them when `each` has returned for all.
    /// Returns how many there were; 0 means that none wait anywhere, so it asks for no memory.
    ///
    /// `each` runs user code: no lock is held meanwhile. It does not unwind.
    fn destruct(&self, each: &mut dyn FnMut(NonNull<u8>, &'static Kind)) -> usize;

    /// Calls `each` for every cell that is marked in the span at `place`, and returns the place of the next one;
    /// `None` if there is none there. The first place is 0, the others are those that it returns. Whoever sees the
    /// mark sees all that was done before the call of [`mark`](Self::mark). Others allocate and mark
    /// meanwhile: a walk from 0 on leaves out nothing that was marked before it began.
    ///
    /// # Safety
    ///
    /// The caller drives the heap's cycle, which is between its steps 1 and 7: nobody sweeps.
    unsafe fn marked(
        &self,
        place: usize,
        each: &mut dyn FnMut(NonNull<u8>, &'static Kind),
    ) -> Option<usize>;

    /// What the space holds.
    fn usage(&self) -> Usage;
}
