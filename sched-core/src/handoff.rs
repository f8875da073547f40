//! Taking a P from a goroutine in user code, and giving it to others.
//!
//! # Problem
//!
//! A goroutine blocks in the kernel, or computes for long, without telling anyone. Its M can do
//! nothing about it. So somebody else takes the P: the monitor, because the thread stands still;
//! or the goroutine itself, because it knows that it will block ([`blocking`]).
//!
//! How a P is taken, and why it then has one holder, is told in [`occupancy`](crate::occupancy); where it
//! goes, in [`vacate`].
//!
//! # Urgent goroutines
//!
//! What a timer or a return from the kernel makes ready shall not wait for slices to end. If no P is
//! idle, the one whose slice is oldest, and at least [`PROTECTED`] old, is asked to give way, and
//! signalled at once ([`make_room`]). What runs there next is of the woken lane.
//!
//! # Source
//!
//! Go's `handoffp`, `retake`, `entersyscallblock` (`proc.go`). Go asks a goroutine before a system
//! call to say that it leaves; here nobody is asked.

use crate::{
    entry::{Request, enter},
    machine::Machine,
    monitor::MachineView,
    proc::{Held, Proc},
    service,
    shared::Shared,
    sync::{Ordering, now},
    tls::{self, Words},
    vacate,
};

/// Nanoseconds of its slice that a goroutine may keep when an urgent one waits.
const PROTECTED: u64 = 100_000;

/// Nanoseconds between two looks at Ps that wait for a thread.
pub(crate) const ESCAPE: u64 = 2_000_000;

/// Runs `f`, which will block the thread, and lets others have the P meanwhile.
///
/// Never needed: a goroutine that blocks loses its P anyway, a fraction of a millisecond later.
/// `f` runs in user code, and may do what user code may. So may the caller: within a policy the process ends.
///
/// ```
/// let n = sched_core::blocking(|| std::fs::read("/proc/self/stat").map(|bytes| bytes.len()))?;
/// assert!(n > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    {
        let entered = enter();
        if let Some(m) = entered.machine() {
            entered.assert_outermost("somebody gives a P away");
            give_up(m, tls::words());
        }
    }
    f()
}

/// The running goroutine gives its P away.
fn give_up(m: &Machine, words: &Words) {
    let shared = m.shared();
    m.note_loss();
    let Some(proc) = m.occupancy().give_up(&shared.take, &words.entry) else { return };
    // SAFETY: Ps live as long as the scheduler.
    let proc = unsafe { &*proc };
    shared.counters.handoffs.bump_shared();
    hand_over(shared, proc);
}

/// Takes the P of `m` if its goroutine is in user code and `switches` is still its count. True if
/// it was taken and handed over.
pub(crate) fn take(shared: &Shared, m: &Machine, switches: u64) -> bool {
    let _entered = enter();
    let Some(proc) = try_take(shared, m, switches) else { return false };
    shared.counters.handoffs.bump_shared();
    hand_over(shared, proc);
    true
}

fn try_take<'a>(shared: &'a Shared, m: &'a Machine, switches: u64) -> Option<&'a Proc> {
    let entry = |words: *mut Words| {
        m.note_loss();
        // SAFETY: words lie in slots, which stay mapped as long as the scheduler lives.
        unsafe { words.as_ref() }.map(|words| &words.entry)
    };
    let proc = m.occupancy().take(&shared.take, tls::barrier(), switches, entry)?;
    // SAFETY: Ps live as long as the scheduler.
    Some(unsafe { &*proc })
}

/// Gives a P, which is the caller's, to others: see [`vacate`].
pub(crate) fn hand_over(shared: &Shared, proc: &Proc) {
    // SAFETY: the P is the caller's.
    vacate::hand_over(shared, unsafe { Held::new(proc) });
}

/// A slice as somebody saw it on an M: by its P and the slices that P had begun, or without a P by the
/// switches of the M.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    proc: Option<usize>,
    count: u64,
}

impl Turn {
    pub(crate) fn of(m: &Machine) -> Self {
        match m.proc() {
            Some(proc) => Self { proc: Some(proc.index()), count: proc.tick().into() },
            None => Self { proc: None, count: m.switches() },
        }
    }

