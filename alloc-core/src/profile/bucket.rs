//! Counts per size and stack, in chains by hash. Anyone adds and counts; nobody takes away.

use core::ptr::{self, NonNull};

use super::{DEPTH, Sample};
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

const CHAINS: usize = 1024;

/// Samples of one size at one stack.
#[derive(Debug)]
pub(crate) struct Bucket {
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

    pub(super) fn allocated(&self) {
        // Relaxed: a count; the hand-over of the block orders it before its free.
        self.allocated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn freed(&self) {
        // Release: comes after the count of the block's allocation, for who reads this one first.
        self.freed.fetch_add(1, Ordering::Release);
    }

    pub(super) fn sample(&self, every: usize) -> Sample<'_> {
        // Acquire: pairs with the Release in `freed`; allocations of what was freed are counted.
        let freed = self.freed.load(Ordering::Acquire);
        // Relaxed: ordered by the load above.
        let allocated = self.allocated.load(Ordering::Relaxed);
        Sample { frames: self.stack(), size: self.size, allocated, freed, every }
    }
}

/// All buckets.
pub(super) struct Buckets {
    chains: [AtomicPtr<Bucket>; CHAINS],
}

impl Buckets {
    pub(super) fn new() -> Self {
        Buckets { chains: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    fn chain(&self, stack: &[usize], size: usize) -> &AtomicPtr<Bucket> {
        let mix = |hash: usize, word: &usize| {
            (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        };
        &self.chains[stack.iter().fold(size, mix) % CHAINS]
    }

    /// The bucket of a size and stack, if there is one.
    pub(super) fn find(&self, stack: &[usize], size: usize) -> Option<&Bucket> {
        buckets(self.chain(stack, size))
            .find(|bucket| bucket.size == size && bucket.stack() == stack)
    }

    /// Adds a bucket.
    ///
    /// # Safety
    ///
    /// `room` is memory for one, used for nothing else as long as the buckets live.
    pub(super) unsafe fn add(
        &self,
        room: NonNull<Bucket>,
        stack: &[usize],
        size: usize,
    ) -> &Bucket {
        let mut frames = [0; DEPTH];
        frames[..stack.len()].copy_from_slice(stack);
        let chain = self.chain(stack, size);
        // Relaxed: only compared and linked to; readers get it by the exchange below.
        let first = chain.load(Ordering::Relaxed);
        let (allocated, freed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let next = AtomicPtr::new(first);
        // SAFETY: promised by the caller.
        let bucket = unsafe {
            room.write(Bucket { frames, len: stack.len(), size, allocated, freed, next });
            room.as_ref()
        };
        // Release: publishes the bucket; pairs with the Acquire in `buckets`. Relaxed on failure:
        // as the load above. Whoever was first stays linked, as every exchange heads a sequence.
        while let Err(now) = chain.compare_exchange_weak(
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

    /// Calls `each` for every bucket.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Bucket)) {
        self.chains.iter().flat_map(buckets).for_each(&mut each);
    }
}

/// The buckets of a chain, the newest first.
fn buckets(chain: &AtomicPtr<Bucket>) -> impl Iterator<Item = &Bucket> {
    // Acquire: pairs with the Release in `add`.
    // SAFETY: null or a bucket that lives as long as the chain.
    let first = unsafe { chain.load(Ordering::Acquire).as_ref() };
    core::iter::successors(first, |bucket| {
        // Relaxed: written before the bucket was published, as was the one that it leads to.
        // SAFETY: as above.
        unsafe { bucket.next.load(Ordering::Relaxed).as_ref() }
    })
}
