//! The space of gc-core alone: blocks of typed cells, with memory from the global allocator.
//!
//! # Shape
//!
//! ```text
//!   cache (per local state)     64 lines, one per recent class: block, word, free bits
//!     │ line empty or stale
//!   central (one lock)          per class: all blocks, sweep position, blocks with room
//!     │ none with room
//!   pool (same lock)            spare blocks of 32 KiB, cut from chunks of 1 MiB
//! ```
//!
//! A *class* is a kind and a cell size. An allocation is a look at one cache line, a bit, and a
//! store; the lock is taken once per block. Blocks are swept one at a time under the lock, by
//! allocators that want room in that class and by the background.
//!
//! # Stale lines
//!
//! A line whose cycle differs from the caller's reading is never followed: its block may be
//! swept, or be gone. Cycles only grow, so a stale line cannot become fresh again.
//!
//! # Memory
//!
//! Large objects go back to the allocator when they are swept; blocks go back to the pool, which keeps as
//! many as are in use and gives the rest back.

#[path = "asan.rs"]
mod asan;
#[path = "block.rs"]
mod block;
#[path = "central.rs"]
mod central;
#[path = "pool.rs"]
mod pool;

use self::{
    block::{Block, cell_bytes, each_bit},
    central::Central,
};
use super::{Exhausted, Kind, Marked, Meter, Space, Taken, Usage};
use crate::boxed::try_box;
use core::{ptr::NonNull, sync::atomic::Ordering};
use std::{
    fmt, ptr,
    sync::{Mutex, MutexGuard},
};

/// Lines of a cache.
const LINES: usize = 64;

/// Bytes beyond which no memory could hold an object.
const LARGEST: usize = isize::MAX as usize / 4;

/// Which line a class has.
#[inline(always)]
fn number(kind: &'static Kind, cell: usize) -> usize {
    ((ptr::from_ref(kind).addr() >> 4) ^ (cell >> 4)) % LINES
}

/// Where the next cell of one class comes from.
#[derive(Clone, Copy)]
struct Line {
    kind: *const Kind,
    cell: usize,
    cycle: u64,
    block: Option<NonNull<Block>>,
    /// The word that `free` is of.
    word: usize,
    /// Free cells of that word.
    free: u64,
}

impl Line {
    const EMPTY: Line =
        Line { kind: ptr::null(), cell: 0, cycle: 0, block: None, word: 0, free: 0 };

    /// A line that begins at the start of a block.
    ///
    /// # Safety
    ///
    /// The block is in use, and now this line's alone.
    unsafe fn of(block: NonNull<Block>, cycle: u64) -> Line {
        // SAFETY: the caller's.
        let header = unsafe { block.as_ref() };
        let free = header.free_bits(0);
        Line { kind: header.kind, cell: header.cell, cycle, block: Some(block), word: 0, free }
    }

    /// Takes the next free cell of the line's block.
    ///
    /// # Safety
    ///
    /// The line is fresh: its cycle is that of the caller's reading.
    #[inline(always)]
    unsafe fn take(&mut self) -> Option<NonNull<u8>> {
        let block = self.block?;
        // SAFETY: the line is fresh, so its block is in use and this line's alone.
        let header = unsafe { block.as_ref() };
        while self.free == 0 {
            if self.word + 1 >= header.words() {
                return None;
            }
            self.word += 1;
            self.free = header.free_bits(self.word);
        }
        let bit = self.free & self.free.wrapping_neg();
        self.free ^= bit;
        let word = header.alloc(self.word);
        // Relaxed: this line is the word's only writer; the end of the guard publishes it to
        // sweep.
        word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        let cell = Block::cell(block, self.word * 64 + bit.trailing_zeros() as usize);
        asan::show(cell, self.cell);
        Some(cell)
    }
}

/// What a local state keeps of this space.
pub struct Cache {
    lines: Box<[Line; LINES]>,
    meter: Meter,
}

// SAFETY: the blocks a cache points to are used by whoever has the cache.
unsafe impl Send for Cache {}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.lines.iter().filter(|line| line.block.is_some()).count();
        f.debug_struct("Cache").field("lines", &used).finish()
    }
}

/// Blocks of typed cells. See the [module](self).
///
/// ```
/// use gc_core::{Heap, Plain, space::blocks::Blocks, world::threads::Threads};
///
/// let blocks = Blocks::with_limit(4 << 20);
/// let heap = Heap::<Plain>::builder().build(blocks, Threads::new()).unwrap();
/// assert!(heap.enter().try_alloc_slice(vec![0u8; 8 << 20]).is_err());
/// heap.space().set_limit(16 << 20);
/// assert!(heap.enter().try_alloc_slice(vec![0u8; 8 << 20]).is_ok());
/// ```
#[derive(Debug)]
pub struct Blocks {
    central: Mutex<Central>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new()
    }
}

