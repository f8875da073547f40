//! The switch: leaving one goroutine for another, and the commit on arrival.
//!
//! The protocol is told in [`worker`](crate::worker). In the order of its steps: [`leave`] and
//! [`give_way`] find the next goroutine and say what the present one is owed; [`aim`] publishes where
//! the M is going; what is owed is done wherever the switch arrives, by [`commit`].

use core::ptr::NonNull;

use crate::{
    bound::home,
    commit::{self, Commit, Role},
    context::{self, Context},
    dispatch::Dispatch,
    future::carrier::berth,
    handoff,
    machine::Machine,
    policy::Cause,
    proc::Held,
    queue::Handle,
    sync::Ordering,
    task::{Run, Task, state::State},
    tls::{self, Words},
};

/// The goroutine that `words` belong to, from its own stack.
pub(crate) fn running(words: &Words) -> Option<&Task> {
    // Relaxed: as in `on_goroutine`.
    // SAFETY: a goroutine's record outlives its run, and only the goroutine itself asks.
    unsafe { words.g.load(Ordering::Relaxed).cast::<Task>().as_ref() }
}

/// The M in whose role the caller runs, inside the runtime; `None` on a plain thread.
pub(crate) fn machine(words: &Words) -> Option<&Machine> {
    // Relaxed: written by the M that resumed this block.
    // SAFETY: null, or the M that runs this block; Ms outlive their goroutines.
    unsafe { words.m.load(Ordering::Relaxed).cast::<Machine>().as_ref() }
}

/// The M and the goroutine of a caller that is one.
pub(crate) fn here(words: &Words) -> (&Machine, &Task) {
    match (machine(words), running(words)) {
        (Some(m), Some(task)) => (m, task),
        _ => crate::error::fatal(format_args!("a goroutine lost its M or its record")),
    }
}

/// Switches to another goroutine if one is at hand, with a commit that queues this one. If none is,
/// it goes on with a new slice; but not on a P that may be one too many, which its M gives up.
pub(crate) fn give_way(words: &Words, commit: fn(Run) -> Commit<Run>) {
    let (m, task) = here(words);
    let Some(held) = m.held() else { return };
    m.shared().share(Some(held));
    let surplus = m.shared().idle.surplus() != 0;
    let next = if surplus { None } else { successor(m, task) };
    let stays_alone = match m.held() {
        // The next one has taken the P with it.
        None => false,
        Some(_) if task.is_locked() => !surplus && !m.shared().work_at_hand(held),
        Some(_) => !surplus && next.is_none(),
    };
    if stays_alone {
        return held.begin_slice();
    }
    // SAFETY: the goroutine runs, so its run reference is in its M's hands: ours.
    let run = unsafe { Run::from_raw(NonNull::from(task)) };
    m.owe(commit(run));
    switch_away(m, task, next);
}

/// Leaves the running goroutine, and comes back when it is resumed, on whatever M.
pub(crate) fn leave(m: &Machine, commit: Commit<Run>) {
    let task = commit.run().task();
    let next = successor(m, task);
    let task = NonNull::from(task);
    m.owe(commit);
    // SAFETY: the caller's own record, which outlives its run.
    switch_away(m, unsafe { task.as_ref() }, next);
}

/// The goroutine to which `task` may switch directly; `None`: the M's own stack sees to it. The P is
/// gone if the next one goes on on another thread.
pub(crate) fn successor(m: &Machine, task: &Task) -> Option<Run> {
    let held = m.held().filter(|_| !task.is_locked())?;
    next_at_hand(m, held).and_then(|run| home(m, run))
}

/// The next goroutine from the queues at hand, with a stack to run on: for a future, a carrier.
pub(crate) fn next_at_hand(m: &Machine, held: Held<'_>) -> Option<Run> {
    let shared = m.shared();
    loop {
        let runnable = shared.pick(held)?;
        if let Some(run) = shared.equip(held, runnable) {
            return Some(run);
        }
    }
}

