//! Goroutines that go on on one thread only.
//!
//! # Problem
//!
//! With own TLS a goroutine goes on on whatever M takes it from a queue. Two kinds may not:
//!
//! * one that has *locked* its thread ([`lock_os_thread`]), for what the kernel keeps per thread:
//!   signal mask, affinity, namespaces, credentials;
//! * one that was preempted *where it stands*: its registers are in the frame of a signal handler, on
//!   the M's own signal stack, and nowhere else ([`stay`]).
//!
//! # How
//!
//! The record names the M ([`Task::bound`]). The G lies in queues as any other, so policies know
//! nothing of it. Whoever takes it from one and is not its M gives it his P, and rests ([`home`]):
//!
//! ```text
//!   its M: the G is queued, P given away, sleeps      another M: takes the G from a queue
//!                                                                m.proc = null
//!            wakes with the P, goes on with the G  ◄──────────── order { P }, unpark
//! ```
//!
//! The run reference travels with the order: it is found again as the sleeper's own goroutine. A G is
//! taken from a queue once, so one order comes per sleep, and it may come before the sleep: the parker
//! keeps the permit.
//!
//! The M of a locked goroutine runs no other. When its goroutine gives way, it switches to its own
//! stack and sleeps there ([`await_turn`]); of a goroutine that stays, the M sleeps in the handler.
//! Neither is on the list of Ms that rest, so nobody else wakes it.
//!
//! # One more thread
//!
//! Staying takes a thread from all others, so it is done only if another one is at hand that rests and
//! takes the P. If none is at hand the goroutine goes on, and the service thread is told to make one.
//!
//! This is not enough. The goroutine that stays may hold a lock of libc's. Those that want it block, Ps
//! move on from M to M, and the service thread, which could make one more, wants the lock as well: the Ps
//! wait for a thread, and the holder waits for a P. (A soak with 64 goroutines hung so in two of five
//! runs.) So while Ps have waited for long, Ms that wait for a turn are roused, and claim them
//! ([`relieve`]). Such an M has a stack on which nothing else can run; but it can look through the queue
//! for a goroutine that has a thread, its own or another's, and send the P there. Each time one more
//! goroutine runs that stood, until it is the holder's turn.
//!
//! # The end
//!
//! A goroutine may end with its thread locked, as in Go, and its thread may by then be fit for nobody
//! else. Go ends the thread; ours may not end before the scheduler does (parent-death signals), so it is
//! set aside: it sleeps until the scheduler stops.
//!
//! In thread mode every goroutine has its thread for life, so all of this is true for nothing.
//!
//! # Source
//!
//! Go's `LockOSThread`, `stoplockedm`, `startlockedm` (`proc.go`); staying has no counterpart there.

use core::{fmt, marker::PhantomData, ptr::NonNull};

use crate::{
    dispatch::Dispatch,
    entry::enter,
    goroutine,
    handoff::hand_over,
    machine::Machine,
    orders::Order,
    policy::Cause,
    queue::{Handle, list::List},
    service::STUCK,
    switch::{self, here},
    task::{Run, Task, runnable::Runnable},
    tls, worker,
};

/// For whom an M is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reserved {
    /// For nobody: it runs what comes.
    No,
    /// For the goroutine that has locked it.
    For(NonNull<Task>),
    /// Its goroutine ended with the lock: nobody may have it.
    Aside,
}

/// The calling goroutine stays on its kernel thread until this is dropped. See [`lock_os_thread`].
#[must_use = "the thread is unlocked as soon as this is dropped"]
pub struct OsThreadLock {
    /// It is dropped by the goroutine that made it.
    not_send: PhantomData<*mut ()>,
}

/// Ties the calling goroutine to the kernel thread that it runs on: until the lock is dropped it runs
/// on no other thread, and nothing else runs on this one.
///
/// For what the kernel, not libc, keeps per thread: signal mask, affinity, `unshare`, `prctl`,
/// credentials by raw system calls. Thread-locals need no lock. Locks nest. Each switch to or from a
/// goroutine with a locked thread costs a hand-over from thread to thread, some microseconds.
///
/// If a goroutine ends with the lock (`mem::forget`), its thread is not used again. Put back what you
/// changed, or forget the lock. On a plain thread, and where each goroutine has a thread of its own,
/// it does nothing.
///
/// ```
/// # use sched_core::{Config, NoHooks, Scheduler, lock_os_thread, yield_now};
/// # use std::sync::Arc;
/// # let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
/// let stays = scheduler.spawn(|| {
///     let _lock = lock_os_thread();
///     let tid = || unsafe { libc::gettid() };
///     let before = tid();
///     (0..10).for_each(|_| yield_now());
///     tid() == before
/// })?;
/// assert!(stays.join().unwrap());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lock_os_thread() -> OsThreadLock {
    change_lock(|m, task| {
        if task.add_lock() == 1 {
            task.bind(m);
            m.reserve(Reserved::For(NonNull::from(task)));
        }
    });
    OsThreadLock { not_send: PhantomData }
}

impl Drop for OsThreadLock {
    fn drop(&mut self) {
        change_lock(|m, task| {
            if task.remove_lock() == 0 {
                task.unbind();
                m.reserve(Reserved::No);
            }
        });
    }
}

impl fmt::Debug for OsThreadLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OsThreadLock")
    }
}

