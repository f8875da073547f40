//! The P: the right to run, and what goes with it.
//!
//! A P carries everything that whoever runs goroutines needs without a lock: the cache of free G
//! records, the embedding's pointer, the slice; and a place at the queues of the
//! [`policy`](crate::policy). It belongs to one
//! holder at a time: an M, the idle list, or a taker that is handing it over. [`Held`] is the
//! evidence: having one proves that the running code is inside the runtime on an M that holds the P,
//! so nobody can take it away meanwhile. Everything that needs the holder hangs on `Held`.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `local` | once, before the first holder | holder |
//! | `tick` | holder, one more per slice | monitor |
//! | `slice` | holder, at the start of a slice | monitor, timer thread |
//! | `seen` | monitor and timer thread, when they read `slice`; holder, when it writes it | holder |
//! | `berth` | holder; whoever shuts the scheduler, by its own rules | the same |
//! | `random`, `chair`, `cache`, `shelf`, `load` | holder | holder |
//!
//! # Slices
//!
//! A goroutine from the ring or the global queue begins a slice; one that comes through runnext
//! inherits the slice of whoever made it ready, so that a pair of goroutines that wake each other
//! counts as one and is preempted as one. `slice` is the start of it in clock ticks ([`clock`]):
//! reading the processor's counter costs a third of reading the system's clock.
//!
//! On a virtual machine that is still 10 ns, a seventh of a yield. So of slices that follow each other at
//! once only each eighth reads it, and the first after `slice` was last looked at. A slice may thus seem
//! older than it is, by less than eight slices and what lies between them, and by no more than the time since the
//! last look. For that it may be asked once to give way too early. It never seems too young, and the tick tells slices apart.

use core::cell::{Cell, UnsafeCell};

use crate::{
    clock,
    dispatch::{Chair, Seated},
    future::{berth::Berth, cell::Poller},
    registry::Cache,
    stack::Shelf,
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    task::Run,
};

/// How many slices that follow each other at once share a reading of the clock.
const SLICES_PER_READING: u32 = 8;

/// A right to run.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Proc {
    index: usize,
    local: *mut (),
    /// Where its carrier rests.
    pub(crate) berth: Berth<Run>,
    tick: AtomicU32,
    slice: AtomicU64,
    seen: AtomicBool,
    random: Cell<u32>,
    chair: UnsafeCell<Option<Chair>>,
    cache: UnsafeCell<Cache>,
    shelf: UnsafeCell<Shelf>,
    /// What the carrier that the M is about to switch to shall poll.
    load: UnsafeCell<Option<Poller>>,
}

// SAFETY: the cells are the holder's, and there is one at a time, each ordered after the last by
// the hand-over; `local` is the embedding's, which gave it for use on any thread.
unsafe impl Send for Proc {}
// SAFETY: as above; the rest is atomic.
unsafe impl Sync for Proc {}

impl Proc {
    /// A P that nobody holds.
    pub(crate) fn new(index: usize, local: *mut ()) -> Self {
        Self {
            index,
            local,
            berth: Berth::new(),
            tick: AtomicU32::new(0),
            slice: AtomicU64::new(0),
            seen: AtomicBool::new(false),
            // Any odd number: the generator must not start at zero.
            random: Cell::new(0x9e37_79b9 ^ (index as u32) << 8 | 1),
            chair: UnsafeCell::new(None),
            cache: UnsafeCell::new(Cache::new()),
            shelf: UnsafeCell::new(Shelf::new()),
            load: UnsafeCell::new(None),
        }
    }

    /// Its place in the table.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The embedding's pointer.
    pub(crate) fn local(&self) -> *mut () {
        self.local
    }

    /// Slices begun so far.
    pub(crate) fn tick(&self) -> u32 {
        // Relaxed: a number for the monitor.
        self.tick.load(Ordering::Relaxed)
    }

    /// When the running slice began, in clock ticks.
    pub(crate) fn slice_start(&self) -> u64 {
        // Relaxed, both: as above.
        self.seen.store(true, Ordering::Relaxed);
        self.slice.load(Ordering::Relaxed)
    }
}

/// The evidence that the running code holds a P.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a>(&'a Proc);

impl<'a> Held<'a> {
    /// # Safety
    ///
    /// The running code is inside the runtime, on an M that holds `proc`, or is otherwise its only
    /// holder, for as long as the value is used.
    pub(crate) unsafe fn new(proc: &'a Proc) -> Self {
        Self(proc)
    }

    /// The P itself.
    pub(crate) fn proc(self) -> &'a Proc {
        self.0
    }

    /// Calls `f` with the cache of free G records.
    pub(crate) fn cache<R>(self, f: impl FnOnce(&mut Cache) -> R) -> R {
        // SAFETY: the holder alone uses the cache, and `f` cannot reach it a second time: nothing
        // in `Cache` comes back to the P.
        f(unsafe { &mut *self.0.cache.get() })
    }

    /// Calls `f` with the few slots at hand.
    pub(crate) fn shelf<R>(self, f: impl FnOnce(&mut Shelf) -> R) -> R {
        // SAFETY: as in `cache`.
        f(unsafe { &mut *self.0.shelf.get() })
    }

    /// Hands `future` to the carrier that the M switches to next.
    pub(crate) fn load(self, future: Poller) {
        // SAFETY: as in `cache`; the reference ends here.
        let before = unsafe { &mut *self.0.load.get() }.replace(future);
        debug_assert!(before.is_none(), "a load was not taken");
    }

    /// The carrier takes what the M has handed over.
    pub(crate) fn unload(self) -> Option<Poller> {
        // SAFETY: as in `cache`; the reference ends here.
        unsafe { &mut *self.0.load.get() }.take()
    }

    /// Counts a slice and notes its start.
    pub(crate) fn begin_slice(self) {
        self.count_slice();
        // Relaxed, both: the holder alone writes the one, and the other is a hint.
        self.0.slice.store(clock::ticks(), Ordering::Relaxed);
        self.0.seen.store(false, Ordering::Relaxed);
    }

    fn count_slice(self) {
        // Relaxed: the holder alone writes, and the monitor wants a number.
        self.0.tick.store(self.0.tick().wrapping_add(1), Ordering::Relaxed);
    }

    /// A random number: Marsaglia's xorshift, 2003.
    pub(crate) fn random(self) -> u32 {
        let mut x = self.0.random.get();
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.0.random.set(x);
        x
    }
}

// SAFETY: the P is held while the evidence is used. References to the chair end before the next `sit`: `dispatch`
// alone calls both.
unsafe impl<'a> Seated<'a> for Held<'a> {
    fn index(self) -> usize {
        self.0.index
    }

    #[inline]
    fn chair(self) -> Option<&'a Chair> {
        // SAFETY: the holder alone uses the chair.
        unsafe { &*self.0.chair.get() }.as_ref()
    }

    fn sit(self, chair: Option<Chair>) -> Option<Chair> {
        // SAFETY: as in `chair`.
        core::mem::replace(unsafe { &mut *self.0.chair.get() }, chair)
    }

    fn random(self) -> u32 {
        Held::random(self)
    }

    /// Looks at the clock one time in [`SLICES_PER_READING`], and if somebody has asked for the time since it last did.
    #[inline]
    fn next_slice(self) {
        // Relaxed: a hint.
        if self.0.seen.load(Ordering::Relaxed) || self.0.tick().is_multiple_of(SLICES_PER_READING) {
            self.begin_slice();
        } else {
            self.count_slice();
        }
    }
}
