//! The stock of slots.
//!
//! Four lists under one lock:
//!
//! * *warm*: given back and ready; their top page is in memory and likely in the cache, so they go
//!   out first, last in, first out;
//! * *resting*: warm ones that nobody took from one call of `grow_older` to the next, and which go
//!   out after the warm ones. At the following call their stacks' memory goes back, whatever depth their
//!   goroutines reached; the page with TLS and record stays;
//! * *cold*: never used, or given back to the system so;
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

use core::fmt;
use core::mem::{replace, swap};
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::list::List;
use super::slab::Maker;
use super::slot::{Record, Slot};
use super::{Mmap, StackError, StackSource, page_bytes};
use crate::context::ThreadId;
use crate::entry::enter;
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

impl SlotsConfig {
    /// The sizes that stacks come in, the usual one first: each four times the one before, up to
    /// [`LARGEST_STACK`] or a little more. Slabs stay as large as they are, down to one slot in each.
    pub(crate) fn orders(self) -> impl Iterator<Item = SlotsConfig> {
        let next = |order: &SlotsConfig| SlotsConfig {
            stack_bytes: order.stack_bytes.saturating_mul(4),
            slots_per_slab: (order.slots_per_slab / 4).max(1),
        };
        // Four times nothing would never be large.
        let first = SlotsConfig { stack_bytes: self.stack_bytes.max(1), ..self };
        core::iter::successors(Some(first), move |order| {
            (order.stack_bytes < LARGEST_STACK).then(|| next(order))
        })
    }
}

/// Bytes of address space that any goroutine may have asked for as its stack.
pub const LARGEST_STACK: usize = 64 << 20;

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
/// // SAFETY: it came from these slots, and was never armed.
/// unsafe { slots.give(slot) };
/// # Ok::<(), sched_core::stack::StackError>(())
/// ```
pub struct Slots {
    stock: Lock<Stock>,
    /// A lock of std's: only `prepare` and `drop` take it, which may block.
    maker: Mutex<Maker>,
    source: Arc<dyn StackSource>,
    /// Slots lie warm or resting: something for `grow_older` to do. Set under the lock when one is given,
    /// cleared under it when none are left; read by anybody, as a hint.
    rests: AtomicBool,
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

    /// How many lie there.
    pub(crate) fn len(&self) -> usize {
        self.top.length + self.full.length
    }
}

#[derive(Debug)]
struct Stock {
    warm: List,
    resting: List,
    cold: List,
    used: List,
}

impl Stock {
    /// How many can be taken.
    fn len(&self) -> usize {
        self.warm.length + self.resting.length + self.cold.length
    }
}

impl Slots {
    /// An empty stock over [`Mmap`].
    pub fn new(config: SlotsConfig, mode: Mode) -> Slots {
        Slots::with_source(config, mode, Arc::new(Mmap::new()))
    }

    /// An empty stock over a source of the caller's.
    pub fn with_source(config: SlotsConfig, mode: Mode, source: Arc<dyn StackSource>) -> Slots {
        let maker =
            Maker::new(mode, Arc::clone(&source), config.stack_bytes, config.slots_per_slab);
        let [warm, resting, cold, used] = [const { List::new() }; 4];
        Slots {
            stock: Lock::new(Stock { warm, resting, cold, used }),
            maker: Mutex::new(maker),
            source,
            rests: AtomicBool::new(false),
            mode,
        }
    }

    /// A slot from the stock, warm ones first. `None`: the service thread must prepare more.
    ///
    /// May be called inside the runtime.
    pub fn take(&self) -> Option<Slot> {
        let mut stock = self.stock.lock();
        let record = stock.warm.pop().or_else(|| stock.resting.pop()).or_else(|| stock.cold.pop());
        record.map(Slot)
    }

    /// Takes a slot back. May be called inside the runtime. A slot that is armed forgets its errand.
    ///
    /// # Safety
    ///
    /// * The slot was [taken](Self::take) from this stock.
    /// * Its goroutine has ended, that is the context that its [`Finish`](super::Finish) named runs; or
    ///   nobody has switched to the slot since it was taken. Nobody will.
    ///
    /// A slot cannot tell: whether it still runs is known to whoever switches.
    pub unsafe fn give(&self, slot: Slot) {
        // SAFETY: the caller's promise.
        let ready = unsafe { self.recycle(slot.record()) };
        let mut stock = self.stock.lock();
        match ready {
            true => {
                stock.warm.push(slot.0);
                // Relaxed: a hint; see the field.
                self.rests.store(true, Ordering::Relaxed);
            }
            false => stock.used.push(slot.0),
        }
    }

    /// Thread mode: the threads of all slots, those in nobody's use among them. Each runs goroutines only,
    /// and when its baton comes. May wait for the service thread.
    pub(crate) fn threads(&self) -> Vec<ThreadId> {
        self.maker.lock().unwrap_or_else(PoisonError::into_inner).threads().collect()
    }

    /// As [`take`](Self::take), from the shelf; from the stock by the half shelf. `look` is then told how many are
    /// left there.
    #[inline]
    pub(crate) fn take_from(&self, shelf: &mut Shelf, look: impl FnOnce(usize)) -> Option<Slot> {
        if shelf.top.length == 0
            && let Some(left) = self.refill(shelf)
        {
            look(left);
        }
        let record = shelf.top.pop();
        shelf.top.prefetch();
        record.map(Slot)
    }

