//! Who sleeps, who looks for work, and whom to wake.
//!
//! # Problem
//!
//! An M without work must sleep, or it burns a processor. It must not sleep beside work, or a
//! goroutine waits for nothing. Waking one M per goroutine that becomes ready would be right and
//! slow: most of those wake-ups find the work already done.
//!
//! # Rule
//!
//! Some Ms *spin*: they hold a P, have nothing to run and look into all queues. Whoever makes work
//! wakes an M only if nobody spins; a spinner that finds work wakes the next before it runs. So
//! while work is left and a P is idle, somebody looks for it; and with one M looking there is one
//! wake-up at a time, not a herd.
//!
//! # Words
//!
//! * *submitter*: makes a goroutine runnable: publishes it in a queue, then calls
//!   [`notify`](Idle::notify).
//! * *spinner*: an M that holds a [`Spinning`].
//! * *to retire*: to stop spinning and give up the P, in one step ([`release`](Idle::release)).
//! * *need*: a submitter found neither a spinner nor an idle P. The next P that would become idle
//!   must look around first.
//! * *watch*: the monitor sleeps for long, and wants to be told of such a need: who holds all the Ps
//!   may be blocked, and only the monitor can tell.
//!
//! # The word
//!
//! ```text
//!   bit 63 … 50    49     48     47 … 24     23 … 0
//!      unused    watch   need     idle      spinning       need ⇒ idle = 0
//!                                                          idle = length of the list of idle Ps
//!                                                          spinning = number of `Spinning`s that live
//! ```
//!
//! *idle* changes under the lock of the lists, together with them; the others change with
//! the lock or without; every change is an RMW of the whole word. So "nobody spins and no P is
//! idle" is one reading, and a submitter that finds it so leaves *need* by one compare-and-swap and
//! takes no lock. (Go keeps three words, and takes the scheduler's lock on each ready while all Ps
//! are busy.)
//!
//! # Rooms
//!
//! `counts` reads the word; `watch` is the monitor's long sleep, `surplus` the Ps that are not wanted.
//!
//! The proof that no goroutine is left behind is in `idle.md`, printed below. Model:
//! `loom-tests/tests/sched_idle.rs`.
//!
//! # Source
//!
//! Go's `wakep`, `resetspinning`, `pidleget`, `pidleput`, `findRunnable` (`proc.go`, and the essay at
//! its top, with three designs that were turned down).
//!
#![doc = include_str!("idle.md")]

mod counts;
mod surplus;
mod watch;

use core::fmt;
use std::collections::VecDeque;

use crate::bell::Bell;
use crate::lock::Lock;
use crate::orders::Order;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, fence, now};

use counts::Counts;
pub use surplus::Recall;

/// The idle Ps and Ms of one scheduler, by number, and the count of spinners.
///
/// ```
/// use sched_core::idle::{Host, Idle, Release};
///
/// let idle = Idle::new(2, 16);
/// idle.add_machine(); // M 0, which holds P 0
/// assert_eq!(idle.release(1, None, || false), Release::Idle);
///
/// // M 0 makes work: nobody spins and P 1 is idle, so an M is started on it.
/// let wake = idle.notify().expect("P 1 is idle");
/// assert_eq!((wake.proc, wake.host), (1, Host::New));
/// // More work: somebody looks for it already.
/// assert!(idle.notify().is_none());
/// // The spinner finds work; no P is idle, so nobody follows it.
/// assert!(idle.found(wake.spinning).is_none());
/// ```
pub struct Idle {
    /// See the module's drawing. Changed by RMW only.
    word: AtomicU64,
    pub(crate) lists: Lock<Lists>,
    /// Ps that must still be retired. Written under the lock.
    surplus: AtomicUsize,
    /// Where the monitor sleeps.
    bell: Bell,
}

/// What the lock protects. The lists have room for all there can be: they never allocate.
pub(crate) struct Lists {
    /// Idle Ps, the last one first: its caches are the warmest.
    procs: Vec<usize>,
    /// Ps that nobody shall hold.
    retired: Vec<usize>,
    /// Ms that sleep, the last one first. None while an order waits.
    pub(crate) machines: Vec<usize>,
    /// Ms that exist or are being started.
    pub(crate) total: usize,
    /// Ps that wait for a thread.
    pub(crate) orders: VecDeque<Order>,
    /// When an order was last carried out, or became the only one.
    pub(crate) progress: u64,
}

/// Proves that one M counts as a spinner.
///
/// It ends in [`Idle::found`] or [`Idle::release`], and nowhere else: one that is dropped keeps
/// submitters from waking anybody for ever. Only a scheduler that has ended may drop it.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a spinner that forgets itself keeps all others asleep"]
pub struct Spinning(());

/// The M that is to run a P.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// This one; it sleeps, and is on no list any more.
    Sleeper(usize),
    /// A new one. It is counted already.
    New,
}

