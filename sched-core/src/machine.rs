//! The M: an operating system thread in the scheduler's service.
//!
//! # Fields: who may touch what, when
//!
//! The *role* of an M is what runs its code: the M's own thread, or, in thread mode, the thread of
//! the goroutine that has the baton. There is one at a time, each ordered after the last by the
//! switch. "Role" below means: that one, inside the runtime.
//!
//! | field | written by | read by |
//! |---|---|---|
//! | `occupancy` | role; a taker, under the take lock while the goroutine is in user code | role, taker, monitor |
//! | `thread` | role, at a switch, after `occupancy` | taker, monitor |
//! | `lost` | taker, under the take lock, or role: before the P is gone from `occupancy` | dumps |
//! | `pending`, `spinning`, `reserved`, `counters` | role | role (counters: all) |
//! | `clock_seen` | whoever presses goroutines to give way | the same |
//! | `naps` | the M, around a nap | timer thread, as a hint |
//! | `stands` | role, around a wait for its own goroutine's turn | timer thread, as a hint |
//! | `summons` | whoever took the M from the idle list, or its own goroutine from a queue | the M, after its sleep |
//!
//! Why a taker may trust what it read: see [`occupancy`](crate::occupancy).
//!
//! Ms are made by the service thread and live until the scheduler's end, in a table that only
//! grows. An M that has nothing to do sleeps; it does not exit before, as its thread may be what a
//! parent-death signal or an io_uring hangs on.

use core::{
    cell::Cell,
    ptr::{NonNull, null_mut},
};

use crate::{
    bound::Reserved,
    clock,
    commit::Commit,
    context::{Context, ThreadId},
    idle::Spinning,
    occupancy::Occupancy,
    orders::Order,
    preempt::{self, MThread},
    proc::{Held, Proc},
    shared::Shared,
    stats::MachineCounters,
    summons::Summons,
    sync::{AtomicBool, AtomicU64, Ordering, now},
    task::{Run, Task},
    tls::Words,
};

/// A thread of the scheduler.
#[repr(align(128))]
pub(crate) struct Machine {
    id: usize,
    shared: NonNull<Shared>,
    /// The M's own thread, when a goroutine runs in its place.
    own: Context,
    signals: MThread,

    occupancy: Occupancy<Proc, Task, Words>,
    /// A [`ThreadId`], packed.
    thread: AtomicU64,
    /// When a P was last taken from it, or given up to block, in clock ticks.
    lost: AtomicU64,

    /// Processor time of the thread in the role at the last look of [`has_computed`](Self::has_computed).
    clock_seen: AtomicU64,

    pending: Cell<Option<Commit<Run>>>,
    pub(crate) spinning: Cell<Option<Spinning>>,
    reserved: Cell<Reserved>,
    pub(crate) counters: MachineCounters,

    stands: AtomicBool,
    naps: AtomicBool,
    summons: Summons,
}

// SAFETY: the cells belong to the role, of which there is one at a time (essay); `own` is switched
// to by the role only; the rest is atomic.
unsafe impl Sync for Machine {}
// SAFETY: as above.
unsafe impl Send for Machine {}

impl Machine {
    /// The M that the calling thread will be.
    pub(crate) fn of_this_thread(id: usize, shared: &Shared) -> Self {
        let signals = MThread::of_this_thread(shared.mode);
        Self {
            id,
            shared: NonNull::from(shared),
            own: Context::of_thread(shared.mode),
            occupancy: Occupancy::new(),
            thread: AtomicU64::new(signals.id().pack()),
            lost: AtomicU64::new(0),
            signals,
            clock_seen: AtomicU64::new(u64::MAX),
            pending: Cell::new(None),
            spinning: Cell::new(None),
            reserved: Cell::new(Reserved::No),
            counters: MachineCounters::default(),
            stands: AtomicBool::new(false),
            naps: AtomicBool::new(false),
            summons: Summons::new(),
        }
    }

