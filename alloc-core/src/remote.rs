//! Frees by threads that do not own the span, and the hand-over of spans that nobody owns.
//!
//! A span of small cells is *owned* by one cache, which allocates from it and frees into it with
//! plain loads and stores. Everybody else frees through one 64-bit word:
//!
//! ```text
//!   63     50 49  48 47        32 31        16 15         0
//!   ┌────────┬──────┬────────────┬────────────┬────────────┐
//!   │   0    │state │    used    │   count    │  head + 1  │
//!   └────────┴──────┴────────────┴────────────┴────────────┘
//!   head   index of the first cell on the remote list (0: none); the cell links to the next
//!   count  cells on the list
//!   used   cells that were not free when the owner let go; 0 while owned
//! ```
//!
//! # States
//!
//! ```text
//!            disown_full                    push (the first)
//!   ┌──────────────────────────▶ FULL ───────────────────────▶ INCOMING
//!   │  ◀──────────────────────────┘                               │ arrive
//! OWNED          adopt                                            ▼
//!   │  ◀───────────────────────── claim ────────────────────── LISTED
//!   └───────────────────────────▶ list ─────────────────────────▶ ┘
//! ```
//!
//! * **owned**: the owner finds the list when its own free cells run out ([`Remote::take`]).
//! * **full**: nobody owns the span and it is on no list. The first free puts it back: whoever's
//!   push moves the word to *incoming* must hand the span to its central. A thread with a cache
//!   may instead [`adopt`](Remote::adopt) it.
//! * **incoming**: on its way to the central, or in the central's set.
//! * **listed**: on the central's list; the states *incoming* → *listed* → *owned* change under
//!   the central's lock, while pushes go on beside.
//!
//! # Why nothing is lost and nothing used twice
//!
//! One word holds list, count and state, so a push sees the state that its cell joins: a push
//! that comes before `disown_full` makes that fail (the list is not empty), a push after it finds
//! *full* and puts the span back. Two pushes cannot both find *full*. Cells are only taken as a whole
//! list, by the owner, so the ABA problem of a stack cannot arise.
//!
//! # Orderings
//!
//! A push releases what the freeing thread did to the cell and its link; `take` acquires it. Letting go
//! (`disown_full`, `list`) releases the owner's part of the record; taking hold (`adopt`, `claim`,
//! and a push that puts back) acquires it. Every change is a read-modify-write, so each release
//! heads a sequence that reaches all later acquires.
//!
//! Model: `loom-tests/tests/alloc_remote.rs`. Sources: mimalloc's `xthread_free` (Leijen et al. 2019),
//! snmalloc's message queues; Go frees by sweeping only and has no such thing.

use core::fmt;

use crate::sync::{AtomicU64, Ordering};

const COUNT: u32 = 16;
const USED: u32 = 32;
const STATE: u32 = 48;
const FIELD: u64 = 0xffff;

/// Whether anyone owns a span, and if not, where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A cache owns it.
    Owned = 0,
    /// Nobody owns it, no cell is free, and it is on no list.
    Full = 1,
    /// A cell was freed; it is on its way to the central.
    Incoming = 2,
    /// It is on the central's list.
    Listed = 3,
}

/// What a remote free found, and what the caller must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// The cell is on the list; somebody will find it.
    Queued,
    /// The span was full and unowned. The caller alone must put it into the central's set.
    PutBack,
    /// All cells of a span that nobody owns are free now. The caller may tell the central.
    Emptied,
}

