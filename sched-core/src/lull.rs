//! Whether anything has run: for a monitor that is about to sleep, and for the verdict that all wait for ever.
//!
//! # Problem
//!
//! Goroutines that all wait for each other wait for ever, and the program hangs without a word. But
//! goroutines that all wait may as well be a server between two requests: a plain thread may send to a
//! channel, a timer may fire. A false alarm ends a healthy program; so the answer must be certain. And the
//! question must be put: a monitor that sleeps until something moves must not sleep over the last move.
//!
//! # Who can wake a goroutine
//!
//! Another goroutine, a deadline, or a plain thread of this process. So it is a deadlock if at one
//! moment
//!
//! 1. there are goroutines or futures, and every one is parked or waits for a wake; no M runs any, all Ps
//!    are idle;
//! 2. no deadline is set, and the timer thread has nothing in its hand that it took out and did not wake yet;
//! 3. every thread of the process is one of: an M, which then has nothing to do; a thread of the
//!    scheduler's or of its owner's, which wakes nobody of its own accord ([`Scheduler::adopt_thread`]);
//!    a plain thread that sleeps in [`park`](mod@crate::park) without a deadline ([`Sleeper`](crate::sleeper::Sleeper));
//!    in thread mode, the thread of a slot, which waits for its baton and gets it from an M.
//!
//! One thread more (of another scheduler, of a library, one that reads a socket) and there is no
//! verdict: it may know a goroutine. The kernel lists the threads.
//!
//! # One moment
//!
//! The list takes a while to check, and who was seen asleep may have been woken by one who was then seen
//! asleep: it is *hidden*. So all is looked at twice, with two counts: switches of all Ms, and wakings of plain
//! threads.
//!
//! ```text
//!   switches;  threads, then wakings;  all Ps idle?;  the list
//!              threads, then wakings;  all Ps idle?;  switches          the same as before?
//! ```
//!
//! Say that nothing has changed, and that somebody is awake at the end. No goroutine ran since the first time that
//! the Ps were idle: its P would not be idle, or, if it was given back, its M has counted a switch before that.
//! (So the switches are read after the idle Ps.) Then there is a first thread that was woken after it had been seen
//! asleep at the second look, and one that woke it. That one was awake before the second look, and saw to it
//! before it was seen asleep itself; so the waking is in the wakings that were read then. But it was
//! counted after the first look's were: who was hidden there had been woken before those were read. The two
//! numbers differ.
//!
//! # Whether to ask
//!
//! The monitor looks, and then sleeps until a P leaves the idle list ([`bell`](crate::bell)). What takes a P
//! before the bell is armed, and has given it back by then, rings for nobody, and the goroutines that it left
//! waiting are not those that the monitor saw. So it notes the count of switches *before* it looks, and does not
//! sleep if another one is there when it sees all Ps idle ([`Looked`]): whoever gives its P back has counted
//! its switches before.
//!
//! The monitor does not ask while a deadline is set: it will wake somebody, and that takes a P. But a deadline may go and
//! take no P: the timer thread wakes one that does not wait, or has its item in hand still when whoever it woke waits
//! again; a thread drops a future that sleeps. So whoever takes the last deadline away while all Ps are idle wakes the
//! monitor ([`deadline_gone`]):
//!
//! ```text
//! monitor                                other
//!   M1  all Ps are idle; any deadline?     D1  the deadline is gone          (M1 and D1 under the lock of the deadlines)
//!   M2  none: asks. Else it sleeps         D2  all Ps are idle, none is left? wakes the monitor
//! ```
//!
//! Either D1 comes before M1, and the monitor asks. Or M1 comes before D1, and D2 reads counts that are not older than
//! those of M1: all are idle, and the waking leaves a permit, even if the monitor does not sleep yet; or a P has left
//! the list since, and for that the bell is rung.
//!
//! One thread too many that is awake, and there is no verdict; it may fall asleep later, and no P moves then. Who has
//! asked in vain keeps a [`vigil`](crate::vigil).
//!
//! # Not seen
//!
//! Goroutines blocked in the kernel for ever are not asleep. A goroutine that waits for a thread that
//! waits for it, by other means than ours, is not seen either. Nor is, once the monitor sleeps, the end of a thread
//! that has never parked.
//!
//! Models: `loom-tests/tests/sched_lull.rs` has the orderings; `sched_lull_search.rs` runs the verdict in every
//! interleaving with all that two threads and a goroutine can do, and finds a count that is read too early.
//!
//! # Source
//!
//! Go's `checkdead` (`proc.go`), which counts its Ms, and with cgo says nothing.
//!
//! [`Scheduler::adopt_thread`]: crate::Scheduler

