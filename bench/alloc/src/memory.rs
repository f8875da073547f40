//! What stays resident after most blocks are freed.
//!
//! A million blocks of 16 to 815 bytes are allocated and written (415 MB), then nine in ten are freed.
//! What the process holds is measured at once, after a second in which it does nothing, after all is
//! freed and two seconds more. Nobody asks an allocator to give anything back.

use std::thread;
use std::time::Duration;

use harness::{Request, clock, process::resident_bytes};

use crate::block::{Block, Random};
use crate::{mebibytes, report};

/// Which blocks stay: one in ten, anywhere.
pub(crate) fn random_tenth(_index: usize, random: &mut Random) -> bool {
    random.below(10) == 0
}

/// Which blocks stay: the last thousand of each ten thousand.
pub(crate) fn runs(index: usize, _random: &mut Random) -> bool {
    index % 10_000 >= 9000
}

/// Allocates, frees most, waits; frees the rest, waits.
pub(crate) fn keep(request: &Request, stays: impl Fn(usize, &mut Random) -> bool) {
    let count = request.count(1_000_000);
    let mut random = Random::new(8);
    let mut blocks: Vec<Option<Block>> = Vec::with_capacity(count);
    let began = clock::process_cpu();
    blocks.extend((0..count).map(|_| Some(Block::filled(random.size(815)))));
    for (index, block) in blocks.iter_mut().enumerate() {
        if !stays(index, &mut random) {
            *block = None;
        }
    }
    request.report("at once", "MiB", mebibytes(resident_bytes()));
    thread::sleep(Duration::from_secs(1));
    request.report("after 1 s", "MiB", mebibytes(resident_bytes()));
    blocks.iter_mut().for_each(|block| *block = None);
    thread::sleep(Duration::from_secs(2));
    request.report("all freed, after 2 s", "MiB", mebibytes(resident_bytes()));
    report(request, clock::process_cpu() - began, count);
}
