//! Stacks for goroutines that run for the first time.
//!
//! A goroutine that has not run costs a G record and its closure. It gets a slot (stack, TLS block,
//! context) when an M is about to run it for the first time, and the slot goes back with the commit
//! of its end, when nothing runs on it any more. Whoever takes of the stock and leaves few has the service thread
//! make more. If the stock is empty the goroutine *starves*: it waits in a list while others run.
//!
//! # Orders
//!
//! Stacks come in sizes, each four times the one before ([`SlotsConfig::orders`]). An order has a stock
//! and a list of its own. Nearly all goroutines are of the first, the *usual* order: the shelves of Ps
//! hold no other, and for no other are stacks made ahead of need.
//!
//! What happens while stacks cannot be made: [`shortage`].
//!
//! Nobody starves beside a full stock: a goroutine is put into the list before the service thread is
//! roused, which looks at both after each rousing; and a stack that comes back feeds one at once.

mod shortage;

use core::ops::Range;
use std::sync::Arc;

use crate::{
    context::ThreadId,
    entry::enter,
    future::cell::Poller,
    goroutine,
    lock::Lock,
    policy::Cause,
    proc::Held,
    queue::list::List,
    shared::Shared,
    stack::{Slot, Slots, SlotsConfig, StackError, StackSource},
    sync::{AtomicBool, AtomicUsize, Ordering},
    task::{Run, runnable::Runnable},
    tls::Mode,
};

/// Stacks made at once when goroutines wait for them, at least and at most.
const BATCH: Range<usize> = 16..256;

/// A size of stacks: its place in [`Supplies`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order(u8);

impl Order {
    /// What goroutines get that do not ask.
    pub(crate) const USUAL: Order = Order(0);

    /// The number that a G record keeps.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The order of that number.
    pub(crate) fn of_number(number: u8) -> Order {
        Order(number)
    }
}

/// The stacks of one order, and who waits for them.
pub(crate) struct Supply {
    slots: Slots,
    stack_bytes: usize,
    starving: Lock<List<Runnable>>,
    /// How long that list is; written under its lock, a hint elsewhere.
    starving_len: AtomicUsize,
    /// Why no more could be made, the last time that there was need of them.
    refusal: Lock<Option<StackError>>,
    /// Whether there is such a reason: written by the service thread, a hint.
    refused: AtomicBool,
    /// There were enough the last time that the service thread looked: it does not look again by itself.
    sated: AtomicBool,
}

impl Supply {
    fn new(order: SlotsConfig, mode: Mode, source: &Arc<dyn StackSource>) -> Supply {
        Supply {
            slots: Slots::with_source(order, mode, Arc::clone(source)),
            stack_bytes: order.stack_bytes,
            starving: Lock::new(List::new()),
            starving_len: AtomicUsize::new(0),
            refusal: Lock::new(None),
            refused: AtomicBool::new(false),
            sated: AtomicBool::new(false),
        }
    }

    fn starve(&self, runnable: Runnable) {
        let mut starving = self.starving.lock();
        starving.push(runnable);
        // Relaxed: see the field.
        self.starving_len.store(starving.len(), Ordering::Relaxed);
    }

    /// Up to `count` of those that wait and are `fit`. Others go behind the rest.
    fn take_starving(&self, count: usize, fit: impl Fn(&Runnable) -> bool) -> List<Runnable> {
        let mut starving = self.starving.lock();
        let mut fed = List::new();
        for _ in 0..starving.len() {
            let next = if fed.len() < count { starving.pop() } else { None };
            match next {
                Some(one) if fit(&one) => fed.push(one),
                Some(one) => starving.push(one),
                None => break,
            }
        }
        // Relaxed: see the field.
        self.starving_len.store(starving.len(), Ordering::Relaxed);
        fed
    }

    /// How many goroutines wait.
    fn starving(&self) -> usize {
        // Relaxed: a hint; the service thread looks again after each request.
        self.starving_len.load(Ordering::Relaxed)
    }

    fn note_refusal(&self, refusal: Option<StackError>) {
        let _entered = enter();
        // Relaxed: a hint.
        self.refused.store(refusal.is_some(), Ordering::Relaxed);
        *self.refusal.lock() = refusal;
    }
}

