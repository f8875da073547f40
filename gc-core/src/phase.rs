//! The phase word: where the cycle stands, in one atomic word.
//!
//! ```text
//!   63                      5      4           3       2      1 0
//!  ┌─────────────────────────┬────────────┬────────┬───────┬───────┐
//!  │ cycle                   │ overflowed │ hybrid │ dirty │ phase │
//!  └─────────────────────────┴────────────┴────────┴───────┴───────┘
//!
//!      off ──switch_on──► on ──begin_mark──► mark ──finish──► off of cycle + 1
//!    step 7 ◄─switch_off─ step 1             step 5           step 7
//! ```
//!
//! One word, because four questions need one answer:
//!
//! - An allocation takes a cell and a colour. Both come from one [`Reading`]: a span belongs to
//!   the cycle in which it may be allocated from, and a cell of cycle *c* coloured by the rules
//!   of *c + 1* would be swept as dead or stay marked for ever.
//! - Marking may end only if nothing turned from white to marked since the last look. `dirty` is
//!   set by whoever marks, and [`PhaseWord::finish`] succeeds only on a clean word, so a mark
//!   that races with the end wins or loses, but is never overlooked.
//! - The upgrade of a weak pointer asks "is it still *mark*, and have I kept it so?" by the same
//!   read-modify-write.
//! - What was marked and not looked into is to be walked over, and the walk must begin after the mark
//!   (`mark::overflow`).
//!
//! A queue that is empty after a handshake is no replacement for `dirty`: a worker that drains
//! while the handshake runs can empty a queue whose contents came from behind the handshake.
//! The explicit-state search finds that run (`loom-tests/tests/gc_search.rs`, the deeper plans), and
//! `loom-tests/tests/gc_cycle.rs` plants it.

use crate::sync::{AtomicU64, Ordering};

const PHASE: u64 = 0b11;
const DIRTY: u64 = 0b100;
const HYBRID: u64 = 0b1000;
const OVERFLOWED: u64 = 0b1_0000;
const CYCLE: u32 = 5;

/// What the collector is doing, as mutators need to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No cycle: stores are plain, new objects are white.
    Off,
    /// Steps 1–4: deletions are logged, new objects are grey.
    On,
    /// Steps 5–6: deletions are logged, new objects are black.
    Mark,
}

/// One reading of the phase word. Everything that one operation decides, it decides from one of
/// these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading(u64);

impl Reading {
    /// What the collector is doing.
    #[inline(always)]
    pub fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Off,
            1 => Phase::On,
            _ => Phase::Mark,
        }
    }

    /// Whether deletions have to be logged.
    #[inline(always)]
    pub fn barrier(self) -> bool {
        self.0 & PHASE != 0
    }

    /// Whether stores log what they put in, beside what they take out.
    #[inline(always)]
    pub fn logs_new(self) -> bool {
        self.0 & HYBRID != 0
    }

    /// The number of cycles that have ended; spans are stamped with it.
    #[inline(always)]
    pub fn cycle(self) -> u64 {
        self.0 >> CYCLE
    }

    /// Whether something turned from white to marked since the bit was last cleared.
    #[inline(always)]
    pub fn dirty(self) -> bool {
        self.0 & DIRTY != 0
    }
}

/// The word itself. Only the driver of a cycle moves the phase; anyone sets `dirty`.
///
/// ```
/// use gc_core::phase::{Phase, PhaseWord};
///
/// let word = PhaseWord::default();
/// word.switch_on(false);
/// word.begin_mark();
/// word.set_dirty();
/// assert_eq!(word.finish(), None, "something was marked: another round");
/// word.clear_dirty();
/// assert_eq!(word.finish(), Some(2));
/// assert_eq!(word.read().phase(), Phase::Off);
/// ```
#[derive(Debug)]
pub struct PhaseWord(AtomicU64);

impl Default for PhaseWord {
    fn default() -> Self {
        Self(AtomicU64::new(1 << CYCLE))
    }
}

impl PhaseWord {
    /// Reads the word.
    #[inline(always)]
    pub fn read(&self) -> Reading {
        // Relaxed: who acts on it does so in an operation, and its fence comes before. What a word means
        // (*on*: the marks of the former cycle are cleared; *off*: the last marks are set) was written
        // before the heavy fence of a hand. Either that fence comes first: then the operation sees it. Or
        // the operation's does, and the hand waits for its end: an operation that meets hand 1 is over
        // before any guard comes that is not waited for, and none that meets hand 3 reads *off*.
        Reading(self.0.load(Ordering::Relaxed))
    }

    /// Step 1: from now on, deletions are logged and new objects are grey. `hybrid`: what is put into a
    /// slot is logged too, until the cycle's end.
    pub fn switch_on(&self, hybrid: bool) {
        // AcqRel: the read-modify-writes of the word, of which `set_dirty` is anybody's, are a chain in
        // which each sees what came before.
        let old = Reading(self.0.fetch_or(if hybrid { 1 | HYBRID } else { 1 }, Ordering::AcqRel));
        debug_assert_eq!(old.phase(), Phase::Off, "a cycle began inside a cycle");
    }

