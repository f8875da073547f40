//! What a goroutine does with the scheduler: it begins, parks, wakes others, gives way, ends.
//!
//! Every function here runs on a goroutine's own stack, but for the wakings, which anybody may do.
//!
//! # The slow path of an entry
//!
//! [`answer`] runs when an entry finds a request, and on behalf of the preemption signal. It decides
//! from the M's P, under the take lock, and not from the request's bits: a taker that is in the
//! middle of its decision is waited for, and a stray bit costs one look.
//!
//! A handler of the program's that allocates enters as well, on the thread's signal stack or with other
//! signals off, and may find a request that is not its own. It is not moved ([`stands`]), as by the signal.

use core::ptr::NonNull;

use crate::{
    bound::{self, Reserved},
    clock,
    commit::Commit,
    context::Context,
    dispatch::Dispatch,
    entry::{Request, enter},
    future::carrier,
    machine::Machine,
    occupancy,
    park::{Batch, WaitReason},
    policy::Cause,
    preempt::Registers,
    queue::Handle,
    switch::{aim, context_of, give_way, here, leave, machine, running, settle, successor},
    sync::{AtomicU64, Ordering},
    task::{
        Run, Task, TaskRef, raw,
        state::{BeginPark, Complete, Finish, Unpark},
    },
    tls::{self, Words},
};

/// Whether the caller is a goroutine.
#[inline]
pub(crate) fn on_goroutine() -> bool {
    // Relaxed: written before this block was first resumed, and never while it runs.
    !tls::words().g.load(Ordering::Relaxed).is_null()
}

/// The goroutine that the caller is, by a further reference.
pub(crate) fn current_task() -> Option<TaskRef> {
    running(tls::words()).map(TaskRef::of)
}

/// Shows `f` what the calling goroutine says that it holds; on a plain thread `own`. See
/// [`holds_or`](crate::holds_or).
#[inline]
pub(crate) fn with_holds<R>(own: &AtomicU64, f: impl FnOnce(&AtomicU64) -> R) -> R {
    f(running(tls::words()).map_or(own, Task::holds))
}

/// Calls `f` with the goroutine that the caller is, if it is one.
pub(crate) fn with_own<R>(f: impl FnOnce(&Task) -> R) -> Option<R> {
    running(tls::words()).map(f)
}

/// Parks the calling goroutine, unless there is a permit.
pub(crate) fn park(reason: WaitReason) {
    let entered = enter();
    entered.assert_outermost("a goroutine waits");
    let words = tls::words();
    let (m, task) = here(words);
    if task.state.begin_park() == BeginPark::Park {
        let since = m.held().map_or_else(clock::ticks, |held| held.proc().slice_start());
        task.waits(reason, since);
        m.counters.parks.bump();
        // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
        leave(m, Commit::Park(unsafe { Run::from_raw(NonNull::from(task)) }));
        task.about.go_on();
    }
    drop(entered);
}

/// As [`park`], until `deadline` (of [`now`](crate::sync::now)). False if it came first.
pub(crate) fn park_until(reason: WaitReason, deadline: u64) -> bool {
    let task = current_task().expect("the caller is a goroutine");
    task.shared().timers.wait(&task, deadline, || park(reason))
}

/// Lets others run first. Returns at once if there are none.
pub(crate) fn yield_now() {
    if !on_goroutine() {
        std::thread::yield_now();
        return;
    }
    let entered = enter();
    entered.assert_outermost("a goroutine gives way");
    let words = tls::words();
    here(words).0.counters.yields.bump();
    give_way(words, Commit::Yield);
    drop(entered);
}

/// See [`stint`](crate::stint).
pub(crate) fn stint() -> Option<(usize, u64)> {
    let entered = enter();
    entered.machine().map(|m| (m.id(), m.switches()))
}

/// Lets holders run first, if somebody waits for them and one waits for a P.
pub(crate) fn yield_to_holders() {
    let waits = || {
        let entered = enter();
        let machine = entered.machine()?;
        let (shared, held) = (machine.shared(), machine.held()?);
        let waits = shared.in_hurry() && shared.has_urgent();
        if waits {
            shared.expect_urgent(held);
        }
        Some(waits)
    };
    if waits() == Some(true) {
        yield_now();
    }
}