/// A copy of the word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    fn new(state: State, used: u32, count: u32, head: Option<u32>) -> Self {
        let head = head.map_or(0, |index| u64::from(index) + 1);
        Snapshot(
            (state as u64) << STATE | u64::from(used) << USED | u64::from(count) << COUNT | head,
        )
    }

    /// Who has the span.
    pub fn state(self) -> State {
        match (self.0 >> STATE) & 3 {
            0 => State::Owned,
            1 => State::Full,
            2 => State::Incoming,
            _ => State::Listed,
        }
    }

    /// Cells that were in use when the owner let go.
    pub fn used(self) -> u32 {
        ((self.0 >> USED) & FIELD) as u32
    }

    /// Cells on the list.
    pub fn count(self) -> u32 {
        ((self.0 >> COUNT) & FIELD) as u32
    }

    /// Index of the first cell on the list.
    pub fn head(self) -> Option<u32> {
        ((self.0 & FIELD) as u32).checked_sub(1)
    }

    /// True if the span has no owner and no live cell.
    pub fn is_empty(self) -> bool {
        self.state() != State::Owned && self.count() == self.used()
    }

    fn with_state(self, state: State) -> Self {
        Snapshot::new(state, self.used(), self.count(), self.head())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("state", &self.state())
            .field("used", &self.used())
            .field("count", &self.count())
            .field("head", &self.head())
            .finish()
    }
}

/// The word. A new one is owned, with an empty list.
///
/// ```
/// use alloc_core::remote::{Pushed, Remote};
/// let word = Remote::new();
/// assert_eq!(word.push(3, |_| ()), Pushed::Queued);
/// let list = word.take().unwrap();
/// assert_eq!((list.head(), list.count()), (Some(3), 1));
/// word.disown_full(8).unwrap();
/// assert_eq!(word.push(5, |_| ()), Pushed::PutBack);
/// ```
#[derive(Debug)]
pub struct Remote(AtomicU64);

impl Remote {
    /// Owned, nothing freed.
    #[allow(clippy::new_without_default, reason = "a default would hide that it starts as owned")]
    pub fn new() -> Self {
        Remote(AtomicU64::new(0))
    }

    /// Makes the span owned again, whatever it was: its pages begin a new life.
    ///
    /// The caller holds the pages alone.
    pub(crate) fn reset(&self) {
        // Relaxed: nobody else knows the span; it is handed on with the first cell.
        self.0.store(0, Ordering::Relaxed);
    }

