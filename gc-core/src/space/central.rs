//! What all caches of a space share, under one lock: classes, sweep, doomed cells, the
//! [pool](super::pool).
//!
//! # Life of a block
//!
//! ```text
//!            fresh                     cache takes it
//!   pool ───────────► in a class ◄──────────────────────► cached
//!     ▲                  │  open: stamp is old
//!     │ empty            ▼
//!     └────────────── unswept ──sweep──► swept: full, with room, or queued for destructors
//!                                                                    │ all have run
//!                                                                    ▼ with room
//! ```
//!
//! All blocks of a class stand in one list; those before `next` are swept. `open` sets `next` to
//! the start, which is all that step 7 does, whatever the size of the heap. A block that was made
//! in the current cycle is passed over when `next` reaches it; and so is one of the cycle to come.
//! Such blocks exist between the two halves of step 7: the phase word says the new number, `open`
//! has not been called, and sweep is still permitted to allocators that read the old one.

use super::{
    asan,
    block::{Block, each_bit},
    pool::Pool,
};
use crate::space::{Kind, Usage};
use core::{
    mem,
    ptr::{self, NonNull},
    sync::atomic::Ordering,
};
use std::collections::{HashMap, hash_map::Entry};

/// Blocks an allocator sweeps before it takes a fresh one instead.
const TRIES: usize = 16;
/// What a dead object is overwritten with, if asked for.
const POISON: u8 = 0xdb;

// Orderings in this file are Relaxed: doomed bits, stamps and queue flags change under the lock; alloc bits
// there, or by the one cache that has the block; marks are set by anybody, and are cleared by sweep. Hand 4
// comes between a cache's last store, or the last mark, and sweep.

/// All blocks of one kind and cell size.
#[derive(Debug, Default)]
struct Class {
    all: Vec<NonNull<Block>>,
    /// Blocks before this one are swept.
    next: usize,
    /// Swept blocks with room that no cache has.
    room: Vec<NonNull<Block>>,
}

/// What sweep made of a block.
enum Swept {
    Fresh,
    Empty,
    Room,
    Kept,
}

/// Dead cells of one block, on their way through their destructors: those of a word, so that no list is needed.
#[derive(Debug)]
pub(super) struct Doomed {
    block: NonNull<Block>,
    kind: &'static Kind,
    word: usize,
    bits: u64,
}

impl Doomed {
    pub(super) fn count(&self) -> usize {
        self.bits.count_ones() as usize
    }