/// Leaves a permit for `task`, and queues it if it was parked.
pub(crate) fn unpark(task: &TaskRef) {
    awaken(task).into_iter().for_each(ready);
}

/// As [`unpark`], of one that shall not wait for a slice to end.
pub(crate) fn unpark_urgently(task: &TaskRef) {
    if let Some(run) = awaken(task) {
        let _entered = enter();
        task.shared().put_woken(None, run);
    }
}

/// Calls `end`, by which a wait of `task` is over, and unparks it, where there is no P for it by way of `batch`;
/// see [`Caller`](crate::park::Caller).
///
/// # Safety
///
/// The goroutine does not end before `end` is called.
#[inline]
pub(crate) unsafe fn release(task: NonNull<Task>, batch: &mut Batch, end: impl FnOnce()) {
    // SAFETY: the caller's claim, until `end`; and for as long as its scheduler lives the record is one.
    let record = unsafe { task.as_ref() };
    let entered = enter();
    match entered.machine().filter(|m| m.serves(record.shared())) {
        Some(m) => {
            end();
            if let Some(run) = awaken(record) {
                m.shared().put(m.held(), run, Cause::Unparked);
                m.shared().notify();
            }
        }
        // SAFETY: the caller's claim.
        None => unsafe { batch.release(record, end) },
    }
}

/// Leaves a permit for `task`. If it was parked it is the caller's, who queues it.
#[inline]
pub(crate) fn awaken(task: &Task) -> Option<Run> {
    // SAFETY: the state says that the goroutine is parked and that nobody else schedules it.
    let run = || unsafe { Run::from_raw(NonNull::from(task)) };
    (task.state.unpark() == Unpark::Schedule).then(run)
}

/// Queues a goroutine that was unparked.
fn ready(run: Run) {
    let entered = enter();
    let shared = NonNull::from(run.task().shared());
    // SAFETY: the caller holds a reference to the record besides `run`, or is the scheduler itself.
    let shared = unsafe { shared.as_ref() };
    let held = entered.machine().filter(|m| m.serves(shared)).and_then(|m| m.held());
    shared.put(held, run, Cause::Unparked);
    shared.notify();
}

/// Gives a fresh slot its errand: `task` from first to last.
///
/// # Safety
///
/// `slot` is not armed, and will be `task`'s.
pub(crate) unsafe fn arm(slot: &mut crate::stack::Slot, task: &Task) {
    let argument = core::ptr::from_ref(task).cast_mut().cast();
    // SAFETY: the caller's claim. Both functions fit the record, which lives to the end, and abort
    // instead of unwinding; `finish` obeys the rules of the switch.
    unsafe { slot.arm(body, finish, argument) };
}

/// As [`arm`], for a carrier.
///
/// # Safety
///
/// As [`arm`].
pub(crate) unsafe fn arm_carrier(slot: &mut crate::stack::Slot, task: &Task) {
    let argument = core::ptr::from_ref(task).cast_mut().cast();
    // SAFETY: as in `arm`.
    unsafe { slot.arm(carrier::body, finish, argument) };
}

/// The first code of a goroutine, inside the runtime.
unsafe extern "C" fn body(task: *mut ()) {
    let words = tls::words();
    settle(words);
    // SAFETY: `arm` passed the goroutine's record, which lives to its end.
    let task = unsafe { &*task.cast::<Task>() };
    words.entry.leave();
    // SAFETY: this is the goroutine, and it runs its packet once.
    unsafe { raw::run_packet(task.packet()) };
    // SAFETY: as above; the packet is not given up yet.
    let packet = unsafe { task.packet() };
    match task.state.complete() {
        Complete::Kept => {}
        // SAFETY: the handle is gone, so the packet is the goroutine's.
        Complete::Detached => unsafe { raw::free_packet(packet) },
    }
}