/// An order: let `host` hold `proc` and spin.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the P is on no list any more: somebody must run it"]
pub struct Wake {
    /// The P, which is the caller's to give.
    pub proc: usize,
    /// Who is to hold it.
    pub host: Host,
    /// The new spinner's evidence.
    pub spinning: Spinning,
}

/// What became of a P that was offered.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Release {
    /// It is idle. The M has no P: it may sleep.
    Idle,
    /// There is work, or there may be: hold this P, spin, and search everything again.
    Search {
        /// Not always the P that was offered.
        proc: usize,
        /// The evidence to search with.
        spinning: Spinning,
    },
}

/// How many there are, read at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Ms that spin.
    pub spinning: usize,
    /// Ps that nobody holds.
    pub idle_procs: usize,
    /// Ms that sleep.
    pub sleeping: usize,
    /// Ms that exist or are being started.
    pub machines: usize,
}

impl Idle {
    /// Nobody spins, nobody sleeps, no P is idle. Allocates the lists once.
    pub fn new(max_procs: usize, max_machines: usize) -> Self {
        let lists = Lists {
            procs: Vec::with_capacity(max_procs),
            retired: Vec::with_capacity(max_procs),
            machines: Vec::with_capacity(max_machines),
            total: 0,
            orders: VecDeque::with_capacity(max_procs),
            progress: 0,
        };
        Self {
            word: AtomicU64::new(0),
            lists: Lock::new(lists),
            surplus: AtomicUsize::new(0),
            bell: Bell::new(),
        }
    }

    /// Work was published: wakes an M for it if nobody looks for work and a P is idle.
    ///
    /// Call it after the goroutine can be found in a queue.
    #[inline]
    pub fn notify(&self) -> Option<Wake> {
        // SeqCst: (PushFence) the publication comes before the reading of the word. Partner: the
        // fence in `look_again`.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        let now = Counts(self.word.load(Ordering::Relaxed));
        if now.covered() { None } else { self.notify_slow(now) }
    }

    #[cold]
    fn notify_slow(&self, now: Counts) -> Option<Wake> {
        let claim = |now: Counts| match (now.covered(), now.idle()) {
            (true, _) => None,
            (false, 0) => Some(now.with_need()),
            (false, _) => Some(now.plus_spinner()),
        };
        let before = self.try_update(now, claim)?;
        if before.idle() == 0 {
            self.tell(before);
            return None;
        }
        self.launch(Spinning(()))
    }

    /// Finds a P and an M for a spinner that is counted already.
    fn launch(&self, spinning: Spinning) -> Option<Wake> {
        let mut lists = self.lists.lock();
        match lists.procs.pop() {
            Some(proc) => {
                self.update(Counts::minus_idle);
                Some(Wake { proc, host: lists.host(), spinning })
            }
            None => {
                // Somebody else took it. Whoever gives up a P next must look for our work.
                let Spinning(()) = spinning;
                let before = self.update(|now| now.minus_spinner().with_need());
                self.tell(before);
                None
            }
        }
    }

    /// Lets an M that has run out of work search the others' queues, unless half as many as are
    /// busy do so already: more would only fight for the same queues.
    pub fn try_spin(&self, procs: usize) -> Option<Spinning> {
        // Relaxed: a guess; the update settles it.
        let now = Counts(self.word.load(Ordering::Relaxed));
        let join = |now: Counts| {
            let busy = procs.saturating_sub(now.idle());
            (2 * now.spinning() < busy).then(|| now.plus_spinner())
        };
        self.try_update(now, join).map(|_| Spinning(()))
    }

    /// A spinner has found work: it stops spinning, and wakes the next if it was the last.
    ///
    /// Submitters relied on it while it spun, so this must come before the work runs.
    pub fn found(&self, spinning: Spinning) -> Option<Wake> {
        let Spinning(()) = spinning;
        self.update(Counts::minus_spinner);
        self.notify()
    }

    /// An M has nothing to run and gives up `proc`; if it spins, it retires.
    ///
    /// `any_work` looks into every queue there is: the ring of each P, all of the global queue. It is asked
    /// when the P is on the list already, so a submitter can use it from then on.
    pub fn release(
        &self,
        proc: usize,
        spinning: Option<Spinning>,
        any_work: impl FnOnce() -> bool,
    ) -> Release {
        match spinning {
            None => self.release_quietly(proc),
            Some(spinning) => {
                self.retire(proc, spinning);
                self.look_again(any_work)
            }
        }
    }

    /// For an M that did not spin: nobody relied on it, so *need* alone decides.
    fn release_quietly(&self, proc: usize) -> Release {
        let mut lists = self.lists.lock();
        if self.retire_surplus(&mut lists, proc) {
            // *Need* stays, for a P that stays.
            return Release::Idle;
        }
        let before = self.update(|now| match now.need() {
            true => now.without_need().plus_spinner(),
            false => now.plus_idle(),
        });
        if !before.need() {
            lists.procs.push(proc);
            return Release::Idle;
        }
        // No fence: who saw *need* relies on this spinner now, and that one fences when it retires.
        Release::Search { proc, spinning: Spinning(()) }
    }

