//! Rows with two threads: blocks that one allocates and another frees.
//!
//! Blocks travel in vectors of fixed capacity that are sent back empty, so that the channel itself
//! allocates nothing.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use harness::{Request, clock};

use crate::block::{Block, Random};
use crate::report;

/// Blocks that travel together.
const PARCEL: usize = 256;
/// Parcels on the way.
const PARCELS: usize = 8;

/// A way for full parcels, and one back for empty ones.
struct Road {
    full: (SyncSender<Vec<Block>>, Receiver<Vec<Block>>),
    empty: (SyncSender<Vec<Block>>, Receiver<Vec<Block>>),
}

impl Road {
    fn new() -> Self {
        let road = Self { full: sync_channel(PARCELS), empty: sync_channel(PARCELS) };
        for _ in 0..PARCELS {
            road.empty.0.send(Vec::with_capacity(PARCEL)).expect("we hold the other end");
        }
        road
    }

    fn ends(self) -> (Sender, Freer) {
        let sender = Sender { full: self.full.0, empty: self.empty.1 };
        (sender, Freer { full: self.full.1, empty: self.empty.0 })
    }
}

struct Sender {
    full: SyncSender<Vec<Block>>,
    empty: Receiver<Vec<Block>>,
}

impl Sender {
    /// Allocates a parcel of blocks and sends it.
    fn send(&self, random: &mut Random) {
        let mut parcel = self.empty.recv().expect("the other end is there");
        parcel.extend((0..PARCEL).map(|_| Block::new(random.size(128))));
        self.full.send(parcel).expect("the other end is there");
    }
}

struct Freer {
    full: Receiver<Vec<Block>>,
    empty: SyncSender<Vec<Block>>,
}

impl Freer {
    /// Waits for a parcel and frees its blocks; `false` when there will be none any more.
    fn free(&self) -> bool {
        let Ok(mut parcel) = self.full.recv() else { return false };
        parcel.clear();
        // The sender may be done and gone.
        let _ = self.empty.send(parcel);
        true
    }
}

/// One thread allocates; the other frees all of it and never allocates itself.
pub(crate) fn cross_free(request: &Request) {
    let parcels = request.count(40_000);
    timed(request, parcels * PARCEL, || {
        let (sender, freer) = Road::new().ends();
        thread::scope(|scope| {
            scope.spawn(move || while freer.free() {});
            let mut random = Random::new(5);
            (0..parcels).for_each(|_| sender.send(&mut random));
            drop(sender);
        });
    });
}

/// Two threads; each allocates for the other and frees what the other sends.
pub(crate) fn exchange(request: &Request) {
    let parcels = request.count(20_000);
    timed(request, 2 * parcels * PARCEL, || {
        let (send_there, free_there) = Road::new().ends();
        let (send_back, free_here) = Road::new().ends();
        let work = move |sender: Sender, freer: Freer, seed| {
            let mut random = Random::new(seed);
            for _ in 0..parcels {
                sender.send(&mut random);
                freer.free();
            }
        };
        thread::scope(|scope| {
            scope.spawn(move || work(send_back, free_there, 6));
            work(send_there, free_here, 7);
        });
    });
}

/// Larson's server: threads that replace random ones of their blocks, end after a while, and leave all
/// blocks to a successor. Two at a time.
pub(crate) fn hand_over(request: &Request) {
    const BLOCKS: usize = 5000;
    const TURNS: usize = 50;
    let each = request.count(50_000);
    timed(request, 2 * TURNS * each, || {
        thread::scope(|scope| {
            for line in 0..2 {
                scope.spawn(move || {
                    let mut random = Random::new(line);
                    let mut blocks: Vec<Block> =
                        (0..BLOCKS).map(|_| Block::new(random.size(512))).collect();
                    for turn in 0..TURNS as u64 {
                        let heir = thread::spawn(move || {
                            let mut random = Random::new(line + 2 * turn);
                            for _ in 0..each {
                                let at = random.below(BLOCKS);
                                blocks[at] = Block::new(random.size(512));
                            }
                            blocks
                        });
                        blocks = heir.join().expect("a thread of ours does not panic");
                    }
                    black_box(blocks);
                });
            }
        });
    });
}

/// Runs `work` once to warm up and once that counts; reports CPU time and wall time.
fn timed(request: &Request, operations: usize, mut work: impl FnMut()) {
    work();
    let (cpu, wall) = (clock::process_cpu(), Instant::now());
    work();
    let (cpu, wall) = (clock::process_cpu() - cpu, wall.elapsed());
    report(request, cpu, operations);
    request.report_each("wall", wall, operations);
}
