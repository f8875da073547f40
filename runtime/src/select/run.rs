//! [`run`]: which case of a `select!` wins.
//!
//! # Algorithm (Go's `selectgo`, after a glance)
//!
//! 1. Put the cases into a random order, and look at each under its own lock alone. The first that is ready
//!    wins: unlock, wake its partner. One that is always busy takes one lock in place of all, for which
//!    others wait. With `default` there is no glance: that *none* is ready must be true of one moment.
//! 2. Lock all channels in the order of their locks' ranks (addresses), each once. So two selects never wait
//!    for each other's locks. Look again.
//! 3. None: with `default` unlock and return. Else append one node per case, all for one ticket.
//! 4. Unlock, and park until the ticket is done or the deadline has passed.
//! 5. Take the losers' nodes out, each under its own lock. The winner's is out already.
//!
//! A case may wait for a point in time. It has a list and a lock like a channel; the `select!` parks until
//! the earliest of them, and then begins again, as it does when one of them was given another time.
//!
//! Steps 2 and 3 happen under all locks, so nothing can get ready between a look and its append, and
//! a party that looks is in no queue (invariant 3 of `wait`).
//!
//! Between the unlock and the park the ticket may already be done: then the park is not entered, or
//! its permit is there. Nothing of this frame is touched by the unlock (Go's trap: its unlock runs
//! on another stack after the goroutine is parked; ours runs before).
//!
//! # Bounds
//!
//! N is known at compile time, all memory lies on the stack, and nothing is allocated. The sort is
//! `sort_unstable`, which is an insertion sort for small N.

use super::case::{Case, Operate};
use crate::chan;
#[cfg(not(loom))]
use crate::current::random;
use crate::wait::{Claimed, Later, Node, Outcome, Patience, Ticket};
use std::time::Instant;

use sched_core::entry::{self, Entered};
use sched_core::lock::{Guard as LockGuard, Lock};
use sched_core::park::WaitReason;

/// What [`run`] returns when no case has won.
pub const DEFAULT: usize = usize::MAX;

