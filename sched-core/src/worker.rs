//! The worker: how an M finds a goroutine, runs it, and leaves it.
//!
//! # Words
//!
//! * **G**: a goroutine. **M**: an OS thread. **P**: the right to run; there are as many as may run
//!   at once. An M that runs goroutines holds a P.
//! * *inside*: within the runtime, `in_runtime = 1` ([`entry`](crate::entry)). Only inside may
//!   anything of an M or a P be touched, as only there neither can change under one's feet.
//! * *own stack* of an M: the stack of its thread. It searches, spins and sleeps there, when there
//!   is no goroutine to do it for.
//!
//! # The switch
//!
//! A goroutine that parks or yields looks for the next one *on its own stack*, in the queues at
//! hand: no lock, no search of others' queues. If there is one it switches to it directly. If there
//! is none it switches to the M's own stack, which searches on. What runs next then does what the
//! one before is owed:
//!
//! ```text
//!   G1: park                    1. owe(Commit::Park(G1))
//!                               2. publish G2 as the M's goroutine      (switched_to)
//!                               3. switch: save G1, load G2
//!   G2: (returns from its own switch, or begins)
//!                               4. settle: publish G1 as parked
//!                               5. leave the runtime
//! ```
//!
//! Step 4 is the *commit after the switch*. Before step 3 is over, G1's registers are on no stack,
//! so nobody may resume it: if it were published in step 1, an unpark on another M could run it on
//! two. Every place where a switch can arrive settles: behind the switch in [`switch_away`], at the
//! start of a goroutine ([`body`]), and in the loop on the M's own stack ([`run`]). In thread mode
//! the same steps are taken by different threads, ordered by the baton.
//!
//! After its commit a G belongs to whoever acts next, perhaps on another M, at once: the committer
//! does not touch it again.
//!
//! # After a switch everything is new
//!
//! The code behind a switch may run on another M. Nothing read before it is used after it, but for
//! what belongs to the goroutine: its [`Words`] have the same address for its whole life, and say
//! which M it is on now.
//!
//! # Who may touch what, when
//!
//! The tables are at [`Machine`], [`Proc`](crate::proc::Proc) and [`Task`]. In short: an M's fields
//! are its role's, inside; a P's are its holder's; a G's are those of whoever has the G, which is a
//! queue, an M or a commit.
//!
//! A P has one holder: an M (`m.proc`), the idle list, or a function that is moving it from one to
//! the other. M's `proc` becomes null in three ways: the M gives the P up (no work; a goroutine
//! says it will block), a taker takes it while the goroutine is in user code
//! ([`handoff`](crate::handoff)). It becomes non-null in two: the M is woken with one, or it takes
//! one from the idle list.
//!
//! # Coming back without a P
//!
//! A goroutine whose P was taken runs on in user code, as one in a system call does. At its next
//! entry ([`answer`]) it takes an idle P, or queues itself with those that were woken, and its M
//! goes to sleep.
//!
//! # Ends
//!
//! A goroutine ends in [`finish`], after its TLS destructors. It wakes its joiner there, still on
//! its stack, which is enough for a join: what the goroutine did is done. Its stack goes back to
//! the stock by the commit. A scheduler ends when no goroutine is left: Ms then find `stopping` set
//! when they have nothing to do, leave their role, and their threads end.
//!
//! # Panics
//!
//! None leaves a closure ([`raw::run_packet`]). One that arises in here cannot be survived: half a
//! switch may be done. All frames between user code and the switch are `extern "C"` or the M's own
//! thread function, which abort.
//!
//! # Source
//!
//! Go's `schedule`, `findRunnable`, `execute`, `park_m`, `goexit0`, `exitsyscall` (`proc.go`), with
//! Go's detour over g0 on each switch left out where the next goroutine is at hand.

use core::ptr::NonNull;

use crate::{
    context::{self, Context},
    entry::{Request, enter},
    handoff,
    idle::Release,
    machine::{Commit, Machine, Order},
    park::WaitReason,
    proc::Held,
    queue::{Handle, inject::Lane, local::Next},
    scheduler::Shared,
    sync::{Ordering, spin_loop},
    task::{
        Run, Task, TaskRef, raw,
        state::{BeginPark, CommitPark, Complete, Finish, Unpark},
    },
    tls::{self, Words},
};

/// Rounds over all other Ps before an M gives up its search; the last one takes runnext, too.
const ROUNDS: usize = 4;

/// Turns of a spin loop before runnext is stolen: some 3 µs.
const PATIENCE: usize = 100;

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

