//! Guards are counted, and a handshake waits for the ones from before.
//!
//! # Problem
//!
//! The collector must know that everyone who may have read an old phase, or who holds a pointer
//! from before, is gone. It may not stop anyone, and a guard may be held by a goroutine that
//! moves from processor to processor.
//!
//! # Words
//!
//! - *Epoch*: a number that only the driver of a cycle raises. Its lowest bit picks the counters.
//! - *Entries*, *exits*: per local state and per parity, how many guards were entered and left
//!   there. Both only grow, and only the local state's occupant writes them.
//! - *Handshake*: raise the epoch, then wait until all entries of the old parity have exits.
//!
//! # Protocol
//!
//! ```text
//! enter (on one local state)              handshake
//!   e = epoch                               old = epoch; epoch = old + 1
//!   entries[e] += 1                         fence
//!   fence                                   loop: x = Σ exits[old]
//!   epoch still e?  yes: the guard is of e        fence
//!                   no: exits[e] += 1, again      n = Σ entries[old]
//! leave (on any local state)                      until x = n
//!   exits[e] += 1
//! ```
//!
//! # Why it is right
//!
//! *No guard of the old epoch is overlooked.* Consider its entry's fence and the handshake's
//! first one. Either the handshake's comes first: then the guard's second look at the epoch sees
//! the new one, and it backs out. Or the guard's comes first: then every sum of entries contains
//! it.
//!
//! *No sum is balanced by a foreign exit.* Exits are read before entries. An exit that is read
//! (Acquire) was written (Release) after its own entry, wherever that was, so that entry is in
//! the sum read later. So `n ≥ x` always counts pairs, and `n = x` says that at the moment
//! between the two sums nobody was inside.
//!
//! One counter that goes up and down has no such order: an exit on a local state that is read
//! late can cancel an entry that was not read at all. It would be right only as long as everyone
//! backs out where they entered; two counters do not need to know (loom model:
//! `loom-tests/tests/gc_handshake.rs`).
//!
//! Counters of dead threads and processors stay in the sums for ever: their guards may have been
//! left elsewhere.
//!
//! # Operations
//!
//! Three of the four times that a cycle waits, it does not care who holds a pointer, but who is *in
//! the middle* of a store or an allocation: has read the phase and not yet acted on it. Such an
//! operation is a few instructions on one local state, and its occupant says so:
//!
//! ```text
//! operation                               driver
//!   operations += 1   (odd)                 phase changes
//!   light fence                             heavy fence
//!   reads the phase, acts on it             seen = operations, of every local state
//!   operations += 1   (even)                until no local state shows the odd number it showed
//! ```
//!
//! Either the operation's fence comes first: then the driver sees the odd number, or one that came
//! after. Or the driver's comes first: then the operation reads the new phase. Nobody waits for a
//! guard, so this takes microseconds, however long guards are held.
//!
//! # Source
//!
//! Sleepable RCU: P. McKenney, "Using RCU for linked lists — a case study" and Linux
//! `kernel/rcu/srcutree.c`. There a reader does not look twice and the writer flips twice; here
//! every guard belongs to exactly one epoch, because a step of the cycle needs to know which.

use crate::sync::{AtomicUsize, Ordering, fence};

/// Entries and exits of one local state.
#[derive(Debug)]
pub struct Counters {
    /// Written by the occupant of the local state, read by the driver of a cycle.
    entries: [AtomicUsize; 2],
    /// Written by the occupant of the local state, read by the driver of a cycle.
    exits: [AtomicUsize; 2],
    /// Odd while an operation is under way. Written by the occupant, read by the driver.
    operations: AtomicUsize,
    /// The odd number that the driver saw last, or 0. Used by the driver alone.
    seen: AtomicUsize,
}

impl Default for Counters {
    fn default() -> Self {
        let zero = || [AtomicUsize::new(0), AtomicUsize::new(0)];
        let (operations, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { entries: zero(), exits: zero(), operations, seen }
    }
}

impl Counters {
    /// An operation begins; the value is for [`end_operation`](Self::end_operation). Operations do not
    /// nest. `light` is as in [`Epoch::enter`].
    #[inline(always)]
    pub fn begin_operation(&self, light: impl Fn()) -> usize {
        // Relaxed: the occupant is the only writer.
        let begun = self.operations.load(Ordering::Relaxed).wrapping_add(1);
        debug_assert!(begun % 2 == 1, "an operation inside an operation");
        // Release: whoever sees this one sees the operation before as over; pairs with the Acquire
        // loads in `look` and `is_over`. The fence orders it against the driver.
        self.operations.store(begun, Ordering::Release);
        light();
        begun
    }

