//! [`State`]: where a future stands and who names it, in one word.
//!
//! # Problem
//!
//! A future is known to wakers on any thread, to one queue or one carrier, to its handle. They wake,
//! poll, cancel, ask and let go in any order. It must be polled after every wake, by one carrier at a
//! time; its result must be dropped once; its memory must go with its last name.
//!
//! # The word
//!
//! ```text
//!          wake, abort                 start
//!   IDLE ───────────────► SCHEDULED ───────────► RUNNING ─────────────► DONE
//!     ▲                       ▲                    │  │    complete
//!     │                       └── suspend (woken) ─┘  │
//!     └────────────── suspend (not woken) ────────────┘
//!
//!   WOKEN      a wake during the poll: there will be another one
//!   ABORTED    somebody wants it to end: no poll begins any more
//!   INTEREST   the handle is there: the result is for it
//!   JOINER     the handle has stored a waker, which is now the completer's
//!   references in the bits above
//! ```
//!
//! # References
//!
//! Each waker has one, the handle has one, and one is the *run reference*: of whoever has a future that
//! is scheduled or runs. An idle one has none: if nobody names an idle future, nobody can wake it, and
//! the last who lets go schedules it once more, to be cancelled ([`Release::Schedule`]). So nothing of the
//! user's is dropped where a waker is dropped.
//!
//! # Why no wake is lost
//!
//! `wake`, `start` and `suspend` are read-modify-writes of one word, so of a wake and a suspend one comes
//! first. Either the wake does: the suspend finds WOKEN, and the future is queued again. Or the suspend
//! does: the wake finds IDLE, and queues it. A wake that finds it scheduled needs to do nothing, as
//! `start` comes later; but it writes all the same: what the waker did before must be visible in that
//! poll, and only a write hands it on. (With a mere load a poll could miss the data of the wake that it
//! was merged with.)
//!
//! # Who has the joiner's place
//!
//! While JOINER is not set, the handle; from then on the completer, unless the handle takes it back before
//! the completion ([`clear_joiner`](State::clear_joiner), [`drop_handle`](State::drop_handle)).
//!
//! All transitions are AcqRel: the Release half hands the future, the result, the joiner and what a waker
//! did to whoever acts next; the Acquire half receives it.
//!
//! # Source
//!
//! The form is that of tokio's `task/state.rs`; that the last waker of an idle future has it dropped by
//! the executor is async-task's. Model: `loom-tests/tests/sched_future.rs`.

use core::fmt;

use crate::sync::{AtomicUsize, Ordering};

const PHASE: usize = 0b11;
/// Nobody has it: it waits for a wake.
const IDLE: usize = 0;
/// In one queue, or in the hand of whoever puts it there or took it from there.
const SCHEDULED: usize = 1;
/// A carrier polls it.
const RUNNING: usize = 2;
/// Its result is stored, or was dropped.
const DONE: usize = 3;

const WOKEN: usize = 1 << 2;
const ABORTED: usize = 1 << 3;
const INTEREST: usize = 1 << 4;
const JOINER: usize = 1 << 5;
/// One reference.
const ONE: usize = 1 << 6;

/// The state of one future. See the [module](self).
///
/// ```
/// use sched_core::future::state::{Start, State, Suspend, Wake};
///
/// let state = State::scheduled();
/// assert_eq!(state.start(), Start::Poll);
/// assert_eq!(state.wake(), Wake::Nothing, "it is being polled");
/// assert_eq!(state.suspend(), Suspend::Again, "and is polled again");
/// ```
pub struct State(AtomicUsize);

/// What [`State::wake`] and [`State::abort`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wake {
    /// It was idle. The caller has the run reference, and puts it into a queue.
    Schedule,
    /// It is scheduled already, will be, or is over.
    Nothing,
}

/// What [`State::start`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Start {
    /// Poll it.
    Poll,
    /// It was aborted: drop it, and complete it.
    Cancel,
    /// It is over; only the run reference is left, to be let go where memory may be freed.
    Over,
}

