//! Free cells at hand: the first thing an allocation asks and the last thing a free does.
//!
//! A [`Magazine`] is a stack of pointers to free cells of one class. Taking one and putting one back
//! touch the stack alone: not the cell, not its span's record, not the page map. So a free does not
//! care whose the cell is or which span it lies in, and a cell that lies cold in memory stays so.
//!
//! ```text
//!   base           next                    end
//!    ▼              ▼                       ▼
//!    ┌────┬────┬────┬───────────────────────┐
//!    │none│ cold … hot│        room         │      top: the hottest
//!    └────┴────┴────┴───────────────────────┘
//! ```
//!
//! *The cell on top lies in the record*, those below it in the slots, and below the lowest of them lies *none*: the
//! first push puts it there, and the last pop takes it up. So neither asks how many there are. Most allocations take
//! what was freed just before, and then wait for one store, that of the top. With all cells in the slots they
//! waited for the store of `next` and then for that of the slot, both at an address that a free without a size has to
//! look up: the processor knows nothing of the next block before (docs/decisions/0028).
//!
//! A new magazine has no slots, so both ends of it are one: the first allocation finds it empty and the
//! first free finds it full, and the slow path gives it slots. A hardened heap never does, and so sees
//! every allocation and every free.
//!
//! # How many slots
//!
//! Slots come from the heap's [`SlotPool`], in powers of two. A magazine that runs empty or full gets
//! twice as many, up to [`steady`], so that batches are worth their while; beyond that, up to [`limit`],
//! only one that runs empty and has been full since it last grew. Then cells go to and fro between cache
//! and spans, which more slots spare; a thread that only allocates, or only frees, gains nothing from
//! them.
//!
//! Up to [`SHARE`] bytes of cells a magazine may always hold. Beyond that, up to [`MAGAZINE_BYTES`], it needs its
//! cache's [`Allowance`], of which there are few megabytes for all classes together: first come, first served, until
//! the cache is emptied. So a program that takes a thousand blocks of a kilobyte and frees them, again and again, does
//! so out of its magazine, and one that uses all classes does not keep sixty times as much (docs/decisions/0056).
//!
//! Sources: Bonwick and Adams, "Magazines and Vmem" (2001), for the name and the doubling; jemalloc's
//! `cache_bin.h` for a stack of pointers in place of a list through the cells. A list costs no
//! memory of its own, but each end of it is a cache miss when a batch of cells moves.

use core::ptr::{self, NonNull};

use crate::{
    Heap,
    meta::Meta,
    pages::PageSource,
    size_class::{CLASSES, TABLE},
    sync::const_fn,
};

/// Bytes of free cells for which any magazine may have slots, if its class is not huge.
const SHARE: usize = 128 << 10;

/// Bytes for which one may have slots by its cache's allowance.
const MAGAZINE_BYTES: usize = 1 << 20;

/// Bytes for which all magazines of a cache may have slots beyond their shares.
const ALLOWANCE: usize = 2 << 20;

/// The most slots that a magazine gets for allocations, or for frees, alone.
const STEADY: usize = 64;

/// Logarithms of the fewest and of the most slots.
const FEWEST: u32 = 2;
const MOST: u32 = 10;

/// What a new magazine begins with.
const FIRST: usize = 8;

/// The most slots of each class within its share, and by an allowance.
static SHARES: [u16; CLASSES] = slots_for(SHARE);
static LIMITS: [u16; CLASSES] = slots_for(MAGAZINE_BYTES);

const fn slots_for(bytes: usize) -> [u16; CLASSES] {
    let mut most = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let mut slots = 1 << FEWEST;
        while slots < 1 << MOST && 2 * slots * TABLE[class].size as usize <= bytes {
            slots *= 2;
        }
        most[class] = slots as u16;
        class += 1;
    }
    most
}

/// Slots that a magazine of this class gets for allocations, or for frees, alone.
fn steady(class: usize) -> usize {
    STEADY.min(usize::from(SHARES[class]))
}

/// The most slots of a magazine of this class.
fn limit(class: usize) -> usize {
    usize::from(LIMITS[class])
}

