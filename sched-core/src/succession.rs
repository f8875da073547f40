//! One value in office, which many use and somebody may replace under them.
//!
//! # Problem
//!
//! The queues of the policy are used at each switch by whoever holds a P, now and then by threads without
//! one, and are exchanged hardly ever, while all of that goes on. The new ones must be used by everybody
//! from some moment on, the old ones must be emptied when nobody uses them any more, and the users of each
//! day must not pay for it.
//!
//! # Words
//!
//! * *in office*: the value that newcomers get. *Leaving*: the one before it, until it is *buried*: taken
//!   out, by somebody who then has it alone.
//! * *stay*: long use, by a P: begun once, ended when the P sees that another value is in office. What a P
//!   pays at each use is a load and a comparison ([`is_in_office`](Succession::is_in_office)).
//! * *visit*: short use, by anybody: two read-modify-writes.
//!
//! # Algorithm
//!
//! There are two slots for ever, so the counters in them may be touched by those who come too late.
//!
//! ```text
//!   visit:    slot = the one in office;  visitors[slot] += 1;  fence;  still in office?  else −1, again
//!   stay:     a visit, in which  stays[slot] += 1
//!   succeed:  the other slot = new;  leaving = old slot;  in office = other slot
//!   bury:     stays[old] = 0?  leaving = none;  fence;  stays[old] = 0 and visitors[old] = 0?
//!             then the old value is ours;  else  leaving = old, and later again
//! ```
//!
//! A slot has two doors: it is in office, or it is leaving. *bury* closes the second after *succeed* has
//! closed the first. Somebody who visits counts himself and then looks at the door; *bury* closes the door and
//! then looks at the count. Either the visitor sees the door shut, and backs out; or *bury* sees the visitor, and
//! opens the door again. A stay begins in a visit, so *bury* looks for stays last.
//!
//! While the door is shut nobody finds what the old value holds. So whoever buries, and opens again, must tell
//! those who may have gone to sleep meanwhile, as if it had just been put there; and so must he who has
//! succeeded, for what he took out.
//!
//! # Rejected
//!
//! crossbeam-epoch, with a handle per M. A P would pay for a `pin`, a full fence, at each use; its first pin and
//! each 128th one runs what others deferred and frees through the global allocator, which must not be called
//! inside the runtime; plain threads would need handles, in thread-locals or under a lock; and to know when
//! the old queues are used by nobody, one still needs a count (`docs/decisions/0017` has numbers). A lock around the pointer: every ready
//! from outside would write the same word twice as here, and a swap would wait for the slowest.
//!
//! Model: `loom-tests/tests/sched_swap.rs`.

use core::fmt;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicUsize, Ordering, UnsafeCell, fence, spin_loop};

/// No slot.
const NONE: usize = usize::MAX;

/// A value that can be replaced while it is used. See the [module](self).
///
/// ```
/// use sched_core::succession::Succession;
///
/// let office = Succession::new("old");
/// let stay = office.stay();
/// // SAFETY: this is the one thread, and the stay is of this office.
/// unsafe {
///     assert!(office.succeed("new").is_ok());
///     assert_eq!(*office.visit(), "new");
///     assert_eq!((*office.at(&stay), office.is_in_office(&stay)), ("old", false));
///     assert!(office.bury().is_err(), "somebody stays");
///     office.end(stay);
///     assert_eq!(office.bury(), Ok(Some("old")));
/// }
/// ```
pub struct Succession<T> {
    /// A slot.
    office: CachePadded<AtomicUsize>,
    /// A slot, or `NONE`.
    leaving: AtomicUsize,
    slots: [CachePadded<Slot<T>>; 2],
}