/// The goroutine that `words` belong to, from its own stack.
fn running(words: &Words) -> Option<&Task> {
    // Relaxed: as in `on_goroutine`.
    // SAFETY: a goroutine's record outlives its run, and only the goroutine itself asks.
    unsafe { words.g.load(Ordering::Relaxed).cast::<Task>().as_ref() }
}

/// The M in whose role the caller runs, inside the runtime; `None` on a plain thread.
fn machine(words: &Words) -> Option<&Machine> {
    // Relaxed: written by the M that resumed this block.
    // SAFETY: null, or the M that runs this block; Ms outlive their goroutines.
    unsafe { words.m.load(Ordering::Relaxed).cast::<Machine>().as_ref() }
}

/// The M and the goroutine of a caller that is one.
fn here(words: &Words) -> (&Machine, &Task) {
    match (machine(words), running(words)) {
        (Some(m), Some(task)) => (m, task),
        _ => crate::error::fatal(format_args!("a goroutine lost its M or its record")),
    }
}

// ---------------------------------------------------------------------------------- parking

/// Parks the calling goroutine, unless there is a permit.
pub(crate) fn park(reason: WaitReason) {
    let entered = enter();
    let words = tls::words();
    let (m, task) = here(words);
    if task.state.begin_park() == BeginPark::Park {
        task.set_reason(Some(reason));
        m.counters.parks.bump();
        // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
        leave(m, Commit::Park(unsafe { Run::from_raw(NonNull::from(task)) }));
        task.set_reason(None);
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
    let words = tls::words();
    give_way(words, Commit::Yield);
    drop(entered);
}

/// Switches to another goroutine if one is at hand, with a commit that queues this one. If none is,
/// it goes on with a new slice.
fn give_way(words: &Words, commit: fn(Run) -> Commit) {
    let (m, task) = here(words);
    let Some(held) = m.held() else { return };
    match next_at_hand(m, held) {
        Some(next) => {
            // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
            let run = unsafe { Run::from_raw(NonNull::from(task)) };
            m.owe(commit(run));
            switch_away(m, task, Some(next));
        }
        None => held.begin_slice(),
    }
}

/// Leaves a permit for `task`, and queues it if it was parked.
pub(crate) fn unpark(task: &TaskRef) {
    if task.state.unpark() == Unpark::Schedule {
        // SAFETY: the state says that the goroutine is parked and that nobody else schedules it.
        ready(unsafe { Run::from_raw(NonNull::from(&**task)) });
    }
}

/// As [`unpark`], from the timer thread: the goroutine shall not wait for a slice to end.
pub(crate) fn unpark_urgently(task: &TaskRef) {
    if task.state.unpark() == Unpark::Schedule {
        let _entered = enter();
        // SAFETY: the state says that the goroutine is parked and that nobody else schedules it.
        let run = unsafe { Run::from_raw(NonNull::from(&**task)) };
        push_woken(task.shared(), run);
    }
}

/// Queues a goroutine that shall not wait for a slice to end.
fn push_woken(shared: &Shared, run: Run) {
    shared.global.push(run, Lane::Woken);
    shared.notify();
    handoff::make_room(shared);
}

/// Puts a goroutine where it will run: next on this P, or with those that were woken.
fn ready(run: Run) {
    let entered = enter();
    let shared = NonNull::from(run.task().shared());
    // SAFETY: the caller holds a reference to the record besides `run`, or is the scheduler itself.
    let shared = unsafe { shared.as_ref() };
    match entered.machine().filter(|m| m.serves(shared)).and_then(|m| m.held()) {
        Some(held) => held.queue().push_next(run, &shared.global),
        None => shared.global.push(run, Lane::Woken),
    }
    shared.notify();
}

// ---------------------------------------------------------------------------------- switching

/// Leaves the running goroutine, and comes back when it is resumed, on whatever M.
fn leave(m: &Machine, commit: Commit) {
    let task = match &commit {
        Commit::Park(run) | Commit::Yield(run) | Commit::Preempted(run) => run.task(),
        Commit::Displaced(run) | Commit::End(run) => run.task(),
    };
    let task = NonNull::from(task);
    let next = m.held().and_then(|held| next_at_hand(m, held));
    m.owe(commit);
    // SAFETY: the caller's own record, which outlives its run.
    switch_away(m, unsafe { task.as_ref() }, next);
}

/// The next goroutine from the queues at hand, with a stack to run on.
fn next_at_hand(m: &Machine, held: Held<'_>) -> Option<Run> {
    let shared = m.shared();
    loop {
        let run = held.pick(&shared.global, shared.procs.len())?;
        match shared.give_stack(run) {
            Some(run) => return Some(run),
            None => continue,
        }
    }
}

/// Switches from `task` to `next`, or to the M's own stack. What is owed is settled on arrival.
fn switch_away(m: &Machine, task: &Task, next: Option<Run>) {
    // SAFETY: the running goroutine has itself, and a slot while it runs.
    let from = unsafe { context_of(task) };
    let to = aim(m, next);
    // SAFETY: `from` is the running goroutine's. `to` is suspended or new, and ours: its run
    // reference came from a queue, or it is the M's own stack, which waits for this switch. Both
    // sides are inside the runtime. Contexts stay where they are while their slots are taken.
    unsafe { context::switch(from, to.as_ref()) };
    settle(tls::words());
}

/// Publishes where the M is about to go, and gives the context to switch to.
fn aim(m: &Machine, next: Option<Run>) -> NonNull<Context> {
    match next {
        Some(run) => {
            let task = NonNull::from(run.task());
            run.task().state.resume();
            // The run reference is now in the M's hands; it is found again through `words.g`.
            let _ = run.into_raw();
            // SAFETY: we had the G until now, and nobody else has it before the switch.
            let task = unsafe { task.as_ref() };
            // SAFETY: as above; `give_stack` gave it a slot.
            let slot = unsafe { task.slot() }.as_ref().expect("a goroutine runs on a stack");
            m.switched_to(Some((task, slot.words(), slot.context().thread())));
            NonNull::from(slot.context())
        }
        None => {
            m.switched_to(None);
            NonNull::from(m.own())
        }
    }
}

/// The context of a goroutine.
///
/// # Safety
///
/// The caller has the G, which has a slot.
unsafe fn context_of(task: &Task) -> &Context {
    // SAFETY: the caller's claim.
    unsafe { task.slot() }.as_ref().expect("a goroutine runs on a stack").context()
}

/// Does what is owed to the goroutine that the M has just left.
fn settle(words: &Words) {
    let Some(m) = machine(words) else {
        crate::error::fatal(format_args!("a switch arrived on no M"));
    };
    match m.owed() {
        None => {}
        Some(Commit::Park(run)) => settle_park(m, run),
        Some(Commit::Yield(run)) => settle_yield(m, run),
        Some(Commit::Preempted(run)) => settle_preempted(m, run),
        Some(Commit::Displaced(run)) => {
            run.task().state.commit_yield();
            push_woken(m.shared(), run);
        }
        Some(Commit::End(run)) => settle_end(m, run),
    }
}

fn settle_park(m: &Machine, run: Run) {
    match run.task().state.commit_park() {
        // Whoever unparks it makes the reference anew.
        CommitPark::Parked => drop_reference(run),
        // It was unparked while it parked. The M has found something else to do by now, and what
        // that is may run for long.
        CommitPark::Notified => push_woken(m.shared(), run),
    }
}

/// The run reference of a parked goroutine is in its state: it is nobody's variable.
fn drop_reference(run: Run) {
    let _ = run.into_raw();
}

fn settle_yield(m: &Machine, run: Run) {
    run.task().state.commit_yield();
    match m.held() {
        Some(held) => held.queue().push_back(run, &m.shared().global),
        None => m.shared().global.push(run, Lane::Plain),
    }
    m.shared().notify();
}

/// Behind those that were woken: the local queue if it has room, else the global one.
fn settle_preempted(m: &Machine, run: Run) {
    run.task().state.commit_yield();
    m.counters.preemptions.bump();
    let global = &m.shared().global;
    match m.held().map(Held::queue) {
        Some(queue) if queue.room() > 0 => queue.push_back(run, global),
        _ => global.push(run, Lane::Plain),
    }
    m.shared().notify();
}

fn settle_end(m: &Machine, run: Run) {
    let shared = m.shared();
    // SAFETY: the goroutine has switched away for the last time; the run reference has the G.
    let slot = unsafe { run.task().slot() }.take();
    if let Some(slot) = slot {
        shared.take_back(slot);
    }
    m.counters.finished.bump();
    drop(run.end());
    shared.one_less();
}

// ---------------------------------------------------------------------------------- life

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
    let next = m.held().and_then(|held| next_at_hand(m, held));
    // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
    m.owe(Commit::End(unsafe { Run::from_raw(NonNull::from(own)) }));
    aim(m, next).as_ptr()
}