/// Calls `change` with the running goroutine and its M, if goroutines move here.
fn change_lock(change: impl FnOnce(&Machine, &Task)) {
    let entered = enter();
    if goroutine::on_goroutine() {
        entered.assert_outermost("a goroutine locks or unlocks its thread");
        let (m, task) = here(tls::words());
        if m.shared().mode.is_own_tls() {
            change(m, task);
        }
    }
}

/// `run`, if `m` may run it. Else it is given to its M, with the P.
#[inline]
pub(crate) fn home(m: &Machine, run: Run) -> Option<Run> {
    let bound = run.task().bound().cast_const();
    if bound.is_null() || core::ptr::eq(bound, m) {
        return Some(run);
    }
    // SAFETY: an M, and Ms live as long as their scheduler.
    send_home(m, unsafe { &*bound }, run);
    None
}

#[cold]
fn send_home(m: &Machine, bound: &Machine, run: Run) {
    let Some(held) = m.held() else {
        crate::error::fatal(format_args!("M {} took a goroutine without a P", m.id()));
    };
    let proc = held.proc().index();
    m.let_go();
    // The reference is found again by the sleeper, which knows its goroutine.
    let _ = run.into_raw();
    bound.wake(Order { proc, spinning: None });
}

/// The M, on its own stack, is reserved: gives its P away and sleeps until its goroutine has its turn.
/// `None`: the scheduler stops.
#[cold]
pub(crate) fn await_turn(m: &Machine) -> Option<Run> {
    if let Some(held) = m.held() {
        m.let_go();
        hand_over(m.shared(), held.proc());
    }
    match m.reserved() {
        Reserved::For(task) => await_order(m, task),
        _ => {
            // Set aside: for the end.
            while !m.shared().stopping() {
                let _none = m.sleep();
            }
            None
        }
    }
}

/// The running goroutine gives way where it stands: it is queued behind the others, and its thread
/// sleeps here until it has its turn. Returns at once if nobody else waits, or no thread is at hand.
pub(crate) fn stay(m: &Machine, task: &Task) {
    let shared = m.shared();
    let Some(held) = m.held() else { return stay_without(m, task) };
    if shared.idle.surplus() == 0 && !shared.work_at_hand(held) {
        return held.begin_slice();
    }
    let Some(host) = shared.idle.try_host() else {
        shared.service.rouse();
        return held.begin_slice();
    };
    let order = Order { proc: held.proc().index(), spinning: None };
    m.let_go();
    sleep_here(m, task, || shared.send(host, order));
}

/// As [`stay`], of a goroutine that came back without a P and found none idle.
pub(crate) fn stay_without(m: &Machine, task: &Task) {
    sleep_here(m, task, || ());
}

/// Queues the goroutine, calls `then`, and sleeps until it has its turn. The M has no P.
fn sleep_here(m: &Machine, task: &Task, then: impl FnOnce()) {
    task.bind(m);
    m.switched_to(None);
    m.counters.stays.bump();
    // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours. It is complete for
    // whoever takes it, as that is sent to this thread.
    let run = unsafe { Run::from_raw(NonNull::from(task)) };
    task.state.commit_stay();
    switch::put_preempted(m, run);
    then();
    let Some(run) = await_order(m, NonNull::from(task)) else {
        crate::error::fatal(format_args!("the scheduler stopped under goroutine {}", task.id()));
    };
    if !task.is_locked() {
        task.unbind();
    }
    let _here = switch::board(m, run);
}

/// The M sleeps until its goroutine `task` has its turn, and has a P then. `None`: the scheduler stops.
fn await_order(m: &Machine, task: NonNull<Task>) -> Option<Run> {
    let shared = m.shared();
    m.set_stands(true);
    let run = loop {
        if let Some(order) = m.sleep() {
            worker::obey(m, order);
            // SAFETY: the order brought the run reference of the one goroutine that is bound to this M.
            break Some(unsafe { Run::from_raw(task) });
        }
        if shared.stopping() {
            break None;
        }
        if let Some(order) = shared.idle.claim_overdue(STUCK) {
            worker::obey(m, order);
            if let Some(run) = relieve(m, task) {
                break Some(run);
            }
        }
    };
    m.set_stands(false);
    run
}

/// The M has a P that has waited for a thread, and can run nobody but `task`: gives the P to the first
/// goroutine in the queue that has a thread. If that is its own, it gets the run reference.
#[cold]
fn relieve(m: &Machine, task: NonNull<Task>) -> Option<Run> {
    let (shared, held) = (m.shared(), m.held()?);
    // The order may have come with it.
    worker::stop_spinning(m);
    // Those without a thread of their own stand aside meanwhile; so do futures, whose carriers would need one.
    let mut aside = List::new();
    let own = loop {
        let run = match shared.pick(held) {
            None => break None,
            Some(Runnable::Goroutine(run)) => shared.give_stack(held, run),
            Some(future) => {
                aside.push(future);
                None
            }
        };
        let Some(run) = run else { continue };
        match home(m, run) {
            // It was sent home, and the P with it.
            None => break None,
            Some(run) if core::ptr::eq(run.task(), task.as_ptr()) => break Some(run),
            Some(run) => aside.push(run.into()),
        }
    };
    aside.for_each(|run| shared.put(None, run, Cause::Moved));
    if own.is_none() && m.held().is_some() {
        m.let_go();
        hand_over(shared, held.proc());
    }
    shared.notify();
    own
}