    /// Takes step 1 back: no cycle runs, and none has run. Logs of those who read *on* may come late; what
    /// they hold is not swept before the next cycle has ended.
    pub fn switch_off(&self) {
        // AcqRel: as `switch_on`.
        let old = Reading(self.0.fetch_and(!(PHASE | HYBRID), Ordering::AcqRel));
        debug_assert_eq!(old.phase(), Phase::On, "only a beginning is taken back");
    }

    /// Step 5: from now on, new objects are black.
    pub fn begin_mark(&self) {
        // AcqRel: as `switch_on`; adding 1 turns *on* (1) into *mark* (2).
        let old = Reading(self.0.fetch_add(1, Ordering::AcqRel));
        debug_assert_eq!(old.phase(), Phase::On, "marking began outside a cycle");
    }

    /// Notes that something turned from white to marked, or will. Returns what the word said: after
    /// *mark*, marking does not end without one more round.
    #[inline]
    pub fn set_dirty(&self) -> Reading {
        // AcqRel: a read-modify-write, so that it is before or after the one in `finish` and
        // never beside it.
        Reading(self.0.fetch_or(DIRTY, Ordering::AcqRel))
    }

    /// Notes that something was marked that nobody looks into: marking does not end without a walk over all that is
    /// marked.
    #[cold]
    pub(crate) fn set_overflowed(&self) {
        // AcqRel: Release, so that the walk finds what was marked before; pairs with `take_overflow`. The rest as
        // `set_dirty`.
        self.0.fetch_or(OVERFLOWED | DIRTY, Ordering::AcqRel);
    }

    /// Whether a walk is due. It is to begin after the call, and makes the word dirty.
    pub(crate) fn take_overflow(&self) -> bool {
        // Relaxed: who works for the driver has set it before the driver sees that the work is done.
        if self.0.load(Ordering::Relaxed) & OVERFLOWED == 0 {
            return false;
        }
        self.set_dirty();
        // AcqRel: Acquire, for the marks of those who set it; pairs with `set_overflowed`. Release as in `switch_on`.
        self.0.fetch_and(!OVERFLOWED, Ordering::AcqRel);
        true
    }

    /// Step 6: forgets what was marked so far. What is marked from here on counts.
    pub fn clear_dirty(&self) {
        // AcqRel: as `set_dirty`.
        self.0.fetch_and(!DIRTY, Ordering::AcqRel);
    }

    /// Step 7: ends marking if nothing was marked since [`clear_dirty`](Self::clear_dirty), and
    /// returns the new cycle number. `None` means back to step 5.
    pub fn finish(&self) -> Option<u64> {
        let seen = self.read();
        debug_assert_eq!(seen.phase(), Phase::Mark, "marking ended outside step 6");
        let clean = Reading(seen.0 & !(DIRTY | OVERFLOWED));
        let off = (clean.cycle() + 1) << CYCLE;
        // AcqRel: Release as in `switch_on`; Acquire so that the sweep
        // that follows sees the marks of whoever marked before.
        self.0
            .compare_exchange(clean.0, off, Ordering::AcqRel, Ordering::Acquire)
            .ok()
            .map(|_| off >> CYCLE)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_goes_round_and_counts() {
        let word = PhaseWord::default();
        assert_eq!((word.read().phase(), word.read().cycle()), (Phase::Off, 1));
        word.switch_on(false);
        assert!(word.read().barrier());
        word.begin_mark();
        assert_eq!(word.read().phase(), Phase::Mark);
        assert_eq!(word.finish(), Some(2));
        assert_eq!((word.read().phase(), word.read().cycle()), (Phase::Off, 2));
    }

    #[test]
    fn a_beginning_is_taken_back() {
        let word = PhaseWord::default();
        word.switch_on(true);
        word.switch_off();
        let off = word.read();
        assert_eq!((off.phase(), off.cycle(), off.logs_new()), (Phase::Off, 1, false));
        word.switch_on(false);
        assert!(word.read().barrier() && !word.read().logs_new());
    }

    #[test]
    fn an_overflow_is_looked_after_before_the_end() {
        let word = PhaseWord::default();
        word.switch_on(false);
        word.begin_mark();
        word.set_overflowed();
        word.clear_dirty();
        assert_eq!(word.finish(), None, "nobody has walked");
        assert!(word.take_overflow() && !word.take_overflow());
        assert_eq!(word.finish(), None, "a walk makes it dirty");
        word.clear_dirty();
        assert_eq!(word.finish(), Some(2));
    }

    #[test]
    fn a_dirty_word_does_not_finish() {
        let word = PhaseWord::default();
        word.switch_on(false);
        word.begin_mark();
        word.set_dirty();
        assert!(word.read().dirty());
        assert_eq!(word.finish(), None);
        word.clear_dirty();
        assert_eq!(word.finish(), Some(2));
    }
}
