//! Hardening: a heap that finds its callers' mistakes and names them.
//!
//! A program that frees a block twice, or writes to it after it was freed, breaks far from the
//! mistake. A heap that was told to [`Heap::harden`] reports the mistake itself, where it can be seen
//! first, as a [`Violation`] with the address, the size class and the other free.
//!
//! | mistake | seen | by |
//! |---|---|---|
//! | double free | at the second free | the state of each cell, kept outside of it |
//! | free of an interior pointer | at the free | division by the cell's size |
//! | free of what this heap never gave | at the free | the page map |
//! | write after free | when the cell is handed out again | poison in freed cells |
//! | overflow of a large block | at the access | a guard page that the block ends at |
//! | access to a freed large block | at the access | its pages, kept away for a while |
//!
//! # No cost when it is off
//!
//! The fast paths of a cache ask nothing. Hardened blocks live in spans of a kind of their own, which no
//! cache owns: so an allocation finds no current span, a free finds no span of its own, and both are
//! on their slow path, where the one question is asked. A heap may be hardened at any time;
//! blocks from before stay what they were.
//!
//! # How
//!
//! A hardened span has a `record` with the state of each cell and the site of its last free. Which
//! free cell is next is random, so that neighbours in time are not neighbours in space. A freed cell
//! is filled with [`POISON`], waits until [`WAIT`] others of its class were freed, and is checked
//! byte by byte before it is handed out. A large block has pages of its own and lies at their end,
//! before a page that cannot be touched; when freed, all of it cannot be touched for a while.
//!
//! One lock guards all of it, so a hardened heap is as fast as one thread. It keeps its spans for their
//! class, and leaks what a signal handler frees while that lock is held.
//!
//! # Turning it on
//!
//! * Own heap: [`Heap::harden`].
//! * `#[global_allocator]`: `GlobalAlloc::harden`, first in `main`.
//! * From outside, also under `LD_PRELOAD`: `ALLOC_HARDEN=1` in the environment, `2` with stacks.
//!
//! Sources: OpenBSD's malloc (random order, junk, guard pages); Scudo (states, quarantine); Electric
//! Fence (Perens 1987: blocks that end at a page that faults).

mod large;
pub(crate) mod record;
mod shelf;
mod site;
mod violation;

use core::ptr::NonNull;

pub use site::{FRAMES, Frames, Site};
pub use violation::{Block, Mistake, Violation};

use crate::{
    Error, Heap,
    pages::PageSource,
    size_class::{CLASSES, PAGE},
    span::{Kind, SpanPtr},
    sync::{Lock, Ordering},
};
use large::Larges;
use record::{RecordPtr, state};
use shelf::Shelf;
use violation::abort;

/// What freed cells are filled with.
pub const POISON: u8 = 0xdb;

/// Frees of a class before a freed cell of it may be handed out again.
pub const WAIT: usize = 64;

/// How a heap is hardened.
///
/// ```
/// use alloc_core::{Heap, harden::Hardening, pages::os::Os};
/// let heap = Heap::new(Os::new());
/// heap.harden(Hardening::new()).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a value that is given to `Heap::harden`"]
pub struct Hardening {
    on_violation: fn(&Violation),
    frames: Option<Frames>,
    seed: u64,
    /// Called before a large block is allocated.
    before_large: fn(),
}

impl Hardening {
    /// A violation is written to standard error and ends the process; no stacks are kept.
    pub const fn new() -> Self {
        let seed = 0x9e37_79b9_7f4a_7c15;
        Hardening { on_violation: abort, frames: None, seed, before_large: || () }
    }

    /// What to do about a violation instead. If it returns, what was freed wrongly is ignored, and a
    /// cell that was written to is never handed out again.
    ///
    /// No lock of the heap is held when it is called, but the cache of the caller is in use.
    pub const fn on_violation(mut self, then: fn(&Violation)) -> Self {
        self.on_violation = then;
        self
    }

    /// Walks the stack at each free, so that a report can tell where the other free was. A walk by unwind
    /// tables costs ten times more than everything else here together.
    pub const fn frames(mut self, frames: Frames) -> Self {
        self.frames = Some(frames);
        self
    }

    /// Calls `prepare` before each allocation of a large block: it may install a handler of faults.
    #[cfg(feature = "global")]
    pub(crate) const fn before_large(mut self, prepare: fn()) -> Self {
        self.before_large = prepare;
        self
    }

    /// Starts the random order of free cells; the same seed gives the same order.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed | 1;
        self
    }
}

