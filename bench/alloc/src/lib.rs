//! The allocator rows, written once.
//!
//! Each peer is a program that installs its `#[global_allocator]` and calls [`main`]. All numbers
//! are CPU time per operation: an allocator that works in a background thread pays for it here.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::ptr::NonNull;

use harness::Request;

/// Blocks that are allocated before the first of them is freed.
const BATCH: usize = 1000;
/// Live blocks while one after the other is replaced.
const LIVE: usize = 10_000;

/// Runs the row that the command line names, on this thread.
pub fn main(peer: &str) {
    run(&Request::from_args(peer));
}

/// Runs the row that was asked for, on the calling thread.
pub fn run(request: &Request) {
    match request.row.as_str() {
        "pair-16" => pair(request, 16),
        "pair-256" => pair(request, 256),
        "pair-4096" => pair(request, 4096),
        "batch-64" => batch(request, 64),
        "replace-10k" => replace(request),
        _ => request.unknown(),
    }
}

/// One allocated block. Its size is known to the one who frees it, as in all of Rust.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// Allocates `size` bytes (not zero) and writes the first of them.
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 8).expect("a small size");
        // SAFETY: no caller asks for a size of zero.
        let start = NonNull::new(unsafe { alloc(layout) }).expect("memory is left");
        // SAFETY: the block has at least one byte and is ours.
        unsafe { start.write(1) };
        // The optimizer may remove a pair of calls whose pointer nobody sees.
        Self { start: black_box(start), layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Allocates a block and frees it, again and again.
fn pair(request: &Request, size: usize) {
    let pairs = request.count(5_000_000);
    let size = black_box(size);
    let time = harness::median_cpu(request.passes(), || {
        (0..pairs).for_each(|_| drop(Block::new(size)));
    });
    request.report_each("per pair", time, pairs);
}

/// Allocates a batch, then frees it in the same order.
fn batch(request: &Request, size: usize) {
    let batches = request.count(5000);
    let size = black_box(size);
    let mut blocks = Vec::with_capacity(BATCH);
    let time = harness::median_cpu(request.passes(), || {
        for _ in 0..batches {
            blocks.extend((0..BATCH).map(|_| Block::new(size)));
            blocks.drain(..).for_each(drop);
        }
    });
    request.report_each("per pair", time, batches * BATCH);
}

/// Replaces a random one of many live blocks of 16 to 1024 bytes.
fn replace(request: &Request) {
    let times = request.count(2_000_000);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut live: Vec<Option<Block>> = (0..LIVE).map(|_| Some(Block::new(random.size()))).collect();
    let time = harness::median_cpu(request.passes(), || {
        for _ in 0..times {
            let place = &mut live[random.below(LIVE)];
            // The old one goes first: there are never more than `LIVE`.
            *place = None;
            *place = Some(Block::new(random.size()));
        }
    });
    request.report_each("per replacement", time, times);
}

/// Marsaglia's xorshift64: the same sequence for every peer.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, by taking the high part of a product.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    fn size(&mut self) -> usize {
        16 + self.below(1009)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sizes_stay_in_their_range() {
        let mut random = Random(1);
        let sizes: Vec<usize> = (0..100_000).map(|_| random.size()).collect();
        assert_eq!(sizes.iter().min(), Some(&16));
        assert_eq!(sizes.iter().max(), Some(&1024));
    }
}
