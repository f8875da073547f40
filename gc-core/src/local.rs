//! The state of one place where mutators run: guard counters, log, allocation cache.
//!
//! One occupant at a time uses a local state; the collector reads its counters and drains its log
//! from outside, whenever it likes. Everything the two share is atomic, with one writer each.

use crate::{
    action::{Actions, Diary, Took},
    boxed::try_box,
    handshake::Counters,
    log::Log,
    space::{Exhausted, Space},
    sync::{AtomicU64, Ordering, UnsafeCell},
};
use core::{fmt, ops::Deref, time::Duration};
use crossbeam_utils::CachePadded;

/// The state of one place where mutators run. See the [module](self).
pub struct Local<S: Space> {
    /// Entries and exits of guards.
    pub(crate) counters: CachePadded<Counters>,
    /// Addresses to shade.
    pub(crate) log: Log,
    /// Used by the occupant alone.
    cache: UnsafeCell<S::Cache>,
    /// Bytes taken here since the heap began. Written by the occupant.
    allocated: AtomicU64,
    /// How much of that the pacer knows. Written by the occupant.
    counted: AtomicU64,
    /// The longest single thing the collector made a mutator do here, in nanoseconds.
    longest: AtomicU64,
    /// Time in slow paths of allocations here, in nanoseconds. Written by the occupant.
    slow_paths: AtomicU64,
    /// What it made one do, and how long that took. Written by the occupant.
    diary: Diary,
}

// SAFETY: the cache is touched by one occupant at a time (`World`, rule 1) and is Send; the rest
// is atomic.
unsafe impl<S: Space> Sync for Local<S> {}

impl<S: Space> Local<S> {
    /// A fresh local state for objects of this space. Allocates; call it outside `with`.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if the allocator has no memory.
    pub fn new(space: &S) -> Result<Self, Exhausted> {
        Ok(Self {
            counters: CachePadded::default(),
            log: Log::new().ok_or(Exhausted)?,
            cache: UnsafeCell::new(space.cache()?),
            allocated: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            slow_paths: AtomicU64::new(0),
            diary: Diary::new().ok_or(Exhausted)?,
        })
    }

    /// The same in a box, for a world that keeps it there.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn boxed(space: &S) -> Result<Box<Self>, Exhausted> {
        try_box(Self::new(space)?).map_err(|_| Exhausted)
    }

    /// Shows `f` the allocation cache.
    ///
    /// # Safety
    ///
    /// The caller is the occupant, and `f` does not come back here.
    #[inline(always)]
    pub(crate) unsafe fn cache<R>(&self, f: impl FnOnce(&mut S::Cache) -> R) -> R {
        // SAFETY: the occupant is alone.
        self.cache.with_mut(|cache| f(unsafe { &mut *cache }))
    }

    /// Counts bytes taken. Only the occupant calls it.
    #[inline(always)]
    pub(crate) fn count(&self, bytes: usize) {
        // Relaxed: one writer; the sum is read for pacing, where a late byte does not matter.
        let sum = self.allocated.load(Ordering::Relaxed) + bytes as u64;
        self.allocated.store(sum, Ordering::Relaxed);
    }

    /// Bytes taken here since the heap began.
    pub fn allocated(&self) -> u64 {
        // Relaxed: as in `count`.
        self.allocated.load(Ordering::Relaxed)
    }

    /// Bytes taken here that were not asked for before. Only the occupant calls it.
    pub(crate) fn take_uncounted(&self) -> u64 {
        let allocated = self.allocated();
        // Relaxed: one writer.
        allocated - self.counted.swap(allocated, Ordering::Relaxed)
    }

    /// Where the occupant notes what it was made to do.
    pub(crate) fn diary(&self) -> &Diary {
        &self.diary
    }

    /// Adds what mutators were made to do here.
    pub(crate) fn add_actions(&self, sum: &mut Actions) {
        sum.add(&self.diary.read());
    }

    /// Time in slow paths of allocations here.
    pub(crate) fn slow_paths(&self) -> Duration {
        // Relaxed: a statistic.
        Duration::from_nanos(self.slow_paths.load(Ordering::Relaxed))
    }

    /// Notes how long an allocation's slow path took. Only the occupant calls it.
    pub(crate) fn delayed(&self, took: Took) {
        self.diary.refills.note(took);
        let nanoseconds = took.wall.as_nanos().try_into().unwrap_or(u64::MAX);
        // Relaxed, all: statistics; the sum has one writer.
        self.longest.fetch_max(nanoseconds, Ordering::Relaxed);
        let sum = self.slow_paths.load(Ordering::Relaxed).saturating_add(nanoseconds);
        self.slow_paths.store(sum, Ordering::Relaxed);
    }

    /// The longest delay noted since the last call.
    pub(crate) fn take_longest_delay(&self) -> Duration {
        // Relaxed: a statistic.
        Duration::from_nanos(self.longest.swap(0, Ordering::Relaxed))
    }
}

impl<S: Space> fmt::Debug for Local<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local")
            .field("counters", &self.counters)
            .field("allocated", &self.allocated())
            .finish_non_exhaustive()
    }
}

/// Evidence of an operation under way: the driver of a cycle waits for its end where it must be sure
/// that nobody acts on what the phase word said before (see [`handshake`](crate::handshake)).
///
/// Whoever turns one reading of the phase word into several stores, of whatever kind, does all of it
/// within one operation.
#[doc(hidden)]
pub struct Operation<'a, S: Space> {
    local: &'a Local<S>,
    begun: usize,
}

impl<'a, S: Space> Operation<'a, S> {
    /// Begins an operation of the local state's occupant. `light` is the light side of the world's
    /// barrier.
    ///
    /// # Safety
    ///
    /// The caller occupies `local` until the operation is dropped, and has no other under way.
    #[inline(always)]
    pub unsafe fn begin(local: &'a Local<S>, light: impl Fn()) -> Self {
        Self { local, begun: local.counters.begin_operation(light) }
    }
}

impl<S: Space> Deref for Operation<'_, S> {
    type Target = Local<S>;

    #[inline(always)]
    fn deref(&self) -> &Local<S> {
        self.local
    }
}

impl<S: Space> Drop for Operation<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        self.local.counters.end_operation(self.begun);
    }
}

impl<S: Space> fmt::Debug for Operation<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operation").field(&self.begun).finish()
    }
}