    /// As [`give`](Self::give), to the shelf.
    ///
    /// # Safety
    ///
    /// As of [`give`](Self::give); and the shelf's slots are of this stock.
    #[inline]
    pub(crate) unsafe fn give_to(&self, shelf: &mut Shelf, slot: Slot) {
        // SAFETY: the caller's promise.
        if !unsafe { self.recycle(slot.record()) } {
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

    /// Fills the shelf's top, if need be from the stock. How many are left there then.
    #[cold]
    fn refill(&self, shelf: &mut Shelf) -> Option<usize> {
        swap(&mut shelf.top, &mut shelf.full);
        if shelf.top.length > 0 {
            return None;
        }
        let mut stock = self.stock.lock();
        let Stock { warm, resting, cold, .. } = &mut *stock;
        let first = [warm, resting, cold].into_iter().find(|list| list.length > 0);
        shelf.top = first.map_or(List::new(), |list| list.take_front(HALF));
        Some(stock.len())
    }

    fn restock(&self, list: List) {
        if list.length > 0 {
            let mut stock = self.stock.lock();
            stock.warm.prepend(list);
            // Relaxed: a hint; see the field.
            self.rests.store(true, Ordering::Relaxed);
        }
    }

    /// Makes the slot fresh, if that can be done here.
    ///
    /// # Safety
    ///
    /// It is a slot of this stock, of which the caller has the only name, and nobody runs on it.
    unsafe fn recycle(&self, record: &Record) -> bool {
        match self.mode {
            #[cfg(own_tls)]
            Mode::OwnTls(layout) => {
                let by_copy = layout.recycles_by_copy();
                if by_copy {
                    // SAFETY: the block is of this layout, and nobody's: the caller's promise.
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
            Ok(()) => {
                stock.warm.push(record);
                // Relaxed: a hint; see the field.
                self.rests.store(true, Ordering::Relaxed);
            }
            // It has no thread now, and stays in need of one.
            Err(_) => stock.used.push(record),
        }
        renewed
    }

    /// Makes slots of the stock older by one step: gives back the memory of the stacks that lay there
    /// for one or two steps; how many those were. Call it about once a second while
    /// [`rests`](Self::rests).
    ///
    /// A slot that is taken again and goes deep pays its page faults anew. Only outside the runtime: it
    /// is a system call per slot, none of them under a lock. In thread mode nothing is
    /// given back: a waiting thread is on each stack.
    ///
    /// ```
    /// # use sched_core::stack::{Slots, SlotsConfig};
    /// # use sched_core::tls::{Surplus, probe};
    /// let slots = Slots::new(SlotsConfig::default(), probe(Surplus::Take));
    /// slots.prepare(1)?;
    /// let slot = slots.take().expect("one is in stock");
    /// // SAFETY: it came from these slots, and was never armed.
    /// unsafe { slots.give(slot) };
    /// while slots.rests() {
    ///     slots.grow_older();
    /// }
    /// assert_eq!(slots.stock(), 1);
    /// # Ok::<(), sched_core::stack::StackError>(())
    /// ```
    pub fn grow_older(&self) -> usize {
        let mut cooled = 0;
        while let Some(slot) = self.take_resting() {
            if self.mode.is_own_tls() {
                // SAFETY: its goroutine has ended, and nobody else has it.
                unsafe { self.discard(slot.bounds()) };
                cooled += 1;
            }
            let _entered = enter();
            self.stock.lock().cold.push(slot.0);
        }
        let _entered = enter();
        let mut stock = self.stock.lock();
        let warm = replace(&mut stock.warm, List::new());
        stock.resting.prepend(warm);
        // Relaxed: a hint; see the field.
        self.rests.store(stock.resting.length > 0, Ordering::Relaxed);
        cooled
    }

    fn take_resting(&self) -> Option<Slot> {
        let _entered = enter();
        self.stock.lock().resting.pop().map(Slot)
    }

    /// Gives the memory of a part of a stack back, but for a page that lies in it with its beginning only, as that
    /// which the stack shares with its TLS block.
    ///
    /// # Safety
    ///
    /// The part begins with a page and lies in the bounds of a slot of this stock, and nobody uses it.
    pub(crate) unsafe fn discard(&self, part: Range<usize>) {
        let end = part.end & !(page_bytes() - 1);
        let start = NonNull::new(part.start as *mut u8).filter(|_| part.start < end);
        if let Some(start) = start {
            // SAFETY: the caller's promise; between guard and TLS block lies nothing but the stack.
            unsafe { self.source.discard(start, end - part.start) };
        }
    }

    /// Whether [`grow_older`](Self::grow_older) has anything to do. A plain load.
    pub fn rests(&self) -> bool {
        // Relaxed: a hint; see the field.
        self.rests.load(Ordering::Relaxed)
    }

    /// How many slots can be taken.
    pub fn stock(&self) -> usize {
        self.stock.lock().len()
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

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("stock", &self.stock).finish_non_exhaustive()
    }
}

impl Drop for Slots {
    /// Gives all memory back if every slot is here; else none of it: a goroutine that has not
    /// ended may be pinned by others, and a record may be looked at.
    fn drop(&mut self) {
        let stock = self.stock.get_mut();
        let here = stock.len() + stock.used.length;
        let maker = self.maker.get_mut().unwrap_or_else(PoisonError::into_inner);
        if here == maker.made() {
            // SAFETY: all slots are in the stock, so nobody has one.
            unsafe { maker.dissolve() };
        }
    }
}

#[cfg(test)]
mod tests;
