//! Where an M sleeps, and what it is woken for.
//!
//! # Problem
//!
//! An M that sleeps is woken with an *order*, a P to run; or it is *roused*, to look whether the scheduler
//! stops or some P waits for a thread. Both may come at once, from two sides, before it sleeps or while it does.
//! An order must be carried out once: its P is on no list meanwhile.
//!
//! # How
//!
//! The order lies in a place of its own, under a lock, and is put there before the permit is left. The M looks
//! into the place after each sleep, whatever woke it. Whoever rouses it leaves only a permit; if the permit of
//! an order is lost in that one, the order is found by the same look.
//!
//! One order at a time: whoever summons an M took it from a list first.
//!
//! Model: `loom-tests/tests/sched_park.rs`, S11.

use crate::{
    lock::Lock,
    orders::Order,
    parker::{Parker, Woken},
};

/// The place to sleep of one M.
///
/// ```
/// use sched_core::{orders::Order, summons::Summons};
///
/// let summons = Summons::new();
/// summons.rouse();
/// assert_eq!(summons.sleep(), None);
/// summons.give(Order { proc: 3, spinning: None });
/// assert_eq!(summons.sleep(), Some(Order { proc: 3, spinning: None }));
/// ```
#[derive(Debug)]
pub struct Summons {
    order: Lock<Option<Order>>,
    parker: Parker,
}

impl Summons {
    /// No order, nobody asleep.
    #[expect(clippy::new_without_default, reason = "an M's, made where the M is made")]
    pub fn new() -> Self {
        Self { order: Lock::new(None), parker: Parker::new() }
    }

    /// Wakes the M to carry out `order`. The caller took it from the list of those that sleep, or the
    /// goroutine for which it waits from a queue.
    pub fn give(&self, order: Order) {
        // A lock, though one at a time writes here: the M may be reading, roused by somebody else.
        *self.order.lock() = Some(order);
        self.parker.unpark();
    }

    /// Wakes the M without an order.
    pub fn rouse(&self) {
        self.parker.unpark();
    }

    /// The M: sleeps until it is woken, and takes the order. `None`: it was roused.
    pub fn sleep(&self) -> Option<Order> {
        self.parker.park();
        self.order.lock().take()
    }

    /// The M, to which nobody gives an order: sleeps until `deadline`, or until it is roused.
    pub fn nap(&self, deadline: u64) -> Woken {
        self.parker.park_until(deadline)
    }
}