/// Bytes for which slots of this class go beyond its share.
fn beyond_share(class: usize, slots: usize) -> usize {
    (slots * TABLE[class].size as usize).saturating_sub(SHARE)
}

/// What is left of the bytes that the magazines of a cache may hold beyond their shares.
#[derive(Debug)]
pub(crate) struct Allowance {
    bytes: usize,
}

impl Allowance {
    pub(crate) const fn new() -> Self {
        Allowance { bytes: ALLOWANCE }
    }

    /// Whether a magazine of the class may go from `now` to `wanted` slots.
    fn covers(&self, class: usize, now: usize, wanted: usize) -> bool {
        beyond_share(class, wanted) - beyond_share(class, now) <= self.bytes
    }

    /// A magazine goes from `now` to `wanted` slots, which it covers.
    fn change(&mut self, class: usize, now: usize, wanted: usize) {
        self.bytes = self.bytes + beyond_share(class, now) - beyond_share(class, wanted);
    }
}

/// A stack of free cells of one class. Aligned so that none lies in two lines of the processor's caches.
#[derive(Debug)]
#[repr(align(32))]
pub(crate) struct Magazine {
    /// The cell that was put in last.
    top: Cell,
    /// The slot for `top` when another is put in. As many lie below it as there are cells.
    next: *mut Cell,
    end: *mut Cell,
    /// Slots, which end at `end`.
    slots: u32,
    /// It was full since it last got slots.
    was_full: bool,
}

/// A free cell, or none.
type Cell = Option<NonNull<u8>>;

impl Magazine {
    /// Without slots.
    pub(crate) const fn new() -> Self {
        Magazine {
            top: None,
            next: ptr::null_mut(),
            end: ptr::null_mut(),
            slots: 0,
            was_full: false,
        }
    }

    /// Takes the cell that was put in last.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<NonNull<u8>> {
        let cell = self.top?;
        // SAFETY: there is a cell, so `base < next <= end`: the slot below `next` is ours, and was written when this
        // cell was put in.
        unsafe {
            self.next = self.next.sub(1);
            self.top = self.next.read();
        }
        Some(cell)
    }

    /// Puts a cell in; `false` if there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, cell: NonNull<u8>) -> bool {
        if self.next == self.end {
            return false;
        }
        // SAFETY: `base <= next < end`: the slot is ours.
        unsafe {
            self.next.write(self.top);
            self.next = self.next.add(1);
        }
        self.top = Some(cell);
        true
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots as usize
    }

    pub(crate) fn len(&self) -> usize {
        (self.next as usize - self.base() as usize) / size_of::<Cell>()
    }

    fn base(&self) -> *mut Cell {
        // SAFETY: so many slots lie below the end, or there are none.
        unsafe { self.end.sub(self.slots()) }
    }

    /// True if it should grow rather than be emptied when it is full.
    pub(crate) fn is_short(&self, class: usize) -> bool {
        self.slots() < steady(class)
    }

    /// Notes that a cell found no room.
    pub(crate) fn note_full(&mut self) {
        self.was_full = true;
    }

    /// Puts `count` cells in, fewer than there is room for, of which the last is the next to be taken.
    ///
    /// `fill` writes all of them; it gets the address for the first.
    pub(crate) fn fill(&mut self, count: usize, fill: impl FnOnce(*mut NonNull<u8>)) {
        if count == 0 {
            return;
        }
        debug_assert!(self.len() + count < self.slots(), "no room for {count}");
        // SAFETY: the slots from `next` on are ours, `count` and one more of them, says the caller.
        unsafe {
            self.next.write(self.top);
            fill(self.next.add(1).cast());
            self.next = self.next.add(count);
            self.top = self.next.read();
        }
    }

    /// Hands out the `count` cells that lie longest; the others move down.
    pub(crate) fn drain(&mut self, count: usize, mut each: impl FnMut(NonNull<u8>)) {
        let (base, rest) = (self.base(), self.len() - count);
        for at in 1..=count {
            // SAFETY: the slots above the lowest hold all cells but the top; below `len`.
            let cell = if at < count + rest { unsafe { base.add(at).read() } } else { self.top };
            cell.into_iter().for_each(&mut each);
        }
        if rest == 0 {
            self.top = None;
        } else {
            // SAFETY: so many slots hold cells; the ranges may overlap.
            unsafe { base.add(1).copy_from(base.add(1 + count), rest - 1) };
        }
        // SAFETY: no more than before.
        self.next = unsafe { base.add(rest) };
    }

    /// Gets more slots for a class, if it should have them and there are any.
    pub(crate) fn grow<S: PageSource>(
        &mut self,
        class: usize,
        heap: &Heap<S>,
        allowance: &mut Allowance,
    ) {
        let (now, most) = (self.slots(), limit(class));
        if now >= most || (now >= steady(class) && !self.was_full) {
            return;
        }
        let wanted = if now == 0 { FIRST.min(steady(class)) } else { 2 * now };
        if !allowance.covers(class, now, wanted) {
            return;
        }
        let Some(slots) = heap.slots.lock().take(wanted, &heap.meta, heap.source()) else { return };
        let (base, len, top) = (slots.as_ptr(), self.len(), self.top);
        // SAFETY: `len` slots were written; the new ones are more, and elsewhere.
        unsafe { base.copy_from_nonoverlapping(self.base(), len) };
        self.retire(class, heap, allowance);
        allowance.change(class, 0, wanted);
        // SAFETY: so many slots were taken, and `len` is no more.
        let (next, end) = unsafe { (base.add(len), base.add(wanted)) };
        *self = Magazine { top, next, end, slots: wanted as u32, was_full: false };
    }

    /// Gives the slots back. The cells in them are the caller's.
    pub(crate) fn retire<S: PageSource>(
        &mut self,
        class: usize,
        heap: &Heap<S>,
        allowance: &mut Allowance,
    ) {
        if let Some(base) = NonNull::new(self.base()) {
            allowance.change(class, self.slots(), 0);
            heap.slots.lock().give(base, self.slots());
        }
        *self = Magazine::new();
    }
}

