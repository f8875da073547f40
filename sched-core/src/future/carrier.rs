//! Carriers: goroutines that poll futures.
//!
//! # Problem
//!
//! A future needs a stack and thread-local storage while it is polled, and only then. A poll may do
//! anything: block goroutine-style, block in the kernel, compute for ever; the other futures go on.
//!
//! # Words
//!
//! A *carrier* is a goroutine whose body is the loop below. It polls one future after the other. Its
//! *load* is the future that the M hands it when it switches to it. Its P's *berth* is where it rests.
//!
//! # How
//!
//! ```text
//!   M: a future comes out of a queue     1. a carrier: from the P's berth, else a new one
//!                                        2. the P's load := the future; switch to the carrier
//!   carrier:                             3. take the load, leave the runtime, poll
//!                                        4. enter; what is next at hand?
//!        a future                           it becomes the load: 3. No switch at all
//!        a goroutine, or nothing            rest: switch away, with a commit that puts the carrier into
//!                                           the berth. Occupied or closed: it is queued, finds no load
//!                                           when it runs, and ends as goroutines end
//! ```
//!
//! So as long as polls do not block, a P has one carrier, and futures that follow each other are polled
//! without a switch. A poll that blocks makes its carrier an ordinary goroutine that waits; the next
//! future finds the berth empty and gets a new carrier, whose slot comes from the shelf as any
//! goroutine's does. When the first one goes on and finds the berth occupied it ends. There is no pool to
//! tune: what is kept is one carrier per P, and the pool of slots.
//!
//! The load travels in the P: between steps 2 and 3 the M stays inside the runtime, so the P stays its.
//!
//! # The gate
//!
//! A future is inside the gate until it is over, a carrier until it ends. One that rests would hold up
//! the end of the scheduler; so whoever shuts the gate closes all berths and queues who rested there
//! ([`Shared::dismiss_carriers`]), to end. A P that is made later has an open berth: but it is made under
//! the lock that the closing holds, so a carrier that would rest there sees that the gate is shut.
//!
//! # What dumps show
//!
//! While it has a load the carrier bears the future's number and origin. At rest it has none.
//!
//! # Rejected
//!
//! * *A queue of futures beside the run queues*, served by goroutines that are woken for it: two orders
//!   where fairness wants one, and a second protocol of the kind of `idle.md`.
//! * *A goroutine that gives its stack back at each await*: no carriers at all, and the run queues as
//!   they were; but a G record is 192 bytes, and a slot is bound and unbound with each poll (50 ns).

use crate::{
    bound::home,
    commit::Commit,
    dispatch::Dispatch,
    entry::enter,
    future::cell::{Kind, Polled, Poller},
    goroutine,
    machine::Machine,
    policy::Cause,
    proc::Held,
    queue::Handle,
    shared::Shared,
    switch::{here, settle, switch_away},
    task::{Run, Task, runnable::Runnable, state::Complete},
    tls,
};

use core::ptr::NonNull;
use std::sync::PoisonError;

impl Shared {
    /// A carrier that will poll `future`, which is the P's load from now on. `None`: it waits for a stack.
    pub(crate) fn carry(&self, held: Held<'_>, future: Poller) -> Option<Run> {
        let carrier = held.proc().berth.take().or_else(|| self.new_carrier(held));
        match carrier {
            Some(carrier) => {
                held.load(future);
                Some(carrier)
            }
            None => {
                self.starve_future(future);
                None
            }
        }
    }

    fn new_carrier(&self, held: Held<'_>) -> Option<Run> {
        let record = held.cache(|cache| cache.pop(self))?;
        let Some(mut slot) = self.usual_slot(held) else {
            held.cache(|cache| cache.push(self, record));
            return None;
        };
        let let_in = self.gate.enter_to_serve();
        debug_assert!(let_in, "the future is inside");
        // SAFETY: the record is free, and ours.
        let carrier = unsafe { Run::start_carrier(record) };
        // SAFETY: the slot was just taken from the stock, for this carrier.
        unsafe { goroutine::arm_carrier(&mut slot, carrier.task()) };
        // SAFETY: the run reference has the G.
        *unsafe { carrier.task().slot() } = Some(slot);
        Some(carrier)
    }

    /// The gate is shut: no carrier rests from now on, and those that do are queued, to end.
    pub(crate) fn dismiss_carriers(&self) {
        let _sizing = self.sizing.lock().unwrap_or_else(PoisonError::into_inner);
        let _entered = enter();
        let resting = self.procs.iter().filter_map(|proc| proc.berth.close());
        resting.for_each(|carrier| {
            self.put(None, carrier, Cause::Moved);
            self.notify();
        });
    }
}

/// The first code of a carrier, inside the runtime.
pub(crate) unsafe extern "C" fn body(task: *mut ()) {
    let words = tls::words();
    settle(words);
    // SAFETY: `arm_carrier` passed the carrier's record, which lives to its end.
    let task = unsafe { &*task.cast::<Task>() };
    let mut load = unload(here(words).0);
    words.entry.leave();
    while let Some(future) = load {
        task.about.begin(future.header().birth, || ());
        let polled = future.poll();
        let entered = enter();
        task.about.end();
        load = next(task, polled);
        drop(entered);
    }
    let complete = task.state.complete();
    debug_assert_eq!(complete, Complete::Detached, "a carrier has no handle");
}

/// What the M has handed over.
fn unload(m: &Machine) -> Option<Poller> {
    m.held().and_then(Held::unload)
}

/// Sees to a future that was polled, and finds the next one; rests if there is none at hand. `None`: the
/// carrier ends.
fn next(task: &Task, polled: Polled) -> Option<Poller> {
    let (m, _) = here(tls::words());
    let shared = m.shared();
    match polled {
        Polled::Gone => {}
        Polled::Cleared => {
            // One more of the scheduler's own: it came in by itself.
            m.counters.relays.bump();
            shared.one_less();
        }
        Polled::Over(kind) => {
            match kind {
                Kind::Spawned => m.counters.futures.bump(),
                Kind::Relay => m.counters.relays.bump(),
            }
            shared.one_less();
        }
        Polled::Again(future) => {
            shared.put(m.held(), future, Cause::Yielded);
            shared.notify();
        }
    }
    // One that a poll has left locked to its thread polls no others.
    let held = m.held().filter(|_| !task.is_locked())?;
    shared.share(Some(held));
    let run = loop {
        // A P that may be one too many is given up, by its M.
        if shared.idle.surplus() != 0 {
            break None;
        }
        match shared.pick(held) {
            Some(Runnable::Future(future)) => return Some(future),
            Some(Runnable::Goroutine(run)) => match shared.give_stack(held, run) {
                // Without the P, if it goes on on another thread.
                Some(run) => break home(m, run),
                None => continue,
            },
            None => break None,
        }
    };
    // SAFETY: the carrier runs, so its run reference is in its M's hands: ours.
    m.owe(Commit::Rest(unsafe { Run::from_raw(NonNull::from(task)) }));
    switch_away(m, task, run);
    unload(here(tls::words()).0)
}

/// The carrier has switched away: it rests, or is queued to end.
pub(crate) fn berth(m: &Machine, carrier: Run) {
    let shared = m.shared();
    let rests = match m.held() {
        Some(held) if !shared.gate.is_shut() => held.proc().berth.rest(carrier),
        _ => Err(carrier),
    };
    if let Err(carrier) = rests {
        shared.put(None, carrier, Cause::Moved);
        shared.notify();
    }
}