    /// The word now; other threads may change it at once.
    pub fn snapshot(&self) -> Snapshot {
        // Acquire: who sees a state sees what the thread that made it wrote before.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Frees a cell of a span that the caller does not own.
    ///
    /// `link` must make the cell point to the one whose index it is given; it is called once for
    /// each attempt.
    pub fn push(&self, cell: u32, link: impl FnMut(Option<u32>)) -> Pushed {
        self.push_chain(cell, 1, link)
    }

    /// Frees `count` cells of a span that the caller does not own, which are linked already, by one
    /// exchange.
    ///
    /// `first` is where the chain begins; `link` must make its *last* cell point to the one whose
    /// index it is given, and is called once for each attempt.
    pub fn push_chain(&self, first: u32, count: u32, mut link: impl FnMut(Option<u32>)) -> Pushed {
        // Relaxed: only compared and counted; the exchange below decides.
        let mut now = Snapshot(self.0.load(Ordering::Relaxed));
        loop {
            link(now.head());
            let state = match now.state() {
                State::Full => State::Incoming,
                other => other,
            };
            let next = Snapshot::new(state, now.used(), now.count() + count, Some(first));
            // Release: publishes the cells and their links to the owner's `take`. Acquire: if the
            // span was full, the caller goes on to touch its links, after the last owner.
            // Relaxed on failure: as the load above.
            match self.0.compare_exchange_weak(now.0, next.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if now.state() == State::Full => return Pushed::PutBack,
                Ok(_) if next.is_empty() => return Pushed::Emptied,
                Ok(_) => return Pushed::Queued,
                Err(found) => now = Snapshot(found),
            }
        }
    }

    /// The owner takes the whole list, if there is one.
    pub fn take(&self) -> Option<Snapshot> {
        // Relaxed: a look that spares the owner the exchange; a push in flight is found next time.
        if Snapshot(self.0.load(Ordering::Relaxed)).count() == 0 {
            return None;
        }
        // Acquire: pairs with the Release of every push on the list.
        let list = Snapshot(self.0.swap(0, Ordering::Acquire));
        debug_assert_eq!(list.state(), State::Owned, "only the owner takes");
        Some(list)
    }

    /// The owner lets go of a span without a free cell: its next free puts it back.
    ///
    /// # Errors
    ///
    /// If a cell was freed meanwhile: the caller still owns the span and should take the list.
    pub fn disown_full(&self, used: u32) -> Result<(), Snapshot> {
        let full = Snapshot::new(State::Full, used, 0, None);
        // Release: hands the owner's part of the record on; pairs with the Acquire in `adopt` and
        // `push`. Relaxed on failure: the caller looks again with `take`.
        self.0
            .compare_exchange(0, full.0, Ordering::Release, Ordering::Relaxed)
            .map(drop)
            .map_err(Snapshot)
    }

    /// The owner lets go of a span with free cells. Under the central's lock, which also puts it
    /// on its list.
    pub fn list(&self, used: u32) {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Owned, "only the owner lets go");
            Snapshot::new(State::Listed, used, now.count(), now.head())
        });
    }

    /// Takes hold of a full span; `false` if somebody else was first.
    ///
    /// The caller has a live cell of it, so the span is still there.
    pub fn adopt(&self) -> bool {
        // Relaxed: only compared.
        let now = Snapshot(self.0.load(Ordering::Relaxed));
        // Acquire: the last owner's part of the record is ours now; pairs with the Release in
        // `disown_full`. Relaxed on failure: nothing is read.
        now.state() == State::Full
            && self.0.compare_exchange(now.0, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The central has found the span in its set and puts it on its list. Under its lock.
    pub fn arrive(&self) -> Snapshot {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Incoming, "only what was put back arrives");
            now.with_state(State::Listed)
        })
    }

    /// A cache takes a listed span, with the cells on its list. Under the central's lock.
    pub fn claim(&self) -> Snapshot {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Listed, "only listed spans are claimed");
            Snapshot::new(State::Owned, 0, now.count(), now.head())
        })
    }

    /// Changes the word whatever happens beside; returns the new one.
    fn change(&self, to: impl Fn(Snapshot) -> Snapshot) -> Snapshot {
        // Relaxed: only compared.
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let next = to(Snapshot(now));
            // AcqRel: a change lets go of the record or takes hold of it; pairs with the others.
            // Relaxed on failure: as the load above.
            match self.0.compare_exchange_weak(now, next.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return next,
                Err(found) => now = found,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_fields_apart() {
        let word = Snapshot::new(State::Listed, 8192, 8191, Some(8190));
        assert_eq!(word.state(), State::Listed);
        assert_eq!((word.used(), word.count(), word.head()), (8192, 8191, Some(8190)));
        assert_eq!(word.with_state(State::Incoming).state(), State::Incoming);
        assert_eq!(word.with_state(State::Full).used(), 8192);
    }

    #[test]
    fn a_full_span_is_put_back_once_and_empties() {
        let word = Remote::new();
        word.disown_full(2).unwrap();
        assert_eq!(word.push(0, |head| assert_eq!(head, None)), Pushed::PutBack);
        assert_eq!(word.arrive().count(), 1);
        assert_eq!(word.push(1, |head| assert_eq!(head, Some(0))), Pushed::Emptied);
        let owned = word.claim();
        assert_eq!((owned.state(), owned.count()), (State::Owned, 2));
    }

    #[test]
    fn a_free_in_between_keeps_the_span_with_its_owner() {
        let word = Remote::new();
        let _ = word.push(7, |_| ());
        assert_eq!(word.disown_full(4).unwrap_err().head(), Some(7));
        assert_eq!(word.take().unwrap().count(), 1);
        assert!(word.disown_full(4).is_ok());
        assert!(word.adopt() && !word.adopt());
    }
}
