//! The one word that says where a goroutine stands.
//!
//! # Problem
//!
//! A goroutine that is about to park still runs on its stack; the one that makes it ready may be
//! faster than the switch. If readiness is forgotten the goroutine sleeps for ever; if it is obeyed
//! at once, another M resumes a context that is not saved yet. And whoever wins, the goroutine must
//! stand in one queue once.
//!
//! # The word
//!
//! ```text
//!   phase (2 bits)            spawn                        resume
//!   ──────────────            ─────►  RUNNABLE ──────────────────────────► RUNNING
//!                                        ▲  ▲      yielded (after switch)     │ │
//!                                        │  └─────────────────────────────────┘ │
//!                                 unpark │                                      │
//!                                        │         committed (after switch)     │
//!                                      PARKED ◄─────────────────────────────────┤
//!                                                                               │ finished
//!                                                                               ▼ (after switch)
//!                                                                              DONE
//!   PERMIT     an unpark that found it not parked; the next park takes it and does not sleep
//!   INTEREST   a join handle exists
//!   COMPLETE   the result is stored: it is the handle's if INTEREST, else the goroutine drops it
//!   JOINER     the handle has stored a waiter, which `finished` must wake
//!   UNSAVED    RUNNABLE only: its context is not in its slot. It has not run yet, or stays in a handler
//!   WATCHED    RUNNABLE, or about to run: a dump reads its stack, and whoever resumes it waits
//! ```
//!
//! # Who moves it
//!
//! | transition | by | then |
//! |---|---|---|
//! | [`resume`](State::resume) | the M that took it from a queue, before the switch to it | |
//! | [`begin_park`](State::begin_park) | the goroutine | with a permit: does not park |
//! | [`commit_park`](State::commit_park) | the M, *after* the switch away | notified: queue it |
//! | [`commit_yield`](State::commit_yield) | the M, after the switch away | queue it |
//! | [`commit_stay`](State::commit_stay) | the M, which waits in a handler for its turn | queue it |
//! | [`claim`](State::claim) | who looks at a parked one | has it until its own `commit_park` |
//! | [`watch`](State::watch) | who looks at a runnable one | it does not run until the watch ends |
//! | [`unpark`](State::unpark) | anyone | schedule: queue it |
//! | [`complete`](State::complete) | the goroutine, its result stored | detached: drop the result |
//! | [`finish`](State::finish) | the M, after the last switch away | wake the joiner |
//! | [`drop_handle`](State::drop_handle) | the handle | drop the result, if it is there; the waiter, unless the end has it |
//!
//! # Why nothing is lost and nothing runs early
//!
//! Both `commit_park` and `unpark` are read-modify-writes of one word, so one comes first. Either
//! the commit does: then the unpark finds PARKED and queues the goroutine, whose context was saved
//! before the commit. Or the unpark does: then it leaves a permit, and the commit finds it, makes
//! the goroutine RUNNABLE and queues it, again after the save. Each change to RUNNABLE is made by
//! one RMW, and whoever makes it puts the goroutine into a queue, once.
//!
//! All transitions are AcqRel: the Release half hands the saved context (and the result, and the
//! joiner's waiter) to whoever acts next, the Acquire half receives it.
//!
//! # Why a stack stands still while it is read
//!
//! One that is runnable lies in a queue, and queues give nothing to look at: anybody may take it meanwhile.
//! So it is not taken, but watched. `watch` and `resume` are read-modify-writes of one word: either the watch
//! comes first, then `resume` finds the bit and waits until it is gone; or `resume` does, then there is
//! nothing to watch. Until it has run for the first time whoever has it writes its slot, and while it stays in
//! a handler its slot tells of an earlier turn; so these are not watched. The switch pays one test of a word
//! that it has in hand.
//!
//! # Source
//!
//! Go's `gopark`/`goready` with `casgstatus` and `unlockf` (`proc.go`); the form of the file is that
//! of tokio's `task/state.rs`; the permit is `std::thread::park`'s.
//! Models: `loom-tests/tests/sched_park.rs`, `sched_join.rs`.

use core::fmt;

use crate::sync::{AtomicU32, Ordering, const_unless_loom, wait_briefly};