    /// It is over.
    #[inline(always)]
    pub fn end_operation(&self, begun: usize) {
        // Release: what the operation did is before what the driver does next; pairs with the
        // Acquire loads in `look` and `is_over`.
        self.operations.store(begun.wrapping_add(1), Ordering::Release);
    }

    /// The driver notes the operation that is under way here, if one is. After the heavy side of the
    /// barrier.
    pub fn look(&self) {
        // Acquire: see `end_operation`.
        let now = self.operations.load(Ordering::Acquire);
        // Relaxed: the driver's own.
        self.seen.store(if now % 2 == 1 { now } else { 0 }, Ordering::Relaxed);
    }

    /// Whether the operation that the driver noted is over.
    pub fn is_over(&self) -> bool {
        // Relaxed: the driver's own.
        let seen = self.seen.load(Ordering::Relaxed);
        // Acquire: see `end_operation`.
        seen == 0 || self.operations.load(Ordering::Acquire) != seen
    }

    fn note_entry(&self, parity: usize) {
        let counter = &self.entries[parity];
        // Relaxed: the occupant is the only writer, and passing the occupancy on orders it; the
        // fence in `enter` orders the store against the handshake.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn note_exit(&self, parity: usize) {
        let counter = &self.exits[parity];
        // Relaxed load: the occupant is the only writer.
        let next = counter.load(Ordering::Relaxed).wrapping_add(1);
        // Release: everything done under the guard, its entry included, is before the exit;
        // pairs with the Acquire load in `exits`.
        counter.store(next, Ordering::Release);
    }

    /// How many guards of this parity were left here.
    pub fn exits(&self, parity: usize) -> usize {
        // Acquire: brings the entries that belong to these exits; pairs with `note_exit`.
        self.exits[parity].load(Ordering::Acquire)
    }

    /// How many guards of this parity were entered here.
    pub fn entries(&self, parity: usize) -> usize {
        // Relaxed: the fences of the handshake order it.
        self.entries[parity].load(Ordering::Relaxed)
    }
}

/// Evidence of a counted guard: the epoch it belongs to. Whoever holds one owes a
/// [`leave`](Epoch::leave).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a guard that is never left stalls every later cycle"]
pub struct Pin(usize);

impl Pin {
    /// The epoch of the guard.
    pub fn epoch(self) -> usize {
        self.0
    }
}

/// The epoch that new guards belong to.
///
/// ```
/// use gc_core::handshake::{Counters, Epoch};
/// use std::sync::atomic::{Ordering, fence};
///
/// let (epoch, counters) = (Epoch::default(), Counters::default());
/// let barrier = || fence(Ordering::SeqCst);
/// let pin = epoch.enter(&counters, barrier);
/// let handshake = epoch.raise(barrier);
/// let all = |each: &mut dyn FnMut(&Counters)| each(&counters);
/// assert!(!handshake.is_complete(all), "a guard from before is held");
/// // SAFETY: the pin is of this epoch and these counters, and is left once.
/// unsafe { epoch.leave(&counters, pin) };
/// assert!(handshake.is_complete(all));
/// ```
#[derive(Debug)]
pub struct Epoch(AtomicUsize);

impl Default for Epoch {
    fn default() -> Self {
        Self(AtomicUsize::new(0))
    }
}

impl Epoch {
    /// Counts a guard on the local state whose counters these are.
    ///
    /// The caller occupies the local state from before the call until after it: entering and
    /// backing out happen in one place. `light` is the light side of the world's barrier, a
    /// `fence(SeqCst)` or less where the other side is heavy.
    #[inline]
    pub fn enter(&self, counters: &Counters, light: impl Fn()) -> Pin {
        loop {
            // Acquire: a guard of a new epoch sees the phase that was set before it; pairs with
            // the Release half of `raise`.
            let epoch = self.0.load(Ordering::Acquire);
            counters.note_entry(epoch & 1);
            light();
            // Acquire: as above.
            if self.0.load(Ordering::Acquire) == epoch {
                return Pin(epoch);
            }
            counters.note_exit(epoch & 1);
        }
    }