/// Switches from `task` to `next`, or to the M's own stack. What is owed is settled on arrival.
pub(crate) fn switch_away(m: &Machine, task: &Task, next: Option<Run>) {
    // SAFETY: the running goroutine has itself, and a slot while it runs.
    let from = unsafe { context_of(task) };
    let to = aim(m, next);
    // SAFETY: `from` is the running goroutine's. `to` is suspended or new, and ours: its run
    // reference came from a queue, or it is the M's own stack, which waits for this switch. Both
    // sides are inside the runtime. Contexts stay where they are while their slots are taken.
    let switch = || unsafe { context::switch(from, to.as_ref()) };
    commit::switch(switch, || arrived(tls::words()));
}

/// Publishes where the M is about to go, and gives the context to switch to.
pub(crate) fn aim(m: &Machine, next: Option<Run>) -> NonNull<Context> {
    match next {
        Some(run) => board(m, run),
        None => {
            m.switched_to(None);
            NonNull::from(m.own())
        }
    }
}

/// Publishes `run` as the goroutine of `m`, and gives its context.
pub(crate) fn board(m: &Machine, run: Run) -> NonNull<Context> {
    let task = NonNull::from(run.task());
    run.task().state.resume();
    // The run reference is now in the M's hands; it is found again through `words.g`.
    let _ = run.into_raw();
    // SAFETY: we had the G until now, and nobody else has it before the switch.
    let task = unsafe { task.as_ref() };
    // SAFETY: as above; `give_stack` gave it a slot.
    let slot = unsafe { task.slot_ref() }.expect("a goroutine runs on a stack");
    // SAFETY: as above.
    unsafe { slot.context().warm() };
    m.switched_to(Some((task, slot.words(), slot.context().thread())));
    NonNull::from(slot.context())
}

/// The context of a goroutine.
///
/// # Safety
///
/// The caller has the G, which has a slot.
pub(crate) unsafe fn context_of(task: &Task) -> &Context {
    // SAFETY: the caller's claim.
    unsafe { task.slot_ref() }.expect("a goroutine runs on a stack").context()
}

/// The M on which a switch has arrived: that of the goroutine that runs now.
pub(crate) fn arrived(words: &Words) -> &Machine {
    match machine(words) {
        Some(m) => m,
        None => crate::error::fatal(format_args!("a switch arrived on no M")),
    }
}

/// What a goroutine that begins does for the one before it.
pub(crate) fn settle(words: &Words) {
    commit::settle(arrived(words));
}

impl Role for Machine {
    type Run = Run;

    #[inline(always)]
    fn state(run: &Run) -> &State {
        &run.task().state
    }

    #[inline(always)]
    fn owed(&self) -> Option<Commit<Run>> {
        Machine::owed(self)
    }

    fn put_woken(&self, run: Run) {
        self.shared().put_woken(self.held(), run);
    }

    /// If somebody waits for what it holds, it shall not wait for a slice to end.
    #[inline]
    fn put_back(&self, run: Run, cause: Cause) {
        let shared = self.shared();
        let holds = run.task().is_holder();
        shared.put(self.held(), run, cause);
        if holds {
            handoff::make_room(shared);
        }
        shared.notify();
    }

    fn put_preempted(&self, run: Run) {
        put_preempted(self, run);
    }

    fn berth(&self, run: Run) {
        berth(self, run);
    }

    fn bury(&self, run: Run) {
        let shared = self.shared();
        // SAFETY: the goroutine has switched away for the last time; the run reference has the G.
        let slot = unsafe { run.task().slot() }.take();
        if let Some(slot) = slot {
            // SAFETY: as above; `give_stack` took it from the stock of the goroutine's order.
            unsafe { shared.take_back(self.held(), slot, run.task().order()) };
        }
        self.counters.finished.bump();
        drop(run.end());
        shared.one_less();
    }
}

/// Behind those that were woken, the local queue if it has room, else the global one. Who paces himself is
/// one of them.
pub(crate) fn put_preempted(m: &Machine, run: Run) {
    m.counters.preemptions.bump();
    if run.task().is_self_paced() {
        return m.shared().put_woken(m.held(), run);
    }
    m.put_back(run, Cause::Preempted);
}