/// All orders, the usual one first.
pub(crate) struct Supplies {
    orders: Box<[Supply]>,
    /// How many wait in all lists: a hint, raised before one joins a list, lowered after some left.
    starving: AtomicUsize,
}

impl Supplies {
    pub(crate) fn new(usual: SlotsConfig, mode: Mode, source: Arc<dyn StackSource>) -> Supplies {
        let orders = usual.orders().map(|order| Supply::new(order, mode, &source)).collect();
        Supplies { orders, starving: AtomicUsize::new(0) }
    }

    pub(crate) fn get(&self, order: Order) -> &Supply {
        &self.orders[usize::from(order.0)]
    }

    fn usual(&self) -> &Supply {
        self.get(Order::USUAL)
    }

    /// The least order whose stacks have so many bytes.
    ///
    /// # Errors
    ///
    /// The bytes of the largest, if that is less.
    pub(crate) fn order_for(&self, bytes: usize) -> Result<Order, usize> {
        let fits = |supply: &Supply| supply.stack_bytes >= bytes;
        match self.orders.iter().position(fits) {
            Some(place) => Ok(Order(place as u8)),
            None => Err(self.orders.last().map_or(0, |largest| largest.stack_bytes)),
        }
    }

    /// Whether anybody waits for a stack.
    fn anybody_starves(&self) -> bool {
        // Relaxed: a hint; the service thread looks again after each request.
        self.starving.load(Ordering::Relaxed) != 0
    }

    /// Makes the first stack, so that what is wrong with the source shows at once.
    pub(crate) fn begin(&self) -> Result<(), StackError> {
        self.usual().slots.prepare(1).map(drop)
    }

    /// See [`Slots::threads`].
    pub(crate) fn threads(&self) -> impl Iterator<Item = ThreadId> {
        self.orders.iter().flat_map(|supply| supply.slots.threads())
    }

    /// Whether [`grow_older`](Self::grow_older) has anything to do.
    pub(crate) fn rest(&self) -> bool {
        self.orders.iter().any(|supply| supply.slots.rests())
    }

    /// See [`Slots::discard`].
    ///
    /// # Safety
    ///
    /// As there, of a stack of that order.
    pub(crate) unsafe fn discard(&self, order: Order, part: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe { self.get(order).slots.discard(part) };
    }

    /// See [`Slots::grow_older`].
    pub(crate) fn grow_older(&self) -> usize {
        self.orders.iter().map(|supply| supply.slots.grow_older()).sum()
    }
}

impl Shared {
    /// What runs for it: the goroutine, on its stack, or a carrier. `None`: it waits for a stack.
    pub(crate) fn equip(&self, held: Held<'_>, runnable: Runnable) -> Option<Run> {
        match runnable {
            Runnable::Goroutine(run) => self.give_stack(held, run),
            Runnable::Future(future) => self.carry(held, future),
        }
    }

    /// Sees to it that `run` has a stack. `None`: it waits for one.
    pub(crate) fn give_stack(&self, held: Held<'_>, run: Run) -> Option<Run> {
        // SAFETY: the run reference has the G.
        if unsafe { run.task().slot_ref() }.is_some() {
            return Some(run);
        }
        let order = run.task().order();
        let supply = self.supplies.get(order);
        let slot = match order {
            Order::USUAL => self.usual_slot(held),
            _ => supply.slots.take(),
        };
        match slot {
            Some(mut slot) => {
                // SAFETY: just taken from the stock, for this goroutine.
                unsafe { goroutine::arm(&mut slot, run.task()) };
                // SAFETY: as above, and nobody watches one that has no slot yet.
                *unsafe { run.task().slot() } = Some(slot);
                Some(run)
            }
            None => {
                self.starve(supply, run.into());
                None
            }
        }
    }

    /// A slot of the usual order, from the shelf or the stock.
    #[inline]
    pub(crate) fn usual_slot(&self, held: Held<'_>) -> Option<Slot> {
        let usual = self.supplies.usual();
        if usual.is_refused() {
            return self.slot_in_shortage(held);
        }
        held.shelf(|shelf| usual.slots.take_from(shelf, |left| self.see_stock(left)))
    }