const PHASE: u32 = 0b11;
/// In exactly one queue, or in the hand of the one who puts it there or took it from there.
const RUNNABLE: u32 = 0;
/// On an M, or on its way off it.
const RUNNING: u32 = 1;
/// In nobody's hand; its context is saved.
const PARKED: u32 = 2;
/// Its last instruction is over.
const DONE: u32 = 3;

const PERMIT: u32 = 1 << 2;
const INTEREST: u32 = 1 << 3;
const COMPLETE: u32 = 1 << 4;
const JOINER: u32 = 1 << 5;
const UNSAVED: u32 = 1 << 6;
const WATCHED: u32 = 1 << 7;

/// How a goroutine begins.
const NEW: u32 = RUNNABLE | INTEREST | UNSAVED;

/// The state of one goroutine. See the [module](self).
///
/// ```
/// use sched_core::task::state::{BeginPark, CommitPark, State, Unpark};
///
/// let state = State::new();
/// state.resume();
/// assert_eq!(state.begin_park(), BeginPark::Park);
/// assert_eq!(state.unpark(), Unpark::Stored, "still on its stack: it cannot be queued yet");
/// assert_eq!(state.commit_park(), CommitPark::Notified, "the committer queues it");
/// ```
pub struct State(AtomicU32);

/// Where a goroutine stands, for those who only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In a queue, or on the way into or out of one.
    Runnable,
    /// On an M.
    Running,
    /// In nobody's hand.
    Parked,
    /// Over.
    Done,
}

/// What [`State::begin_park`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum BeginPark {
    /// There was a permit, and it is used up: do not park.
    Ready,
    /// Switch away; the commit follows on the other side.
    Park,
}

/// What [`State::commit_park`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CommitPark {
    /// It is parked, and may already run elsewhere: do not touch it.
    Parked,
    /// An unpark came before the commit: put it into a queue.
    Notified,
}

/// What [`State::unpark`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Unpark {
    /// It was parked: the caller, and nobody else, puts it into a queue.
    Schedule,
    /// It was not parked; the permit waits for its next park. Nothing to do.
    Stored,
    /// It is over. Nothing to do.
    Done,
}

/// What [`State::complete`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Complete {
    /// The result belongs to the join handle.
    Kept,
    /// There is no handle: the goroutine drops the result, on its own stack.
    Detached,
}

/// What [`State::finish`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Finish {
    /// Nobody waits.
    Quiet,
    /// A joiner stored its waiter: take it and wake it.
    WakeJoiner,
}

/// A goroutine lies in a queue and does not run while this lives: whoever has taken it waits.
#[derive(Debug)]
#[must_use = "the watch ends as soon as this is dropped"]
pub struct Watch<'a>(&'a State);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // Release: what was read comes before what is written next; pairs with the Acquire in
        // `await_end_of_watch`, or in `resume`.
        self.0.0.fetch_and(!WATCHED, Ordering::Release);
    }
}

/// What the joining calls say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Join {
    /// The goroutine is over; its result can be taken, the waiter's place is the caller's.
    Done,
    /// It is not: `finish` will see the change just made.
    Pending,
}

/// What [`State::drop_handle`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct DropHandle {
    /// The result is stored and was the handle's: the caller drops it. Else the goroutine will.
    pub result: bool,
    /// A waiter was announced, and its place is the caller's again, who takes it out.
    pub joiner: bool,
}

impl State {
    const_unless_loom! {
        /// A goroutine that is about to be queued, with a join handle.
        pub const fn new() -> Self {
            Self(AtomicU32::new(NEW))
        }
    }

    /// An M has taken it from a queue and is about to switch to it.
    #[inline]
    pub fn resume(&self) {
        // AcqRel: Acquire: the context saved before the commit.
        let before = self.0.fetch_add(RUNNING - RUNNABLE, Ordering::AcqRel);
        debug_assert_eq!(before & PHASE, RUNNABLE, "resumed in {:?}", Bits(before));
        if before & WATCHED != 0 {
            self.await_end_of_watch();
        }
    }

    #[cold]
    fn await_end_of_watch(&self) {
        // Acquire: the reads of the stack come before what is written there now; pairs with the Release in
        // `Watch::drop`.
        while self.0.load(Ordering::Acquire) & WATCHED != 0 {
            wait_briefly();
        }
    }

