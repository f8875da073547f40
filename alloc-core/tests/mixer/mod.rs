//! One thread's life under stress: allocate, resize, free, hand over, in every size there is.
//!
//! Sizes lean to small ones, as programs do, with a good share of 32 KiB blocks aligned to 32 KiB
//! (the border between shared spans and blocks with pages of their own), alignments up to 64 MiB,
//! and now and then a block that grows beyond an arena of 64 MiB.

pub(crate) mod oracle;

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use oracle::{Block, Oracle, Random};

const KIB32: usize = 32 << 10;
const MIB: usize = 1 << 20;

/// Blocks a thread keeps at most, and their bytes.
const KEEP: usize = 1_500;
const KEEP_BYTES: usize = 160 * MIB;

/// An allocator under test, as one thread sees it.
pub(crate) trait Memory {
    /// A block, or `None` when memory is short.
    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>>;

    /// # Safety
    ///
    /// As `GlobalAlloc::realloc`.
    unsafe fn realloc(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>>;

    /// # Safety
    ///
    /// As `GlobalAlloc::dealloc`.
    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout);

    /// What may come between two calls: another cache, a flush, a release.
    fn turn(&mut self, _random: &mut Random) {}
}

/// What threads share: the oracle, blocks on their way to another thread, and what became of their requests.
pub(crate) struct Shared {
    pub oracle: Oracle,
    parcels: [Mutex<Vec<Block>>; 16],
    served: AtomicUsize,
    refused: AtomicUsize,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Shared {
            oracle: Oracle::new(),
            parcels: std::array::from_fn(|_| Mutex::default()),
            served: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// How many requests for blocks and other sizes of blocks were served, and how many refused, since the last
    /// look. For whoever knows that memory is not short: an allocator that refuses everything makes no mistake.
    pub(crate) fn outcomes(&self) -> (usize, usize) {
        // Relaxed: numbers that say no more than themselves.
        (self.served.swap(0, Ordering::Relaxed), self.refused.swap(0, Ordering::Relaxed))
    }

    fn count(&self, answer: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let outcome = if answer.is_some() { &self.served } else { &self.refused };
        // Relaxed: as above.
        outcome.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn parcel(&self, n: usize) -> std::sync::MutexGuard<'_, Vec<Block>> {
        self.parcels[n].lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn send(&self, n: usize, block: Block) -> Result<(), Block> {
        let mut parcel = self.parcel(n);
        if parcel.len() >= 64 {
            return Err(block);
        }
        parcel.push(block);
        Ok(())
    }
}

/// A thread under stress.
pub(crate) struct Mixer<'a, M> {
    pub(crate) memory: M,
    pub(crate) random: Random,
    shared: &'a Shared,
    blocks: Vec<Block>,
    bytes: usize,
}

impl<'a, M: Memory> Mixer<'a, M> {
    pub(crate) fn new(shared: &'a Shared, memory: M, seed: u64) -> Self {
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Mixer { memory, random, shared, blocks: Vec::new(), bytes: 0 }
    }

    /// A random step.
    pub(crate) fn step(&mut self) {
        self.memory.turn(&mut self.random);
        match self.random.below(16) {
            0..=6 => self.allocate(),
            7..=8 => self.resize(),
            9..=10 => self.hand_over(),
            11..=12 => self.receive(),
            _ => self.free_any(),
        }
        if self.blocks.len() > KEEP || self.bytes > KEEP_BYTES {
            (0..KEEP / 2).for_each(|_| self.free_any());
        }
    }

    /// As one who only frees what others allocated.
    pub(crate) fn only_receive(&mut self) {
        self.memory.turn(&mut self.random);
        let n = self.random.below(16);
        let blocks = std::mem::take(&mut *self.shared.parcel(n));
        blocks.into_iter().for_each(|block| self.free(block));
    }

    fn size(&mut self) -> usize {
        match self.random.below(4_000) {
            0 => self.random.below(80 * MIB),
            1..=10 => self.random.below(4 * MIB),
            11..=100 => self.random.below(300 << 10),
            101..=400 => KIB32 - 256 + self.random.below(512),
            401..=1_200 => self.random.below(8 << 10),
            _ => self.random.below(400),
        }
    }