// ---------------------------------------------------------------------------------- requests

/// The slow path of an entry: somebody wants something of the caller.
#[cold]
#[inline(never)]
pub(crate) fn answer(words: &Words) {
    let Some(m) = machine(words) else {
        words.entry.clear(Request::TAKE | Request::PREEMPT);
        return;
    };
    let (requests, held) = {
        // A taker that is in the middle of its decision is waited for.
        let _taking = m.shared().take.lock();
        (words.entry.clear(Request::TAKE | Request::PREEMPT), m.held())
    };
    if held.is_none() {
        recover(m, words);
    } else if requests.contains(Request::PREEMPT) {
        give_way(words, Commit::Preempted);
    }
}

/// Comes by a P again: an idle one, or by waiting for a turn.
fn recover(m: &Machine, words: &Words) {
    if m.shared().acquire_idle(m) {
        return;
    }
    if let Some(task) = running(words) {
        m.counters.displaced.bump();
        // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
        leave(m, Commit::Displaced(unsafe { Run::from_raw(NonNull::from(task)) }));
    }
}

/// What a preemption signal has the goroutine do, inside the runtime, at any point of user code.
pub(crate) fn preempted() {
    let words = tls::words();
    // SAFETY: errno is the running block's own; a system call in here may change it under code
    // that is about to read it.
    let errno = unsafe { &mut *libc::__errno_location() };
    let before = *errno;
    answer(words);
    *errno = before;
}

