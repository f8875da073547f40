//! Buckets of the heap's profile: whoever adds one finds it again, behind whatever others put before it, and no free is
//! counted without its allocation.
//!
//! loom does not look at the words of a bucket that are never written again, its size and its stack. They are published
//! with the link, for which it does when the link was written anew after a failed exchange.
#![cfg(loom)]

use std::{cell::UnsafeCell, mem::MaybeUninit, ptr::NonNull};

use alloc_core::profile::bucket::{Bucket, Chain};
use loom::{sync::Arc, thread};
use loom_tests::model;

/// A chain, and memory for its buckets, which are as they are left when the world ends.
struct World {
    chain: Chain,
    rooms: [UnsafeCell<MaybeUninit<Bucket>>; 2],
}

// SAFETY: each room is used by one call of `add`, and by who finds the bucket in the chain.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

/// The bytes of blocks of a bucket, by its number.
const SIZES: [usize; 2] = [10, 20];

impl World {
    fn new() -> Arc<Self> {
        let room = || UnsafeCell::new(MaybeUninit::uninit());
        Arc::new(World { chain: Chain::new(), rooms: [room(), room()] })
    }

    /// Adds bucket `n`, with a stack of `n` frames, and counts a block.
    fn add(&self, n: usize) {
        let room = NonNull::new(self.rooms[n].get()).unwrap().cast();
        // SAFETY: it is in the world, and each model adds a bucket once.
        unsafe { self.chain.add(room, &[7, 7][..n], SIZES[n]) }.allocated();
    }

    /// As a sampler does at its first sample, and at the next one of that size and stack.
    fn add_and_find(&self, n: usize) {
        assert!(self.chain.find(&[7, 7][..n], SIZES[n]).is_none());
        self.add(n);
        assert!(self.chain.find(&[7, 7][..n], SIZES[n]).is_some(), "bucket {n} is not found again");
    }

    /// The sizes of the buckets in the chain, all of which have been added and counted.
    fn sizes(&self) -> Vec<usize> {
        let size = |bucket: &Bucket| {
            let sample = bucket.sample(1);
            let n = SIZES.iter().position(|&size| size == sample.size).unwrap();
            assert_eq!((sample.frames.len(), sample.allocated, sample.freed), (n, 1, 0));
            sample.size
        };
        self.chain.iter().map(size).collect()
    }
}

#[test]
fn whoever_adds_a_bucket_finds_it_again() {
    model("profile", 2, || {
        let world = World::new();
        let adder = {
            let world = world.clone();
            thread::spawn(move || world.add_and_find(1))
        };
        world.add_and_find(0);
        adder.join().unwrap();
        let mut sizes = world.sizes();
        sizes.sort_unstable();
        assert_eq!(sizes, SIZES);
    });
}

#[test]
fn no_free_is_read_without_its_allocation() {
    model("profile, counts", 2, || {
        let world = World::new();
        world.add(0);
        let blocks: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || {
                    let bucket = world.chain.find(&[], SIZES[0]).unwrap();
                    bucket.allocated();
                    bucket.freed();
                })
            })
            .collect();
        let sample = world.chain.find(&[], SIZES[0]).unwrap().sample(1);
        assert!(sample.freed < sample.allocated, "one block lives: {sample:?}");
        blocks.into_iter().for_each(|block| block.join().unwrap());
        let sample = world.chain.find(&[], SIZES[0]).unwrap().sample(1);
        assert_eq!((sample.allocated, sample.freed), (3, 2));
    });
}
