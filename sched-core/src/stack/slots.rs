//! The stock of slots.
//!
//! Three lists under one lock:
//!
//! * *warm*: given back and ready; their top page is in memory and likely in the cache, so they go
//!   out first, last in, first out;
//! * *cold*: made ahead and never used;
//! * *used*: given back, and in need of libc before they can be used again (thread mode; own TLS
//!   with the surplus kept).
//!
//! In front of the lists each P has a [`Shelf`] of a few slots, without a lock: most goroutines end
//! where the next one begins. What is on a shelf is missing in the stock, so a shelf is cleared when its P
//! goes idle, and wherever its holder finds that somebody waits for a slot ([`supply`](crate::supply)).
//!
//! `take` and `give` are a few instructions under the lock and call nothing of libc's: they run
//! inside the runtime. `prepare` and dropping the stock call libc and the kernel, and so belong to
//! the service thread: a goroutine that was preempted while it held libc's locks must be able to
//! run on, which it cannot while a thread inside the runtime waits for it.

use core::mem::{replace, swap};
use core::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::slab::{List, Maker};
use super::slot::{Record, Slot};
use super::{Mmap, StackError, StackSource};
use crate::lock::Lock;
use crate::tls::Mode;

/// How slots are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotsConfig {
    /// Address space of a slot in bytes, guard and TLS included. Rounded up to what is possible.
    pub stack_bytes: usize,
    /// Slots per slab.
    pub slots_per_slab: usize,
}

impl Default for SlotsConfig {
    /// 256 KiB each, 16 MiB of address space at a time.
    fn default() -> Self {
        SlotsConfig { stack_bytes: 256 * 1024, slots_per_slab: 64 }
    }
}

/// The stock of slots.
///
/// ```
/// use sched_core::stack::{Slots, SlotsConfig};
/// use sched_core::tls::{Surplus, probe};
///
/// let slots = Slots::new(SlotsConfig::default(), probe(Surplus::Take));
/// assert!(slots.take().is_none(), "nothing is made unasked");
/// assert_eq!(slots.prepare(2)?, 2);
/// let slot = slots.take().expect("two are in stock");
/// assert_eq!(slots.stock(), 1);
/// slots.give(slot);
/// # Ok::<(), sched_core::stack::StackError>(())
/// ```
#[derive(Debug)]
pub struct Slots {
    stock: Lock<Stock>,
    /// A lock of std's: only `prepare` and `drop` take it, which may block.
    maker: Mutex<Maker>,
    mode: Mode,
}

/// Slots in one of a shelf's two stacks at most.
const HALF: usize = 8;

/// A P's few slots, the last one given on top. Only the holder of the P uses it.
///
/// Two stacks, of which the second is empty or full and goes to the stock as a whole (Bonwick and
/// Adams, *Magazines and Vmem*, 2001). Slots that lie 256 KiB apart compete for a few lines of the
/// processor's caches: to move them one by one would miss for each.
#[derive(Debug)]
pub(crate) struct Shelf {
    top: List,
    full: List,
}

impl Shelf {
    pub(crate) const fn new() -> Shelf {
        Shelf { top: List::new(), full: List::new() }
    }
}

#[derive(Debug)]
struct Stock {
    warm: List,
    cold: List,
    used: List,
}

impl Slots {
    /// An empty stock over [`Mmap`].
    pub fn new(config: SlotsConfig, mode: Mode) -> Slots {
        Slots::with_source(config, mode, Box::new(Mmap::new()))
    }

    /// An empty stock over a source of the caller's.
    pub fn with_source(config: SlotsConfig, mode: Mode, source: Box<dyn StackSource>) -> Slots {
        let maker = Maker::new(mode, source, config.stack_bytes, config.slots_per_slab);
        let stock = Stock { warm: List::new(), cold: List::new(), used: List::new() };
        Slots { stock: Lock::new(stock), maker: Mutex::new(maker), mode }
    }

    /// A slot from the stock, warm ones first. `None`: the service thread must prepare more.
    ///
    /// May be called inside the runtime.
    pub fn take(&self) -> Option<Slot> {
        let mut stock = self.stock.lock();
        let record = stock.warm.pop().or_else(|| stock.cold.pop());
        record.map(Slot)
    }

    /// Takes a slot back: its goroutine has ended, or never began.
    ///
    /// May be called inside the runtime, though not by what runs on the slot. A slot that is armed
    /// forgets its errand.
    pub fn give(&self, slot: Slot) {
        let ready = self.recycle(slot.record());
        let mut stock = self.stock.lock();
        match ready {
            true => stock.warm.push(slot.0),
            false => stock.used.push(slot.0),
        }
    }

    /// As [`take`](Self::take), from the shelf; from the stock by the half shelf.
    #[inline]
    pub(crate) fn take_from(&self, shelf: &mut Shelf) -> Option<Slot> {
        if shelf.top.length == 0 {
            self.refill(shelf);
        }
        shelf.top.pop().map(Slot)
    }