    /// The goroutine wants to park: takes the permit if there is one.
    #[inline]
    pub fn begin_park(&self) -> BeginPark {
        // Relaxed: a permit that is missed here is found by the commit.
        let before = self.0.load(Ordering::Relaxed);
        debug_assert_eq!(before & PHASE, RUNNING, "parks in {:?}", Bits(before));
        if before & PERMIT == 0 {
            return BeginPark::Park;
        }
        // AcqRel: Acquire: what the unparker did before it left the permit.
        self.0.fetch_and(!PERMIT, Ordering::AcqRel);
        BeginPark::Ready
    }

    /// The M has switched away from it, so its context is saved: publishes it as parked.
    #[inline]
    pub fn commit_park(&self) -> CommitPark {
        let before = self.update(|bits| {
            let bits = bits & !UNSAVED;
            if bits & PERMIT == 0 { to(bits, PARKED) } else { to(bits, RUNNABLE) & !PERMIT }
        });
        debug_assert_eq!(before & PHASE, RUNNING, "committed in {:?}", Bits(before));
        if before & PERMIT == 0 { CommitPark::Parked } else { CommitPark::Notified }
    }

    /// The M has switched away from it, and it wants to go on: the caller puts it into a queue.
    #[inline]
    pub fn commit_yield(&self) {
        // AcqRel: Release: the saved context, for the Acquire in `resume` and in `watch`.
        let before = self.0.fetch_and(!(RUNNING | UNSAVED), Ordering::AcqRel);
        debug_assert_eq!(before & PHASE, RUNNING, "yields in {:?}", Bits(before));
    }

    /// As [`commit_yield`](Self::commit_yield), but nothing was saved: its thread waits on its stack.
    pub fn commit_stay(&self) {
        let before = self.update(|bits| to(bits, RUNNABLE) | UNSAVED);
        debug_assert_eq!(before & PHASE, RUNNING, "stays in {:?}", Bits(before));
    }

    /// Keeps it from running, if it is runnable and its context is saved. The caller is inside the runtime, and
    /// does nothing but read: an M may be waiting. `None` also if somebody else watches it.
    ///
    /// ```
    /// use sched_core::task::state::State;
    ///
    /// let state = State::new();
    /// assert!(state.watch().is_none(), "it has no stack yet");
    /// state.resume();
    /// state.commit_yield();
    /// assert!(state.watch().is_some());
    /// ```
    pub fn watch(&self) -> Option<Watch<'_>> {
        // Relaxed: a guess; the exchange below settles it.
        let mut bits = self.0.load(Ordering::Relaxed);
        while bits & (PHASE | UNSAVED | WATCHED) == RUNNABLE {
            // Acquire: the context saved before the commit.
            let swap = self.0.compare_exchange_weak(
                bits,
                bits | WATCHED,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match swap {
                Ok(_) => return Some(Watch(self)),
                Err(now) => bits = now,
            }
        }
        None
    }