impl Blocks {
    /// A space without a limit.
    pub fn new() -> Self {
        Self::with_limit(usize::MAX)
    }

    /// A space that takes at most about `bytes` from the allocator.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, space::blocks::Blocks};
    ///
    /// let heap = Heap::<Plain>::builder().build(Blocks::with_limit(1 << 20), Default::default()).unwrap();
    /// let guard = heap.enter();
    /// let full = (0..).find(|_| guard.try_alloc([0u8; 1024]).is_err());
    /// assert!(full.is_some_and(|count| count < 1024));
    /// ```
    pub fn with_limit(bytes: usize) -> Self {
        Self { central: Mutex::new(Central::new(bytes, false)) }
    }

    /// A space that overwrites dead objects, so that a use after free is seen. For tests.
    pub fn poisoned() -> Self {
        Self { central: Mutex::new(Central::new(usize::MAX, true)) }
    }

    /// Changes the limit. What is held already stays.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let seven = guard.alloc(7u64);
    /// heap.space().set_limit(0);
    /// assert!(guard.try_alloc_slice(vec![0u8; 1 << 20]).is_err());
    /// assert_eq!(*seven, 7);
    /// ```
    pub fn set_limit(&self, bytes: usize) {
        self.lock().pool.limit = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Central> {
        self.central.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    #[cold]
    fn take_slow(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        cell: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        let line = &mut cache.lines[number(kind, cell)];
        let (block, took) = cache.meter.time(|| {
            let mut central = self.lock();
            if let Some(block) = line.block.take() {
                // SAFETY: the line's block was this cache's alone if its stamp is current, which is
                // looked at first.
                unsafe { central.give_back(block, line.cycle) };
            }
            central.block(kind, cell, cycle).ok_or(Exhausted)
        });
        // SAFETY: the block was just given to us alone, stamped with the cycle.
        *line = unsafe { Line::of(block?, cycle) };
        // SAFETY: the line is fresh.
        let taken = unsafe { line.take() }.expect("a block that is given out has room");
        Ok(Taken { cell: taken, bytes: cell, slow: Some(took) })
    }

    /// # Safety
    ///
    /// The cell is allocated.
    #[inline(always)]
    unsafe fn find(&self, cell: NonNull<u8>) -> (&Block, usize, u64) {
        // SAFETY: a block with an allocated cell is in use.
        let block = unsafe { Block::of(cell).as_ref() };
        let index = block.index(cell);
        (block, index / 64, 1 << (index % 64))
    }
}

// SAFETY:
// 1. A cell is taken once: its alloc bit is set by the one line that has its block, and cleared by
//    sweep or after its destructor, both under the lock and with no fresh line on the block.
// 2. Lines are followed only if their cycle is the caller's, and `Central::block` gives blocks of
//    that stamp. Marks of free cells are clear: sweep clears marks, and only allocated cells are
//    marked.
// 3. `Central` sweeps only when permitted, only blocks of an older stamp.
// 4. Marks are atomic read-modify-writes in a block that stays while a cell in it is allocated; set with Release,
//    which `marked` acquires. Blocks come and do not go while nobody sweeps, so its places miss none.
// 5. Used with `Threads`, whose callers keep their thread.
unsafe impl Space for Blocks {
    type Cache = Cache;

    fn cache(&self) -> Result<Cache, Exhausted> {
        let lines = try_box([Line::EMPTY; LINES]).map_err(|_| Exhausted)?;
        Ok(Cache { lines, meter: Meter::default() })
    }

    #[inline(always)]
    unsafe fn take_cached(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Option<Taken> {
        if bytes > LARGEST {
            return None;
        }
        let cell = cell_bytes(bytes, kind.align);
        let line = &mut cache.lines[number(kind, cell)];
        if !ptr::eq(line.kind, kind) || line.cell != cell || line.cycle != cycle {
            return None;
        }
        // SAFETY: the line is fresh.
        Some(Taken { cell: unsafe { line.take() }?, bytes: cell, slow: None })
    }

    unsafe fn take(
        &self,
        cache: &mut Cache,
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        if bytes > LARGEST {
            return Err(Exhausted);
        }
        // SAFETY: the caller's.
        match unsafe { self.take_cached(cache, kind, bytes, cycle) } {
            Some(taken) => Ok(taken),
            None => self.take_slow(cache, kind, cell_bytes(bytes, kind.align), cycle),
        }
    }

    #[inline]
    unsafe fn kind(&self, cell: NonNull<u8>) -> &'static Kind {
        // SAFETY: the caller's.
        unsafe { self.find(cell) }.0.kind
    }

    unsafe fn bytes(&self, cell: NonNull<u8>) -> usize {
        // SAFETY: the caller's.
        unsafe { self.find(cell) }.0.cell
    }

    #[inline]
    unsafe fn mark(&self, cell: NonNull<u8>) -> Option<Marked> {
        // SAFETY: the caller's.
        let (block, word, bit) = unsafe { self.find(cell) };
        let marks = block.marks(word);
        // Release: the object is whole for whoever finds it by its mark; pairs with `marked`. Relaxed: who finds it
        // marked leaves it; sweep reads it after hand 4, which orders it.
        if marks.load(Ordering::Relaxed) & bit != 0
            || marks.fetch_or(bit, Ordering::Release) & bit != 0
        {
            return None;
        }
        Some(Marked { kind: block.kind, bytes: block.cell })
    }

    #[inline]
    unsafe fn is_marked(&self, cell: NonNull<u8>) -> bool {
        // SAFETY: the caller's.
        let (block, word, bit) = unsafe { self.find(cell) };
        // Relaxed: as in `mark`.
        block.marks(word).load(Ordering::Relaxed) & bit != 0
    }

    unsafe fn is_of_cycle(&self, cell: NonNull<u8>, cycle: u64) -> bool {
        // SAFETY: the caller's.
        let (block, ..) = unsafe { self.find(cell) };
        // Relaxed: stamps change in sweep, which does not run now.
        block.cycle.load(Ordering::Relaxed) == cycle
    }

    unsafe fn open(&self, cycle: u64) {
        self.lock().open(cycle);
    }

    unsafe fn permit(&self) {
        self.lock().permitted = true;
    }

    fn sweep(&self, spans: usize) -> bool {
        // One lock per block: allocators get in between.
        (0..spans).any(|_| self.lock().sweep_next())
    }

    fn destruct(&self, each: &mut dyn FnMut(NonNull<u8>, &'static Kind)) -> usize {
        let Some(doomed) = self.lock().next_doomed() else { return 0 };
        doomed.each(each);
        let count = doomed.count();
        self.lock().destructed(doomed);
        count
    }

    unsafe fn marked(
        &self,
        place: usize,
        each: &mut dyn FnMut(NonNull<u8>, &'static Kind),
    ) -> Option<usize> {
        // Found under the lock, and looked at outside of it: blocks stay until they are swept.
        let block = self.lock().nth(place)?;
        // SAFETY: as above.
        let header = unsafe { block.as_ref() };
        for word in 0..header.words() {
            // Acquire: pairs with `mark`.
            let marks = header.marks(word).load(Ordering::Acquire);
            each_bit(word, marks, |index| each(Block::cell(block, index), header.kind));
        }
        Some(place + 1)
    }

    fn usage(&self) -> Usage {
        self.lock().usage()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    static BYTES: Kind = Kind { name: || "bytes", align: 1, trace: None, drop: None };

    #[test]
    fn what_no_memory_could_hold_is_refused() {
        let blocks = Blocks::new();
        let mut cache = blocks.cache().unwrap();
        for bytes in [LARGEST, LARGEST + 1, isize::MAX as usize, usize::MAX] {
            // SAFETY: nobody drives a cycle.
            assert!(unsafe { blocks.take(&mut cache, &BYTES, bytes, 1) }.is_err());
        }
        assert_eq!(blocks.usage(), Usage::default());
    }

    /// Between the two halves of step 7, one allocator has read the new cycle, another acts on the
    /// old one and may sweep.
    #[test]
    fn a_block_of_the_cycle_to_come_is_not_swept_for_this_one() {
        let blocks = Blocks::new();
        let (mut ahead, mut behind) = (blocks.cache().unwrap(), blocks.cache().unwrap());
        // SAFETY: nothing is marked or swept but by these two calls.
        let (new, old) = unsafe {
            (blocks.take(&mut ahead, &BYTES, 64, 2), blocks.take(&mut behind, &BYTES, 64, 1))
        };
        let (new, old) = (new.unwrap().cell, old.unwrap().cell);
        assert_ne!(Block::of(new), Block::of(old), "a block in use was freed and given again");
        // SAFETY: the cell was taken above.
        assert!(unsafe { blocks.is_of_cycle(new, 2) });
    }
}