    pub(crate) fn seen(view: &MachineView) -> Self {
        let count = if view.proc.is_some() { view.tick.into() } else { view.switches };
        Self { proc: view.proc, count }
    }
}

/// Asks the goroutine on `m` to give way at its next entry, if its turn is still the one that was `seen`. False
/// if it is not.
///
/// Whoever was chosen for its old slice may have given way by now, to the very one for whom room is made. That one
/// would stand behind all those who have used their slices up.
pub(crate) fn request_preempt(shared: &Shared, m: &Machine, seen: Turn) -> bool {
    let _entered = enter();
    let _taking = shared.take.lock();
    // SAFETY: words lie in slots, which stay mapped as long as the scheduler lives. A stray request
    // costs its owner one yield.
    let Some(words) = (unsafe { m.words().as_ref() }) else { return false };
    // A slice is counted before the words of whom it belongs to are published (Release in `switch_to`, Acquire in
    // `words`): these are not of a later one.
    if Turn::of(m) != seen {
        return false;
    }
    let stood = words.entry.request(Request::PREEMPT);
    let same = Turn::of(m) == seen;
    if !same && !stood.contains(Request::PREEMPT) {
        words.entry.clear(Request::PREEMPT);
    }
    same
}

/// If an urgent goroutine waits and no P is idle, the oldest slice ends.
///
/// Whether that slice is too young, or its goroutine just then inside the runtime: after a moment
/// the timer thread looks again, until nobody waits.
#[cold]
pub(crate) fn make_room(shared: &Shared) {
    if !shared.has_urgent() {
        return;
    }
    if shared.idle.idle_procs() + shared.idle.spinning() != 0 {
        return shared.machines().filter(|m| m.naps()).for_each(Machine::rouse);
    }
    // Whoever is waited for gives way to those that were woken, and not to others of his kind.
    let may_end: fn(&Shared, &Machine) -> bool =
        if shared.has_woken() { |_, _| true } else { |shared, m| !runs_hurried(shared, m) };
    if let Some((m, turn)) = oldest_slice(shared, |m| may_end(shared, m))
        && request_preempt(shared, m, turn)
    {
        crate::glue::signal(shared, m);
    }
    shared.timers.look_again(now() + PROTECTED);
}

/// While Ps wait for threads: if nothing happens for long, interrupts the goroutines that hold no P,
/// which are blocked, and rouses the Ms that wait for a turn of their own. See [`service`] and
/// [`bound`](crate::bound).
pub(crate) fn escape(shared: &Shared) {
    let backlog = shared.idle.backlog();
    if backlog.orders == 0 {
        return;
    }
    if backlog.age >= service::STUCK {
        interrupt_blocked(shared);
        shared.machines().filter(|m| m.stands()).for_each(Machine::rouse);
    }
    shared.timers.look_again(now() + ESCAPE);
}

fn interrupt_blocked(shared: &Shared) {
    for m in shared.machines().filter(|m| !m.task().is_null()) {
        let turn = Turn::of(m);
        if turn.proc.is_none() && request_preempt(shared, m, turn) {
            shared.counters.escapes.bump_shared();
            crate::glue::signal(shared, m);
        }
    }
}

/// Whether somebody waits for the goroutine that runs on `m`.
fn runs_hurried(shared: &Shared, m: &Machine) -> bool {
    // SAFETY: records stay as long as the scheduler. It may be out of its goroutine's hands by now, and tell of
    // another one: a hint.
    let task = unsafe { m.task().as_ref() };
    // Relaxed: as above.
    task.is_some_and(|task| shared.is_hurried(task.holds().load(Ordering::Relaxed)))
}

/// The M whose goroutine has had its P longest, and long enough, of those whose slice may end; and that slice.
fn oldest_slice(shared: &Shared, may_end: impl Fn(&Machine) -> bool) -> Option<(&Machine, Turn)> {
    let slice = |m| {
        // First: of a slice that begins later nothing is said.
        let turn = Turn::of(m);
        let age = shared.clock.since(m.proc()?.slice_start());
        Some((age, m, turn))
    };
    let running = shared.machines().filter(|m| !m.task().is_null() && may_end(m));
    running
        .filter_map(slice)
        .filter(|(age, ..)| *age >= PROTECTED)
        .max_by_key(|(age, ..)| *age)
        .map(|(_, m, turn)| (m, turn))
}