    /// Takes it if it is parked, as if an M ran it: the caller has it, and gives it back by
    /// [`commit_park`](Self::commit_park). What wakes it meanwhile leaves the permit. False if it is not
    /// parked.
    pub fn claim(&self) -> bool {
        // Relaxed: a guess; the exchange below settles it.
        let mut bits = self.0.load(Ordering::Relaxed);
        while bits & PHASE == PARKED {
            // AcqRel: Acquire: the context saved before the commit.
            let swap = self.0.compare_exchange_weak(
                bits,
                to(bits, RUNNING),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            match swap {
                Ok(_) => return true,
                Err(now) => bits = now,
            }
        }
        false
    }

    /// Makes it ready, or leaves the permit.
    pub fn unpark(&self) -> Unpark {
        let before = self.update(|bits| match bits & PHASE {
            PARKED => to(bits, RUNNABLE),
            DONE => bits,
            _ => bits | PERMIT,
        });
        match before & PHASE {
            PARKED => Unpark::Schedule,
            DONE => Unpark::Done,
            _ => Unpark::Stored,
        }
    }

    /// The goroutine has stored its result. Destructors of its thread-locals may still run.
    pub fn complete(&self) -> Complete {
        // AcqRel: Release: the result, for the handle.
        let before = self.0.fetch_or(COMPLETE, Ordering::AcqRel);
        debug_assert_eq!(before & (PHASE | COMPLETE), RUNNING, "completes in {:?}", Bits(before));
        if before & INTEREST != 0 { Complete::Kept } else { Complete::Detached }
    }

    /// The M has switched away from it for the last time.
    pub fn finish(&self) -> Finish {
        // AcqRel: Release: the end, for `is_done`; Acquire: the joiner's waiter.
        let before = self.0.fetch_or(DONE, Ordering::AcqRel);
        debug_assert_eq!(before & (PHASE | COMPLETE), RUNNING | COMPLETE, "{:?}", Bits(before));
        if before & JOINER != 0 { Finish::WakeJoiner } else { Finish::Quiet }
    }

    /// True once [`finish`](Self::finish) was called.
    pub fn is_done(&self) -> bool {
        // Acquire: the goroutine's end; pairs with `finish`.
        self.0.load(Ordering::Acquire) & PHASE == DONE
    }

    /// Where the goroutine stands, at this moment.
    pub fn phase(&self) -> Phase {
        // Acquire: what is known of a goroutine in this phase; pairs with all transitions.
        match self.0.load(Ordering::Acquire) & PHASE {
            RUNNABLE => Phase::Runnable,
            RUNNING => Phase::Running,
            PARKED => Phase::Parked,
            _ => Phase::Done,
        }
    }

    /// The handle has stored its waiter and announces it.
    pub fn set_joiner(&self) -> Join {
        // AcqRel: Release: the waiter, for `finish`. Acquire: the result, if it was faster.
        let before = self.0.fetch_or(JOINER, Ordering::AcqRel);
        debug_assert_eq!(before & JOINER, 0, "one joiner at a time");
        if before & PHASE == DONE { Join::Done } else { Join::Pending }
    }

    /// Whether the handle has announced a waiter. For the handle, which alone changes that before the end.
    pub fn has_joiner(&self) -> bool {
        // Relaxed: the handle's own writing.
        self.0.load(Ordering::Relaxed) & JOINER != 0
    }

    /// The handle takes its waiter back. [`Join::Done`] says that
    /// `finish` may be using the waiter's place: it stays where it is.
    pub fn clear_joiner(&self) -> Join {
        let before = self.update(|bits| if bits & PHASE == DONE { bits } else { bits & !JOINER });
        if before & PHASE == DONE { Join::Done } else { Join::Pending }
    }

    /// The handle goes away without the result.
    pub fn drop_handle(&self) -> DropHandle {
        if self.is_done() {
            // Nobody looks at the word any more until the record's next birth.
            return DropHandle { result: true, joiner: false };
        }
        // AcqRel: Acquire: the result that the caller may have to drop.
        let before = self.0.fetch_and(!(INTEREST | JOINER), Ordering::AcqRel);
        debug_assert_ne!(before & INTEREST, 0, "one handle");
        // An end that came first has seen the waiter, and has its place.
        let joiner = before & JOINER != 0 && before & PHASE != DONE;
        DropHandle { result: before & COMPLETE != 0, joiner }
    }

    /// Back to birth, for the record's next goroutine.
    pub fn reset(&self) {
        // Relaxed: the record is the caller's alone until it is queued.
        self.0.store(NEW, Ordering::Relaxed);
    }

    /// One read-modify-write; returns what was there before.
    #[inline]
    fn update(&self, change: impl Fn(u32) -> u32) -> u32 {
        // Relaxed: a guess; the exchange below settles it.
        let mut bits = self.0.load(Ordering::Relaxed);
        loop {
            // AcqRel: both halves of the module's last section, even when nothing changes: an
            // unpark that finds a permit must still release what it did before.
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

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed: for the eye only.
        Bits(self.0.load(Ordering::Relaxed)).fmt(f)
    }
}

#[inline]
fn to(bits: u32, phase: u32) -> u32 {
    bits & !PHASE | phase
}

/// The word as a person reads it.
struct Bits(u32);

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["runnable", "running", "parked", "done"][(self.0 & PHASE) as usize])?;
        let names = [
            (PERMIT, "permit"),
            (INTEREST, "interest"),
            (COMPLETE, "complete"),
            (JOINER, "joiner"),
            (UNSAVED, "unsaved"),
            (WATCHED, "watched"),
        ];
        names
            .into_iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .try_for_each(|(_, name)| write!(f, " + {name}"))
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