    /// Counts the end of a guard, on whatever local state the caller occupies now.
    ///
    /// # Safety
    ///
    /// `pin` came from [`enter`](Self::enter) of this epoch on counters of the same world, and
    /// is left once: a surplus exit would stand for a guard that is held.
    #[inline]
    pub unsafe fn leave(&self, counters: &Counters, pin: Pin) {
        counters.note_exit(pin.0 & 1);
    }

    /// The epoch that a new guard would be of.
    pub fn current(&self) -> usize {
        // Relaxed: a number for a report.
        self.0.load(Ordering::Relaxed)
    }

    /// Whether a handshake has begun since the guard was entered: then it is waited for.
    #[inline]
    pub fn has_passed(&self, pin: Pin) -> bool {
        // Relaxed: a new number cannot be seen before it is there, and who misses it does what is
        // right for guards that are not waited for.
        self.0.load(Ordering::Relaxed) != pin.0
    }

    /// Begins a handshake: guards from here on belong to a new epoch. `heavy` is the heavy side
    /// of the world's barrier. Only the driver of a cycle calls it, and only when the former
    /// handshake is complete.
    pub fn raise(&self, heavy: impl FnOnce()) -> Handshake {
        // AcqRel: Release publishes the phase to guards of the new epoch.
        let old = self.0.fetch_add(1, Ordering::AcqRel);
        heavy();
        Handshake { parity: old & 1 }
    }
}

/// A handshake under way.
#[derive(Debug)]
pub struct Handshake {
    parity: usize,
}

impl Handshake {
    /// Whether all guards from before the handshake are gone. `each` calls its argument for the
    /// counters of every local state that ever was.
    pub fn is_complete(&self, each: impl Fn(&mut dyn FnMut(&Counters))) -> bool {
        held(self.parity, each) == 0
    }

    /// Whether it waits for one guard, and no other is held, older or newer. A hint: others come and
    /// go. `each` is as above.
    pub fn waits_for_the_only_guard(&self, each: impl Fn(&mut dyn FnMut(&Counters))) -> bool {
        held(self.parity, &each) == 1 && held(self.parity ^ 1, &each) == 0
    }
}

/// What the driver waits for with the barrier off: guards of one parity, after which the cycle begins again. So that
/// a guard that would begin in between waits for a moment, and is not waited for in its turn.
#[derive(Debug)]
pub struct Awaited(AtomicUsize);

/// Nobody waits like that.
const NONE: usize = 2;

impl Default for Awaited {
    fn default() -> Self {
        Self(AtomicUsize::new(NONE))
    }
}

// Relaxed, throughout: a hint, which orders nothing.
impl Awaited {
    /// The driver waits for `handshake`.
    pub fn set(&self, handshake: &Handshake) {
        self.0.store(handshake.parity, Ordering::Relaxed);
    }

    /// Guards are of the epoch after it from now on.
    pub fn clear(&self) {
        self.0.store(NONE, Ordering::Relaxed);
    }

    /// Clears it at the end of the caller's scope, if a pause unwinds as well: or each guard would wait for nothing.
    pub(crate) fn in_scope(&self) -> Clears<'_> {
        Clears(self)
    }

    /// Whether nobody waits like that.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NONE
    }

    /// Whether what was waited for is gone, and the driver has not seen it yet. `each` is as for
    /// [`Handshake::is_complete`].
    pub fn is_over(&self, each: impl Fn(&mut dyn FnMut(&Counters))) -> bool {
        let parity = self.0.load(Ordering::Relaxed);
        parity != NONE && held(parity, each) == 0
    }
}

/// See [`Awaited::in_scope`].
pub(crate) struct Clears<'a>(&'a Awaited);

impl Drop for Clears<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// How many guards of a parity are held, at most, at the moment between the two sums.
fn held(parity: usize, each: impl Fn(&mut dyn FnMut(&Counters))) -> usize {
    let mut exits = 0usize;
    each(&mut |counters| exits = exits.wrapping_add(counters.exits(parity)));
    // SeqCst: a pass that starts after a guard's own fence must see its entry; the partner
    // is `light` in `enter`.
    fence(Ordering::SeqCst);
    let mut entries = 0usize;
    each(&mut |counters| entries = entries.wrapping_add(counters.entries(parity)));
    entries.wrapping_sub(exits)
}
