//! Memory goes back to the source: when, how much, and how beside allocation.
//!
//! A program's need for memory goes up and down. What it freed it often takes again within
//! milliseconds, and then a page that was given back costs a system call and a fault; what it does
//! not take again for a second, it will hardly miss. So each free page has an *age* (see
//! `page_heap/touched.rs`), and somebody makes pages older and gives the old ones back:
//!
//! 1. Whoever owns a thread calls [`Scavenger::step`]: the runtime's attendant, or [`background`]'s
//!    thread in a program without a runtime, or nobody.
//! 2. The step asks the [`ScavengePolicy`], pure arithmetic over a [`Sight`], for a [`Plan`].
//! 3. Pages of the plan's age are lent by the pool, 2 MiB at most at a time, released by the system
//!    call without any lock, and settled (`release_next`). Then all pages become one step older.
//! 4. What pages of the plan's bytes are left over goes to spans that no cache has and into which
//!    nothing was freed for so many steps: their vacant pages become holes.
//! 5. Caches of threads that took no slow path since the step before were emptied first, and those that threads
//!    left that ended before it, so that what lay in them takes part (`lend`, `cache_pool`; the heap of the process
//!    only).
//! 6. The step says when it wants to be called again; not at all once no free page has memory and no
//!    span is on its way to that age.
//!
//! | policy | gives back |
//! |---|---|
//! | [`ByAge`], the default | what was free for about a second |
//! | [`CpuShare`] | what is beyond 1.1 × the heap in use, for 1 % of one processor: Go's |
//! | [`Eager`] | everything that is free, at each step |
//! | [`Never`] | nothing |
//!
//! Two more ways lead here without a scavenger: [`Heap::release`], at once and everything; and the
//! memory limit ([`Heap::set_limit`]), where an allocation that would pass it gives free memory back
//! first.
//!
//! Why by age: one per cent of a processor returns 8 MB in a second's share of 10 ms (0.5 µs for 4 KiB
//! by `madvise`), so that a burst of 800 MB stays for minutes; releasing at once makes each
//! oscillation pay faults, at 3 µs for 4 KiB.
//!
//! Rejected: *`MADV_FREE`*, which lowers no resident size until the kernel is short, so that nobody
//! sees what was given back. *Highest addresses first*, as Go does: with ages the order does not
//! matter, first fit keeps low addresses young.
//!
//! Source: Go 1.27 `mgcscavenge.go`; jemalloc's decay.

#[cfg(feature = "global")]
mod background;
mod policy;
mod spans;
mod thrift;

use core::{fmt, ops::Range, ptr::NonNull, time::Duration};

#[cfg(feature = "global")]
pub use background::{Background, background};
pub use policy::{ByAge, CpuShare, Eager, Never, Plan, ScavengePolicy, Sight};
pub(crate) use thrift::Thrift;

use crate::{
    Error, Heap,
    page_heap::{PageHeap, Pool},
    pages::{PageSource, grain},
    size_class::PAGE,
    sync::{Lock, Ordering},
};

/// Releases the first free pages at `from` or above that have memory and at least this age: lends
/// them, calls `decommit` without the lock, and settles. Returns their end and how many have no
/// memory any more; `None` if there are no such pages.
///
/// Multiples of `grain` are lent: so many pages make one of the machine. `decommit` says whether the pages read as zero
/// now.
#[doc(hidden)]
pub fn release_next<P: PageHeap, T: AsMut<Pool<P>>>(
    lock: &Lock<T>,
    from: usize,
    age: u8,
    grain: usize,
    decommit: impl FnOnce(Range<usize>) -> bool,
) -> Option<(usize, usize)> {
    let pages = AsMut::as_mut(&mut *lock.lock()).lend(from, age, grain)?;
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

/// Gives a heap's old pages back, step by step, for whoever calls it. A heap has one at a time.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os, scavenge::ByAge};
/// use std::{alloc::Layout, time::Duration};
///
/// let heap = Heap::new(Os::new());
/// let mut cache = heap.cache();
/// let block = cache.alloc(Layout::new::<[u8; 1 << 20]>())?;
/// // SAFETY: the block is ours, of that size, and freed once.
/// unsafe {
///     block.write_bytes(1, 1 << 20);
///     cache.free(block);
/// }
/// let mut scavenger = heap.scavenger(ByAge::new(Duration::from_secs(1))).unwrap();
/// let mut now = Duration::ZERO;
/// // Called as it asks to be, it is done within a second.
/// while let Some(pause) = scavenger.step(now) {
///     now += pause;
/// }
/// assert_eq!(now, Duration::from_millis(600));
/// assert_eq!(heap.stats().free, 0);
/// # Ok::<(), alloc_core::Error>(())
/// ```
pub struct Scavenger<'h, S: PageSource, P> {
    heap: &'h Heap<S>,
    policy: P,
    /// Where it was made.
    process: usize,
    /// Bytes that the last step gave back, and the processor time that it took.
    released: usize,
    spent: Duration,
    /// Size class where the next walk over listed spans begins.
    class: usize,
}

