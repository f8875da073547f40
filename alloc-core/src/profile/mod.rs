//! A sampled profile of the heap: which callers hold how much memory.
//!
//! # Problem
//!
//! To note every allocation would cost more than the allocation. So one is noted every 512 KiB on
//! average (Go's figure), with its stack, and stands for all of those bytes. The distances are random,
//! *geometric*: each byte has the same chance of being the sampled one, whatever pattern the program has.
//!
//! # No cost on the fast path
//!
//! Others count down in each allocation. Here a cache counts when it *refills*: it then knows how many
//! bytes of cells it has got, which are about to be handed out, and charges all of them to its `Meter`.
//! If the meter runs out, the allocation that caused the refill is the sample. A sampled block gets pages
//! of its own and no cell, so patterns of the program drift against the refills, and the free of a
//! sampled block is seen where spans are freed. To get there, a cache that has learned of the profile
//! looks up the span of each block that is freed into it; one that has not may keep a sampled block among
//! its free cells for a while. Without a profile a refill loads one word, and a free one flag.
//!
//! What is not seen: cells that are freed and handed out again between two refills. So memory in use is
//! right up to a magazine per class and cache; the total ever allocated is a lower bound.
//!
//! # Buckets
//!
//! Samples of one size and stack share a `Bucket`. Buckets are chained by hash, only ever added, and
//! counted up by anyone: no lock. Two threads may add the same bucket at once; readers sum, so that
//! does no harm. The span of a sampled block leads to its bucket, which counts its free.
//!
//! Sources: Go's `mprof.go` and `fastexprand`; tcmalloc's sampled spans.

#[doc(hidden)]
pub mod bucket;
mod meter;

use core::{fmt, ptr::NonNull};

use crate::{
    Cache, Error, Heap, harden::Frames, pages::PageSource, size_class::TABLE, span::SpanPtr,
    sync::Ordering,
};
pub(crate) use bucket::Bucket;
use bucket::Buckets;
pub(crate) use meter::Meter;

/// Return addresses that are kept of a sample's stack.
pub const DEPTH: usize = 32;

/// How a heap is profiled.
///
/// ```
/// use alloc_core::profile::Profiling;
/// const NO_STACKS: Profiling = Profiling::new(|_| 0).every(64 << 10);
/// println!("{NO_STACKS:?}");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a value that is given to `Heap::profile`"]
pub struct Profiling {
    frames: Frames,
    every: usize,
}

impl Profiling {
    /// A sample every 512 KiB on average, with the stacks that `frames` tells.
    pub const fn new(frames: Frames) -> Self {
        Profiling { frames, every: 512 << 10 }
    }

    /// A sample every `bytes` bytes on average. Less than 64 KiB, the longest span, tells no more.
    pub const fn every(mut self, bytes: usize) -> Self {
        self.every = if bytes == 0 { 1 } else { bytes };
        self
    }
}

/// What is known of one size at one stack. Counts are of samples: each stands for many blocks.
///
/// A sample of `size` bytes stands for `1 / (1 − e^(−size/every))` blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample<'h> {
    /// Return addresses, the innermost first.
    pub frames: &'h [usize],
    /// Bytes of a block: those of its size class, or those asked for.
    pub size: usize,
    /// Blocks that were sampled.
    pub allocated: usize,
    /// Those of them that were freed.
    pub freed: usize,
    /// Bytes from sample to sample, on average.
    pub every: usize,
}

/// The profile of a heap, in its own records.
pub(crate) struct Profile {
    profiling: Profiling,
    buckets: Buckets,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").field("profiling", &self.profiling).finish_non_exhaustive()
    }
}

impl<S: PageSource> Heap<S> {
    /// The profile, if there is one. Asked on slow paths only.
    #[inline]
    pub(crate) fn profiled(&self) -> Option<&Profile> {
        // Acquire: pairs with the Release in `profile`, so that the record is seen whole.
        let profile = self.profile.load(Ordering::Acquire);
        // SAFETY: null or a record that was written before and lives as long as the heap.
        unsafe { profile.as_ref() }
    }