/// What [`State::suspend`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Suspend {
    /// It is idle, and the run reference is gone: do not touch it.
    Idle,
    /// It was woken during the poll: put it behind the others.
    Again,
    /// It was aborted, or nobody can wake it: drop it, and complete it.
    Cancel,
}

/// What [`State::complete`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Complete {
    /// The handle is gone: the completer drops the result.
    pub detached: bool,
    /// The joiner's place is the completer's: it takes the waker, and wakes it.
    pub joiner: bool,
}

/// What [`State::release`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// Others name it.
    Named,
    /// Nobody can wake it any more. The caller has the run reference, and puts it into a queue, to be
    /// cancelled there.
    Schedule,
    /// It is over, and nobody names it: the caller frees the memory, or has the run reference of
    /// something that is [`Start::Over`].
    Free,
}

/// What [`State::set_joiner`] and [`State::clear_joiner`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Join {
    /// It is over: the result can be taken.
    Done,
    /// It is not; the change was made.
    Pending,
}

/// What [`State::drop_handle`] says. The handle's reference is still to be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum DropHandle {
    /// The result is stored and was the handle's: the caller drops it.
    DropResult,
    /// The joiner's place is the caller's again, who drops the waker in it.
    DropJoiner,
}

impl State {
    /// Of a future that is about to be queued, with a handle.
    pub fn scheduled() -> Self {
        Self(AtomicUsize::new(SCHEDULED | INTEREST | (2 * ONE)))
    }

    /// Of a future that waits for its first wake. It has no handle; the caller has its one reference.
    pub fn idle() -> Self {
        Self(AtomicUsize::new(IDLE | ONE))
    }

    /// Has it polled once more.
    pub fn wake(&self) -> Wake {
        self.summon(WOKEN)
    }

    /// Has it end, between two polls. [`Wake::Nothing`] also if it is over.
    pub fn abort(&self) -> Wake {
        self.summon(ABORTED)
    }

    /// Schedules an idle one; leaves `mark` for one that is under way.
    fn summon(&self, mark: usize) -> Wake {
        let before = self.update(|bits| match bits & PHASE {
            IDLE => to(bits | mark & ABORTED, SCHEDULED) + ONE,
            SCHEDULED => bits | mark & ABORTED,
            RUNNING => bits | mark,
            _ => bits,
        });
        if before & PHASE == IDLE { Wake::Schedule } else { Wake::Nothing }
    }

    /// A carrier that has the run reference begins.
    pub fn start(&self) -> Start {
        let before = self.update(|bits| match bits & PHASE {
            SCHEDULED => to(bits, RUNNING),
            _ => bits,
        });
        match before & PHASE {
            DONE => Start::Over,
            _ if before & ABORTED != 0 => Start::Cancel,
            phase => {
                debug_assert_eq!(phase, SCHEDULED, "started in {:?}", Bits(before));
                Start::Poll
            }
        }
    }

    /// The poll is over, and the future is not.
    pub fn suspend(&self) -> Suspend {
        let next = |bits: usize| {
            if bits & ABORTED != 0 || bits & WOKEN == 0 && bits / ONE == 1 {
                (bits, Suspend::Cancel)
            } else if bits & WOKEN != 0 {
                (to(bits, SCHEDULED) & !WOKEN, Suspend::Again)
            } else {
                (to(bits, IDLE) - ONE, Suspend::Idle)
            }
        };
        let before = self.update(|bits| next(bits).0);
        debug_assert_eq!(before & PHASE, RUNNING, "suspended in {:?}", Bits(before));
        next(before).1
    }

    /// The carrier has stored the result. It keeps the run reference, to be let go when it has done
    /// what is said here.
    pub fn complete(&self) -> Complete {
        // AcqRel: Release: the result. Acquire: the joiner's waker.
        let before = self.0.fetch_or(DONE, Ordering::AcqRel);
        debug_assert_eq!(before & PHASE, RUNNING, "completes in {:?}", Bits(before));
        Complete { detached: before & INTEREST == 0, joiner: before & JOINER != 0 }
    }

