//! Counts per size and stack, in chains by hash. Anyone adds and counts; nobody takes away.
//!
//! Model: `loom-tests/tests/alloc_profile.rs`.

use core::{
    array, iter,
    ptr::{self, NonNull},
};

use super::{DEPTH, Sample};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

const CHAINS: usize = 1024;

/// Samples of one size at one stack.
#[derive(Debug)]
pub struct Bucket {
    frames: [usize; DEPTH],
    len: usize,
    size: usize,
    allocated: AtomicUsize,
    freed: AtomicUsize,
    next: AtomicPtr<Bucket>,
}

impl Bucket {
    fn stack(&self) -> &[usize] {
        &self.frames[..self.len]
    }

    /// Counts a sampled block.
    pub fn allocated(&self) {
        // Relaxed: a count; the hand-over of the block orders it before its free.
        self.allocated.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the free of one.
    pub fn freed(&self) {
        // Release: comes after the count of the block's allocation, for who reads this one first.
        self.freed.fetch_add(1, Ordering::Release);
    }

    /// The counts, of samples that are `every` bytes apart.
    pub fn sample(&self, every: usize) -> Sample<'_> {
        // Acquire: pairs with the Release in `freed`; allocations of what was freed are counted.
        let freed = self.freed.load(Ordering::Acquire);
        // Relaxed: ordered by the load above.
        let allocated = self.allocated.load(Ordering::Relaxed);
        Sample { frames: self.stack(), size: self.size, allocated, freed, every }
    }
}

/// All buckets.
pub(super) struct Buckets {
    chains: [Chain; CHAINS],
}

impl Buckets {
    pub(super) fn new() -> Self {
        Buckets { chains: array::from_fn(|_| Chain::new()) }
    }

    /// The chain of a size and stack.
    pub(super) fn chain(&self, stack: &[usize], size: usize) -> &Chain {
        let mix = |hash: usize, word: &usize| {
            (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        };
        &self.chains[stack.iter().fold(size, mix) % CHAINS]
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.chains.iter().flat_map(Chain::iter)
    }
}

/// Buckets whose hashes are alike.
#[derive(Debug)]
pub struct Chain(AtomicPtr<Bucket>);

impl Chain {
    /// No bucket.
    #[allow(clippy::new_without_default, reason = "the heap's profile and models alone make one")]
    pub fn new() -> Self {
        Chain(AtomicPtr::new(ptr::null_mut()))
    }

    /// The bucket of a size and stack, if there is one.
    pub fn find(&self, stack: &[usize], size: usize) -> Option<&Bucket> {
        self.iter().find(|bucket| bucket.size == size && bucket.stack() == stack)
    }

    /// Adds a bucket.
    ///
    /// # Safety
    ///
    /// `room` is memory for one, used for nothing else as long as the chain lives.
    pub unsafe fn add(&self, room: NonNull<Bucket>, stack: &[usize], size: usize) -> &Bucket {
        let mut frames = [0; DEPTH];
        frames[..stack.len()].copy_from_slice(stack);
        // Relaxed: only compared and linked to; readers get it by the exchange below.
        let first = self.0.load(Ordering::Relaxed);
        let (allocated, freed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let next = AtomicPtr::new(first);
        // SAFETY: promised by the caller.
        let bucket = unsafe {
            room.write(Bucket { frames, len: stack.len(), size, allocated, freed, next });
            room.as_ref()
        };
        // Release: publishes the bucket; pairs with the Acquire in `iter`. Relaxed on failure:
        // as the load above. Whoever was first stays linked, as every exchange heads a sequence.
        while let Err(now) = self.0.compare_exchange_weak(
            // Relaxed: written by ourselves.
            bucket.next.load(Ordering::Relaxed),
            room.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        ) {
            // Relaxed: published by the exchange.
            bucket.next.store(now, Ordering::Relaxed);
        }
        bucket
    }

    /// The buckets, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        // Acquire: pairs with the Release in `add`.
        // SAFETY: null or a bucket that lives as long as the chain.
        let first = unsafe { self.0.load(Ordering::Acquire).as_ref() };
        iter::successors(first, |bucket| {
            // Relaxed: written before the bucket was published, as was the one that it leads to.
            // SAFETY: as above.
            unsafe { bucket.next.load(Ordering::Relaxed).as_ref() }
        })
    }
}
