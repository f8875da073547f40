//! A large live heap under change: how long each operation takes, and what a collection costs.
//!
//! The tree has 2¹⁸ − 1 inner nodes and below them 2¹⁸ subtrees of 31; a node is 64 bytes, so it is
//! 512 MiB. Each of two mutators owns one half of it, by the first branch.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use gc_core::stats::Actions;
use harness::{Request, clock, process};
use hdrhistogram::Histogram;

use crate::{Mutators, SEED, random};

/// Branches from the root to a subtree.
pub const HEIGHT: u32 = 18;

/// The depth of a subtree: 31 nodes.
pub const SUBTREE: u32 = 4;

const MUTATORS: usize = 2;

/// How long a mutator computes at a time to see what the machine makes of it: a turn of marking.
const PIECE: Duration = Duration::from_micros(25);

/// A tree that lives, whose subtrees are replaced.
pub trait Live: Mutators + Sync {
    /// The tree.
    type Tree: Sync;

    /// Builds a tree of this height above its subtrees.
    fn grow(&self, height: u32) -> Self::Tree;

    /// Goes down from the root by the lowest `height` bits of `path` (0: left), the lowest first, and puts
    /// a new subtree of depth [`SUBTREE`] in place of the one that is there.
    fn replace(&self, tree: &Self::Tree, height: u32, path: u64);

    /// Collects everything, and returns when that is done; false if there is no such thing.
    fn collect(&self) -> bool;

    /// How many collections there were.
    fn collections(&self) -> Option<u64>;

    /// What the collector says of itself, if it does.
    fn account(&self) -> Option<Account> {
        None
    }
}

/// What a collector has done so far, by its own account.
#[derive(Debug)]
pub struct Account {
    /// The time of marking, of allocations' slow paths and of sweep, if that is known.
    pub time: Option<Duration>,
    /// What it made mutators do.
    pub actions: Actions,
}

impl Account {
    /// The collector's share of the processors, of which each mutator has one, and what it did to mutators,
    /// since an earlier account.
    fn report_since(&self, before: &Account, wall: Duration, request: &Request) {
        if let (Some(before), Some(now)) = (before.time, self.time) {
            let share = (now - before).as_secs_f64() / (wall * MUTATORS as u32).as_secs_f64();
            request.report("collector's share", "%", share * 100.0);
        }
        let actions = self.actions.since(&before.actions);
        let Actions { refills, assists, .. } = actions;
        let kinds = [("action", actions.all()), ("refill", refills), ("assist", assists)];
        for (kind, times) in kinds {
            let clocks = [("on the wall", times.wall), ("CPU", times.processor)];
            for (clock, times) in clocks.into_iter().filter(|(_, times)| times.count() != 0) {
                for (name, percent) in [("p99.99", 99.99), ("longest", 100.0)] {
                    let time = times.percentile(percent).as_secs_f64() * 1e6;
                    request.report(&format!("{kind} {clock}, {name}"), "µs", time);
                }
            }
        }
    }
}

/// Runs a row of this group; false if it is another's.
pub fn run(request: &Request, peer: &impl Live) -> bool {
    let height = if request.quick { HEIGHT - 4 } else { HEIGHT };
    match request.row.as_str() {
        "latency" => latency(request, peer, height),
        "cycle" => cycle(request, peer, height),
        _ => return false,
    }
    true
}