use crate::bell::Bell;
use crate::sync::{AtomicU64, Ordering, const_unless_loom};

/// How often an M has switched. Counted by what runs in its role.
#[derive(Debug, Default)]
pub struct Switches(AtomicU64);

impl Switches {
    const_unless_loom! {
        /// None so far.
        pub const fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// One more. It comes before whatever shows the switch to others.
    #[inline]
    pub fn bump(&self) {
        // Relaxed: one writer at a time. Release: who sees the count sees what ran before; pairs with `get`.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// So many so far.
    pub fn get(&self) -> u64 {
        // Acquire: pairs with `bump`.
        self.0.load(Ordering::Acquire)
    }
}

/// What a monitor has seen: the switches of all Ms before its last look.
///
/// ```
/// use sched_core::lull::{Looked, Switches};
///
/// let (switches, looked) = (Switches::new(), Looked::new());
/// looked.note(switches.get());
/// assert!(looked.is_all(|| true, || switches.get()), "it may sleep");
/// switches.bump();
/// assert!(!looked.is_all(|| true, || switches.get()), "somebody ran since");
/// ```
#[derive(Debug, Default)]
pub struct Looked(AtomicU64);

impl Looked {
    const_unless_loom! {
        /// Nothing seen.
        pub const fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    /// The monitor is about to look.
    pub fn note(&self, switches: u64) {
        // Relaxed: the monitor's own note.
        self.0.store(switches, Ordering::Relaxed);
    }

    /// Whether all is `idle`, and nothing has run since the look. Idle Ps are read first, by an Acquire: what
    /// ran on one of them has counted its switches before it gave it back.
    pub fn is_all(&self, idle: impl FnOnce() -> bool, switches: impl FnOnce() -> u64) -> bool {
        // Relaxed: as in `note`.
        idle() && switches() == self.0.load(Ordering::Relaxed)
    }
}

/// A deadline is gone: wakes the monitor, which sleeps at `bell` or is about to, if all is `idle` and there is not `any`
/// other. For one who has not woken anybody himself, or may have done so in vain.
pub fn deadline_gone(bell: &Bell, idle: impl FnOnce() -> bool, any: impl FnOnce() -> bool) {
    if idle() && !any() {
        bell.wake();
    }
}

/// A scheduler in whose world perhaps nothing happens any more.
pub trait Lull {
    /// The plain threads that sleep for ever unless they are woken, and how often any was woken.
    type Sleepers: PartialEq;
    /// All that wait.
    type Waiting;

    /// Who sleeps now. What each did before its sleep has happened for the caller; the wakings are read last.
    fn sleepers(&self) -> Self::Sleepers;

    /// Switches of all Ms so far.
    fn switches(&self) -> u64;

    /// Whether there is somebody who waits and no deadline, no M runs a goroutine, and all Ps are idle.
    fn seems_asleep(&self) -> bool;

    /// Whether there is no thread in the process that might wake somebody, but for the sleepers.
    fn knows_all_threads(&self, sleepers: &Self::Sleepers) -> bool;

    /// Those who wait, if nobody does anything else.
    fn waiting(&self) -> Option<Self::Waiting>;
}

/// All that wait, if they wait for ever.
pub fn verdict<L: Lull>(lull: &L) -> Option<L::Waiting> {
    let (switches, sleepers) = (lull.switches(), lull.sleepers());
    // Threads before goroutines: they are fewer, and mostly there is one that may wake somebody.
    if !lull.seems_asleep() || !lull.knows_all_threads(&sleepers) {
        return None;
    }
    let waiting = lull.waiting()?;
    // In this order: see "one moment".
    let still = lull.sleepers() == sleepers && lull.seems_asleep() && lull.switches() == switches;
    still.then_some(waiting)
}