    /// As [`give`](Self::give), to the shelf.
    #[inline]
    pub(crate) fn give_to(&self, shelf: &mut Shelf, slot: Slot) {
        if !self.recycle(slot.record()) {
            return self.stock.lock().used.push(slot.0);
        }
        shelf.top.push(slot.0);
        if shelf.top.length == HALF {
            let full = replace(&mut shelf.full, replace(&mut shelf.top, List::new()));
            self.restock(full);
        }
    }

    /// Puts what is on the shelf back into the stock.
    pub(crate) fn clear(&self, shelf: &mut Shelf) {
        for list in [&mut shelf.full, &mut shelf.top] {
            self.restock(replace(list, List::new()));
        }
    }

    #[cold]
    fn refill(&self, shelf: &mut Shelf) {
        swap(&mut shelf.top, &mut shelf.full);
        if shelf.top.length > 0 {
            return;
        }
        let mut stock = self.stock.lock();
        shelf.top = match stock.warm.length {
            0 => stock.cold.take_front(HALF),
            _ => stock.warm.take_front(HALF),
        };
    }

    fn restock(&self, list: List) {
        if list.length > 0 {
            self.stock.lock().warm.prepend(list);
        }
    }

    /// Makes the slot fresh, if that can be done here.
    fn recycle(&self, record: &Record) -> bool {
        match self.mode {
            #[cfg(own_tls)]
            Mode::OwnTls(layout) => {
                let by_copy = layout.recycles_by_copy();
                if by_copy {
                    // SAFETY: the giver owns the slot, and its goroutine has ended.
                    unsafe { layout.reimage(record.tp()) };
                }
                by_copy
            }
            #[cfg(not(own_tls))]
            Mode::OwnTls(layout) => match *layout {},
            // A thread that has not begun can still be used. Relaxed: the goroutine's last switch
            // orders the store.
            Mode::Threads { .. } => !record.spent.load(Ordering::Relaxed),
        }
    }

    /// Makes `count` more slots ready, used ones first: how many there are now that were not
    /// before. Less than `count` if something gave out on the way.
    ///
    /// Only outside the runtime and on no goroutine: the service thread's work. A slot takes some
    /// microseconds, most of it the kernel's.
    ///
    /// # Errors
    ///
    /// The reason, if not even one could be made.
    pub fn prepare(&self, count: usize) -> Result<usize, StackError> {
        let mut maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner);
        for made in 0..count {
            match self.prepare_one(&mut maker) {
                Ok(()) => {}
                Err(reason) if made == 0 => return Err(reason),
                Err(_) => return Ok(made),
            }
        }
        Ok(count)
    }

    fn prepare_one(&self, maker: &mut Maker) -> Result<(), StackError> {
        let used = self.stock.lock().used.pop();
        let Some(record) = used else {
            let record = maker.make()?;
            self.stock.lock().cold.push(record);
            return Ok(());
        };
        // SAFETY: popped, so ours; given back, so its goroutine has ended.
        let renewed = unsafe { maker.renew(record) };
        let mut stock = self.stock.lock();
        match renewed {
            Ok(()) => stock.warm.push(record),
            // It has no thread now, and stays in need of one.
            Err(_) => stock.used.push(record),
        }
        renewed
    }

    /// How many slots can be taken.
    pub fn stock(&self) -> usize {
        let stock = self.stock.lock();
        stock.warm.length + stock.cold.length
    }

    /// How many slots were given back and wait for [`prepare`](Slots::prepare).
    pub fn used(&self) -> usize {
        self.stock.lock().used.length
    }

    /// How goroutines of these slots run.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl Drop for Slots {
    /// Gives all memory back if every slot is here; else none of it: a goroutine that has not
    /// ended may be pinned by others, and a record may be looked at.
    fn drop(&mut self) {
        let here = self.stock() + self.used();
        let maker = self.maker.get_mut().unwrap_or_else(PoisonError::into_inner);
        if here == maker.made() {
            // SAFETY: all slots are in the stock, so nobody has one.
            unsafe { maker.dissolve() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Surplus, probe};

    #[test]
    fn a_shelf_takes_and_gives_by_the_half_and_loses_nothing() {
        let slots = Slots::new(SlotsConfig::default(), probe(Surplus::Take));
        assert_eq!(slots.prepare(40), Ok(40));
        let mut shelf = Shelf::new();
        let taken: Vec<_> = (0..20).map_while(|_| slots.take_from(&mut shelf)).collect();
        assert_eq!((taken.len(), slots.stock()), (20, 40 - 3 * HALF));
        let last = taken.last().map(Slot::bounds);
        taken.into_iter().for_each(|slot| slots.give_to(&mut shelf, slot));
        // Two halves went to the stock, one is here.
        assert_eq!(slots.stock(), 40 - HALF);
        assert_eq!(
            slots.take_from(&mut shelf).map(|slot| {
                let bounds = slot.bounds();
                slots.give(slot);
                bounds
            }),
            last,
            "the warmest first"
        );
        slots.clear(&mut shelf);
        assert_eq!(slots.stock(), 40);
        assert_eq!((0..50).map_while(|_| slots.take()).map(|slot| slots.give(slot)).count(), 50);
    }
}