    /// Its place in the table.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Its scheduler.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: the scheduler owns its Ms and frees them last.
        unsafe { self.shared.as_ref() }
    }

    /// Whether it belongs to `shared`.
    pub(crate) fn serves(&self, shared: &Shared) -> bool {
        core::ptr::eq(self.shared.as_ptr(), shared)
    }

    /// The context of its own thread.
    pub(crate) fn own(&self) -> &Context {
        &self.own
    }

    /// What takers go by.
    pub(crate) fn occupancy(&self) -> &Occupancy<Proc, Task, Words> {
        &self.occupancy
    }

    /// The P held, for the role.
    #[inline]
    pub(crate) fn held(&self) -> Option<Held<'_>> {
        // SAFETY: Ps live as long as the scheduler. The role is inside the runtime, so the P cannot
        // be taken from it.
        unsafe { self.occupancy.held().as_ref().map(|proc| Held::new(proc)) }
    }

    /// The P, as others see it.
    pub(crate) fn proc(&self) -> Option<&Proc> {
        // SAFETY: Ps live as long as the scheduler.
        unsafe { self.occupancy.proc().as_ref() }
    }

    /// Role: holds `proc` from now on.
    pub(crate) fn hold(&self, proc: &Proc) {
        self.occupancy.hold(core::ptr::from_ref(proc).cast_mut());
    }

    /// Role: the P is no longer this M's.
    pub(crate) fn let_go(&self) {
        self.occupancy.let_go();
    }

    /// The P is about to be taken from its goroutine, or given up by it. The caller is a taker, or the role.
    pub(crate) fn note_loss(&self) {
        // Relaxed: who sees the M without the P sees this, by the Release of the store that takes it.
        self.lost.store(clock::ticks(), Ordering::Relaxed);
    }

    /// Since when its goroutine has had its P or, if it has none, has been without; in clock ticks.
    pub(crate) fn since(&self) -> u64 {
        // Relaxed: see `note_loss`.
        self.proc().map_or_else(|| self.lost.load(Ordering::Relaxed), Proc::slice_start)
    }

    /// The goroutine that runs, null between two.
    pub(crate) fn task(&self) -> *mut Task {
        self.occupancy.task()
    }

    /// The words of the goroutine that runs, null between two.
    pub(crate) fn words(&self) -> *mut Words {
        self.occupancy.words()
    }

    /// Switches so far.
    pub(crate) fn switches(&self) -> u64 {
        self.occupancy.switches()
    }

    /// The kernel thread in the role. A stale one gets a signal that it ignores.
    pub(crate) fn thread(&self) -> ThreadId {
        // Relaxed: a thread's number means the same to everybody.
        ThreadId::unpack(self.thread.load(Ordering::Relaxed))
    }

    /// Whether the thread in the role has used so many nanoseconds of a processor since this was asked
    /// last. False at the first time, and if the clock cannot be read.
    pub(crate) fn has_computed(&self, nanos: u64) -> bool {
        let Some(now) = preempt::cpu_time(self.thread()) else { return false };
        // Relaxed: a number, and a second asker makes the time shorter, no more.
        let before = self.clock_seen.swap(now, Ordering::Relaxed);
        now.saturating_sub(before) >= nanos
    }

    /// What the signal handlers need to know of the M.
    pub(crate) fn signals(&self) -> &MThread {
        &self.signals
    }

    /// Role: publishes the goroutine to which it is about to switch, `None` for its own thread.
    pub(crate) fn switched_to(&self, next: Option<(&Task, &Words, Option<ThreadId>)>) {
        self.counters.switches.bump();
        let (task, words, thread) = match next {
            Some((task, words, thread)) => {
                // Relaxed, both: read by the goroutine, which the switch orders after.
                words.m.store(core::ptr::from_ref(self).cast_mut().cast(), Ordering::Relaxed);
                let g = core::ptr::from_ref(task).cast_mut();
                words.g.store(g.cast(), Ordering::Relaxed);
                (g, core::ptr::from_ref(words).cast_mut(), thread)
            }
            None => (null_mut(), null_mut(), None),
        };
        self.occupancy.switch_to(task, words);
        self.run_by(thread.unwrap_or_else(|| self.signals.id()).pack());
    }

    fn run_by(&self, thread: u64) {
        // Relaxed, both: see `thread`. With own TLS nothing changes, and nothing is written.
        if self.thread.load(Ordering::Relaxed) != thread {
            self.thread.store(thread, Ordering::Relaxed);
        }
    }

    /// Role: what to do about the goroutine it leaves, once it has left.
    pub(crate) fn owe(&self, commit: Commit<Run>) {
        let before = self.pending.replace(Some(commit));
        debug_assert!(before.is_none(), "a commit was not carried out: {before:?}");
    }

    /// Role: what is owed.
    pub(crate) fn owed(&self) -> Option<Commit<Run>> {
        self.pending.take()
    }

    /// Role: for whom the M is kept.
    #[inline]
    pub(crate) fn reserved(&self) -> Reserved {
        self.reserved.get()
    }

    /// Role: keeps the M for somebody.
    pub(crate) fn reserve(&self, reserved: Reserved) {
        self.reserved.set(reserved);
    }

    /// Wakes the M to carry out `order`. The caller took it from the idle list, or the goroutine for
    /// which it waits from a queue.
    pub(crate) fn wake(&self, order: Order) {
        self.summons.give(order);
    }

    /// Whether the M waits for the turn of its own goroutine, at about this time.
    pub(crate) fn stands(&self) -> bool {
        // Relaxed: a hint; whoever misses it looks again.
        self.stands.load(Ordering::Relaxed)
    }

    /// Role: the M begins or ends such a wait.
    pub(crate) fn set_stands(&self, stands: bool) {
        // Relaxed: as above.
        self.stands.store(stands, Ordering::Relaxed);
    }

    /// Wakes the M to look whether the scheduler stops, or whether a P waits for a thread.
    pub(crate) fn rouse(&self) {
        self.summons.rouse();
    }

    /// The M, which spins: sleeps for `nanos`, or until it is roused.
    pub(crate) fn nap(&self, nanos: u64) {
        self.counters.naps.bump();
        // Relaxed, both: a hint; whoever misses it waits for the end of the nap.
        self.naps.store(true, Ordering::Relaxed);
        // Whether it was roused does not matter: whoever rouses it has changed what it looks at.
        let _ = self.summons.nap(now() + nanos);
        self.naps.store(false, Ordering::Relaxed);
    }

    /// Whether the M naps, at about this time.
    pub(crate) fn naps(&self) -> bool {
        // Relaxed: as above.
        self.naps.load(Ordering::Relaxed)
    }

    /// The M: sleeps until it is woken. `None`: for no order.
    pub(crate) fn sleep(&self) -> Option<Order> {
        self.summons.sleep()
    }
}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Machine").field("id", &self.id).field("thread", &self.thread()).finish()
    }
}
