//! What stays resident after most blocks are freed, and what it costs to need them again.
//!
//! A million blocks of 16 to 815 bytes are allocated and written (415 MB), then nine in ten are freed.
//! `keep-*`: what the process holds is measured at once, after a second in which it does nothing, after the
//! allocator was asked to give back what is free, and after all is freed and two seconds more, of which nobody tells
//! the allocator. The row's own table of blocks, touched from end to end and so resident, is not counted.
//! `refill`: the freed blocks are allocated and written again, at once, after 0.3 s, and after two seconds: by
//! then an allocator may have given their memory back, and pays for its faults. `refill-late`: twice after 0.9 s, when an
//! allocator that gives memory back within a second has done so, and may learn from the first time.

use std::thread;
use std::time::Duration;

use harness::{Request, clock, process::resident_bytes};

use crate::block::{Block, Random};
use crate::{Release, mebibytes, report};

/// The most bytes of a block.
const MOST: usize = 815;

/// What is waited before blocks are needed again.
pub(crate) const SOON_AND_LATER: [(&str, u64); 3] =
    [("at once", 0), ("after 0.3 s", 300), ("after 2 s", 2000)];

/// Likewise, in a row of its own: who gave memory back too soon may wait longer from then on.
pub(crate) const LATE_AND_AGAIN: [(&str, u64); 2] = [("after 0.9 s", 900), ("again", 900)];

/// Which blocks stay: one in ten, anywhere.
pub(crate) fn random_tenth(_index: usize, random: &mut Random) -> bool {
    random.below(10) == 0
}

/// Which blocks stay: the last thousand of each ten thousand.
pub(crate) fn runs(index: usize, _random: &mut Random) -> bool {
    index % 10_000 >= 9000
}

/// Allocates, frees most, waits, asks; frees the rest, waits.
pub(crate) fn keep(
    request: &Request,
    release: Release,
    stays: impl Fn(usize, &mut Random) -> bool,
) {
    let count = request.count(1_000_000);
    let mut random = Random::new(8);
    let began = clock::process_cpu();
    let mut blocks = fill(count, &mut random);
    let table = size_of_val(blocks.as_slice()) as u64;
    let held = || mebibytes(resident_bytes() - table);
    thin_out(&mut blocks, &mut random, stays);
    request.report("at once", "MiB", held());
    thread::sleep(Duration::from_secs(1));
    request.report("after 1 s", "MiB", held());
    if let Some(release) = release {
        release();
        request.report("after a release", "MiB", held());
    }
    blocks.iter_mut().for_each(|block| *block = None);
    thread::sleep(Duration::from_secs(2));
    request.report("all freed, after 2 s", "MiB", held());
    report(request, clock::process_cpu() - began, count);
}

/// Allocates; then for each of `pauses`, of so many milliseconds, frees most, waits, and allocates what was freed.
pub(crate) fn refill(request: &Request, pauses: &[(&str, u64)]) {
    let count = request.count(1_000_000);
    let mut random = Random::new(8);
    let mut blocks = fill(count, &mut random);
    for &(name, pause) in pauses {
        thin_out(&mut blocks, &mut random, random_tenth);
        thread::sleep(Duration::from_millis(pause));
        let began = clock::process_cpu();
        let mut filled = 0;
        for block in blocks.iter_mut().filter(|block| block.is_none()) {
            *block = Some(Block::filled(random.size(MOST)));
            filled += 1;
        }
        request.report_each(name, clock::process_cpu() - began, filled);
    }
    request.report("peak", "MiB", mebibytes(harness::process::peak_bytes()));
}

fn fill(count: usize, random: &mut Random) -> Vec<Option<Block>> {
    (0..count).map(|_| Some(Block::filled(random.size(MOST)))).collect()
}

fn thin_out(
    blocks: &mut [Option<Block>],
    random: &mut Random,
    stays: impl Fn(usize, &mut Random) -> bool,
) {
    for (index, block) in blocks.iter_mut().enumerate() {
        if !stays(index, random) {
            *block = None;
        }
    }
}
