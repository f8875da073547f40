//! Stacks that cannot be made: who is refused, and who waits.
//!
//! # Problem
//!
//! A spawn takes no stack, so it cannot know whether there will be one for its goroutine. To let all in would fill
//! memory with those that wait, and have somebody wait for ever who could have been told.
//!
//! # How
//!
//! A spawn is refused ([`Shared::refusal`]) if the last attempt to make stacks of its order was, and
//!
//! * somebody starves for one; or
//! * it asks for the usual order, and none is in the stock or on the shelf of its P.
//!
//! So a program that starts goroutines without end learns of it before its memory is full of them; and if it starts
//! them one at a time, before any of them starves. Those that were let in before the last stack was taken do: until one
//! is given back, or made after all. Of larger orders none is made ahead of need, so there the first one starves;
//! and so does a servant, which is to have the first stack that comes back.
//!
//! The service thread tries again every two milliseconds until there is a batch in stock, made or given back; then the
//! shortage is over. Whoever takes of the stock and leaves less has it look again ([`Shared::see_stock`]), so it knows
//! of a refusal while there are still some. (In thread mode one that is given back is in stock once the service thread
//! has renewed it: a spawn before that may be refused.)
//!
//! A future starves as well, when it needs a new carrier and there is no stack, or no G record: the service
//! thread makes both. Without memory for records it feeds goroutines only, which have theirs: a future would be
//! back at once.
//!
//! What lies on the shelves of Ps is in nobody's reach but their holders'. So a shelf is cleared when its P
//! goes idle, and, in a shortage, when a goroutine begins or ends on it or gives way; and while somebody starves
//! in one, goroutines are asked to give way ([`Shared::press`]).

use crate::{
    entry::enter,
    proc::Held,
    shared::Shared,
    stack::{Slot, StackError},
    supply::{BATCH, Order, Supply},
    sync::Ordering,
};

impl Supply {
    /// Whether the last attempt to make more was refused, and there is need of them.
    #[inline]
    pub(super) fn is_refused(&self) -> bool {
        // Relaxed: a hint; the reason is under the lock.
        self.refused.load(Ordering::Relaxed)
    }

    /// Why those who starve cannot be fed. `None`: nobody starves, or more can be made.
    #[inline]
    pub(crate) fn shortage(&self) -> Option<StackError> {
        if self.starving() == 0 {
            return None;
        }
        self.reason()
    }

    fn reason(&self) -> Option<StackError> {
        let _entered = enter();
        *self.refusal.lock()
    }
}

impl Shared {
    /// Why a goroutine of that order that is spawned now would have to wait for a stack, who knows how long. See the
    /// [module](self).
    #[inline]
    pub(crate) fn refusal(&self, order: Order) -> Option<StackError> {
        let supply = self.supplies.get(order);
        if supply.is_refused() { self.refusal_slow(supply, order) } else { None }
    }

    #[cold]
    fn refusal_slow(&self, supply: &Supply, order: Order) -> Option<StackError> {
        supply.shortage().or_else(|| {
            let none = order == Order::USUAL && self.usual_at_hand() == 0;
            none.then(|| supply.reason()).flatten()
        })
    }

    /// A slot of the usual order, and none for later, which others would miss.
    #[cold]
    pub(super) fn slot_in_shortage(&self, held: Held<'_>) -> Option<Slot> {
        self.clear_shelf(held);
        self.supplies.usual().slots.take()
    }

    /// How many usual stacks the caller can reach.
    fn usual_at_hand(&self) -> usize {
        let entered = enter();
        let stock = self.supplies.usual().slots.stock();
        self.see_stock(stock);
        let held = entered.machine().filter(|m| m.serves(self)).and_then(|m| m.held());
        stock + held.map_or(0, |held| held.shelf(|shelf| shelf.len()))
    }

    /// If so many are few, has more usual stacks made. Who rouses the service thread is the first to see it since that
    /// found enough.
    #[cold]
    pub(super) fn see_stock(&self, left: usize) {
        // Relaxed: a hint; the next one who finds few looks again.
        if left < BATCH.start && self.supplies.usual().sated.swap(false, Ordering::Relaxed) {
            self.service.rouse();
        }
    }

    /// Goroutines starve, and no stacks can be made.
    pub(crate) fn short_of_stacks(&self) -> bool {
        self.supplies.orders.iter().any(|supply| supply.shortage().is_some())
    }
}