    /// Gives up the P and the spinning in one step.
    fn retire(&self, proc: usize, spinning: Spinning) {
        let Spinning(()) = spinning;
        let mut lists = self.lists.lock();
        if self.retire_surplus(&mut lists, proc) {
            self.update(Counts::minus_spinner);
            return;
        }
        self.update(|now| now.without_need().minus_spinner().plus_idle());
        lists.procs.push(proc);
    }

    /// A retired spinner looks once more, since submitters relied on it until it retired.
    fn look_again(&self, any_work: impl FnOnce() -> bool) -> Release {
        // SeqCst: (SleepFence) the retirement comes before the last look. Partner: the fence in
        // `notify`.
        fence(Ordering::SeqCst);
        if !any_work() {
            return Release::Idle;
        }
        let mut lists = self.lists.lock();
        match lists.procs.pop() {
            Some(proc) => {
                self.update(|now| now.minus_idle().plus_spinner());
                Release::Search { proc, spinning: Spinning(()) }
            }
            None => {
                // All Ps are busy: whoever gives one up next looks for this work.
                let before = self.update(Counts::with_need);
                self.tell(before);
                Release::Idle
            }
        }
    }

    /// Takes an idle P, if there is one: for an M that came back and found its P gone.
    pub fn take_proc(&self) -> Option<usize> {
        // Relaxed: a hint that saves the lock; who misses a P queues its goroutine and notifies.
        if Counts(self.word.load(Ordering::Relaxed)).idle() == 0 {
            return None;
        }
        let mut lists = self.lists.lock();
        let proc = lists.procs.pop()?;
        self.update(Counts::minus_idle);
        Some(proc)
    }

    /// An M for a P that has work or that a spinner is to have.
    pub fn take_host(&self) -> Host {
        self.lists.lock().host()
    }

    /// Counts an M that nobody ordered: the first one.
    pub fn add_machine(&self) {
        self.lists.lock().total += 1;
    }

    /// An M is gone, or could not be started.
    pub fn remove_machine(&self) {
        self.lists.lock().total -= 1;
    }

    /// All numbers at one instant. `sleeping == machines` means that nobody runs and nobody is about
    /// to: an M that is being started counts before it exists.
    pub fn census(&self) -> Census {
        let lists = self.lists.lock();
        // Acquire: with the RMWs of those whose counts are read.
        let now = Counts(self.word.load(Ordering::Acquire));
        Census {
            spinning: now.spinning(),
            idle_procs: now.idle(),
            sleeping: lists.machines.len(),
            machines: lists.total,
        }
    }

    /// Idle Ps at about this time, without the lock.
    pub fn idle_procs(&self) -> usize {
        // Acquire: what ran on a P that is idle has counted its switches, which a monitor reads next; pairs with
        // the RMW of whoever gave it up.
        Counts(self.word.load(Ordering::Acquire)).idle()
    }

    /// Spinners at about this time, without the lock.
    pub fn spinning(&self) -> usize {
        // Relaxed: a number for statistics.
        Counts(self.word.load(Ordering::Relaxed)).spinning()
    }

    fn update(&self, change: impl Fn(Counts) -> Counts) -> Counts {
        // Relaxed: a guess; the exchange settles it.
        let now = Counts(self.word.load(Ordering::Relaxed));
        match self.try_update(now, |now| Some(change(now))) {
            Some(before) => before,
            None => unreachable!("`change` always gives a word"),
        }
    }

    /// One RMW; `None` when `change` declines. Returns what was there before.
    fn try_update(
        &self,
        mut now: Counts,
        change: impl Fn(Counts) -> Option<Counts>,
    ) -> Option<Counts> {
        loop {
            let next = change(now)?;
            // AcqRel: Release: work published before *need* is left; Acquire: the same, for the M
            // that finds *need*. The spinner's handshake is made by the fences.
            match self.word.compare_exchange_weak(
                now.0,
                next.0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(now),
                Err(seen) => now = Counts(seen),
            }
        }
    }
}

impl Lists {
    fn host(&mut self) -> Host {
        match self.machines.pop() {
            Some(id) => Host::Sleeper(id),
            None => {
                self.total += 1;
                Host::New
            }
        }
    }

    pub(crate) fn sleep(&mut self, id: usize) {
        debug_assert!(!self.machines.contains(&id), "M {id} sleeps twice");
        debug_assert!(self.machines.len() < self.machines.capacity(), "more Ms than the cap");
        self.machines.push(id);
    }

    /// An order, which the caller carries out.
    pub(crate) fn claim(&mut self) -> Option<Order> {
        let order = self.orders.pop_front()?;
        self.progress = now();
        Some(order)
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("spinning", &self.spinning())
            .field("idle_procs", &self.idle_procs())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
