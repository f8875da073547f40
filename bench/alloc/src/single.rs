//! Rows on one thread.

use std::collections::BTreeMap;
use std::hint::black_box;

use harness::{Request, median_cpu};

use crate::block::{Block, Random};
use crate::report;

/// Blocks that are allocated before the first of them is freed.
const BATCH: usize = 1000;

/// Allocates a block and frees it, again and again.
pub(crate) fn pair(request: &Request, size: usize, pairs: usize) {
    let pairs = request.count(pairs);
    let size = black_box(size);
    let time = median_cpu(request.passes(), || {
        (0..pairs).for_each(|_| drop(Block::new(size)));
    });
    report(request, time, pairs);
}

/// Allocates a batch, then frees it in the same order.
pub(crate) fn batch(request: &Request, size: usize) {
    let batches = request.count(5000);
    let size = black_box(size);
    let mut blocks = Vec::with_capacity(BATCH);
    let time = median_cpu(request.passes(), || {
        for _ in 0..batches {
            blocks.extend((0..BATCH).map(|_| Block::new(size)));
            blocks.drain(..).for_each(drop);
        }
    });
    report(request, time, batches * BATCH);
}

/// Replaces a random one of `live` blocks of 16 to `most` bytes.
pub(crate) fn replace(request: &Request, live: usize, most: usize) {
    replace_sizes(request, live, |random| random.size(most));
}

/// As [`replace`], with sizes as programs ask for them, up to 8 KiB.
pub(crate) fn churn(request: &Request) {
    replace_sizes(request, 50_000, Random::skewed_size);
}

fn replace_sizes(request: &Request, live: usize, size: impl Fn(&mut Random) -> usize) {
    let times = request.count(2_000_000);
    let mut random = Random::new(1);
    let mut blocks: Vec<Option<Block>> =
        (0..live).map(|_| Some(Block::new(size(&mut random)))).collect();
    let time = median_cpu(request.passes(), || {
        for _ in 0..times {
            let place = &mut blocks[random.below(live)];
            // The old one goes first: there are never more than `live`.
            *place = None;
            *place = Some(Block::new(size(&mut random)));
        }
    });
    report(request, time, times);
}

/// Replaces a random one of 32 blocks of 32 KiB to 2 MiB, of which one byte is written.
pub(crate) fn large(request: &Request) {
    let times = request.count(300_000);
    let mut random = Random::new(2);
    let size = |random: &mut Random| {
        let power = (32 << 10) << random.below(6);
        power + random.below(power)
    };
    let mut blocks: Vec<Option<Block>> =
        (0..32).map(|_| Some(Block::new(size(&mut random)))).collect();
    let time = median_cpu(request.passes(), || {
        for _ in 0..times {
            let place = &mut blocks[random.below(32)];
            *place = None;
            *place = Some(Block::new(size(&mut random)));
        }
    });
    report(request, time, times);
}

/// Vectors that grow one element at a time, to 64 bytes up to 1 MiB.
pub(crate) fn grow(request: &Request) {
    let vectors = request.count(20_000);
    let mut random = Random::new(3);
    let time = median_cpu(request.passes(), || {
        for _ in 0..vectors {
            let elements = 8 << random.below(15);
            let mut vector: Vec<u64> = Vec::new();
            while vector.len() < elements {
                vector.extend_from_slice(&[1; 8]);
            }
            black_box(&vector);
        }
    });
    report(request, time, vectors);
}

/// A vector that doubles from 1 to 512 MiB, written as it grows, with a block behind each step of it, so that it
/// cannot stay where it lies.
pub(crate) fn grow_huge(request: &Request) {
    let most = request.count(512 << 20);
    let time = median_cpu(1, || {
        let mut vector: Vec<u64> = Vec::with_capacity((1 << 20) / size_of::<u64>());
        let mut behind = Vec::new();
        while vector.len() * size_of::<u64>() < most {
            vector.resize(vector.capacity(), 1);
            behind.push(Block::new(1 << 20));
            vector.reserve(1);
        }
        black_box((&vector, &behind));
    });
    report(request, time, 1);
}

/// A map from names to lists that come, grow and go.
pub(crate) fn collections(request: &Request) {
    let steps = request.count(300_000);
    let mut random = Random::new(4);
    let mut map: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let time = median_cpu(request.passes(), || {
        for step in 0..steps {
            let name = format!("customer-{:06}", random.below(20_000));
            if random.below(4) == 0 {
                map.remove(&name);
            } else {
                map.entry(name).or_default().push(step as u32);
            }
        }
    });
    black_box(&map);
    report(request, time, steps);
}