    /// Whether the result can be taken.
    pub fn is_done(&self) -> bool {
        // Acquire: the result; pairs with `complete`.
        self.0.load(Ordering::Acquire) & PHASE == DONE
    }

    /// Whether the joiner's place is the completer's. For the handle, which alone changes that before
    /// the end.
    pub fn has_joiner(&self) -> bool {
        // Relaxed: the handle's own writing.
        self.0.load(Ordering::Relaxed) & JOINER != 0
    }

    /// The handle has stored a waker, and gives the place away. [`Join::Done`]: it keeps it.
    pub fn set_joiner(&self) -> Join {
        self.unless_done(|bits| bits | JOINER)
    }

    /// The handle takes the place back. [`Join::Done`]: the completer has it.
    pub fn clear_joiner(&self) -> Join {
        self.unless_done(|bits| bits & !JOINER)
    }

    fn unless_done(&self, change: impl Fn(usize) -> usize) -> Join {
        let before = self.update(|bits| if bits & PHASE == DONE { bits } else { change(bits) });
        if before & PHASE == DONE { Join::Done } else { Join::Pending }
    }

    /// The handle goes away without the result.
    pub fn drop_handle(&self) -> DropHandle {
        let before = self.update(|bits| match bits & PHASE {
            DONE => bits & !INTEREST,
            _ => bits & !(INTEREST | JOINER),
        });
        debug_assert_ne!(before & INTEREST, 0, "one handle");
        if before & PHASE == DONE { DropHandle::DropResult } else { DropHandle::DropJoiner }
    }

    /// One more names it, by the word of one who does.
    pub fn retain(&self) {
        // Relaxed: a new reference is made from one that exists.
        let before = self.0.fetch_add(ONE, Ordering::Relaxed);
        // As `Arc`: a program that leaks so many wakers must not come to free one in use.
        assert!(before <= usize::MAX / 2, "too many wakers of one future");
    }

    /// One less.
    pub fn release(&self) -> Release {
        let next = |bits: usize| match (bits / ONE, bits & PHASE) {
            (1, IDLE) => (to(bits, SCHEDULED) | ABORTED, Release::Schedule),
            (1, _) => (bits - ONE, Release::Free),
            _ => (bits - ONE, Release::Named),
        };
        let before = self.update(|bits| next(bits).0);
        let release = next(before).1;
        debug_assert!(
            release != Release::Free || before & PHASE == DONE,
            "the run reference was let go in {:?}",
            Bits(before)
        );
        release
    }

    /// Makes the last reference, which was let go, into a run reference again: for one who cannot free
    /// memory where it stands.
    pub fn revive(&self) {
        // Relaxed: nobody else names it.
        self.0.fetch_add(ONE, Ordering::Relaxed);
    }

    /// One read-modify-write; returns what was there before.
    #[inline]
    fn update(&self, change: impl Fn(usize) -> usize) -> usize {
        // Relaxed: a guess; the exchange below settles it.
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            // AcqRel: both halves of the essay's last line, even when nothing changes.
            let swap = self.0.compare_exchange_weak(
                bits,
                change(bits),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match swap {
                Ok(before) => return before,
                Err(now) => bits = now,
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for the eye only.
        Bits(self.0.load(Ordering::Relaxed)).fmt(f)
    }
}

#[inline]
fn to(bits: usize, phase: usize) -> usize {
    bits & !PHASE | phase
}

/// The word as a person reads it.
struct Bits(usize);

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["idle", "scheduled", "running", "done"][self.0 & PHASE])?;
        [(WOKEN, "woken"), (ABORTED, "aborted"), (INTEREST, "interest"), (JOINER, "joiner")]
            .into_iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .try_for_each(|(_, name)| write!(f, " + {name}"))?;
        write!(f, ", {} references", self.0 / ONE)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
