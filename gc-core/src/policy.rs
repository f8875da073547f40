//! What may be chosen about a heap's cycles besides when they begin: who runs meanwhile, and what stores
//! log. Values, which the builder sets and which may change between two cycles.
//!
//! Both are about speed. Nothing that a mutator relies on depends on them: a cycle that stops the world
//! takes the nine steps of [`cycle`](crate::cycle) like any other, so whoever slips past its gate meets a
//! barrier; and whatever logs more than the deletion barrier does marks more.

/// Who runs while the collector marks.
///
/// ```
/// use gc_core::{Heap, HeapError, Plain, policy::Collection};
///
/// let heap = Heap::<Plain>::builder()
///     .collection(Collection::StopTheWorld)
///     .build(Default::default(), Default::default())
///     .unwrap();
/// heap.collect().unwrap();
/// heap.set_collection(Collection::Never);
/// assert_eq!(heap.collect().unwrap_err(), HeapError::Disabled);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Collection {
    /// Everybody.
    #[default]
    Concurrent,
    /// Nobody who wants a guard: the outermost guard of a task is entered when marking and sweeping are
    /// over. Until the guards from before are gone it waits for at most 10 ms, for whoever holds
    /// one may wait for a lock of the one who waits here.
    ///
    /// No garbage floats to the next cycle and no store is logged; a guard waits as long as a cycle
    /// takes. For batch work, for measurements, and to tell a fault of concurrency from another.
    ///
    /// A `pause` that is passed to [`Heap::cycle`](crate::Heap::cycle) must not enter a guard.
    StopTheWorld,
    /// There are no cycles, and nothing is freed before the end of the heap. For programs that end
    /// before their memory does, and to measure what collection costs.
    Never,
}

impl Collection {
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn of(number: u8) -> Self {
        [Self::Concurrent, Self::StopTheWorld, Self::Never][usize::from(number)]
    }
}

/// What a store logs while the barrier is on. ([`world::Barrier`](crate::world::Barrier) is something
/// else, a pair of fences.)
///
/// ```
/// use gc_core::{Heap, Plain, policy::WriteBarrier};
///
/// let heap = Heap::<Plain>::builder()
///     .write_barrier(WriteBarrier::Hybrid)
///     .build(Default::default(), Default::default())
///     .unwrap();
/// heap.collect().unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WriteBarrier {
    /// What it takes out of a slot (T. Yuasa, 1990).
    #[default]
    Deletion,
    /// That, and what it puts in, as in Go since 1.8 (E. W. Dijkstra et al., "On-the-fly garbage
    /// collection", 1978, for the second half). Here it needs no other rule and drops none, since there
    /// are no stacks to keep black: it is for comparison. Insertion alone is no choice: a guard would
    /// lose what it holds.
    Hybrid,
}