impl<S: PageSource, P: fmt::Debug> fmt::Debug for Scavenger<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scavenger").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl<S: PageSource, P: ScavengePolicy> Scavenger<'_, S, P> {
    /// The policy, for what it keeps for its maker.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// Does what the policy finds right at `now`, the time since any moment that stays the same.
    /// Returns how long to wait for the next step; `None` if no free page has memory, or the source keeps what they
    /// have, so that there is nothing to do until one is freed.
    ///
    /// Takes time proportional to the free pages, and to the memory that it gives back; of spans with live blocks
    /// it looks at 16,384 at most.
    pub fn step(&mut self, now: Duration) -> Option<Duration> {
        let begin = processor_time();
        let heap = self.heap;
        let _undisturbed = heap.undisturbed();
        let again = heap.counters.stirred.look(|came| self.give_back(now, came));
        self.spent = processor_time().saturating_sub(begin);
        again
    }

    /// A step; whether something `came` since the last one. What it meets, or wants to be called for, needs no hint.
    fn give_back(&mut self, now: Duration, came: bool) -> Option<Duration> {
        self.heap.free_kept_spans();
        let plan = self.policy.plan(&self.sight(now));
        let waits = plan.bytes > 0 && self.heap.tidy_around(false);
        let before = self.heap.pages().pool.resting();
        let pages = self.heap.release_pages(plan.bytes / PAGE, plan.age) * PAGE;
        let younger = self.heap.grow_older();
        self.heap.counters.steps.add(1);
        let want = plan.bytes.saturating_sub(pages);
        let walk = self.heap.step_holes(want, plan.age, &mut self.class, came);
        self.released = pages + walk.bytes;
        // Of those that were old enough the source has kept all, or they are parts of the machine's; and nobody has freed
        // others meanwhile.
        let stuck = plan.bytes >= PAGE && pages == 0 && younger == 0;
        let rest = self.note_resting(|rest| if stuck && rest <= before { 0 } else { rest });
        let ripening = plan.bytes > 0 && walk.ripening > 0;
        plan.again.filter(|_| rest > 0 || ripening || waits)
    }

    /// Says how many pages wait to be given back, of those that are free and have memory. Under the page heap's lock:
    /// whoever frees some says so under it, too.
    fn note_resting(&self, waits: impl FnOnce(usize) -> usize) -> usize {
        let pages = self.heap.pages();
        let rest = waits(pages.pool.resting());
        self.heap.counters.resting.set(rest);
        rest
    }

    fn sight(&self, now: Duration) -> Sight {
        let pages = self.heap.pages();
        let pool = &pages.pool;
        Sight {
            now,
            free: pool.resting() * PAGE,
            in_use: (pool.committed() - pool.free()) * PAGE,
            released: self.released,
            spent: self.spent,
        }
    }
}

/// The number of this process. A word that a child of a fork has inherited tells by it that somebody in the parent
/// wrote it, whichever way the child was made.
fn process() -> usize {
    // SAFETY: the call has no preconditions; the answer is positive.
    unsafe { libc::getpid() as usize }
}

/// What the calling thread has used of a processor.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours. Without such a clock it stays at zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl<S: PageSource, P> Drop for Scavenger<'_, S, P> {
    fn drop(&mut self) {
        // Release: the next scavenger begins after this one's last step; pairs with the Acquire
        // in `Heap::scavenger`. Relaxed on failure: this is the child of a fork, and has another one.
        let scavenged = &self.heap.scavenged;
        let _ = scavenged.compare_exchange(self.process, 0, Ordering::Release, Ordering::Relaxed);
    }
}

impl<S: PageSource> Heap<S> {
    /// The right to give this heap's memory back by `policy`; `None` while somebody else in this process has it,
    /// for two would make pages old twice as fast.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os, scavenge::{ByAge, Never}};
    /// let heap = Heap::new(Os::new());
    /// let scavenger = heap.scavenger(ByAge::default()).unwrap();
    /// assert!(heap.scavenger(Never).is_none());
    /// drop(scavenger);
    /// assert!(heap.scavenger(Never).is_some());
    /// ```
    pub fn scavenger<P: ScavengePolicy>(&self, policy: P) -> Option<Scavenger<'_, S, P>> {
        let (process, scavenged) = (process(), &self.scavenged);
        // Relaxed: the exchange decides.
        let before = scavenged.load(Ordering::Relaxed);
        // Acquire: pairs with the Release in `drop`. Relaxed on failure: nothing is read.
        let is_ours = before != process
            && scavenged
                .compare_exchange(before, process, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        is_ours.then(|| Scavenger {
            heap: self,
            policy,
            process,
            released: 0,
            spent: Duration::ZERO,
            class: 0,
        })
    }

