//! What the rows are made of: a block of memory, and random numbers that are the same for every peer.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::ptr::NonNull;

/// One allocated block. Its size is known to the one who frees it, as in all of Rust.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory with one owner.
unsafe impl Send for Block {}

impl Block {
    /// Allocates `size` bytes (not zero) and writes the first of them.
    ///
    /// # Panics
    ///
    /// If there is no memory.
    #[inline]
    pub fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 8).expect("a small size");
        // SAFETY: no caller asks for a size of zero.
        let start = NonNull::new(unsafe { alloc(layout) }).expect("memory is left");
        // SAFETY: the block has at least one byte and is ours.
        unsafe { start.write(1) };
        // The optimizer may remove a pair of calls whose pointer nobody sees.
        Self { start: black_box(start), layout }
    }

    /// As [`Block::new`], and writes all of it, as who fills it would.
    pub fn filled(size: usize) -> Self {
        let block = Self::new(size);
        // SAFETY: the block has `size` bytes and is ours.
        unsafe { block.start.write_bytes(1, size) };
        block
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Marsaglia's xorshift64: the same sequence for every peer.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        // Odd times a constant: never zero, which xorshift could not leave.
        Self((2 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it has no end")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, by taking the high part of a product.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A size from 16 to `most` bytes, all equally likely.
    pub fn size(&mut self, most: usize) -> usize {
        16 + self.below(most - 15)
    }

    /// A size from 16 to 8,191 bytes, half as likely when twice as large: programs ask so.
    pub fn skewed_size(&mut self) -> usize {
        let power = 16 << self.below(9);
        power + self.below(power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sizes_stay_in_their_range() {
        let mut random = Random::new(1);
        let sizes: Vec<usize> = (0..100_000).map(|_| random.size(1024)).collect();
        assert_eq!(sizes.iter().min(), Some(&16));
        assert_eq!(sizes.iter().max(), Some(&1024));
        let skewed: Vec<usize> = (0..100_000).map(|_| random.skewed_size()).collect();
        assert_eq!(skewed.iter().min(), Some(&16));
        assert!((8000..8192).contains(skewed.iter().max().unwrap()));
    }
}