    /// `future` waits until a carrier can be made.
    #[cold]
    pub(crate) fn starve_future(&self, future: Poller) {
        self.starve(self.supplies.usual(), future.into());
    }

    #[cold]
    fn starve(&self, supply: &Supply, runnable: Runnable) {
        // Relaxed: a hint.
        self.supplies.starving.fetch_add(1, Ordering::Relaxed);
        supply.starve(runnable);
        self.service.rouse();
    }

    /// Makes stacks for those that wait and some more of the usual order, and queues those that waited.
    /// False if the system refused.
    ///
    /// The service thread's: it waits for libc and for the kernel.
    pub(crate) fn make_stacks(&self) -> bool {
        // All, though one may be short: stacks of one size may be had where larger ones cannot.
        self.supplies.orders.iter().fold(true, |well, supply| self.make_stacks_of(supply) & well)
    }

    fn make_stacks_of(&self, supply: &Supply) -> bool {
        let ahead = if core::ptr::eq(supply, self.supplies.usual()) { BATCH.start } else { 0 };
        while supply.starving() > 0 || supply.slots.stock() < ahead {
            let wanted = supply.starving().clamp(ahead.max(1), BATCH.end);
            let records = self.registry.ensure(self);
            // Who starves for a record needs no more stacks than there are.
            let enough = !records && supply.slots.stock() >= ahead.max(1);
            let made = if enough { Ok(0) } else { supply.slots.prepare(wanted) };
            self.feed(supply, |one| records || matches!(one, Runnable::Goroutine(_)));
            let refusal = made.err().or((!records).then_some(StackError::NoMemory));
            supply.note_refusal(refusal);
            if let Some(error) = refusal {
                self.counters.stack_errors.bump_shared();
                self.service.report("cannot prepare stacks", &error);
                let _entered = enter();
                self.press();
                return false;
            }
        }
        if supply.is_refused() {
            supply.note_refusal(None);
        }
        // Relaxed: see the field.
        supply.sated.store(true, Ordering::Relaxed);
        true
    }

    /// Queues as many of those that wait and are `fit` as there are stacks.
    fn feed(&self, supply: &Supply, fit: impl Fn(&Runnable) -> bool) {
        let fed = supply.take_starving(supply.slots.stock(), fit);
        if !fed.is_empty() {
            // Relaxed: a hint.
            self.supplies.starving.fetch_sub(fed.len(), Ordering::Relaxed);
            fed.for_each(|run| self.put(None, run, Cause::Moved));
            self.notify();
        }
    }

    /// Takes the stack of a goroutine of that order that has ended.
    ///
    /// # Safety
    ///
    /// The goroutine has switched away for the last time; the slot was taken from this order's stock, or
    /// from a shelf of this scheduler if it is the usual one.
    pub(crate) unsafe fn take_back(&self, held: Option<Held<'_>>, slot: Slot, order: Order) {
        let slots = &self.supplies.get(order).slots;
        match held.filter(|_| order == Order::USUAL) {
            // SAFETY: the caller's promise; shelves hold slots of the usual stock.
            Some(held) => held.shelf(|shelf| unsafe { slots.give_to(shelf, slot) }),
            // SAFETY: the caller's promise.
            None => unsafe { slots.give(slot) },
        }
        if !self.mode.is_own_tls() {
            self.service.rouse();
        }
        self.share(held);
    }

    /// In a shortage, or if goroutines starve: gives what is on the caller's shelf to the stock, and from there to
    /// them.
    #[inline]
    pub(crate) fn share(&self, held: Option<Held<'_>>) {
        let starve = self.supplies.anybody_starves();
        if let Some(held) = held.filter(|_| starve || self.supplies.usual().is_refused()) {
            self.clear_shelf(held);
        }
        if starve {
            self.supplies.orders.iter().for_each(|supply| self.feed(supply, |_| true));
        }
    }

    /// Puts what is on the shelf back into the stock.
    pub(crate) fn clear_shelf(&self, held: Held<'_>) {
        held.shelf(|shelf| self.supplies.usual().slots.clear(shelf));
    }
}