    /// Calls `each` for each size and stack that was ever sampled.
    ///
    /// Others allocate meanwhile; what is freed is read before what was allocated, so that no count of
    /// blocks in use is negative.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os, profile::Profiling};
    /// use std::alloc::Layout;
    /// let heap = Heap::new(Os::new());
    /// heap.profile(Profiling::new(|_| 0).every(1))?;
    /// let block = heap.cache().alloc(Layout::new::<[u8; 5000]>())?;
    /// let mut in_use = 0;
    /// heap.samples(|sample| in_use += sample.allocated - sample.freed);
    /// assert_eq!(in_use, 1);
    /// # unsafe { heap.free(block) };
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn samples(&self, mut each: impl FnMut(Sample<'_>)) {
        let Some(profile) = self.profiled() else { return };
        profile.buckets.iter().for_each(|bucket| each(bucket.sample(profile.profiling.every)));
    }
}

impl<S: PageSource> Heap<S> {
    /// From now on, samples the allocations of all caches. The first call decides; later ones
    /// change nothing. A hardened heap takes no samples.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] if there is no room for the records.
    ///
    /// ```
    /// use alloc_core::{Heap, pages::os::Os, profile::Profiling};
    /// use std::alloc::Layout;
    ///
    /// let heap = Heap::new(Os::new());
    /// heap.profile(Profiling::new(|_| 0).every(1 << 20))?;
    /// let mut cache = heap.cache();
    /// for _ in 0..100_000 {
    ///     cache.alloc(Layout::new::<[u8; 1000]>())?;
    /// }
    /// let mut samples = 0;
    /// heap.samples(|sample| samples += sample.allocated - sample.freed);
    /// assert!((50..200).contains(&samples), "{samples} samples of a MiB stand for 98");
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn profile(&self, profiling: Profiling) -> Result<(), Error> {
        let _undisturbed = self.undisturbed();
        let (size, align) = (size_of::<Profile>(), align_of::<Profile>());
        let at = self.meta.alloc(self.source(), size, align).ok_or(Error::OutOfMemory)?;
        let at = at.cast::<Profile>();
        // SAFETY: fresh memory for one.
        unsafe { at.write(Profile { profiling, buckets: Buckets::new() }) };
        // Release: publishes the record; pairs with the Acquire in `profiled`. Relaxed on failure:
        // another call was first, and its record stays.
        let _ = self.profile.compare_exchange(
            core::ptr::null_mut(),
            at.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        Ok(())
    }

    /// Enters a block of `size` bytes, which has a span of its own, with the caller's stack.
    #[cold]
    fn enter_sample(&self, profile: &Profile, block: NonNull<u8>, size: usize) {
        let mut frames = [0; DEPTH];
        let len = (profile.profiling.frames)(&mut frames).min(DEPTH);
        let chain = profile.buckets.chain(&frames[..len], size);
        let bucket = chain.find(&frames[..len], size).or_else(|| {
            let (bytes, align) = (size_of::<Bucket>(), align_of::<Bucket>());
            let room = self.meta.alloc(self.source(), bytes, align)?.cast();
            // SAFETY: fresh memory for one, which lives as long as the heap.
            Some(unsafe { chain.add(room, &frames[..len], size) })
        });
        // Without room for another bucket the block is one that was not sampled.
        if let (Some(bucket), Some(span)) = (bucket, self.map.get(block.as_ptr() as usize)) {
            bucket.allocated();
            // Relaxed: handed on with the block.
            span.bucket.store(core::ptr::from_ref(bucket).cast_mut(), Ordering::Relaxed);
        }
    }
}

/// A span is about to be freed: its block may have been a sample.
#[inline]
pub(crate) fn leave(span: SpanPtr) {
    // Relaxed: written before the block was handed out; the span is the caller's now.
    let bucket = span.bucket.load(Ordering::Relaxed);
    // SAFETY: null or a bucket, which lives as long as the heap.
    if let Some(bucket) = unsafe { bucket.as_ref() } {
        bucket.freed();
        span.bucket.store(core::ptr::null_mut(), Ordering::Relaxed);
    }
}

impl<S: PageSource> Cache<'_, S> {
    /// The first cell of a refill, if it is a sample: a block of its own in its place.
    ///
    /// The refill got `cells` cells.
    pub(crate) fn sample(&mut self, class: usize, cells: usize) -> Option<NonNull<u8>> {
        let heap = self.heap();
        let profile = heap.profiled()?;
        self.profiled = true;
        let size = TABLE[class].size as usize;
        if !self.meter.charge(cells * size, profile.profiling.every) {
            return None;
        }
        let (block, _) = heap.alloc_large(size, 1).ok()?;
        heap.enter_sample(profile, block, size);
        Some(block)
    }

    /// Notes a large block that was just allocated, if it is a sample.
    pub(crate) fn sample_large(&mut self, block: NonNull<u8>, size: usize) {
        let heap = self.heap();
        let Some(profile) = heap.profiled() else { return };
        if heap.hardened().is_none() && self.meter.charge_one(size, profile.profiling.every) {
            heap.enter_sample(profile, block, size);
        }
    }
}
