//! Orders: Ps that wait for a thread.
//!
//! # Problem
//!
//! A P is to be run, and no M sleeps: the service thread makes one. That may take long, as making a
//! thread takes locks of libc's ([`service`]). Meanwhile some M may come to rest. It must then run the
//! P; nobody else may come for a long time, if the service thread waits for a lock whose holder waits
//! for that very P.
//!
//! # How
//!
//! An *order* names a P. It waits in a list under the lock of the sleeping Ms, so
//!
//! ```text
//! orders wait  ⇒  no M sleeps
//! ```
//!
//! holds whenever the lock is free. Whoever has an order looks for a sleeper and leaves the order, in
//! one section ([`Idle::place`]); an M looks for an order and goes onto the list of sleepers, in one
//! section ([`Idle::rest`]). One section comes first: either the M is found, or the order.
//!
//! # Counting
//!
//! An order counts as the M that is made for it. If an M that counts already carries it out, it is
//! taken off; an M that arrives and finds no order counts from then on.
//!
//! # Rejected
//!
//! A list of orders with a lock of its own, looked at by new Ms and, when orders had waited for ten
//! milliseconds, on behalf of sleepers. An order that was left just after a new M had looked waited for
//! as long, beside an M asleep.
//!
//! Model: `loom-tests/tests/sched_idle.rs`.
//!
//! [`service`]: crate::Scheduler

use crate::{
    idle::{Idle, Spinning},
    sync::now,
};

/// What an M is woken for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the P is on no list: somebody must run it"]
pub struct Order {
    /// The P to hold, by its number.
    pub proc: usize,
    /// Evidence that the M is counted as a spinner already.
    pub spinning: Option<Spinning>,
}

/// What became of an order.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Place {
    /// This M, which is on no list any more, is to carry it out.
    Sleeper(usize, Order),
    /// It waits for the next M that arrives or comes to rest.
    Waits,
}

/// How orders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// How many wait.
    pub orders: usize,
    /// Nanoseconds since one was last carried out, or became the only one; 0 if none waits.
    pub age: u64,
}

impl Idle {
    /// For this order there was no M but a [new](crate::idle::Host::New) one: an M that has come to
    /// rest since carries it out, or it waits.
    pub fn place(&self, order: Order) -> Place {
        let mut lists = self.lists.lock();
        if let Some(id) = lists.machines.pop() {
            lists.total -= 1;
            return Place::Sleeper(id, order);
        }
        if lists.orders.is_empty() {
            lists.progress = now();
        }
        debug_assert!(lists.orders.len() < lists.orders.capacity(), "more orders than Ps");
        lists.orders.push_back(order);
        Place::Waits
    }

    /// An M that rests, if there is one: it is on no list any more. For a P that can do without.
    pub fn try_host(&self) -> Option<usize> {
        self.lists.lock().machines.pop()
    }

    /// M `id` has no P: it carries out an order, or it is about to sleep, and may be chosen and woken
    /// from now on.
    pub fn rest(&self, id: usize) -> Option<Order> {
        let mut lists = self.lists.lock();
        let order = lists.claim();
        match order {
            Some(_) => lists.total -= 1,
            None => lists.sleep(id),
        }
        order
    }

    /// As [`rest`](Self::rest), of an M that is new.
    pub fn arrive(&self, id: usize) -> Option<Order> {
        let mut lists = self.lists.lock();
        let order = lists.claim();
        if order.is_none() {
            lists.total += 1;
            lists.sleep(id);
        }
        order
    }

    /// As [`rest`](Self::rest), for an M that cannot rest: only if none has been carried out for so many
    /// nanoseconds.
    pub fn claim_overdue(&self, age: u64) -> Option<Order> {
        let mut lists = self.lists.lock();
        if now().saturating_sub(lists.progress) < age {
            return None;
        }
        let order = lists.claim();
        lists.total -= usize::from(order.is_some());
        order
    }

    /// The orders that wait.
    pub fn backlog(&self) -> Backlog {
        let lists = self.lists.lock();
        match lists.orders.len() {
            0 => Backlog { orders: 0, age: 0 },
            orders => Backlog { orders, age: now().saturating_sub(lists.progress) },
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::idle::Host;

    fn order(proc: usize) -> Order {
        Order { proc, spinning: None }
    }

    #[test]
    fn an_order_is_carried_out_by_whoever_comes_first() {
        let idle = Idle::new(3, 4);
        idle.add_machine();
        for proc in [0, 1] {
            assert_eq!(idle.take_host(), Host::New);
            assert_eq!(idle.place(order(proc)), Place::Waits);
        }
        assert_eq!(idle.backlog().orders, 2);
        assert_eq!(idle.rest(0), Some(order(0)), "an M that was about to sleep");
        assert_eq!(idle.arrive(1), Some(order(1)), "the M that was made");
        assert_eq!((idle.backlog().orders, idle.census().machines), (0, 2));
    }

    #[test]
    fn a_machine_that_came_to_rest_is_found() {
        let idle = Idle::new(2, 4);
        assert_eq!(idle.arrive(0), None);
        assert_eq!(idle.take_host(), Host::Sleeper(0));
        assert_eq!(idle.take_host(), Host::New);
        assert_eq!(idle.rest(0), None);
        assert_eq!(idle.place(order(1)), Place::Sleeper(0, order(1)));
        assert_eq!((idle.census().sleeping, idle.census().machines), (0, 1));
        assert_eq!(idle.arrive(1), None, "the new one finds nothing to do");
        assert_eq!((idle.census().sleeping, idle.census().machines), (1, 2));
    }
}