// ---------------------------------------------------------------------------------- the loop

/// The loop of an M, on its own stack, inside the runtime, with a P or on the list of those that
/// rest. Returns when the scheduler stops.
pub(crate) fn run(m: &Machine) {
    if m.held().is_none() && !sleep(m) {
        return;
    }
    while let Some(run) = find(m) {
        let to = aim(m, Some(run));
        // SAFETY: this is the M's own stack, which waits in `own` for a switch back; `to` as in
        // `switch_away`.
        unsafe { context::switch(m.own(), to.as_ref()) };
        settle(tls::words());
    }
}

/// Carries out what the M was woken for.
pub(crate) fn obey(m: &Machine, order: Order) {
    m.shared().give_proc(m, order.proc);
    let before = m.spinning.replace(order.spinning);
    debug_assert!(before.is_none(), "M {} slept while it spun", m.id());
}

/// The next goroutine to run, from wherever it is. `None`: the scheduler stops.
fn find(m: &Machine) -> Option<Run> {
    loop {
        let Some(held) = m.held() else {
            m.shared().idle.rest(m.id());
            if !sleep(m) {
                return None;
            }
            continue;
        };
        if let Some(run) = next_at_hand(m, held).or_else(|| search(m, held)) {
            stop_spinning(m);
            return Some(run);
        }
        if m.shared().stopping() {
            return None;
        }
        retire(m, held);
    }
}

/// Looks into the queues of other Ps, if not too many do so already.
fn search(m: &Machine, held: Held<'_>) -> Option<Run> {
    let shared = m.shared();
    let spinning = m.spinning.take().or_else(|| shared.idle.try_spin(shared.procs.len()))?;
    m.spinning.set(Some(spinning));
    for round in 0..ROUNDS {
        let last = round + 1 == ROUNDS;
        if last {
            // Whoever has just made a goroutine ready is about to run it: it gets its 3 µs.
            (0..PATIENCE).for_each(|_| spin_loop());
        }
        let next = if last { Next::Take } else { Next::Leave };
        if let Some(run) = steal(m, held, next) {
            return Some(run);
        }
        // What came in meanwhile is nearer than what others have.
        if let Some(run) = next_at_hand(m, held) {
            return Some(run);
        }
    }
    None
}

/// Steals half of the queue of the first other P that has something.
fn steal(m: &Machine, held: Held<'_>, next: Next) -> Option<Run> {
    let shared = m.shared();
    for victim in shared.others(held) {
        let stolen = victim.queue.steal_into(&held.queue(), next);
        if let Some(run) = stolen.and_then(|run| shared.give_stack(run)) {
            m.counters.steals.bump();
            held.begin_slice();
            return Some(run);
        }
    }
    None
}

/// The M has found work: it no longer counts as looking, and wakes the next to look if it was the
/// last.
fn stop_spinning(m: &Machine) {
    if let Some(spinning) = m.spinning.take()
        && let Some(wake) = m.shared().idle.found(spinning)
    {
        m.shared().carry_out(wake);
    }
}

/// Gives the P up, and takes one back if there is work after all.
fn retire(m: &Machine, held: Held<'_>) {
    let shared = m.shared();
    let proc = held.proc();
    shared.proc_idle(proc);
    m.let_go();
    match shared.idle.release(proc.index(), m.spinning.take(), || shared.any_work()) {
        Release::Idle => {}
        Release::Search { proc, spinning } => {
            shared.bell.ring();
            obey(m, Order { proc, spinning: Some(spinning) });
        }
    }
}

/// Sleeps until the M, which rests, is given a P. False: the scheduler stops.
fn sleep(m: &Machine) -> bool {
    // Looked at before the first sleep, too: an M may begin after the others were told to end.
    while !m.shared().stopping() {
        if let Some(order) = m.sleep() {
            obey(m, order);
            return true;
        }
    }
    false
}