/// Slots that no magazine has, by powers of two. Their memory belongs to the heap's records for ever.
#[derive(Debug)]
pub(crate) struct SlotPool {
    free: [Option<NonNull<Free>>; (MOST - FEWEST + 1) as usize],
}

/// What lies in slots that nobody uses.
#[derive(Debug)]
struct Free {
    next: Option<NonNull<Free>>,
}

// SAFETY: the slots in the pool are nobody's; only the holder of its lock touches them.
unsafe impl Send for SlotPool {}

impl SlotPool {
    const_fn! {
        pub(crate) fn new() -> Self {
            SlotPool { free: [None; (MOST - FEWEST + 1) as usize] }
        }
    }

    /// So many slots, a power of two.
    fn take<S: PageSource>(
        &mut self,
        slots: usize,
        meta: &Meta,
        source: &S,
    ) -> Option<NonNull<Cell>> {
        let order = (slots.trailing_zeros() - FEWEST) as usize;
        if let Some(free) = self.free[order] {
            // SAFETY: slots in the pool hold a link, written by `give`.
            self.free[order] = unsafe { free.as_ref() }.next;
            return Some(free.cast());
        }
        meta.alloc(source, slots * size_of::<Cell>(), 64).map(NonNull::cast)
    }

    fn give(&mut self, slots: NonNull<Cell>, count: usize) {
        let order = (count.trailing_zeros() - FEWEST) as usize;
        let free = slots.cast::<Free>();
        // SAFETY: the slots are nobody's now, large enough for a link and aligned.
        unsafe { free.write(Free { next: self.free[order] }) };
        self.free[order] = Some(free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::os::Os;
    use std::vec::Vec;

    fn cell(number: usize) -> NonNull<u8> {
        NonNull::new((8 * number) as *mut u8).unwrap()
    }

    #[test]
    fn it_is_a_stack_whose_bottom_is_drained() {
        let heap = Heap::new(Os::new());
        let mut magazine = Magazine::new();
        assert!(!magazine.push(cell(1)) && magazine.pop().is_none());
        let mut allowance = Allowance::new();
        magazine.grow(0, &heap, &mut allowance);
        assert!((1..=8).all(|number| magazine.push(cell(number))) && !magazine.push(cell(9)));
        let mut drained = Vec::new();
        magazine.drain(3, |cell| drained.push(cell));
        assert_eq!(drained, [cell(1), cell(2), cell(3)]);
        magazine.grow(0, &heap, &mut allowance);
        assert_eq!((magazine.slots(), magazine.len()), (16, 5));
        assert!((4..=8).rev().all(|number| magazine.pop() == Some(cell(number))));
        assert_eq!(magazine.pop(), None);
    }

    #[test]
    fn a_batch_lies_above_what_was_there_and_all_of_it_can_be_drained() {
        let heap = Heap::new(Os::new());
        let mut magazine = Magazine::new();
        magazine.fill(0, |_| unreachable!("no cell"));
        magazine.grow(0, &heap, &mut Allowance::new());
        for before in [0, 1, 3] {
            (1..=before).for_each(|number| assert!(magazine.push(cell(number))));
            // SAFETY: room for three cells, says `fill`.
            magazine.fill(3, |to| (0..3).for_each(|n| unsafe { to.add(n).write(cell(10 + n)) }));
            let mut drained = Vec::new();
            magazine.drain(before + 2, |cell| drained.push(cell));
            let all = (1..=before).chain(10..13).map(cell);
            assert_eq!(drained, all.take(before + 2).collect::<Vec<_>>());
            assert_eq!((magazine.len(), magazine.pop()), (1, Some(cell(12))));
            magazine.push(cell(1));
            magazine.drain(1, |drained| assert_eq!(drained, cell(1)));
            assert_eq!((magazine.len(), magazine.pop()), (0, None));
        }
    }

    #[test]
    fn it_grows_beyond_the_steady_size_only_for_traffic() {
        let (heap, mut allowance) = (Heap::new(Os::new()), Allowance::new());
        let mut magazine = Magazine::new();
        (0..20).for_each(|_| magazine.grow(0, &heap, &mut allowance));
        assert_eq!(magazine.slots(), STEADY);
        cycle(&mut magazine, 0, &heap, &mut allowance);
        assert_eq!(magazine.slots(), limit(0));
        let bytes = heap.meta.bytes();
        magazine.retire(0, &heap, &mut allowance);
        (0..20).for_each(|_| magazine.grow(0, &heap, &mut allowance));
        assert_eq!((magazine.slots(), heap.meta.bytes()), (STEADY, bytes), "slots are used again");
    }

    #[test]
    fn an_allowance_is_for_all_magazines_of_a_cache() {
        let (heap, mut allowance) = (Heap::new(Os::new()), Allowance::new());
        let mut magazines = [const { Magazine::new() }; CLASSES];
        for (class, magazine) in magazines.iter_mut().enumerate() {
            cycle(magazine, class, &heap, &mut allowance);
        }
        let bytes = |class: usize| magazines[class].slots() * TABLE[class].size as usize;
        let beyond: usize = (0..CLASSES).map(|class| bytes(class).saturating_sub(SHARE)).sum();
        assert!((ALLOWANCE - SHARE..=ALLOWANCE).contains(&beyond), "{beyond} bytes");
        let has_share = |class: usize| magazines[class].slots() >= usize::from(SHARES[class]);
        assert!((0..CLASSES).all(has_share), "no magazine goes without its share");
        for (class, magazine) in magazines.iter_mut().enumerate() {
            magazine.retire(class, &heap, &mut allowance);
        }
        assert_eq!(allowance.bytes, ALLOWANCE);
    }

    /// Grows it as far as traffic makes it.
    fn cycle(magazine: &mut Magazine, class: usize, heap: &Heap<Os>, allowance: &mut Allowance) {
        for _ in 0..20 {
            magazine.note_full();
            magazine.grow(class, heap, allowance);
        }
    }

    #[test]
    fn no_magazine_holds_much() {
        for (class, geometry) in TABLE.iter().enumerate() {
            let bytes = |slots| slots * geometry.size as usize;
            assert!(bytes(limit(class)) <= MAGAZINE_BYTES, "class {class}");
            assert!(bytes(usize::from(SHARES[class])) <= SHARE, "class {class}");
            assert!(bytes(steady(class)) <= SHARE, "class {class}");
        }
    }
}