impl Default for Hardening {
    fn default() -> Self {
        Self::new()
    }
}

/// The hardened part of a heap, in its own records; never freed.
#[derive(Debug)]
pub(crate) struct Hardened {
    hardening: Hardening,
    shelves: Lock<Shelves>,
}

/// Whether a free may wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The caller has a cache.
    Briefly,
    /// The caller may be a signal handler.
    Never,
}

/// All hardened spans.
#[derive(Debug)]
struct Shelves {
    random: u64,
    by_class: [Shelf; CLASSES],
    larges: Larges,
}

impl Shelves {
    /// xorshift (Marsaglia 2003): unpredictable enough to scatter cells, not to keep a secret.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Hardened {
    fn report(&self, found: &Violation) {
        (self.hardening.on_violation)(found);
    }

    /// Before a fork; see [`Heap::lock_all`].
    pub(crate) fn lock_all(&self) {
        self.shelves.acquire();
    }

    /// # Safety
    ///
    /// As [`Heap::unlock_all`].
    pub(crate) unsafe fn unlock_all(&self) {
        // SAFETY: passed on.
        unsafe { self.shelves.release() }
    }
}

impl<S: PageSource> Heap<S> {
    /// The hardened part, if there is one. Asked on slow paths only.
    #[inline]
    pub(crate) fn hardened(&self) -> Option<&Hardened> {
        // Acquire: pairs with the Release in `harden`, so that the record is seen whole.
        let hardened = self.hardened.load(Ordering::Acquire);
        // SAFETY: null or a record that was written before and lives as long as the heap.
        unsafe { hardened.as_ref() }
    }
}

impl<S: PageSource> Heap<S> {
    /// From now on, finds the mistakes of this heap's users and reports them (see
    /// [`harden`](crate::harden)).
    ///
    /// Blocks allocated before are not covered, nor are free cells that caches hold now: a cache hands
    /// those out first, or lets go of them in [`Cache::flush`](crate::Cache::flush). The first call
    /// decides; later ones change nothing.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if there is no room for the records; the heap is then as it was.
    ///
    /// ```
    /// use alloc_core::{Heap, harden::Hardening, pages::os::Os};
    /// use std::{alloc::Layout, sync::atomic::{AtomicUsize, Ordering}};
    ///
    /// static MISTAKES: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let heap = Heap::new(Os::new());
    /// let count = Hardening::new().on_violation(|_| { MISTAKES.fetch_add(1, Ordering::Relaxed); });
    /// heap.harden(count)?;
    /// let mut cache = heap.cache();
    /// let block = cache.alloc(Layout::new::<u64>())?;
    /// // SAFETY: the heap is hardened, so a second free is reported, and ignored.
    /// unsafe {
    ///     cache.free(block);
    ///     cache.free(block);
    /// }
    /// assert_eq!(MISTAKES.load(Ordering::Relaxed), 1);
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn harden(&self, hardening: Hardening) -> Result<(), Error> {
        let _undisturbed = self.undisturbed();
        let (size, align) = (size_of::<Hardened>(), align_of::<Hardened>());
        let at = self.meta.alloc(self.source(), size, align).ok_or(Error::OutOfMemory)?;
        let at = at.cast::<Hardened>();
        let shelves = Shelves {
            random: hardening.seed,
            by_class: [const { Shelf::new() }; CLASSES],
            larges: Larges::new(),
        };
        // SAFETY: fresh memory for one.
        unsafe { at.write(Hardened { hardening, shelves: Lock::new(shelves) }) };
        self.publish(at);
        Ok(())
    }

    /// Lets everybody know the record, unless another call was first. A fork, which gives back the lock of the shelves
    /// if there are any, has taken it if there were.
    fn publish(&self, hardened: NonNull<Hardened>) {
        let _first = self.hardening.lock();
        if self.hardened().is_none() {
            // Release: publishes the record; pairs with the Acquire in `hardened`.
            self.hardened.store(hardened.as_ptr(), Ordering::Release);
        }
    }

    /// A cell of a class from a hardened span.
    pub(crate) fn hardened_cell(
        &self,
        hardened: &Hardened,
        class: usize,
    ) -> Result<(NonNull<u8>, bool), Error> {
        loop {
            let cell = hardened.shelves.lock().take(self, class)?;
            match cell.check() {
                Ok(block) => return Ok((block, cell.fresh_and_zeroed)),
                Err(found) => hardened.report(&found),
            }
        }
    }

