//! An oracle for allocators: which addresses are live, and what was written there.
//!
//! Two live blocks that overlap usually show up long after the mistake, as a torn list in code that
//! did nothing wrong. Here they show up at once: every block is entered into a map of live ranges
//! before it is written, and leaves it before it is freed. The map is cut into windows of 64 MiB, each
//! behind one of a few locks, so that threads rarely meet in it; a block that crosses windows is
//! entered into each.
//!
//! A block also carries a pattern of its own, which is checked before it is freed: that finds
//! allocators that write into live blocks, and records that lie in them.

use std::{
    alloc::Layout,
    collections::BTreeMap,
    ptr::NonNull,
    sync::{Mutex, MutexGuard},
};

const WINDOW: usize = 64 << 20;
const SHARDS: usize = 64;

/// Blocks larger than this are written at this many places only, a page apart or more: the stress is
/// on the allocator, not on the kernel's page faults.
const WHOLE: usize = 16 << 10;
const PLACES: usize = 64;

/// Live ranges: start to end.
pub(crate) struct Oracle {
    shards: [Mutex<BTreeMap<usize, usize>>; SHARDS],
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Oracle { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    fn shard(&self, address: usize) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        let shard = &self.shards[address / WINDOW % SHARDS];
        shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The range cut at window borders. An empty block has one byte.
    fn pieces(at: NonNull<u8>, size: usize) -> impl Iterator<Item = (usize, usize)> {
        let (start, end) = (at.as_ptr() as usize, at.as_ptr() as usize + size.max(1));
        let border = move |at: usize| (at / WINDOW + 1) * WINDOW;
        let starts = std::iter::successors(Some(start), move |&at| {
            Some(border(at)).filter(|&next| next < end)
        });
        starts.map(move |from| (from, border(from).min(end)))
    }

    /// Enters a block that was just handed out.
    ///
    /// # Panics
    ///
    /// If it overlaps a live one.
    pub(crate) fn enter(&self, at: NonNull<u8>, size: usize) {
        for (start, end) in Self::pieces(at, size) {
            let mut live = self.shard(start);
            if let Some((&other, &other_end)) = live.range(..end).next_back()
                && other_end > start
            {
                panic!("{start:#x}..{end:#x} is handed out while {other:#x}..{other_end:#x} lives");
            }
            live.insert(start, end);
        }
    }

    /// Takes a block out that is about to be freed.
    ///
    /// # Panics
    ///
    /// If it is not live.
    pub(crate) fn leave(&self, at: NonNull<u8>, size: usize) {
        for (start, end) in Self::pieces(at, size) {
            assert_eq!(self.shard(start).remove(&start), Some(end), "{start:#x} is not live");
        }
    }

    /// Live ranges, pieces of those that cross windows counted each.
    pub(crate) fn live(&self) -> usize {
        (0..SHARDS).map(|n| self.shard(n * WINDOW).len()).sum()
    }
}

/// A live block, its layout, and the seed of its pattern.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) at: NonNull<u8>,
    pub(crate) layout: Layout,
    pub(crate) seed: u64,
}

// SAFETY: a block belongs to whoever holds the value.
unsafe impl Send for Block {}

impl Block {
    /// Offsets of the words that carry the pattern.
    fn words(bytes: usize) -> impl Iterator<Item = usize> {
        let step = if bytes <= WHOLE { 8 } else { (bytes / PLACES).next_multiple_of(4096) };
        let last = (bytes >= 8).then(|| (bytes - 8) & !7);
        (0..bytes.saturating_sub(7)).step_by(step).chain(last)
    }

    fn word(&self, offset: usize) -> u64 {
        (self.seed ^ offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Writes the pattern.
    pub(crate) fn fill(&self) {
        for offset in Self::words(self.layout.size()) {
            // SAFETY: inside the block, which is the holder's.
            unsafe { self.at.add(offset).cast::<u64>().write_unaligned(self.word(offset)) };
        }
        for offset in self.tail() {
            // SAFETY: as above.
            unsafe { self.at.add(offset).write(self.seed as u8) };
        }
    }

    /// The bytes of a block too small for a word.
    fn tail(&self) -> std::ops::Range<usize> {
        if self.layout.size() < 8 { 0..self.layout.size() } else { 0..0 }
    }

    /// Checks the pattern in the first `bytes` bytes, as far as it was written there.
    ///
    /// # Panics
    ///
    /// If something else was written.
    pub(crate) fn check(&self, bytes: usize) {
        let all = bytes == self.layout.size();
        for offset in Self::words(self.layout.size()).filter(|&at| at + 8 <= bytes) {
            // SAFETY: inside the block, which is the holder's.
            let found = unsafe { self.at.add(offset).cast::<u64>().read_unaligned() };
            assert_eq!(found, self.word(offset), "word at {offset} of {self:x?}");
        }
        for offset in self.tail().take_while(|_| all) {
            // SAFETY: as above.
            let found = unsafe { self.at.add(offset).read() };
            assert_eq!(found, self.seed as u8, "byte {offset} of {self:x?}");
        }
    }
}

/// xorshift: enough to mix sizes, and the same in every run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 11) as usize % n
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