/// Runs a `select!`: returns the index of the case that won, or [`DEFAULT`].
pub fn run<const N: usize>(cases: [Case<'_>; N], patience: Patience) -> usize {
    let timed = cases.iter().any(|case| case.1);
    loop {
        // Outside: a system call of the clock has no place in there.
        let now = timed.then(Instant::now);
        if let Some(winner) = turn(&cases, patience, now) {
            return winner;
        }
    }
}

/// Steps 1 to 5, at `now` if anybody asks for the time. `None`: a point in time has come, or is another
/// one than before.
fn turn<const N: usize>(
    cases: &[Case<'_>; N],
    patience: Patience,
    now: Option<Instant>,
) -> Option<usize> {
    let order = shuffled();
    if matches!(patience, Patience::None) {
        return match look(cases, &order, now, None) {
            Look::Won(winner) => Some(winner),
            Look::Wait(_) => Some(DEFAULT),
        };
    }
    if let Some(winner) = glance(cases, &order, now) {
        return Some(winner);
    }
    let ticket = Ticket::new();
    let nodes: [Node; N] =
        std::array::from_fn(|index| Node::new(&ticket, index, cases[index].0.slot()));
    let alarm = match look(cases, &order, now, Some(&nodes)) {
        Look::Won(winner) => return Some(winner),
        Look::Wait(alarm) => alarm,
    };
    let limit = match patience {
        Patience::Until(deadline) => Some(deadline),
        Patience::None | Patience::Forever => None,
    };
    let outcome = match alarm.into_iter().chain(limit).min() {
        Some(deadline) => ticket.wait_until(WaitReason::Select, deadline),
        None => Some(ticket.wait(WaitReason::Select)),
    };
    withdraw(cases, &nodes, outcome);
    match outcome {
        None if limit.is_some_and(|limit| alarm.is_none_or(|alarm| limit <= alarm)) => {
            Some(DEFAULT)
        }
        None => None,
        Some(outcome) if cases[outcome.case].1 => None,
        Some(outcome) => {
            cases[outcome.case].0.settle(outcome.ok);
            Some(outcome.case)
        }
    }
}

/// What a look at all cases came to.
enum Look {
    /// This one has won.
    Won(usize),
    /// None is ready; one will be at this time, if nothing changes.
    Wait(Option<Instant>),
}

/// Step 1: looks at one case after the other, each under its own lock.
fn glance(cases: &[Case<'_>], order: &[usize], now: Option<Instant>) -> Option<usize> {
    // As in `look`.
    let inside = entry::enter();
    for &index in order {
        let case = cases[index].0;
        let Some(lock) = case.lock() else { continue };
        let held = lock.lock_patiently();
        // SAFETY: `held` is the lock of this case's channel; no case has moved a value yet.
        let look = unsafe { case.look(&held, now) };
        if let Some(ready) = Ready::of(look) {
            drop(held);
            ready.settle(case, inside);
            return Some(index);
        }
    }
    None
}

/// A case that was ready.
struct Ready {
    /// Who was served by it, and is to be woken when no lock is held any more.
    partner: Option<Claimed>,
    /// The value has moved; else the channel is closed.
    ok: bool,
}

impl Ready {
    fn of(look: chan::Look) -> Option<Self> {
        match look {
            chan::Look::Wait => None,
            chan::Look::Refused => Some(Ready { partner: None, ok: false }),
            chan::Look::Moved(partner) => Some(Ready { partner, ok: true }),
        }
    }

    /// Ends the `select!` with this case: wakes its partner and leaves the runtime.
    fn settle(self, case: &dyn Operate, inside: Entered<'_>) {
        let later = self.partner.map(|partner| partner.finish(true));
        drop(inside);
        later.into_iter().for_each(Later::wake);
        case.settle(self.ok);
    }
}

/// Steps 2 and 3: locks everything, looks at each case, and appends `nodes` if none is ready.
fn look<const N: usize>(
    cases: &[Case<'_>; N],
    order: &[usize; N],
    now: Option<Instant>,
    nodes: Option<&[Node; N]>,
) -> Look {
    // Kept until the partner is woken: no preemption between the unlock and the wake-up.
    let inside = entry::enter();
    let held = Held::all(cases);
    for &index in order {
        let Some(guard) = held.of(index) else { continue };
        // SAFETY: `guard` is the lock of this case's channel; no case has moved a value yet.
        let look = unsafe { cases[index].0.look(guard, now) };
        if let Some(ready) = Ready::of(look) {
            drop(held);
            ready.settle(cases[index].0, inside);
            return Look::Won(index);
        }
    }
    let mut alarm = None;
    for (index, node) in nodes.into_iter().flatten().enumerate() {
        if let Some(guard) = held.of(index) {
            // SAFETY: the lock is held; `run` keeps the nodes until `withdraw` took them out.
            unsafe { cases[index].0.queue(guard, node) };
            let deadline = if cases[index].1 { cases[index].0.deadline(guard) } else { None };
            alarm = alarm.into_iter().chain(deadline).min();
        }
    }
    Look::Wait(alarm)
}

/// Step 5: takes the nodes of the losers out of their queues.
fn withdraw<const N: usize>(cases: &[Case<'_>; N], nodes: &[Node; N], outcome: Option<Outcome>) {
    let _inside = entry::enter();
    for (index, node) in nodes.iter().enumerate() {
        if outcome.is_some_and(|outcome| outcome.case == index) {
            continue;
        }
        if let Some(lock) = cases[index].0.lock() {
            let held = lock.lock();
            // SAFETY: the lock is held; the node was queued there and nowhere else.
            unsafe { cases[index].0.unqueue(&held, node) };
        }
    }
}

/// The numbers below N in random order (Fisher and Yates).
fn shuffled<const N: usize>() -> [usize; N] {
    let mut order = std::array::from_fn(|index| index);
    let mut random = random();
    for last in (1..N).rev() {
        order.swap(last, (random % (last as u64 + 1)) as usize);
        random = random.rotate_right(7);
    }
    order
}

/// A model's executions differ in who runs when, and in nothing else.
#[cfg(loom)]
fn random() -> u64 {
    0
}

/// The locks of all cases, each taken once.
struct Held<'a, const N: usize> {
    guards: [Option<LockGuard<'a, ()>>; N],
    /// Which guard is that of a case; N for a case that is switched off.
    guard_of: [usize; N],
}

impl<'a, const N: usize> Held<'a, N> {
    /// Locks in the order of their ranks.
    fn all(cases: &[Case<'a>; N]) -> Self {
        let mut held = Held { guards: [const { None }; N], guard_of: [N; N] };
        let mut before = None;
        for (position, index) in by_rank(cases).into_iter().enumerate() {
            let Some(lock) = cases[index].0.lock() else { continue };
            held.guard_of[index] = match before {
                Some((same, guard)) if std::ptr::eq(same, lock) => guard,
                _ => {
                    held.guards[position] = Some(lock.lock());
                    position
                }
            };
            before = Some((lock, held.guard_of[index]));
        }
        held
    }

    fn of(&self, index: usize) -> Option<&LockGuard<'a, ()>> {
        self.guards.get(self.guard_of[index])?.as_ref()
    }
}

/// The indices of the cases, sorted by the rank of their lock.
fn by_rank<const N: usize>(cases: &[Case<'_>; N]) -> [usize; N] {
    let rank = |&index: &usize| cases[index].0.lock().map_or(0, Lock::rank);
    let mut sorted = std::array::from_fn(|index| index);
    sorted.sort_unstable_by_key(rank);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_first_about_equally_often() {
        let mut first = [0_u32; 4];
        for _ in 0..4000 {
            let order: [usize; 4] = shuffled();
            first[order[0]] += 1;
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
        }
        assert!(first.iter().all(|&n| (700..1300).contains(&n)), "{first:?}");
    }
}