/// The last code of a goroutine: wakes the joiner and says where the M goes.
unsafe extern "C" fn finish(task: *mut ()) -> *const Context {
    // The runtime is not left again: the stack is switched away from for good.
    core::mem::forget(enter());
    let words = tls::words();
    let (m, own) = here(words);
    debug_assert!(core::ptr::eq(own, task.cast::<Task>()), "a goroutine ends as itself");
    if own.state.finish() == Finish::WakeJoiner {
        // SAFETY: the state gave us the joiner's place.
        let joiner = unsafe { own.take_joiner() };
        joiner.expect("a joiner is stored before it is announced").unpark();
    }
    if own.is_locked() {
        m.reserve(Reserved::Aside);
    }
    let next = successor(m, own);
    // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
    m.owe(Commit::End(unsafe { Run::from_raw(NonNull::from(own)) }));
    aim(m, next).as_ptr()
}

/// The slow path of an entry: somebody wants something of the caller.
#[cold]
#[inline(never)]
pub(crate) fn answer(words: &Words) {
    let Some((m, requests)) = requests(words) else { return };
    if requests.contains(Request::PREEMPT)
        && let Some(held) = m.held()
    {
        m.shared().expect_urgent(held);
    }
    if let Some(task) = running(words).filter(|task| stands(m, task)) {
        answer_here(m, task, requests);
    } else if m.held().is_none() {
        recover(m, words, requests);
    } else if requests.contains(Request::PREEMPT) {
        give_way(words, Commit::Preempted);
    }
}

/// Whether the running goroutine cannot leave its thread: a handler of a signal runs on it, which would return
/// on another thread with this one's signal stack and mask.
fn stands(m: &Machine, task: &Task) -> bool {
    let here = core::ptr::from_ref(&task).addr();
    // SAFETY: the running goroutine's own record, which has a slot while it runs.
    let on_own_stack = || unsafe { task.bounds() }.contains(&here);
    m.shared().mode.is_own_tls() && !(on_own_stack() && m.signals().is_undisturbed())
}

/// As [`answer`], for a goroutine that cannot leave its thread.
fn answer_here(m: &Machine, task: &Task, requests: Request) {
    if m.held().is_none() {
        if !m.shared().acquire_idle(m) {
            m.counters.displaced.bump();
            bound::stay_without(m, task);
        }
    } else if requests.contains(Request::PREEMPT) {
        bound::stay(m, task);
    }
}

/// Takes what is asked of the caller. On a plain thread nothing can be.
fn requests(words: &Words) -> Option<(&Machine, Request)> {
    let Some(m) = machine(words) else {
        words.entry.clear(Request::TAKE | Request::PREEMPT);
        return None;
    };
    let requests = occupancy::requests(&m.shared().take, &words.entry);
    // It has used its P; or it is back from the kernel, by itself.
    if m.held().is_some() == requests.contains(Request::PREEMPT) {
        m.counters.signs.bump();
    }
    Some((m, requests))
}

/// Comes by a P again: an idle one, or by waiting for a turn.
///
/// One that came in by itself is back from the kernel, and waits with those that were woken. One that
/// was asked to give way has computed without a P, or blocks still and was taken out of its system call
/// for the sake of others ([`escape`](crate::handoff::escape)): it waits behind them. Before them it
/// would block again before the one that it waits for has had its turn.
fn recover(m: &Machine, words: &Words, requests: Request) {
    if m.shared().acquire_idle(m) {
        return;
    }
    let Some(task) = running(words) else { return };
    m.counters.displaced.bump();
    // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
    let run = unsafe { Run::from_raw(NonNull::from(task)) };
    match requests.contains(Request::PREEMPT) {
        true => leave(m, Commit::Preempted(run)),
        false => leave(m, Commit::Displaced(run)),
    }
}

/// What a preemption signal has the goroutine do, inside the runtime, at any point of user code.
pub(crate) fn preempted() {
    answer(tls::words());
}

/// As [`preempted`], in the handler of the signal that came at `at`: the thread waits here for the goroutine's
/// next turn.
pub(crate) fn preempted_here(at: Registers) {
    let words = tls::words();
    if !machine(words).is_some_and(|m| m.shared().mode.is_own_tls()) {
        // The goroutine's thread waits wherever it is.
        let (_, task) = here(words);
        // SAFETY: the running goroutine's own record and slot.
        return unsafe { context_of(task).standing_at(&at, || answer(words)) };
    }
    if let (Some((m, requests)), Some(task)) = (requests(words), running(words)) {
        answer_here(m, task, requests);
    }
}