    /// Calls `each` for every cell.
    pub(super) fn each(&self, each: &mut dyn FnMut(NonNull<u8>, &'static Kind)) {
        each_bit(self.word, self.bits, |index| each(Block::cell(self.block, index), self.kind));
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Central {
    pub(super) permitted: bool,
    poison: bool,
    cycle: u64,
    names: HashMap<(*const Kind, usize), usize>,
    classes: Vec<Class>,
    /// The class that the background sweeps.
    sweeping: usize,
    queue: Vec<NonNull<Block>>,
    /// How many blocks are in classes. All lists of blocks have room for all that may come into them, so that only a
    /// fresh block needs memory.
    blocks: usize,
    doomed: usize,
    pub(super) pool: Pool,
}

// SAFETY: the blocks belong to the space; the lock around `Central` lets one thread at a time in.
unsafe impl Send for Central {}

impl Central {
    pub(super) fn new(limit: usize, poison: bool) -> Self {
        Self {
            permitted: true,
            poison,
            cycle: 1,
            names: HashMap::new(),
            classes: Vec::new(),
            sweeping: 0,
            queue: Vec::new(),
            blocks: 0,
            doomed: 0,
            pool: Pool::new(limit),
        }
    }

    /// The class, made if there was none; `None` if there is no memory for it.
    fn class(&mut self, kind: &'static Kind, cell: usize) -> Option<usize> {
        self.names.try_reserve(1).ok()?;
        match self.names.entry((kind, cell)) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(new) => {
                self.classes.try_reserve(1).ok()?;
                self.classes.push(Class::default());
                Some(*new.insert(self.classes.len() - 1))
            }
        }
    }

    /// The class of a block.
    fn class_of(&self, header: &Block) -> usize {
        self.names[&(ptr::from_ref(header.kind), header.cell)]
    }

    /// A block with room, stamped with `cycle`, that nobody else has.
    pub(super) fn block(
        &mut self,
        kind: &'static Kind,
        cell: usize,
        cycle: u64,
    ) -> Option<NonNull<Block>> {
        let class = self.class(kind, cell)?;
        // A reading from before step 7, or from before `open`, must not touch the lists.
        let swept = if cycle == self.cycle { self.swept_block(class) } else { None };
        swept.or_else(|| self.fresh_block(class, kind, cell, cycle))
    }

    fn swept_block(&mut self, class: usize) -> Option<NonNull<Block>> {
        for _ in 0..TRIES {
            if let Some(block) = self.classes[class].room.pop() {
                return Some(block);
            }
            if self.sweep_class(class) {
                break;
            }
        }
        self.classes[class].room.pop()
    }

    fn fresh_block(
        &mut self,
        class: usize,
        kind: &'static Kind,
        cell: usize,
        cycle: u64,
    ) -> Option<NonNull<Block>> {
        self.make_room(class)?;
        let plan = Block::plan(kind, cell)?;
        let start = self.pool.take(plan.layout)?;
        // SAFETY: the memory is of the plan's layout, and ours.
        let block = unsafe { Block::write(start, kind, cell, plan, cycle) };
        self.classes[class].all.push(block);
        self.blocks += 1;
        Some(block)
    }

    /// Sees to it that one more block can be in each of the lists that a block may come into; `None` if
    /// there is no memory for that.
    fn make_room(&mut self, class: usize) -> Option<()> {
        let Class { all, room, .. } = &mut self.classes[class];
        all.try_reserve(1).ok()?;
        room.try_reserve(all.len() + 1 - room.len()).ok()?;
        self.queue.try_reserve(self.blocks + 1 - self.queue.len()).ok()
    }

    /// Takes back a block that a cache does not want any more, if the cache's line is fresh.
    ///
    /// # Safety
    ///
    /// If `cycle` is the current one, the block was the caller's.
    pub(super) unsafe fn give_back(&mut self, block: NonNull<Block>, cycle: u64) {
        if cycle != self.cycle {
            return;
        }
        // SAFETY: the stamp is current, so the block is in use and was the caller's.
        let header = unsafe { block.as_ref() };
        if header.has_room() {
            let class = self.class_of(header);
            self.classes[class].room.push(block);
        }
    }

    /// Step 7.
    pub(super) fn open(&mut self, cycle: u64) {
        self.cycle = cycle;
        self.permitted = false;
        self.sweeping = 0;
        for class in &mut self.classes {
            class.next = 0;
            class.room.clear();
        }
    }

    /// Sweeps one block of any class; true if there was none.
    pub(super) fn sweep_next(&mut self) -> bool {
        while self.sweeping < self.classes.len() {
            if !self.sweep_class(self.sweeping) {
                return false;
            }
            if !self.permitted {
                return true;
            }
            self.sweeping += 1;
        }
        self.pool.trim();
        true
    }

    /// Sweeps the next block of a class; true if there was none.
    fn sweep_class(&mut self, class: usize) -> bool {
        let position = self.classes[class].next;
        let Some(&block) = self.classes[class].all.get(position) else { return true };
        if !self.permitted {
            return true;
        }
        // SAFETY: permitted, and the block is in a class, so it is in use.
        match unsafe { self.sweep_block(block) } {
            Swept::Empty => {
                self.classes[class].all.swap_remove(position);
                self.blocks -= 1;
                // SAFETY: nothing in it is allocated, and no fresh line has it.
                unsafe { self.free_block(block) };
                return false;
            }
            Swept::Room => self.classes[class].room.push(block),
            Swept::Fresh | Swept::Kept => {}
        }
        self.classes[class].next += 1;
        false
    }

    /// # Safety
    ///
    /// Sweep is permitted, and the block is in use.
    unsafe fn sweep_block(&mut self, block: NonNull<Block>) -> Swept {
        // SAFETY: the caller's.
        let header = unsafe { block.as_ref() };
        if header.cycle.load(Ordering::Relaxed) >= self.cycle {
            return Swept::Fresh;
        }
        for word in 0..header.words() {
            self.sweep_word(block, header, word);
        }
        header.cycle.store(self.cycle, Ordering::Relaxed);
        if header.queued.load(Ordering::Relaxed) {
            Swept::Kept
        } else if header.is_empty() {
            Swept::Empty
        } else if header.has_room() {
            Swept::Room
        } else {
            Swept::Kept
        }
    }

    fn sweep_word(&mut self, block: NonNull<Block>, header: &Block, word: usize) {
        let marked = header.marks(word).swap(0, Ordering::Relaxed);
        let alloc = header.alloc(word).load(Ordering::Relaxed);
        let doomed = header.doomed(word).load(Ordering::Relaxed);
        debug_assert_eq!(marked & !(alloc & !doomed), 0, "a free or doomed cell is marked");
        let dead = alloc & !marked & !doomed;
        if dead == 0 {
            return;
        }
        if header.kind.drop.is_some() {
            header.doomed(word).store(doomed | dead, Ordering::Relaxed);
            self.doomed += dead.count_ones() as usize;
            if !header.queued.swap(true, Ordering::Relaxed) {
                self.queue.push(block);
            }
        } else {
            header.alloc(word).store(alloc & !dead, Ordering::Relaxed);
            each_bit(word, dead, |index| self.overwrite(block, header, index));
        }
    }

    fn overwrite(&self, block: NonNull<Block>, header: &Block, index: usize) {
        let cell = Block::cell(block, index);
        if self.poison {
            // SAFETY: the cell is free: it is ours until the lock is released.
            unsafe { cell.write_bytes(POISON, header.cell) };
        }
        asan::hide(cell, header.cell);
    }

    /// Doomed cells of some block, which is nobody else's until they are freed.
    pub(super) fn next_doomed(&mut self) -> Option<Doomed> {
        let block = self.queue.pop()?;
        // SAFETY: a block with doomed cells is in use until `destructed`.
        let header = unsafe { block.as_ref() };
        let (word, bits) = header.next_doomed().expect("a block in the queue has doomed cells");
        Some(Doomed { block, kind: header.kind, word, bits })
    }

    /// Frees cells whose destructors have run.
    pub(super) fn destructed(&mut self, doomed: Doomed) {
        let Doomed { block, word, bits, .. } = doomed;
        // SAFETY: as in `next_doomed`.
        let header = unsafe { block.as_ref() };
        header.doomed(word).fetch_and(!bits, Ordering::Relaxed);
        header.alloc(word).fetch_and(!bits, Ordering::Relaxed);
        each_bit(word, bits, |index| self.overwrite(block, header, index));
        self.doomed -= doomed.count();
        if header.next_doomed().is_some() {
            self.queue.push(block);
            return;
        }
        header.queued.store(false, Ordering::Relaxed);
        if header.cycle.load(Ordering::Relaxed) == self.cycle {
            let class = self.class_of(header);
            self.classes[class].room.push(block);
        }
    }

    fn blocks(&self) -> impl Iterator<Item = NonNull<Block>> + '_ {
        self.classes.iter().flat_map(|class| class.all.iter().copied())
    }

    /// The n-th block, if there are so many. While nobody sweeps, blocks only come: who asks for each place in turn may
    /// meet one twice, and misses none.
    pub(super) fn nth(&self, mut n: usize) -> Option<NonNull<Block>> {
        self.classes.iter().find_map(|Class { all, .. }| {
            let found = all.get(n).copied();
            n = n.wrapping_sub(all.len());
            found
        })
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { held_bytes: self.pool.held(), spans: self.blocks().count(), doomed: self.doomed }
    }

    /// # Safety
    ///
    /// Nobody uses the block or its cells any more.
    unsafe fn free_block(&mut self, block: NonNull<Block>) {
        // SAFETY: the header is there until the memory goes back.
        let layout = unsafe { block.as_ref() }.layout;
        asan::show(block.cast(), layout.size());
        // SAFETY: it came from the pool with this layout; the rest is the caller's.
        unsafe { self.pool.give(block.cast(), layout) };
    }
}

impl Drop for Central {
    fn drop(&mut self) {
        for block in mem::take(&mut self.classes).into_iter().flat_map(|class| class.all) {
            // SAFETY: the space is gone, and with it everyone who used the block.
            unsafe { self.free_block(block) };
        }
    }
}