    /// Whether there may be memory to give back, as of the last time that a span was freed or left by
    /// its cache, or a scavenger had looked: plain loads, for somebody who may not wait for a lock.
    ///
    /// A block that is freed into a cache tells nobody, as that would cost each free a store. So what a thread frees
    /// last, after a scavenger went to sleep, stays in its cache, 2 MiB at most, until somebody frees more than a cache
    /// takes. A scavenger that is stepped empties the caches of threads that do nothing.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// let block = heap.cache().alloc(Layout::new::<[u8; 1 << 20]>()).unwrap();
    /// // SAFETY: ours, and freed once.
    /// unsafe { heap.free(block) };
    /// assert!(heap.has_resting_memory());
    /// heap.release();
    /// assert!(!heap.has_resting_memory());
    /// ```
    pub fn has_resting_memory(&self) -> bool {
        self.counters.resting.get() > 0
            || self.counters.stirred.get()
            || self.larges.iter().next().is_some()
            || self.rests_around()
    }

    /// Gives the memory of all free pages back to the source, and of the vacant pages in spans that
    /// no cache has; returns how many bytes.
    ///
    /// Takes time proportional to the free pages and to those spans; other threads allocate meanwhile.
    /// What caches hold keeps its memory (see [`Cache::release`](crate::Cache::release)), save for those of
    /// the process's threads that are not in the middle of an allocation.
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
        let _undisturbed = self.undisturbed();
        self.counters.stirred.look(|_| self.release_all())
    }

    fn release_all(&self) -> usize {
        self.tidy_around(true);
        self.free_kept_spans();
        self.free_idle_spans();
        let holes = self.release_holes(usize::MAX);
        let pages = self.release_pages(usize::MAX, 0) * PAGE;
        self.counters.resting.set(self.pages().pool.resting());
        holes + pages
    }

    /// Releases at least `want` pages of at least this age, if there are so many; returns how many.
    fn release_pages(&self, want: usize, age: u8) -> usize {
        let (mut from, mut done) = (0, 0);
        while done < want
            && let Some((end, released)) = self.release_some(from, age)
        {
            from = end;
            done += released;
        }
        done
    }

    /// [`release_next`], where a fork waits until the pages are nobody's.
    fn release_some(&self, from: usize, age: u8) -> Option<(usize, usize)> {
        let _hands = self.hands.lock();
        let grain = grain(self.source());
        release_next(&self.pages, from, age, grain, |pages| self.decommit(pages))
    }

    /// Makes all free pages one step older, some runs at a time; returns how many were not of the greatest age.
    fn grow_older(&self) -> usize {
        let (mut younger, mut from) = (0, Some(0));
        while let Some(page) = from {
            let (some, next) = self.pages().pool.grow_older(page);
            (younger, from) = (younger + some, next);
        }
        younger
    }

    /// Tells the source that lent pages are not needed.
    fn decommit(&self, pages: Range<usize>) -> bool {
        let Some(at) = NonNull::new((pages.start * PAGE) as *mut u8) else { return false };
        self.counters.releases.add(1);
        // SAFETY: the pages are lent to us by the pool, which lends whole ones of the machine: nobody uses them.
        unsafe { self.source().decommit(at, pages.len() * PAGE) }
    }

    /// Bounds the memory that the heap may have at once: blocks, free pages that were not given back,
    /// the heap's records, and the slabs of stacks with all of their address space. That of the process also counts
    /// what [`Stats::emergency`](crate::Stats::emergency) says, which itself is not refused.
    ///
    /// At the limit an allocation, or a slab, first gives free memory back to the source, and fails with
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
        let _undisturbed = self.undisturbed();
        self.pages().set_limit(bytes);
    }

    /// The limit that was set last.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os};
    /// let heap = Heap::new(Os::new());
    /// assert_eq!(heap.limit(), usize::MAX);
    /// heap.set_limit(64 << 20);
    /// assert_eq!(heap.limit(), 64 << 20);
    /// ```
    pub fn limit(&self) -> usize {
        let _undisturbed = self.undisturbed();
        self.pages().limit
    }

    /// Calls `take`, which needs so many pages; at the limit again after memory was given back.
    pub(crate) fn within_limit<T>(
        &self,
        pages: usize,
        mut take: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match take() {
            Err(Error::Limit) => {
                self.make_room(pages);
                // Also if there was nothing to give back: somebody else may have just done it.
                take()
            }
            result => result,
        }
    }

    /// Gives back what so many pages more need, if there is as much. For more than the limit nothing is worth it.
    #[cold]
    fn make_room(&self, pages: usize) {
        if pages > self.pages().pool.limit() {
            return;
        }
        self.free_kept_spans();
        // A limit may have been set below what was ready already.
        let pages = pages + self.pages().pool.excess();
        let mut done = self.release_pages(pages, 0);
        if done < pages {
            self.free_idle_spans();
            done += self.release_pages(pages - done, 0);
        }
        if done < pages {
            self.release_holes((pages - done) * PAGE);
        }
    }
}
