//! Programs that ask where blocks lie: in one cache line with another thread's, or in fresh pages.

use std::{hint::black_box, thread};

use bench_alloc::block::{Block, Random};
use harness::Request;

const THREADS: usize = 2;

/// A block of eight bytes that is written many times; a neighbour in its cache line would slow that down.
struct Word(Box<u64>);

impl Word {
    fn new() -> Self {
        Word(black_box(Box::new(0)))
    }

    fn write(&mut self, times: usize) {
        for _ in 0..times {
            // SAFETY: a word of ours. Volatile, since each write is to reach the cache.
            unsafe { (&raw mut *self.0).write_volatile(*self.0 + 1) };
        }
    }
}

/// Each thread frees a block that the main thread allocated beside the others' (Hoard's passive false
/// sharing), then allocates its own and writes them.
pub(crate) fn cache_scratch(request: &Request) {
    let rounds = request.count(8_000);
    let given: Vec<Word> = (0..THREADS).map(|_| Word::new()).collect();
    let threads: Vec<_> = given
        .into_iter()
        .map(|word| {
            thread::spawn(move || {
                drop(word);
                write_own(rounds);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

/// Each thread allocates a block, writes it, frees it (Hoard's active false sharing).
pub(crate) fn cache_thrash(request: &Request) {
    let rounds = request.count(8_000);
    let threads: Vec<_> = (0..THREADS).map(|_| thread::spawn(move || write_own(rounds))).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

fn write_own(rounds: usize) {
    for _ in 0..rounds {
        Word::new().write(100_000);
    }
}

/// Replaces random ones of 20 blocks of 5 to 25 MB, and writes them whole.
pub(crate) fn malloc_large(request: &Request) {
    let mut random = Random::new(14);
    let mut blocks: Vec<Option<Block>> = (0..20).map(|_| None).collect();
    for _ in 0..request.count(400) {
        let place = &mut blocks[random.below(20)];
        *place = None;
        *place = Some(Block::filled((5 << 20) + random.below(20 << 20)));
    }
}