fn latency(request: &Request, peer: &impl Live, height: u32) {
    let time = Duration::from_secs(if request.quick { 1 } else { 10 });
    let tree = peer.grow(height);
    let delays = Mutex::new(Histogram::<u64>::new(3).expect("three digits can be kept"));
    let (before, account) = (peer.collections(), peer.account());
    let (cpu, began) = (clock::process_cpu(), Instant::now());
    peer.mutate(MUTATORS, &|number| {
        let mine = replace_for(peer, &tree, height, number as u64, time);
        delays.lock().expect("no mutator panics").add(mine).expect("both have the same shape");
    });
    let (wall, cpu) = (began.elapsed(), clock::process_cpu() - cpu);
    let delays = delays.into_inner().expect("no mutator panics");
    let operations = delays.len() as usize;
    request.report_each("wall per operation", wall, operations);
    request.report_each("CPU per operation", cpu, operations);
    for (name, quantile) in [("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)] {
        request.report(name, "µs", delays.value_at_quantile(quantile) as f64 / 1e3);
    }
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
    if let (Some(before), Some(after)) = (before, peer.collections()) {
        request.report("collections", "", (after - before) as f64);
    }
    if let (Some(before), Some(after)) = (account, peer.account()) {
        after.report_since(&before, wall, request);
        report_pieces(request, peer);
    }
}

/// How long [`PIECE`]s of computing take that no collector has a part in, by the clocks by which its actions are
/// measured: what interrupts the one interrupts the other.
fn report_pieces(request: &Request, peer: &impl Live) {
    let pieces = request.count(80_000);
    let new = || Histogram::<u64>::new(3).expect("three digits can be kept");
    let times = Mutex::new([new(), new()]);
    peer.mutate(MUTATORS, &|_| {
        let mut mine = [new(), new()];
        for _ in 0..pieces {
            let (thread, own, began) = (process::thread(), clock::thread_cpu(), Instant::now());
            while began.elapsed() < PIECE {}
            let (wall, cpu) = (began.elapsed(), clock::thread_cpu().saturating_sub(own));
            // A task may have gone to another thread, whose time is another's.
            let cpu = (process::thread() == thread).then_some(cpu);
            for (times, time) in mine.iter_mut().zip([Some(wall), cpu]) {
                let Some(time) = time else { continue };
                times.record(time.as_nanos() as u64).expect("the histogram grows as needed");
            }
        }
        let mut times = times.lock().expect("no mutator panics");
        for (times, mine) in times.iter_mut().zip(mine) {
            times.add(mine).expect("both have the same shape");
        }
    });
    let times = times.into_inner().expect("no mutator panics");
    for (clock, times) in ["on the wall", "CPU"].into_iter().zip(times) {
        for (name, quantile) in [("p99.99", 0.9999), ("longest", 1.0)] {
            let time = times.value_at_quantile(quantile) as f64 / 1e3;
            request.report(&format!("25 µs of computing {clock}, {name}"), "µs", time);
        }
    }
}

fn replace_for<P: Live>(
    peer: &P,
    tree: &P::Tree,
    height: u32,
    number: u64,
    time: Duration,
) -> Histogram<u64> {
    let mut delays = Histogram::new(3).expect("three digits can be kept");
    let mut state = SEED.wrapping_add(number);
    let (began, mut now) = (Instant::now(), Instant::now());
    while now - began < time {
        let path = random(&mut state) >> 8 & !1 | number;
        peer.replace(tree, height, path);
        let then = std::mem::replace(&mut now, Instant::now());
        delays.record((now - then).as_nanos() as u64).expect("the histogram grows as needed");
    }
    delays
}

fn cycle(request: &Request, peer: &impl Live, height: u32) {
    let tree = peer.grow(height);
    // A tree that was built in one go lies in memory in the order in which it is marked.
    let mut state = SEED;
    (0..1 << height).for_each(|_| peer.replace(&tree, height, random(&mut state) >> 8));
    if !peer.collect() {
        request.unknown();
    }
    let (wall, cpu, passes) = (Instant::now(), clock::process_cpu(), request.passes());
    for _ in 0..passes {
        peer.collect();
    }
    let (wall, cpu) = (wall.elapsed(), clock::process_cpu() - cpu);
    request.report("CPU", "s", cpu.as_secs_f64() / passes as f64);
    request.report("wall", "s", wall.as_secs_f64() / passes as f64);
    // A conservative collector finds it on the stack only if it is used after.
    drop(black_box(tree));
}