    fn layout(&mut self) -> Layout {
        if self.random.once_in(12) {
            return Layout::from_size_align(KIB32, KIB32).unwrap();
        }
        let size = self.size();
        let align = match self.random.below(400) {
            0 => 1 << (16 + self.random.below(11)),
            1..=40 => 1 << self.random.below(16),
            _ => 8,
        };
        Layout::from_size_align(size, align).unwrap()
    }

    fn allocate(&mut self) {
        let (layout, zeroed) = (self.layout(), self.random.once_in(4));
        let Some(at) = self.shared.count(self.memory.alloc(layout, zeroed)) else { return };
        assert_eq!(at.as_ptr() as usize % layout.align(), 0, "{layout:?}");
        self.shared.oracle.enter(at, layout.size());
        if zeroed {
            assert_zero(at, layout.size());
        }
        let seed = self.random.next();
        self.keep(Block { at, layout, seed });
    }

    fn keep(&mut self, block: Block) {
        block.fill();
        self.bytes += block.layout.size();
        self.blocks.push(block);
    }

    fn take_any(&mut self) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let at = self.random.below(self.blocks.len());
        let block = self.blocks.swap_remove(at);
        self.bytes -= block.layout.size();
        Some(block)
    }

    fn resize(&mut self) {
        let Some(mut block) = self.take_any() else { return };
        let size = match self.random.below(4_000) {
            0 => 64 * MIB + self.random.below(16 * MIB),
            1..=1_300 => block.layout.size() * 2 + 1,
            1_301..=2_400 => block.layout.size() / 2 + 1,
            _ => self.size().max(1),
        };
        let old = block.layout.size();
        block.check(old);
        self.shared.oracle.leave(block.at, old);
        // SAFETY: the block is ours and has that layout.
        let moved = unsafe { self.memory.realloc(block.at, block.layout, size) };
        if let Some(at) = self.shared.count(moved) {
            block.at = at;
            self.shared.oracle.enter(at, size);
            block.check(old.min(size));
            block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
            assert_eq!(at.as_ptr() as usize % block.layout.align(), 0);
        } else {
            self.shared.oracle.enter(block.at, old);
        }
        self.keep(block);
    }

    fn hand_over(&mut self) {
        let Some(block) = self.take_any() else { return };
        let n = self.random.below(16);
        if let Err(block) = self.shared.send(n, block) {
            self.free(block);
        }
    }

    fn receive(&mut self) {
        let n = self.random.below(16);
        let block = self.shared.parcel(n).pop();
        let Some(block) = block else { return };
        block.check(block.layout.size());
        if self.random.once_in(3) {
            self.bytes += block.layout.size();
            self.blocks.push(block);
        } else {
            self.free(block);
        }
    }

    fn free_any(&mut self) {
        if let Some(block) = self.take_any() {
            self.free(block);
        }
    }

    fn free(&mut self, block: Block) {
        block.check(block.layout.size());
        self.shared.oracle.leave(block.at, block.layout.size());
        // SAFETY: the block is ours and is not used again.
        unsafe { self.memory.free(block.at, block.layout) };
    }

    /// Frees everything, parcels too; true if no block lives then.
    pub(crate) fn end(mut self) -> bool {
        while let Some(block) = self.take_any() {
            self.free(block);
        }
        for n in 0..16 {
            let blocks = std::mem::take(&mut *self.shared.parcel(n));
            blocks.into_iter().for_each(|block| self.free(block));
        }
        self.shared.oracle.live() == 0
    }
}

fn assert_zero(at: NonNull<u8>, size: usize) {
    // SAFETY: the block is the caller's and has that many bytes, all written or fresh.
    let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), size) };
    // Every byte of small blocks; of large ones some, as reading them all would cost their faults.
    let step = if size > 64 << 10 { size / 97 } else { 1 };
    assert!(bytes.iter().step_by(step).all(|&byte| byte == 0), "{size} bytes at {at:p}");
}
