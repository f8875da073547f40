//! The worker: how an M finds a goroutine, runs it, and leaves it.
//!
//! # Words
//!
//! * **G**: a goroutine. **M**: an OS thread. **P**: the right to run; there are as many as may run
//!   at once. An M that runs goroutines holds a P.
//! * *inside*: within the runtime, `in_runtime` not 0 ([`entry`](crate::entry)). Only inside may
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
//! two. Every place where a switch can arrive settles ([`commit`]): behind the switch in `switch_away`, at
//! the start of a goroutine ([`body`]), and in the loop on the M's own stack ([`run`]). In thread mode
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
//! ([`occupancy`](crate::occupancy)). It becomes non-null in two: the M is woken with one, or it takes
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

use crate::{
    bound::{self, Reserved},
    commit, context,
    dispatch::Dispatch,
    machine::Machine,
    orders::Order,
    proc::Held,
    switch::{aim, arrived, next_at_hand},
    sync::spin_loop,
    task::Run,
    tls, vacate,
};

/// Rounds over all other Ps before an M gives up its search; thieves are bolder in the last one.
const ROUNDS: usize = 4;

/// Turns of a spin loop before a search that found nothing is over: some 3 µs, a dozen times what two who
/// wake each other need to do so.
const WATCH: usize = 100;

/// Nanoseconds of a nap; the kernel makes it some 50 µs longer.
const NAP: u64 = 1_000;

/// The loop of an M, on its own stack, inside the runtime, with a P or on the list of those that
/// rest. Returns when the scheduler stops.
pub(crate) fn run(m: &Machine) {
    if m.held().is_none() && !sleep(m) {
        return;
    }
    while let Some(run) = find(m) {
        let Some(run) = bound::home(m, run) else { continue };
        let to = aim(m, Some(run));
        // SAFETY: this is the M's own stack, which waits in `own` for a switch back; `to` as in
        // `switch_away`.
        let switch = || unsafe { context::switch(m.own(), to.as_ref()) };
        commit::switch(switch, || arrived(tls::words()));
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
    if !matches!(m.reserved(), Reserved::No) {
        return bound::await_turn(m);
    }
    loop {
        let Some(held) = m.held() else {
            match m.shared().idle.rest(m.id()) {
                Some(order) => obey(m, order),
                None if sleep(m) => {}
                None => return None,
            }
            continue;
        };
        if m.shared().idle.surplus() != 0 {
            shed(m, held);
            continue;
        }
        let found = next_at_hand(m, held).map_or_else(|| search(m, held), Search::Found);
        if let Search::Found(run) = found {
            stop_spinning(m);
            return Some(run);
        }
        if m.shared().stopping() {
            return None;
        }
        match found {
            Search::Traffic => m.nap(NAP),
            _ => retire(m, held),
        }
    }
}

/// What a search came to.
enum Search {
    Found(Run),
    /// There is nothing.
    Nothing,
    /// Nothing for others: but some wake each other in turn.
    Traffic,
}

/// Looks into the queues of other Ps, if not too many do so already.
fn search(m: &Machine, held: Held<'_>) -> Search {
    let shared = m.shared();
    let spinning = m.spinning.take().or_else(|| shared.idle.try_spin(shared.wanted_procs()));
    if spinning.is_none() {
        return Search::Nothing;
    }
    m.spinning.set(spinning);
    let before = shared.handovers_of_others(held);
    for round in 0..ROUNDS {
        let last = round + 1 == ROUNDS;
        if let Some(run) = steal(m, held, last) {
            return Search::Found(run);
        }
        // What came in meanwhile is nearer than what others have.
        if let Some(run) = next_at_hand(m, held) {
            return Search::Found(run);
        }
    }
    (0..WATCH).for_each(|_| spin_loop());
    if shared.handovers_of_others(held) == before { Search::Nothing } else { Search::Traffic }
}

/// Steals from the other Ps, as the policy says.
fn steal(m: &Machine, held: Held<'_>, last: bool) -> Option<Run> {
    let shared = m.shared();
    loop {
        let runnable = shared.steal(held, last)?;
        if let Some(run) = shared.equip(held, runnable) {
            m.counters.steals.bump();
            return Some(run);
        }
    }
}

/// The M has found work: it no longer counts as looking, and wakes the next to look if it was the
/// last.
pub(crate) fn stop_spinning(m: &Machine) {
    if let Some(spinning) = m.spinning.take()
        && let Some(wake) = m.shared().idle.found(spinning)
    {
        m.shared().carry_out(wake);
    }
}

/// Gives the P up, and takes one back if there is work after all.
fn retire(m: &Machine, held: Held<'_>) {
    let order = vacate::retire(m.shared(), held, m.spinning.take(), || m.let_go());
    go_on(m, order);
}

/// There are Ps too many: gives this one up, with what is in its queue for others to run.
#[cold]
fn shed(m: &Machine, held: Held<'_>) {
    let shared = m.shared();
    held.cache(|cache| cache.give_back(shared, 0));
    let order = vacate::shed(shared, held, m.spinning.take(), || m.let_go());
    go_on(m, order);
}

/// The M, which has given up its P, is to search with another.
fn go_on(m: &Machine, order: Option<Order>) {
    if let Some(order) = order {
        m.shared().idle.bell().ring();
        obey(m, order);
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
