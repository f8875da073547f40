//! Blocks never overlap, keep what was written to them, and are aligned: random operations from
//! several threads, each block filled with a pattern of its own that is checked before it goes.

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::{Mutex, mpsc},
    thread,
};

use alloc_core::{Cache, Heap, pages::os::Os};

/// A block, its layout, and the seed of its pattern.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    seed: u8,
}

// SAFETY: a block belongs to whoever holds the value.
unsafe impl Send for Block {}

impl Block {
    fn fill(&self) {
        for i in 0..self.layout.size() {
            // SAFETY: inside the block.
            unsafe { self.at.add(i).write(self.seed.wrapping_add(i as u8)) };
        }
    }

    fn check(&self, bytes: usize) {
        for i in 0..bytes {
            // SAFETY: inside the block.
            let byte = unsafe { self.at.add(i).read() };
            assert_eq!(byte, self.seed.wrapping_add(i as u8), "byte {i} of {:?}", self.layout);
        }
    }
}

/// xorshift: enough to mix sizes, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn layout(&mut self) -> Layout {
        let size = match self.below(100) {
            0 => self.below(300_000),
            1..=9 => self.below(40_000),
            10..=39 => self.below(2_000),
            _ => self.below(200),
        };
        let align = if self.below(10) == 0 { 1 << self.below(15) } else { 8 };
        Layout::from_size_align(size, align).unwrap()
    }
}

fn allocate(cache: &mut Cache<'_, Os>, random: &mut Random) -> Block {
    let layout = random.layout();
    let zeroed = random.below(4) == 0;
    let at = if zeroed { cache.alloc_zeroed(layout) } else { cache.alloc(layout) }.unwrap();
    assert_eq!(at.as_ptr() as usize % layout.align(), 0, "{layout:?}");
    if zeroed {
        // SAFETY: the block has that many bytes, all written.
        let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), layout.size()) };
        assert!(bytes.iter().all(|&byte| byte == 0), "{layout:?}");
    }
    let block = Block { at, layout, seed: random.below(256) as u8 };
    block.fill();
    block
}

fn resize(cache: &mut Cache<'_, Os>, random: &mut Random, mut block: Block) -> Block {
    let size = random.layout().size().max(1);
    // SAFETY: the block is ours and has that layout.
    block.at = unsafe { cache.realloc(block.at, block.layout, size) }.unwrap();
    block.check(block.layout.size().min(size));
    block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
    assert_eq!(block.at.as_ptr() as usize % block.layout.align(), 0);
    block.fill();
    block
}

fn free(cache: &mut Cache<'_, Os>, block: Block) {
    block.check(block.layout.size());
    // SAFETY: the block is ours and is not used again.
    unsafe { cache.free(block.at) };
}

/// One thread's life: allocate, resize, free, and send every fifth block to another thread.
fn live(
    heap: &Heap<Os>,
    seed: u64,
    steps: usize,
    to: mpsc::Sender<Block>,
    from: &Mutex<mpsc::Receiver<Block>>,
) {
    let (mut cache, mut random, mut blocks) = (heap.cache(), Random(seed), Vec::new());
    for _ in 0..steps {
        match random.below(8) {
            0..=3 => blocks.push(allocate(&mut cache, &mut random)),
            4 if !blocks.is_empty() => {
                let block = blocks.swap_remove(random.below(blocks.len()));
                blocks.push(resize(&mut cache, &mut random, block));
            }
            5 if !blocks.is_empty() => {
                to.send(blocks.swap_remove(random.below(blocks.len()))).unwrap();
            }
            6 => {
                if let Ok(block) = from.lock().unwrap().try_recv() {
                    free(&mut cache, block);
                }
            }
            _ if !blocks.is_empty() => {
                free(&mut cache, blocks.swap_remove(random.below(blocks.len())));
            }
            _ => {}
        }
        if blocks.len() > 2_000 {
            blocks.drain(..1_000).for_each(|block| free(&mut cache, block));
        }
    }
    blocks.into_iter().for_each(|block| free(&mut cache, block));
}

#[test]
fn blocks_are_disjoint_aligned_and_keep_their_contents() {
    let heap = Heap::new(Os::new());
    let (to, from) = mpsc::channel();
    let from = Mutex::new(from);
    // Fewer where each takes long: under valgrind.
    let steps =
        std::env::var("RANDOM_STEPS").map_or(10_000, |steps| steps.parse().expect("a number"));
    thread::scope(|scope| {
        for seed in 1..=4 {
            let (heap, to, from) = (&heap, to.clone(), &from);
            scope.spawn(move || live(heap, 0x9e37_79b9 * seed, steps, to, from));
        }
    });
    let mut cache = heap.cache();
    drop(to);
    from.into_inner().unwrap().into_iter().for_each(|block| free(&mut cache, block));
    drop(cache);
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.small, stats.large, stats.free), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.mapped, stats.released + stats.metadata + stats.tables);
}