    /// A large block with a guard behind it.
    pub(crate) fn hardened_large(
        &self,
        hardened: &Hardened,
        size: usize,
        align: usize,
    ) -> Result<(NonNull<u8>, bool), Error> {
        (hardened.hardening.before_large)();
        large::alloc(self, hardened, size, align)
    }

    /// The bytes of each block of a hardened span.
    pub(crate) fn hardened_size(&self, span: SpanPtr) -> usize {
        RecordPtr::of(span).size()
    }

    /// A free that no fast path knows what to do with: into a hardened span, or into nowhere.
    #[cold]
    pub(crate) fn free_odd(&self, span: Option<SpanPtr>, block: NonNull<u8>, wait: Wait) {
        let Some(hardened) = self.hardened() else {
            return debug_assert!(false, "free of {block:p}, which is not a live block");
        };
        let address = block.as_ptr() as usize;
        let record = span.filter(|span| span.kind() == Kind::Hardened).map(RecordPtr::of);
        let Some(record) = record else {
            let mistake = Mistake::ForeignFree;
            return hardened.report(&Violation { mistake, address, block: None, freed: None });
        };
        let site = Site::here(hardened.hardening.frames);
        match record.give_up(address, site) {
            Err(found) => hardened.report(&found),
            Ok(index) => self.retire(hardened, record, index, wait),
        }
    }

    /// Poisons or protects a block that was just given up, and lets it wait.
    fn retire(&self, hardened: &Hardened, record: RecordPtr, index: usize, wait: Wait) {
        if record.class().is_some() {
            record.poison(index);
        } else {
            large::close(self, record);
        }
        let shelves = match wait {
            Wait::Briefly => Some(hardened.shelves.lock()),
            Wait::Never => hardened.shelves.try_lock(),
        };
        let Some(mut shelves) = shelves else { return };
        match record.class() {
            Some(class) => shelves.by_class[class].put(record, index),
            None => shelves.larges.put(self, record),
        }
    }

    /// What an access to `address` that faulted was, if this heap is hardened and closed the page.
    ///
    /// For a handler of `SIGSEGV`: takes no lock.
    ///
    /// ```
    /// use alloc_core::{Heap, harden::{Hardening, Mistake}, pages::os::Os};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// heap.harden(Hardening::new())?;
    /// let block = heap.cache().alloc(Layout::new::<[u8; 100_000]>())?;
    /// let behind = block.as_ptr() as usize + 100_000;
    /// assert_eq!(heap.explain_fault(behind).unwrap().mistake, Mistake::Overflow);
    /// assert!(heap.explain_fault(behind - 1).is_none());
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn explain_fault(&self, address: usize) -> Option<Violation> {
        self.hardened()?;
        let span = self.map.get(address).filter(|span| span.kind() == Kind::Hardened)?;
        let record = RecordPtr::of(span);
        if record.class().is_some() {
            return None;
        }
        let block = record.describe(0);
        let (mistake, freed) = match record.state(0) {
            state::LIVE if address >= span.end() - PAGE => (Mistake::Overflow, None),
            state::WAITING => (Mistake::UseAfterFree, Some(record.site(0))),
            _ => return None,
        };
        Some(Violation { mistake, address, block: Some(block), freed })
    }

    /// Reports a fault that [`Heap::explain_fault`] explains; returns if it does not.
    pub fn report_fault(&self, address: usize) {
        if let (Some(hardened), Some(found)) = (self.hardened(), self.explain_fault(address)) {
            hardened.report(&found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{pages::os::Os, task};

    #[test]
    fn a_heap_is_not_hardened_in_the_middle_of_a_fork() {
        let heap = Heap::new(Os::new());
        let shelves = Shelves {
            random: 1,
            by_class: [const { Shelf::new() }; CLASSES],
            larges: Larges::new(),
        };
        let record = Hardened { hardening: Hardening::new(), shelves: Lock::new(shelves) };
        thread::scope(|scope| {
            let (to, from) = mpsc::channel();
            heap.lock_all();
            let (heap, record) = (&heap, &record);
            let other = scope.spawn(move || {
                to.send(task::number()).unwrap();
                heap.publish(NonNull::from(record));
            });
            let number = from.recv().unwrap();
            while heap.hardened().is_none() && !task::sleeps(number) {
                thread::yield_now();
            }
            let hardened = heap.hardened().is_some();
            // SAFETY: locked above, by this thread.
            unsafe { heap.unlock_all() };
            other.join().unwrap();
            assert!(!hardened && heap.hardened().is_some());
        });
    }
}