struct Slot<T> {
    visitors: AtomicUsize,
    stays: AtomicUsize,
    /// Written by `succeed` and `bury`, each of which has it alone.
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is given out by shared reference while it is counted as used, and by value when it is
// not.
unsafe impl<T: Send + Sync> Send for Succession<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Succession<T> {}

/// A long use of a value. It must be [ended](Succession::end), or the value is never buried.
#[derive(Debug)]
#[must_use = "the value stays for as long as this is not ended"]
pub struct Stay(usize);

/// Somebody still uses the value that leaves. The door was shut for a moment: tell those who sleep.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "who looked meanwhile found nothing"]
pub struct InUse;

impl<T> Slot<T> {
    fn new(value: Option<T>) -> Self {
        Slot {
            visitors: AtomicUsize::new(0),
            stays: AtomicUsize::new(0),
            value: UnsafeCell::new(value),
        }
    }

    fn is_used(&self) -> bool {
        // Acquire, both: what the users did comes before what is done to the value next. Visitors first: a stay
        // begins in a visit, so one that is not counted among the visitors any more is among the stays.
        self.visitors.load(Ordering::Acquire) != 0 || self.stays.load(Ordering::Acquire) != 0
    }
}

impl<T> Succession<T> {
    /// `value` is in office, nobody leaves.
    pub fn new(value: T) -> Self {
        Self {
            office: CachePadded::new(AtomicUsize::new(0)),
            leaving: AtomicUsize::new(NONE),
            slots: [Slot::new(Some(value)), Slot::new(None)].map(CachePadded::new),
        }
    }

    /// Uses the value in office for a moment.
    pub fn visit(&self) -> Visit<'_, T> {
        loop {
            // Relaxed: a guess; `enter` looks again.
            let slot = self.office.load(Ordering::Relaxed);
            match self.enter(slot, &self.office) {
                Some(visit) => return visit,
                None => spin_loop(),
            }
        }
    }

    /// Uses the value that leaves for a moment, if there is one and it can be found just now.
    pub fn visit_leaving(&self) -> Option<Visit<'_, T>> {
        // Acquire: pairs with the Release in `succeed`: who saw the new value in office sees who leaves.
        let slot = self.leaving.load(Ordering::Acquire);
        if slot == NONE { None } else { self.enter(slot, &self.leaving) }
    }

    /// Counts a visitor of `slot`, and looks whether `door` still leads there.
    fn enter(&self, slot: usize, door: &AtomicUsize) -> Option<Visit<'_, T>> {
        // Relaxed: ordered by the fence.
        self.slots[slot].visitors.fetch_add(1, Ordering::Relaxed);
        // SeqCst: (VisitFence) counted before the look at the door. Partner: the fence in `bury`.
        fence(Ordering::SeqCst);
        let visit = Visit { succession: self, slot };
        // Acquire: the value, written before the door was opened.
        (door.load(Ordering::Acquire) == slot).then_some(visit)
    }

    /// Begins a long use of the value in office.
    pub fn stay(&self) -> Stay {
        let visit = self.visit();
        // Relaxed: the end of the visit releases it.
        self.slots[visit.slot].stays.fetch_add(1, Ordering::Relaxed);
        Stay(visit.slot)
    }

    /// Ends a long use.
    ///
    /// # Safety
    ///
    /// The stay was begun here.
    pub unsafe fn end(&self, stay: Stay) {
        let Stay(slot) = stay;
        // Release: our use of the value comes before its burial; pairs with the Acquire in `is_used`.
        self.slots[slot].stays.fetch_sub(1, Ordering::Release);
    }

    /// Whether what `stay` uses is what newcomers get.
    #[inline]
    pub fn is_in_office(&self, stay: &Stay) -> bool {
        // Relaxed: who misses the change uses the old value once more, which waits for the end of the stay.
        self.office.load(Ordering::Relaxed) == stay.0
    }

    /// The value that `stay` uses.
    ///
    /// # Safety
    ///
    /// The stay was begun here.
    #[inline]
    pub unsafe fn at<'a>(&'a self, stay: &'a Stay) -> &'a T {
        // SAFETY: the value is there and shared while the stay has not ended; that it is one of ours is the
        // caller's claim.
        unsafe { self.value(stay.0) }
    }

    /// # Safety
    ///
    /// The slot is visited, or somebody stays in it.
    #[inline]
    unsafe fn value(&self, slot: usize) -> &T {
        // SAFETY: the caller's claim: `succeed` has written it and `bury` does not take it.
        let value = self.slots[slot].value.with(|value| unsafe { &*value });
        value.as_ref().expect("whoever is counted found a value")
    }

    /// Puts `value` into office. Gives it back if another one is still leaving.
    ///
    /// # Errors
    ///
    /// `value`, if the one before the present one is not buried yet.
    ///
    /// # Safety
    ///
    /// One caller at a time, of this and of [`bury`](Self::bury), each after the one before.
    pub unsafe fn succeed(&self, value: T) -> Result<(), T> {
        // Acquire: pairs with the store in `bury`: the slot is empty.
        if self.leaving.load(Ordering::Acquire) != NONE {
            return Err(value);
        }
        // Relaxed: written by the one caller.
        let old = self.office.load(Ordering::Relaxed);
        let new = 1 - old;
        // SAFETY: the slot is neither in office nor leaving, and `bury` saw it unused: those who count
        // themselves since then back out without a look at the value. Nobody else writes, by the caller's claim.
        self.slots[new].value.with_mut(|place| unsafe { *place = Some(value) });
        // Release, in this order: who finds the new value in office finds the old one leaving.
        self.leaving.store(old, Ordering::Release);
        self.office.store(new, Ordering::Release);
        Ok(())
    }

    /// Takes out the value that leaves: the caller has it alone. `None`: nobody leaves.
    ///
    /// # Errors
    ///
    /// [`InUse`], if somebody uses it.
    ///
    /// # Safety
    ///
    /// As of [`succeed`](Self::succeed).
    pub unsafe fn bury(&self) -> Result<Option<T>, InUse> {
        // Relaxed: written by callers of `succeed` and `bury`, who are ordered.
        let slot = self.leaving.load(Ordering::Relaxed);
        if slot == NONE {
            return Ok(None);
        }
        if self.slots[slot].is_used() {
            return Err(InUse);
        }
        // Release: for the next `succeed`, should nobody be found below.
        self.leaving.store(NONE, Ordering::Release);
        // SeqCst: (BuryFence) the door is shut before the look at the count. Partner: the fence in `enter`.
        fence(Ordering::SeqCst);
        if self.slots[slot].is_used() {
            // Release: the value is still there for whoever comes in.
            self.leaving.store(slot, Ordering::Release);
            return Err(InUse);
        }
        // SAFETY: both doors are shut and nobody is inside: who counts himself now backs out. Nobody else writes, by
        // the caller's claim.
        Ok(self.slots[slot].value.with_mut(|place| unsafe { (*place).take() }))
    }

    /// Whether one leaves, at about this time.
    pub fn is_leaving(&self) -> bool {
        // Relaxed: a hint.
        self.leaving.load(Ordering::Relaxed) != NONE
    }
}

/// A short use of a value.
pub struct Visit<'a, T> {
    succession: &'a Succession<T>,
    slot: usize,
}

impl<T> Visit<'_, T> {
    /// Whether it is of the value that `stay` uses, too.
    pub fn is_of(&self, stay: &Stay) -> bool {
        self.slot == stay.0
    }
}

impl<T> core::ops::Deref for Visit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: visited, and the door was open after that.
        unsafe { self.succession.value(self.slot) }
    }
}

impl<T> Drop for Visit<'_, T> {
    fn drop(&mut self) {
        // Release: our use of the value comes before its burial; pairs with the Acquire in `is_used`.
        self.succession.slots[self.slot].visitors.fetch_sub(1, Ordering::Release);
    }
}

impl<T: fmt::Debug> fmt::Debug for Visit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> fmt::Debug for Succession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Succession").field("leaving", &self.is_leaving()).finish_non_exhaustive()
    }
}
